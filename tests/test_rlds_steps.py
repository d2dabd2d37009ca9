"""The steps of RLDS episodes, and what the actions of known data sets mean. Without tensorflow."""

import numpy as np
import pytest
from rlds_writer import FRACTAL

from worldsim.actions import ActionSpec
from worldsim.data.conventions import action_convention
from worldsim.data.rlds_actions import CONVENTIONS, convention_of, meaning_of
from worldsim.data.rlds_steps import Layout, Unreadable, trajectory_of
from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.vid2world.domains import domain_action

BRIDGE_ACTIONS = next(each for each in CONVENTIONS if each.dataset == "bridge")


def steps_of(actions, *, instruction=b"lift", **more) -> list[dict]:
    seen = [{"cam": np.full((4, 4, 3), t, np.uint8), "wrist": np.full((2, 2, 3), 9 * t, np.uint8)} for t in range(len(actions))]
    return [
        {"action": action, "observation": observation, "language_instruction": instruction, "is_last": False, **more}
        for action, observation in zip(actions, seen, strict=True)
    ]


def layout(dataset: str = "bridge_dataset", convention=BRIDGE_ACTIONS, others=()) -> Layout:
    return Layout(dataset, "train", "cam", others, convention)


def test_last_action_is_dropped():
    actions = np.arange(1, 22, dtype=np.float32).reshape(3, 7)
    trajectory = trajectory_of(steps_of(actions), layout())
    np.testing.assert_array_equal(trajectory.actions, actions[:-1])
    assert trajectory.frames[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert trajectory.metadata["instruction"] == "lift"
    assert trajectory.metadata["action"]["names"][-1] == "gripper"
    assert (trajectory.metadata["fps"], trajectory.metadata["fps_assumed"]) == (5, False)


def test_filler_goes_with_its_frame_only_when_all_zero_and_only_where_there_is_one():
    actions = np.ones((4, 7), np.float32)
    actions[0] = 0
    assert trajectory_of(steps_of(actions), layout()).frames[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert len(trajectory_of(steps_of(actions), layout("my_robot", None))) == 3
    actions[0, 6] = 1
    assert len(trajectory_of(steps_of(actions), layout())) == 3


def test_unknown_dictionary_action_is_flattened_in_a_fixed_order():
    part = {
        "rotation_delta": np.full(3, 2.0),
        "world_vector": np.full(3, 1.0),
        "open_gripper": np.float32(3),
        "terminate_episode": np.ones(3),
    }
    trajectory = trajectory_of(steps_of([part, part]), layout("my_robot", None))
    assert trajectory.actions.tolist() == [[1, 1, 1, 2, 2, 2, 3]]
    assert trajectory.metadata["action"]["names"][2:4] == ["world_vector_2", "rotation_delta_0"]
    assert trajectory.metadata["fps_assumed"]
    assert trajectory.metadata["action_unknown"]


@pytest.mark.parametrize("count", [0, 1])
def test_too_short_episode_is_refused(count):
    with pytest.raises(InvalidInput, match="at least 2"):
        trajectory_of(steps_of(np.ones((count, 7))), layout())


def test_other_cameras_are_views_and_a_broken_picture_spoils_its_camera_only():
    steps = steps_of(np.ones((3, 7)))
    trajectory = trajectory_of(steps, layout(others=("wrist",)))
    assert trajectory.views["wrist"][:, 0, 0, 0].tolist() == [0, 9, 18]
    steps[1]["observation"]["wrist"] = Unreadable("not a picture")
    trajectory = trajectory_of(steps, layout(others=("wrist",)))
    assert (dict(trajectory.views), trajectory.metadata["views_left_out"]) == ({}, {"wrist": "not a picture"})
    steps[1]["observation"]["cam"] = Unreadable("not a picture")
    with pytest.raises(InvalidInput, match='camera "cam": not a picture'):
        trajectory_of(steps, layout())


def test_language_vector_survives_as_text():
    vector = np.random.default_rng(0).normal(size=512).astype(np.float32)
    metadata = trajectory_of(steps_of(np.ones((2, 7)), language_embedding=vector), layout()).metadata
    np.testing.assert_array_equal(np.float32(metadata["language_embedding"]), vector)
    with pytest.raises(InvalidInput, match="language vector"):
        trajectory_of(steps_of(np.ones((2, 7)), language_embedding=vector * np.nan), layout())


def test_too_large_a_number_is_not_finite_and_no_warning():
    actions = np.full((3, 7), 1e300)
    assert np.isinf(trajectory_of(steps_of(actions), layout()).actions).all()


# what is known of data sets


def test_fractal_actions_as_recorded_and_as_vid2world_takes_them():
    steps = steps_of([FRACTAL] * 2)
    found = {}
    for kind in ("recorded", "vid2world"):
        convention = convention_of("fractal20220817_data", steps[0], kind)
        trajectory = trajectory_of(steps, layout("fractal20220817_data", convention))
        found[kind] = trajectory.metadata["action"]
        values = dict(zip(found[kind]["names"], trajectory.actions[0], strict=True))
        assert values["z"] == pytest.approx(0.3)
        assert values["yaw"] == pytest.approx(1.3)
        assert values["gripper_closedness"] == -1
        assert (values["base_y"], values["base_yaw"]) == (pytest.approx(2.2), 3)
    assert (found["recorded"]["rate_hz"], found["recorded"]["gripper"]) == (3, "relative")
    published = domain_action("rt1")
    assert tuple(found["vid2world"]["names"]) == published.names
    assert {key: found["vid2world"][key] for key in ("rate_hz", "frame", "rotation", "gripper")} == {
        key: getattr(published, key) for key in ("rate_hz", "frame", "rotation", "gripper")
    }
    assert (values["terminate"], values["keep_going"]) == (0, 1)


def test_a_kind_of_actions_that_a_data_set_does_not_have_is_refused():
    with pytest.raises(UnknownName, match='no actions="vid2wrld"; did you mean "vid2world"'):
        convention_of("fractal20220817_data", {"action": FRACTAL}, "vid2wrld")
    with pytest.raises(UnknownName, match="known: recorded"):
        convention_of("bridge_dataset", {"action": np.zeros(7)}, "vid2world")


def test_a_data_set_of_a_known_name_and_other_features_is_unknown():
    assert convention_of("bridge_dataset", {"action": np.zeros(7)}) is BRIDGE_ACTIONS
    assert convention_of("bridge_dataset", {"action": np.zeros(8)}) is None
    assert convention_of("bridge_dataset", {"action": {"world_vector": np.zeros(3)}}) is None
    assert convention_of("my_robot", {"action": np.zeros(7)}) is None


FACTS = {  # by the names of what is known of policies and of data sets, once each, from where they were published
    ("bridge", "bridge"): (5.0, "base", "rpy", "absolute"),
    ("fractal", "fractal20220817_data"): (3.0, "base", "rpy", "relative"),
    ("droid_cartesian", "droid"): (15.0, "base", "rpy", "absolute_closed"),
}


@pytest.mark.parametrize(("policy", "dataset"), FACTS)
def test_policies_and_data_sets_are_told_the_same(policy, dataset):
    """The files of DROID hold the gripper as it was commanded, 1 closed; OpenVLA's policies have it turned round."""
    rate, frame, rotation, gripper = FACTS[policy, dataset]
    action = action_convention(policy)
    assert (action.rate_hz, action.frame, action.rotation) == (rate, frame, rotation)
    assert action.gripper == ("absolute" if dataset == "droid" else gripper)
    found = [each for each in CONVENTIONS if each.dataset == dataset]
    assert found
    for each in found:
        assert (each.rate_hz, each.frame, each.rotation, each.gripper) == (rate, frame, rotation, gripper)
        assert set(action.names[:6]) <= {name for _, names in each.parts for name in names}


def test_a_bridge_policy_fits_imported_bridge():
    """All but the bounds, which an import takes from the actions it saw."""
    policy = action_convention("bridge")
    for each in (each for each in CONVENTIONS if each.dataset == "bridge"):
        imported = ActionSpec(**meaning_of(each, ()), low=[-1] * 7, high=[1] * 7)
        assert imported.differences(policy) == ("low", "high")
