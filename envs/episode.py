"""One lane's episode: its seed, its start, what it has seen, and what a verdict means for reward and info.

Knows nothing of batches, world models or Gymnasium.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.types import Start, Task, Trajectory, Verdict


@dataclass(frozen=True)
class Outcome:
    """What one step brought one lane."""

    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


@dataclass(frozen=True)
class Episode:
    """Where one lane stands.

    Attributes:
        root: the seed that the lane was reset with.
        number: how many episodes of this root came before.
        seed: this episode's own seed, which keys all randomness in it; below 2**63.
        start: the initial condition.
        length: steps taken.
        over: terminated or truncated.
    """

    root: int
    number: int
    seed: int
    start: Start
    length: int = 0
    over: bool = False

    def info(self) -> dict[str, Any]:
        """What every reset and step reports; a new dictionary each time."""
        return {"frame_index": self.length, "seed": self.seed, "start": self.start.id}

    def after(self, verdict: Verdict | None, horizon: int, fault: str = "") -> tuple["Episode", Outcome]:
        """The episode one step later, and what the step brought, given what the verifier said (None: there is no verifier).

        The score is the reward and success terminates. A score of None rewards 0.0, and the info keeps the None. An
        episode that reaches `horizon` without success is truncated, never terminated; so is one whose world broke, at once and
        unrewarded, and its info says how under "unscored".
        """
        verdict = Verdict(None, fault) if verdict is not None and fault else verdict
        won = verdict is not None and verdict.success is True
        late = not won and (bool(fault) or self.length + 1 >= horizon)
        later = Episode(self.root, self.number, self.seed, self.start, self.length + 1, won or late)
        info = later.info() | ({"unscored": fault} if fault else {})
        if verdict is None:
            return later, Outcome(reward=0.0, terminated=False, truncated=late, info=info)
        judged = {"success": won, "is_success": won, "verifier": {"score": verdict.score, "reason": verdict.reason}}
        return later, Outcome(float(verdict.score or 0.0), won, late, info | judged)


def begin_episode(task: Task, root: int, number: int, given: np.ndarray | None = None) -> Episode:
    """Episode `number` of a lane seeded `root`: its seed and its start depend on these two only.

    Args:
        task: offers the starts to draw from.
        root: any whole number, 0 or more.
        number: counts from 0.
        given: first frames uint8 `[T0, H, W, 3]` to use in place of a start of the task.

    Raises:
        InvalidInput: the task has no starts and no frames are given.
    """
    generator = np.random.default_rng(np.random.SeedSequence(root, spawn_key=(number,)))
    seed = int(generator.integers(2**63))
    if given is not None:
        return Episode(root, number, seed, Start(id="given", frames=given))
    if not task.starts:
        raise InvalidInput(f'task "{task.id}" has no starts; pass reset(options={{"frame": image}})')
    return Episode(root, number, seed, task.starts[generator.integers(len(task.starts))])


class Recording:
    """The frames and actions of an episode so far, for a verifier to look at. What has been handed out never changes."""

    def __init__(self, first: np.ndarray, action_size: int) -> None:
        self._frames = np.empty((16, *first.shape), dtype=np.uint8)
        self._actions = np.empty((16, action_size), dtype=np.float32)
        self._frames[0] = first
        self._length = 0

    def add(self, action: np.ndarray, frame: np.ndarray) -> None:
        """Append float32 `[A]` and the uint8 `[H, W, 3]` that it led to."""
        if self._length + 1 == len(self._frames):
            self._frames, self._actions = (np.concatenate([old, np.empty_like(old)]) for old in (self._frames, self._actions))
        self._actions[self._length] = action
        self._length += 1
        self._frames[self._length] = frame

    def trajectory(self, task: Task, episode: Episode) -> Trajectory:
        """All so far, as read-only views: nothing is copied, however often this is asked."""
        frames, actions = self._frames[: self._length + 1], self._actions[: self._length]
        frames.flags.writeable = actions.flags.writeable = False
        return Trajectory(task.id, frames, actions, seed=episode.seed, start_id=episode.start.id)
