"""The distance between clouds, against closed forms and by hand; and the judge that is made of it."""

import numpy as np
import pytest
import stirred
import torch
from test_geometry_heads import with_heads
from test_scene_truth import NEAR, episode

from worldsim.errors import InvalidInput
from worldsim.geometry import chamfer
from worldsim.posttraining.chamfer import cloud_distances
from worldsim.posttraining.feedback import load_feedback
from worldsim.posttraining.feedback.chamfer import ChamferFeedback
from worldsim.simulator import Sampler, save_world_model
from worldsim.types import Trajectory


def test_clouds_by_hand():
    """One point against two: 1 one way, the mean of 1 and 2 the other."""
    assert chamfer(np.zeros((1, 3)), np.array([[1.0, 0, 0], [0, 2, 0]])) == pytest.approx(2.5)
    assert chamfer(np.eye(3), np.eye(3)[::-1]) == 0
    assert chamfer(np.eye(3), np.eye(3) + [0, 0, 1e-3]) == pytest.approx(2e-3)


def test_true_depth_has_no_distance_and_a_plate_that_is_elsewhere_has():
    right, wrong = (episode([(0, 0, NEAR), (x, 0, NEAR)]) for x in (0.2, -0.4))
    assert not cloud_distances(right.states["depth"], right.states).any()
    found = cloud_distances(wrong.states["depth"], right.states)
    assert found[0] == 0
    assert found[1] > 0.05
    further = cloud_distances(right.states["depth"] + 0.1, right.states)
    assert 0.1 < further[0] < 0.227  # both ways, at most the shift along the most slanting ray


def test_recordings_without_a_camera_and_of_another_length_are_refused():
    states = episode([(0, 0, NEAR)]).states
    with pytest.raises(InvalidInput, match="hold no camera_pose"):
        cloud_distances(states["depth"], {name: value for name, value in states.items() if name != "camera_pose"})
    with pytest.raises(InvalidInput, match="what really happened of"):
        cloud_distances(states["depth"][:, :2], states)


def seen(depth: np.ndarray, seed: int) -> Trajectory:
    """Noise under the stirred world's actions, before a camera that measured this depth."""
    count = len(depth)
    lens = np.array([[40.0, 0, 16], [0, 40, 16], [0, 0, 1]])
    states = {"depth": depth, "intrinsics": np.repeat(lens[None], count, 0), "camera_pose": np.repeat(np.eye(4)[None], count, 0)}
    return Trajectory("t", stirred.pictures(1, count, seed)[0], stirred.actions(1, count - 1)[:, 0], states=states)


def test_the_judge_prefers_what_its_heads_see_where_it_really_is(tmp_path):
    """A reference whose depth is that which the heads see is at no distance; one that lies further off is."""
    net = with_heads()
    torch.nn.init.zeros_(net.heads.depth.project.weight)
    torch.nn.init.zeros_(net.heads.depth.project.bias)  # sees a wall at one metre
    save_world_model(tmp_path, stirred.SPEC, net, stirred.autoencoder(), Sampler(), {})
    judge = ChamferFeedback(str(tmp_path))
    wall = np.ones((4, 32, 32), np.float32)
    near, far = judge.score([seen(wall, 1)] * 2, [seen(wall, 2), seen(1.5 * wall, 2)])
    assert near.clip == pytest.approx(0, abs=1e-5)
    assert len(near.frames) == 3
    assert far.clip < -0.9
    assert far.clip == pytest.approx(np.mean(far.frames))
    assert len(judge.facts["sha256"]) == 64
    assert not judge.trusted
    with pytest.raises(InvalidInput, match="looks through a world model"):
        ChamferFeedback()


def test_it_is_found_by_name(tmp_path):
    assert load_feedback({"name": "chamfer", "world_model": str(tmp_path)}) == ChamferFeedback(str(tmp_path))
