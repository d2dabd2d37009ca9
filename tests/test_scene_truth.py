"""What heads are taught by: exact geometry against closed forms, an estimator in a file, and what neither can use."""

import numpy as np
import pytest
import torch
from test_metrics import script
from torch import nn

from worldsim.errors import DamagedFile, InvalidInput
from worldsim.geometry import depth_gap
from worldsim.training.scene_truth import TorchScriptEstimator, recorded_scene
from worldsim.types import Trajectory

SIZE, FOCAL, WALL, NEAR, THING = 16, 20.0, 4.0, 2.0, 7


def episode(places: list[tuple[float, float, float]]) -> Trajectory:
    """A plate of 4 x 4 pixels before a wall; `places` (right, down, forward) in metres are where its middle is in the camera's axes.

    The camera looks along the world's y; the world's z is up.
    """
    count = len(places)
    depth, things = np.full((count, SIZE, SIZE), WALL, np.float32), np.zeros((count, SIZE, SIZE), np.uint8)
    for t, (right, down, ahead) in enumerate(places):
        column, row = (round(SIZE / 2 + FOCAL * each / ahead) for each in (right, down))
        depth[t, row - 2 : row + 2, column - 2 : column + 2] = ahead
        things[t, row - 2 : row + 2, column - 2 : column + 2] = THING
    pose = np.eye(4)
    pose[:3, :3] = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]).T  # columns: right is x, down is -z, forward is y
    pose[:3, 3] = 0.3, -1.0, 0.5
    world = np.array(places) @ pose[:3, :3].T + pose[:3, 3]
    lens = np.array([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]])
    states = {"depth": depth, "segmentation": things, "thing": world}
    states |= {"intrinsics": np.repeat(lens[None], count, 0), "camera_pose": np.repeat(pose[None], count, 0)}
    frames = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    return Trajectory("t", frames, np.zeros((count - 1, 1), np.float32), 3, states=states)


def test_a_thing_that_moves_across_has_the_flow_of_its_depth():
    """0.2 m to the right at 2 m is f * 0.2 / 2 = 2 pixels; nothing else moves, and the wall that it comes before is hidden."""
    truth = recorded_scene([episode([(0, 0, NEAR), (0.2, 0, NEAR)])], {THING: "thing"})
    plate = truth.depth[0] == NEAR
    torch.testing.assert_close(truth.forward[1][plate], torch.tensor([2.0, 0.0]).expand(16, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close(truth.backward[1][truth.depth[1] == NEAR], torch.tensor([-2.0, 0.0]).expand(16, 2), atol=1e-5, rtol=0)
    for still in (truth.forward[1][~plate], truth.rise[1], truth.forward[0]):
        assert still.abs().max() < 1e-5
    assert truth.visible[1][plate].all()
    hidden = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    hidden[6:10, 10:12] = True
    assert torch.equal(~truth.visible[1], hidden)


def test_a_thing_that_comes_nearer_rises_towards_us():
    """From 2 m to 1.6 m its depth falls by 0.4 m, and a point 2.5 pixels right of the middle goes outward by a quarter of that."""
    truth = recorded_scene([episode([(0, 0, 2.0), (0, 0, 1.6)])], {THING: "thing"})
    plate = truth.depth[0] == 2.0
    torch.testing.assert_close(truth.rise[1][plate], torch.full((16,), -0.4), atol=1e-5, rtol=0)
    offset = torch.arange(6, 10) + 0.5 - SIZE / 2
    torch.testing.assert_close(truth.forward[1][6:10, 6:10, 0], (0.25 * offset).expand(4, 4), atol=1e-5, rtol=0)


def test_true_depth_agrees_with_true_motion_where_it_is_seen():
    truth = recorded_scene([episode([(0, 0, NEAR), (0.2, 0.1, NEAR), (0.1, 0.3, NEAR)])], {THING: "thing"})
    gap = depth_gap(truth.depth[:-1], truth.depth[1:], truth.forward[1:], truth.rise[1:])
    assert gap[truth.visible[1:]].abs().max() < 1e-4
    wrong = depth_gap(truth.depth[:-1], truth.depth[1:], -truth.forward[1:], truth.rise[1:])
    assert wrong[truth.visible[1:]].abs().mean() > 0.05


def test_episodes_follow_one_another():
    parts = [episode([(0, 0, NEAR), (0.2, 0, NEAR)]), episode([(0.1, 0, NEAR), (0.1, 0, NEAR), (0, 0, NEAR)])]
    truth = recorded_scene(parts, {THING: "thing"})
    assert [len(each) for each in truth] == [5] * 5
    assert not truth.forward[2].any()


def test_recordings_without_depth_are_refused_by_name():
    plain = Trajectory("t", np.zeros((2, 4, 4, 3), np.uint8), np.zeros((1, 1), np.float32), 8)
    with pytest.raises(InvalidInput, match="episode 8 has no camera_pose, depth, intrinsics, segmentation, thing"):
        recorded_scene([plain], {1: "thing"})


class Bright(nn.Module):
    """Depth is one metre and what red adds."""

    def forward(self, x):
        return 1 + x[:, 0]


class Right(nn.Module):
    """Everything moves one pixel to the right, and back."""

    def forward(self, a, b):
        step = (b - a).mean((1, 2, 3)).sign()[:, None, None, None]
        return torch.cat([step * torch.ones_like(a[:, :1]), torch.zeros_like(a[:, :1])], 1)


def test_an_estimator_in_a_file_says_what_recordings_do_not(tmp_path):
    for name, module in (("depth", Bright()), ("flow", Right())):
        script(module, tmp_path / f"{name}.pt")
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    frames[1, ..., 0], frames[2, ..., 0] = 51, 102
    estimate = TorchScriptEstimator(str(tmp_path / "depth.pt"), str(tmp_path / "flow.pt"))
    truth = estimate([Trajectory("t", frames, np.zeros((2, 1), np.float32), 0)])
    torch.testing.assert_close(truth.depth[:, 0, 0], torch.tensor([1.0, 1.2, 1.4]))
    torch.testing.assert_close(truth.rise[1:], torch.full((2, 8, 8), 0.2))
    assert (truth.forward[1:, ..., 0] == 1).all()
    assert (truth.backward[1:, ..., 0] == -1).all()
    assert truth.visible.all()


def test_files_that_are_no_estimators_are_refused(tmp_path):
    script(Right(), tmp_path / "flow.pt")
    script(nn.Conv2d(3, 2, 1), tmp_path / "two.pt")
    (tmp_path / "torn.pt").write_bytes(b"no")
    clip = [Trajectory("t", np.zeros((2, 8, 8, 3), np.uint8), np.zeros((1, 1), np.float32), 0)]
    for depth, line in (("none.pt", "is no file"), ("torn.pt", "is not a TorchScript file"), ("two.pt", r"gave \[2, 2, 8, 8\], expected")):
        with pytest.raises((InvalidInput, DamagedFile), match=line):
            TorchScriptEstimator(str(tmp_path / depth), str(tmp_path / "flow.pt"))(clip)
