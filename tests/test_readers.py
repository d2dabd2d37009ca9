"""Actions to and from [-1, 1], and what the reader of mp4 + JSON folders promises of them."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from recorded import STATES, add_episode

from worldsim.data.actions import bounds_of, describe_actions, normalise, undo
from worldsim.data.mp4_json import actions_between, parse_annotation, read_mp4_json
from worldsim.data.video import write_video
from worldsim.errors import InvalidInput, UnknownName
from worldsim.types import ActionSpec

DROID = Path(__file__).parents[1] / "../shared/data/droid"
needs_droid = pytest.mark.skipif(not DROID.is_dir(), reason="the real DROID sample (../shared/data/droid) is not here")
SPEC = ActionSpec(("x", "grip", "still"), (-2.0, 0.0, 0.3), (1.0, 1.0, 0.3), rate_hz=5)


# actions to and from [-1, 1]


@given(st_numpy.arrays(np.float64, (5, 3), elements=st.floats(0, 1)))
def test_undo_inverts_normalise(unit):
    low, high = np.array(SPEC.low), np.array(SPEC.high)
    actions = (low + unit * (high - low)).astype(np.float32)
    values = normalise(actions, SPEC)
    assert np.abs(values).max() <= 1
    np.testing.assert_allclose(undo(values, SPEC), actions, atol=3e-7)


def test_bounds_map_to_the_ends_and_beyond_is_clipped():
    low, high = np.float32(SPEC.low), np.float32(SPEC.high)
    assert normalise(low, SPEC).tolist() == [-1, -1, 0]
    assert normalise(high + 9, SPEC)[:2].tolist() == [1, 1]
    assert undo(np.full(3, -1.0), SPEC).tolist() == low.tolist()
    assert undo(np.full(3, 7.0), SPEC).tolist() == high.tolist()


def test_wrong_or_missing_numbers_are_refused():
    with pytest.raises(InvalidInput, match="expected"):
        normalise(np.zeros((2, 4)), SPEC)
    with pytest.raises(InvalidInput, match="not finite"):
        undo(np.full((2, 3), np.nan), SPEC)


def test_bounds_hold_all_actions_with_room():
    actions = np.random.default_rng(1).normal(size=(100, 2)).astype(np.float32)
    actions[:, 1] = 5
    statistics = describe_actions(actions, ("a", "constant"))
    low, high = bounds_of(statistics)
    assert low[0] == pytest.approx(actions[:, 0].min() - 0.05 * np.ptp(actions[:, 0]), rel=1e-6)
    assert (low[1], high[1]) == pytest.approx((4.995, 5.005))
    assert statistics[0].q01 == pytest.approx(np.quantile(actions[:, 0].astype(float), 0.01))


# mp4 + JSON

junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["states", "texts", "x"]), inner, max_size=3),
    max_leaves=20,
)
numbers = st.floats() | st.integers() | st.none() | st.text(max_size=2)
nearly = st.fixed_dictionaries({"states": st.lists(st.lists(numbers, min_size=6, max_size=8), max_size=4), "texts": junk})


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | junk.map(lambda value: json.dumps(value).encode()) | nearly.map(lambda value: json.dumps(value).encode()))
def test_garbage_annotation_is_refused_in_one_way_only(data):
    try:
        annotation = parse_annotation(data)
    except InvalidInput:
        return
    assert np.isfinite(actions_between(annotation.states)).all()


@given(st_numpy.arrays(np.float64, st.tuples(st.integers(2, 6), st.just(7)), elements=st.floats(-3, 3)), st.text(max_size=9))
def test_good_annotation_is_read_exactly(states, text):
    annotation = parse_annotation(json.dumps({"states": states.tolist(), "texts": [text]}).encode())
    assert annotation.instruction == text
    np.testing.assert_array_equal(annotation.states, states)


def test_actions_are_what_happened_between_frames():
    actions = actions_between(STATES)
    np.testing.assert_allclose(STATES[0, :6] + np.cumsum(actions[:, :6], axis=0), STATES[1:, :6], atol=1e-6)
    np.testing.assert_array_equal(actions[:, 6], STATES[1:, 6].astype(np.float32))


def test_angles_take_the_short_way_round():
    states = np.zeros((3, 7))
    states[:, 3] = (3.1, -3.1, 3.1)
    change = actions_between(states)[:, 3]
    np.testing.assert_allclose(change, [2 * np.pi - 6.2, 6.2 - 2 * np.pi], atol=1e-6)


def test_episodes_come_in_numeric_order(tmp_path):
    for name in ("10", "9", "b"):
        add_episode(tmp_path, name)
    assert [recording.name for recording in read_mp4_json(tmp_path)] == ["9", "10", "b"]
    assert [recording.name for recording in read_mp4_json(tmp_path, limit=2)] == ["9", "10"]
    with pytest.raises(UnknownName, match='did you mean "train"'):
        read_mp4_json(tmp_path, split="trian")


def test_states_are_held_against_the_recording_that_they_were_taken_from():
    fast = np.random.default_rng(1).normal(size=(11, 7))
    note = {"texts": ["lift"], "states": fast[::3].tolist()}
    note |= {"observation.state.cartesian_position": fast[:, :6].tolist(), "observation.state.gripper_position": fast[:, 6].tolist()}
    np.testing.assert_array_equal(parse_annotation(json.dumps(note).encode()).states, fast[::3])
    note["states"][2][6] += 1e-9
    with pytest.raises(InvalidInput, match="contradicts itself"):
        parse_annotation(json.dumps(note).encode())


def test_the_other_cameras_are_views_and_a_broken_one_is_left_out(tmp_path):
    add_episode(tmp_path, "1", cameras=("0", "1", "2", "3"))
    videos = tmp_path / "videos/train/1"
    (videos / "2.mp4").write_bytes((videos / "2.mp4").read_bytes()[:300])
    frames = np.zeros((5, 32, 48, 3), np.uint8)
    write_video(videos / "3.mp4", frames, fps=5)
    trajectory = next(read_mp4_json(tmp_path)).read()
    assert trajectory.views.keys() == {"1"}
    assert trajectory.frames.mean() > trajectory.views["1"].mean() + 5
    assert trajectory.metadata["cameras"] == ["0", "1", "2", "3"]
    reasons = trajectory.metadata["views_left_out"]
    assert reasons.keys() == {"2", "3"}
    assert "cannot be read as a video" in reasons["2"]
    assert reasons["3"] == "video has 5 frames for 4 states"
    other = next(read_mp4_json(tmp_path, camera="1")).read()
    np.testing.assert_array_equal(other.frames, trajectory.views["1"])
    np.testing.assert_array_equal(other.views["0"], trajectory.frames)


def test_a_video_whose_rate_differs_from_the_others_is_refused(tmp_path):
    add_episode(tmp_path, "1", cameras=("0", "1", "2"))
    frames = np.broadcast_to(np.arange(48, dtype=np.uint8)[:, None], (4, 32, 48, 3))
    write_video(tmp_path / "videos/train/1/2.mp4", frames, fps=7)
    assert "7 frames per second" in next(read_mp4_json(tmp_path)).read().metadata["views_left_out"]["2"]
    with pytest.raises(InvalidInput, match="other videos 5"):
        next(read_mp4_json(tmp_path, camera="2")).read()


@needs_droid
def test_real_droid_is_read_frame_by_frame_and_state_by_state():
    for recording in list(read_mp4_json(DROID))[:2]:
        trajectory = recording.read()
        note = json.loads((DROID / f"annotation/{recording.split}/{recording.name}.json").read_text())
        states = np.array(note["states"])
        np.testing.assert_array_equal(trajectory.actions, actions_between(states))
        shown = {"0": trajectory.frames, **trajectory.views}
        assert shown.keys() == {"0", "1", "2"}
        for camera, pictures in shown.items():
            with av.open(str(DROID / f"videos/{recording.split}/{recording.name}/{camera}.mp4")) as container:
                true = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            np.testing.assert_array_equal(pictures, np.stack(true), strict=True)
