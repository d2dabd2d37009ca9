"""`worldsim replay --check-actions` tells a right convention from a wrong one, and a world that does not listen from both."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from worldsim.data.trajectory_file import write_trajectory
from worldsim.errors import InvalidInput
from worldsim.experiments import cli
from worldsim.experiments.check_actions import busiest, changes, check_actions
from worldsim.registry import WORLD_MODELS
from worldsim.types import ActionSpec, Trajectory, WorldSpec

SPEC = ActionSpec(("dx", "dy", "grip"), (-2.0, -2.0, 0.0), (2.0, 2.0, 1.0), 5.0, gripper="absolute")
SIZE = 24


class Dot:
    """A world of one soft dot that dx and dy move, by pixels, and that is red while the gripper is open; `listens` scales what it hears."""

    def __init__(self, listens: float = 1.0) -> None:
        self.spec, self.listens = WorldSpec(SIZE, SIZE, SPEC, 1, 5.0), listens

    def start(self, frames, seeds):
        return np.array([place_of(frame[-1]) for frame in frames])

    def step(self, state, actions):
        moved = state.copy()
        moved[:, :2] = state[:, :2] + self.listens * actions[:, :2]
        moved[:, 2] = actions[:, 2] if self.listens else state[:, 2]
        return moved, np.stack([picture(*place) for place in moved])


def picture(x: float, y: float, grip: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    dot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    return np.round(255 * np.stack([dot * (0.4 + 0.6 * grip), dot, dot], axis=-1)).astype(np.uint8)


def place_of(frame: np.ndarray) -> tuple[float, float, float]:
    weights = frame[..., 1] / frame[..., 1].sum()
    return float((weights.sum(0) * np.arange(SIZE)).sum()), float((weights.sum(1) * np.arange(SIZE)).sum()), 0.5


def recorded(count: int = 30, length: int = 12) -> list[Trajectory]:
    """Episodes of the dot world under random walks around the middle."""
    rng, episodes = np.random.default_rng(0), []
    for _ in range(count):
        actions = np.concatenate([rng.uniform(-0.9, 0.9, (length, 2)), rng.integers(0, 2, (length, 1))], axis=1)
        place, frames = np.array([12.0, 12.0, 0.5]), [picture(12, 12, 0.5)]
        for action in actions:
            place = np.array([*(place[:2] + action[:2]), action[2]])
            frames.append(picture(*place))
        episodes.append(Trajectory("dot", np.stack(frames), actions.astype(np.float32)))
    return episodes


def played(model):
    def predict(clips, actions):
        made = []
        for clip, chosen in zip(clips, actions, strict=True):
            state, frames = model.start(clip.frames[None, :1], None), [clip.frames[0]]
            for action in np.clip(chosen, SPEC.low, SPEC.high):
                state, frame = model.step(state, action[None])
                frames.append(frame[0])
            made.append(np.stack(frames))
        return made

    return predict


def with_actions(episodes, change) -> list[Trajectory]:
    return [replace(each, actions=change(each.actions).astype(np.float32)) for each in episodes]


def test_the_right_convention_passes_and_every_change_is_worse():
    check = check_actions(recorded(), SPEC, played(Dot()))
    assert check.passed
    assert {each.verdict for each in check.findings} == {"worse"}
    assert check.error < 0.05
    assert check.line() == "actions move the picture as recorded"


@pytest.mark.parametrize(
    ("wrong", "suspect"),
    [
        (lambda a: a * [-1, 1, 1], "with dx turned round"),
        (lambda a: a * [1, -1, 1], "with dy turned round"),
        (lambda a: [0, 0, 1] + a * [1, 1, -1], "with grip turned round"),
        (lambda a: a * [2, 2, 1], "half as large"),
        (lambda a: a * [0.5, 0.5, 1], "twice as large"),
        (lambda a: np.roll(a, -1, axis=0), "a step late"),
    ],
)
def test_a_wrong_convention_is_named(wrong, suspect):
    check = check_actions(with_actions(recorded(), wrong), SPEC, played(Dot()))
    assert not check.passed
    assert suspect in check.suspects
    assert suspect in check.line()


def test_a_world_that_does_not_listen_cannot_be_told():
    check = check_actions(recorded(), SPEC, played(Dot(listens=0.0)))
    assert not check.passed
    assert check.suspects == []
    assert "cannot tell" in check.line()


def test_only_what_varies_is_turned_round_and_places_are_not_scaled():
    actions = np.array([[0.5, 0, 0], [-0.5, 0, 1]])
    found = changes(SPEC, actions)
    assert [name for name in found if "turned" in name] == ["with dx turned round", "with grip turned round"]
    assert found["twice as large"](actions).tolist() == [[1, 0, 0], [-1, 0, 1]]
    assert found["with grip turned round"](actions).tolist() == [[0.5, 0, 1], [-0.5, 0, 0]]
    assert found["a step late"](actions).tolist() == [[0, 0, 0], [0.5, 0, 0]]


def test_the_busiest_part_of_an_episode_is_taken():
    frames = np.zeros((10, 4, 4, 3), np.uint8)
    frames[6:] = 200
    clip = busiest(Trajectory("t", frames, np.arange(9, dtype=np.float32)[:, None]), 2)
    assert clip.actions[:, 0].tolist() == [4, 5]
    assert clip.frames[:, 0, 0, 0].tolist() == [0, 0, 200]
    assert len(busiest(Trajectory("t", frames, np.zeros((9, 1), np.float32)), 50)) == 9


def test_recordings_in_which_nothing_moves_are_refused():
    still = [replace(each, frames=np.repeat(each.frames[:1], len(each.frames), 0)) for each in recorded(4)]
    with pytest.raises(InvalidInput, match="changes in 0 of 4"):
        check_actions(still, SPEC, played(Dot()))


def test_the_command_says_what_is_wrong_and_exits_1(tmp_path, monkeypatch, capsys):
    @dataclass
    class DotConfig:
        def build(self):
            return Dot()

    monkeypatch.chdir(tmp_path)
    WORLD_MODELS.register("dot")(DotConfig)
    try:
        for index, (right, wrong) in enumerate(zip(recorded(), with_actions(recorded(), lambda a: a * [-1, 1, 1]), strict=True)):
            write_trajectory(tmp_path / "right" / f"{index}.h5", right)
            write_trajectory(tmp_path / "wrong" / f"{index}.h5", wrong)
        assert cli.main(["replay", "world_model=dot", "data=right", "--check-actions", "out=out"]) == 0
        assert "actions move the picture as recorded" in capsys.readouterr().out
        assert (tmp_path / "out/action_check.json").exists()
        assert cli.main(["replay", "world_model=dot", "data=wrong", "--check-actions"]) == 1
        assert "better are actions with dx turned round" in capsys.readouterr().err
    finally:
        del WORLD_MODELS._parts["dot"]


def test_recordings_of_another_convention_are_refused_by_name(tmp_path):
    from worldsim.policies.replay import ReplayPolicy
    from worldsim.types import Start, Task

    meaning = {"names": list(SPEC.names), "rate_hz": 5.0, "frame": "base", "rotation": "none", "gripper": "absolute_closed"}
    episode = recorded(1)[0]
    write_trajectory(tmp_path / "1.h5", replace(episode, metadata={"action": meaning}))
    task = Task("t", "", 4, (Start("1", episode.frames[:1], recording=str(tmp_path / "1.h5")),))
    with pytest.raises(InvalidInput, match="gripper absolute_closed, the world model takes absolute"):
        ReplayPolicy(SPEC).reset([0], [task], [0])
    ReplayPolicy(replace(SPEC, gripper="absolute_closed")).reset([0], [task], [0])
    with pytest.raises(InvalidInput, match="names"):
        SPEC.refuse_recorded({"names": ["dx", "dy", "g"]}, "it")
    SPEC.refuse_recorded({}, "what says nothing")
