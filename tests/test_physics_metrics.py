"""Measures of how things move: worked cases by hand, what they must not know, and the block of evaluate-video on the true drop world."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from worldsim.data.trajectory_file import read_trajectory, trajectory_paths, write_trajectory
from worldsim.errors import InvalidInput
from worldsim.experiments import cli
from worldsim.experiments.counterfactual import Counterfactual
from worldsim.experiments.physics_keys import PhysicsKeys
from worldsim.experiments.recorded_worlds import recorded_world
from worldsim.experiments.second_takes import other_courses, retaken, second_takes
from worldsim.experiments.video_physics import PhysicsScores
from worldsim.geometry import Lens
from worldsim.metrics import physics as measures
from worldsim.registry import TRUTHS


def square(top: int, left: int, side: int = 4, frames: int = 1, size: int = 16) -> np.ndarray:
    """A mask of one square, `[1, frames, size, size]`."""
    found = np.zeros((1, frames, size, size), bool)
    found[:, :, top : top + side, left : left + side] = True
    return found


def test_a_mask_shifted_by_hand():
    here, there = square(2, 2), square(2, 5)
    diagonal = 16 * np.sqrt(2)
    np.testing.assert_allclose(measures.centroids(here), [[[3.5, 3.5]]])
    assert measures.trajectory_l2(there, here).item() == pytest.approx(3 / diagonal)
    assert measures.trajectory_l2(there, here, per_axis=True).item() == pytest.approx(1.5 / diagonal)
    assert measures.mask_iou(there, here).item() == pytest.approx(4 / 28)
    # columns 5, 6, 7, 8 lie 0, 1, 2, 3 from the nearest of 2 to 5; and the other way round
    assert measures.mask_chamfer(there, here).item() == pytest.approx((1.5 + 1.5) / diagonal)


def test_masks_that_are_empty():
    none, some = np.zeros((1, 1, 16, 16), bool), square(2, 2)
    assert measures.mask_iou(none, none).item() == 1
    assert measures.mask_iou(none, some).item() == 0
    assert measures.mask_chamfer(none, none).item() == 0
    assert measures.mask_chamfer(none, some).item() == 1
    np.testing.assert_allclose(measures.centroids(none), [[[7.5, 7.5]]])


def test_objects_that_grow_jump_or_stand_inside_others():
    small, large = square(2, 2, 4), square(2, 2, 6)
    assert measures.area_violation(large, small).item() == 1  # 36 for 16
    assert measures.area_violation(square(2, 2, 4), square(2, 2, 5)).item() == 0  # 16 for 25
    assert measures.overlap_rate(small, square(5, 5)).item() == 1
    assert measures.overlap_rate(small, square(6, 6)).item() == 0
    path = np.concatenate([square(2, 2), square(2, 3), square(2, 9)], axis=1)
    assert measures.teleports(path, 3 / np.hypot(16, 16)).tolist() == [[0, 0, 1]]


def test_red_is_what_is_redder_than_green_and_blue():
    frames = np.zeros((1, 1, 2, 2, 3), np.uint8)
    frames[0, 0, 0] = [[200, 100, 20], [140, 100, 20]]
    frames[0, 0, 1] = [[255, 255, 255], [100, 10, 99]]
    assert measures.colour_mask(frames, "red", 40).tolist() == [[[[True, False], [False, False]]]]
    with pytest.raises(InvalidInput, match='colour is "pink"'):
        measures.colour_mask(frames, "pink", 40)


@given(st.floats(1, 20), st.floats(-3, 3), st.integers(3, 9))
def test_a_parabola_has_its_own_gravity(g, speed, frames):
    t = np.arange(12) * 0.08
    heights = 2 + speed * t - g / 2 * t**2
    heights[frames:] = 0  # it lies on the floor
    airborne = (np.arange(12) < frames)[None]
    assert measures.gravity_error(heights[None], airborne, 0.08, g).item() == pytest.approx(0, abs=1e-6)
    assert measures.gravity_error(heights[None], airborne, 0.08, 2 * g).item() == pytest.approx(0.5, abs=1e-6)
    assert np.isnan(measures.gravity_error(heights[None], np.arange(12)[None] < 2, 0.08, g)).all()


def clip_of(*places: int, size: int = 32) -> np.ndarray:
    """A white square of 6 pixels that stands at these columns one frame after another, uint8 `[1, T, size, size, 3]`."""
    frames = np.full((1, len(places), size, size, 3), 60, np.uint8)
    for t, left in enumerate(places):
        frames[0, t, 8:14, left : left + 6] = 250
    return frames


def test_motion_is_what_differs_from_the_first_frame():
    moved = measures.motion_masks(clip_of(4, 4, 14))
    assert moved.sum((2, 3)).tolist() == [[0, 0, 72]]  # where it was and where it is
    assert moved[0, 2, 8:14, 4:10].all()
    assert moved[0, 2, 8:14, 14:20].all()
    speck = clip_of(4, 4, 4)
    speck[0, 1, 20, 20] = 255  # one pixel is noise
    assert not measures.motion_masks(speck).any()
    edge = clip_of(26, 26, 0)
    assert measures.motion_masks(edge)[0, 2, 8:14, 26:].all()


def test_where_when_and_how_long():
    real, late, never = (measures.motion_masks(clip_of(*places)) for places in ((2, 12, 12), (2, 2, 12), (2, 2, 2)))
    assert measures.spatial_iou(late, real).tolist() == [[1, 0, 1]]
    assert measures.spatiotemporal_iou(late, real).tolist() == [[1, 0, 1]]
    np.testing.assert_allclose(measures.weighted_spatial_iou(late, real), [[1, 0, 0.5]])  # a third of the time for two thirds
    assert measures.spatial_iou(never, real).tolist() == [[1, 0, 0]]
    assert measures.spatial_iou(never, never).tolist() == [[1, 1, 1]]
    assert measures.motion_mse(clip_of(2, 2), clip_of(2, 2)).tolist() == [[0, 0]]
    apart = 72 * (190 / 255) ** 2 / 32**2
    np.testing.assert_allclose(measures.motion_mse(clip_of(2, 2), clip_of(2, 12)), [[0, apart]], rtol=1e-6)
    assert measures.static_motion(clip_of(2, 2, 2), real).tolist() == [[0, 0, 0]]
    assert measures.static_motion(clip_of(2, 22, 2), real)[0].tolist() == pytest.approx([0, 36 * 190 / 255 / (32**2 - 72), 0])


def test_the_score_is_100_for_a_second_take_and_0_for_rest():
    takes = {"spatiotemporal": 0.8, "spatial": 0.9, "weighted": 0.7, "mse": 0.01}
    assert measures.physics_iq(takes, takes) == 100
    assert measures.physics_iq(takes | {"spatiotemporal": 0.4, "mse": 0.11}, takes) == pytest.approx(100 * (2.5 / 3 - 0.1))
    assert measures.physics_iq({"spatiotemporal": 0, "spatial": 0, "weighted": 0, "mse": 0.1}, takes) == 0


def test_depth_and_flow_by_hand():
    true = np.full((1, 2, 2, 2), 4.0)
    said = true * [[[[1, 1.5], [1, 0.5]]]]
    assert measures.abs_rel(said, true).tolist() == [[0.25, 0.25]]
    assert measures.within_quarter(said, true).tolist() == [[0.5, 0.5]]
    np.testing.assert_allclose(measures.depth_rmse(said, true), np.sqrt(2.0))
    still = np.zeros((1, 2, 2, 2, 2))
    moving = still + [3.0, 4.0]
    everywhere, nowhere = np.ones((1, 2, 2, 2), bool), np.zeros((1, 2, 2, 2), bool)
    assert measures.end_point_error(still, moving, everywhere).tolist() == [[5, 5]]
    assert measures.flow_outliers(still, moving, everywhere).tolist() == [[1, 1]]
    assert measures.flow_outliers(moving + 2, moving, everywhere).tolist() == [[0, 0]]  # less than 3 pixels
    assert np.isnan(measures.end_point_error(still, moving, nowhere)).all()
    with pytest.raises(InvalidInput, match="0 or less"):
        measures.abs_rel(true, true * 0)


def test_depth_warp_follows_the_motion():
    depth = np.tile(np.arange(1.0, 9.0), (1, 2, 8, 1))  # deeper to the right
    depth[:, 1] = np.roll(depth[:, 1], 1, axis=-1)  # all of it goes one pixel to the right
    flow, rise = np.zeros((1, 2, 8, 8, 2)), np.zeros((1, 2, 8, 8))
    flow[:, 1, ..., 0] = 1
    seen = np.ones((1, 2, 8, 8), bool)
    seen[..., -1] = False
    assert measures.depth_warp(depth, flow, rise, seen).tolist() == [[0, 0]]
    assert measures.depth_warp(depth, 0 * flow, rise, seen)[0, 1] == pytest.approx((7 + 6) / 7)  # 1 each, and 7 at the left edge
    assert np.isnan(measures.depth_warp(depth, flow, rise, seen & False)[0, 1])


def test_clouds_and_drift():
    lens = Lens(np.tile(np.array([[8.0, 0, 4], [0, 8, 4], [0, 0, 1]]), (1, 3, 1, 1)), np.tile(np.eye(4), (1, 3, 1, 1)))
    true = np.full((1, 3, 8, 8), 100.0)  # so far apart that the nearest point is the one behind
    np.testing.assert_allclose(measures.cloud_distance(true, true, lens), 0)
    off = true + np.array([0.0, 0.1, 0.2])[:, None, None]
    found = measures.cloud_distance(off, true, lens)
    assert found[0, 0] == 0
    assert 0.2 <= found[0, 1] < 0.25
    assert measures.drift(np.array([[1.0, 3, 5], [2, 2, 2]])).tolist() == [2, 0]


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_later_frames_change_no_earlier_number(seed, cut):
    rng = np.random.default_rng(seed)
    mine, other, real = (rng.integers(0, 256, (2, 6, 16, 16, 3), dtype=np.uint8) for _ in range(3))
    other[:, :cut] = mine[:, :cut]
    for name in ("spatial_iou", "spatiotemporal_iou", "weighted_spatial_iou"):
        found = [getattr(measures, name)(measures.motion_masks(each), measures.motion_masks(real)) for each in (mine, other)]
        np.testing.assert_array_equal(found[0][:, :cut], found[1][:, :cut])
    red = [measures.colour_mask(each, "red", 40) for each in (mine, other, real)]
    for name in ("trajectory_l2", "mask_chamfer", "mask_iou", "area_violation"):
        found = [getattr(measures, name)(each, red[2]) for each in red[:2]]
        np.testing.assert_array_equal(found[0][:, :cut], found[1][:, :cut])


@pytest.mark.parametrize("name", ["trajectory_l2", "mask_chamfer", "mask_iou", "area_violation"])
def test_what_cannot_be_compared_is_refused(name):
    with pytest.raises(InvalidInput, match="cannot be compared"):
        getattr(measures, name)(square(1, 1), square(1, 1, frames=2))
    with pytest.raises(InvalidInput, match="expected bool"):
        getattr(measures, name)(square(1, 1).astype(int), square(1, 1))


@pytest.fixture(scope="module")
def fallen(tmp_path_factory):
    """Four recorded episodes of the true drop world, and a world model of it with random weights."""
    folder = tmp_path_factory.mktemp("fallen")
    assert cli.main(["collect", "truth=drop", f"out={folder / 'data'}", "split=validation", "episodes=4", "workers=1"]) == 0
    from worldsim.envs.drop.physics import ACTION

    tiny.world_model(folder / "world", size=32, action=ACTION)
    return folder


@pytest.mark.slow
def test_the_block_beside_a_second_take_and_the_first_frame_held(fallen, capsys):
    words = [f"world_model={fallen / 'world'}", f"data={fallen / 'data'}", "protocol=drop", f"out={fallen / 'out'}"]
    assert cli.main(["evaluate-video", *words]) == 0
    printed = capsys.readouterr().out
    numbers = json.loads((fallen / "out" / "video_quality.json").read_text())
    found = numbers["physics"]
    assert found["physics_iq"]["ceiling"] == 100
    for name in ("trajectory_l2", "mask_chamfer", "motion_mse", "trajectory_drift"):
        assert found[name]["better"] == "lower"
        assert 0 <= found[name]["ceiling"] < found[name]["floor"]
    for name in ("mask_iou", "spatial_iou", "weighted_spatial_iou", "spatiotemporal_iou"):
        assert found[name]["better"] == "higher"
        assert found[name]["floor"] < found[name]["ceiling"] <= 1
    assert found["gravity_error"]["ceiling"] < 0.3 < found["gravity_error"]["floor"]
    assert found["depth_abs_rel"]["value"] is None  # no heads
    assert 0 < found["depth_abs_rel"]["ceiling"] < 0.01
    assert found["depth_warp"]["ceiling"] < 0.02
    assert len(found["trajectory_l2"]["by_frame"]["model"]) == 13
    assert found["trajectory_l2"]["low"] <= found["trajectory_l2"]["value"] <= found["trajectory_l2"]["high"]
    assert "depth and flow of the model left out: it has no heads" in printed
    assert (fallen / "out" / "physics.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
@pytest.mark.parametrize("truth", ["drop", "drawer"])
def test_a_take_from_the_same_start_is_the_recording_and_from_a_nudged_one_is_near_it(tmp_path, truth):
    assert cli.main(["collect", f"truth={truth}", f"out={tmp_path}", "split=validation", "episodes=2", "workers=1"]) == 0
    episodes = [read_trajectory(path) for path in trajectory_paths(tmp_path / "validation")]
    recorded = recorded_world(truth)
    world = TRUTHS.config(truth, recorded.options).build()
    for episode in episodes:
        np.testing.assert_array_equal(retaken(world, episode, recorded.start(episode.seed)).frames, episode.frames)
    world.close()
    for take, episode in zip(second_takes(truth, episodes), episodes, strict=True):
        apart = measures.motion_mse(take.frames[None], episode.frames[None])[0]
        still = measures.motion_mse(np.repeat(episode.frames[:1], len(episode.frames), 0)[None], episode.frames[None])[0]
        assert 0 < apart.mean() < still.mean() / 2
    with pytest.raises(InvalidInput, match="does not begin as worldsim collect lets it begin"):
        second_takes(truth, [replace(episodes[0], seed=episodes[1].seed)])


@pytest.mark.slow
def test_without_a_second_take_of_every_clip_there_is_no_ceiling(fallen):
    episodes = [read_trajectory(path) for path in trajectory_paths(fallen / "data" / "validation")]
    scores = PhysicsScores(PhysicsKeys(truth="drop", colour="red"), 1, 12.5, None)
    scores.add(episodes[:2], *2 * [np.stack([each.frames for each in episodes[:2]])])
    assert scores.summary(0)["mask_iou"]["ceiling"] < 1
    others = [replace(each, seed=0) for each in episodes[2:]]
    scores.add(others, *2 * [np.stack([each.frames for each in others])])
    found = scores.summary(0)
    assert "does not begin as worldsim collect lets it begin" in scores.left_out["second take"]
    assert (found["mask_iou"]["value"], found["mask_iou"]["ceiling"], found["mask_iou"]["clips"]) == (1, None, 4)
    assert "physics_iq" not in found


@pytest.mark.slow
def test_what_recordings_do_not_hold_is_said(fallen, tmp_path, capsys):
    for path in trajectory_paths(fallen / "data" / "validation"):
        write_trajectory(tmp_path / "bare" / path.name, replace(read_trajectory(path), states={}))
    words = [f"world_model={fallen / 'world'}", f"data={tmp_path / 'bare'}", "protocol=drop", "limit=2"]
    assert cli.main(["evaluate-video", *words]) == 0
    assert "the recordings hold no depth, segmentation, intrinsics, camera_pose" in capsys.readouterr().out
    assert cli.main(["evaluate-video", *words, "depth=d.pt"]) == 2
    assert "give both: depth=FILE flow=FILE" in capsys.readouterr().err


def test_the_gap_by_hand():
    black, grey, white = (np.full((2, 3, 4, 4, 3), value, np.uint8) for value in (0, 51, 255))
    assert measures.clips_apart(black, grey).tolist() == pytest.approx([0.2, 0.2])
    own, real = measures.clips_apart(black, grey), measures.clips_apart(black, white)
    assert measures.counterfactual_gap(own, real)[0] == pytest.approx(0.2)
    assert measures.counterfactual_gap(real, real) == (1, (1, 1))
    assert measures.counterfactual_gap(np.array([0.1, 0.0]), np.array([0.1, 0.1]))[1] == (0, 1)
    assert np.isnan(measures.counterfactual_gap(own, 0 * real)[0])


@pytest.mark.slow
def test_a_world_that_is_exact_reacts_as_the_world_does(fallen, capsys):
    episodes = [read_trajectory(path) for path in trajectory_paths(fallen / "data" / "validation")]
    frames, actions = (np.stack([getattr(each, name) for each in episodes]) for name in ("frames", "actions"))
    courses = np.stack([each.frames for each in other_courses("drop", episodes, actions)])
    np.testing.assert_array_equal(courses, frames)
    others = np.roll(actions, -1, 0)
    otherwise = np.stack([each.frames for each in other_courses("drop", episodes, others)])
    for seen, value in ((otherwise, 1), (frames, 0)):
        gap = Counterfactual("drop", 1)
        gap.add(episodes, frames, others, seen)
        assert gap.summary(0)["counterfactual_gap"]["value"] == value
    same = Counterfactual("drop", 1)
    same.add(episodes, frames, actions, frames)
    assert same.summary(0) == {}  # the other course is the recorded one
    words = [f"world_model={fallen / 'world'}", f"data={fallen / 'data'}", "protocol=drop", "counterfactual=true"]
    assert cli.main(["evaluate-video", *words, f"out={fallen / 'gap'}"]) == 0
    found = json.loads((fallen / "gap" / "video_quality.json").read_text())["physics"]["counterfactual_gap"]
    assert 0 < found["low"] <= found["value"] <= found["high"]
    assert cli.main(["evaluate-video", *words, "shuffle_actions=true"]) == 2
    assert "ask one at a time" in capsys.readouterr().err
