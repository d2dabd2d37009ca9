"""The nouns and protocols that pass between folders. Knows numpy and nothing else.

Everywhere in worldsim: `frames[t] --actions[t]--> frames[t+1]`, so T actions stand between T+1 frames, and frames are
uint8 `[H, W, 3]` in [0, 255].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from worldsim.actions import ActionSpec
from worldsim.errors import InvalidInput


@dataclass(frozen=True)
class WorldSpec:
    """What a world model takes and gives: frame size in pixels, the action, frames of context it looks back on, frames per second."""

    height: int
    width: int
    action: ActionSpec
    context: int
    fps: float

    def check_frames(self, frames: Any) -> np.ndarray:
        """`frames` as uint8 `[B, T0, H, W, 3]`.

        Raises:
            InvalidInput: another dtype, rank or size; nothing is resized or rescaled in silence.
        """
        array = np.asarray(frames)
        if array.dtype != np.uint8:
            raise InvalidInput(
                f"frames have dtype {array.dtype}, expected uint8 in [0, 255]; convert with (255 * x).round().astype('uint8')"
            )
        if array.ndim != 5 or array.shape[1] < 1 or array.shape[2:] != (self.height, self.width, 3):
            raise InvalidInput(
                f"frames have shape {list(array.shape)}, expected [lanes, frames, {self.height}, {self.width}, 3]; resize the image first"
            )
        return array


@dataclass(frozen=True)
class Start:
    """One initial condition: real first frames uint8 `[T0, H, W, 3]` and, where a truth can be reset to it, its seed.

    `recording` names the trajectory file that the frames were taken from, if there is one, and `instruction` what was asked there.
    """

    id: str
    frames: np.ndarray
    seed: int = 0
    recording: str | None = None
    instruction: str | None = None


@dataclass(frozen=True)
class Task:
    """What a policy is asked to do: an instruction, a horizon in steps, initial conditions, and the rule for success."""

    id: str
    instruction: str
    horizon: int
    starts: tuple[Start, ...]
    success_rule: str = "last_step"

    def at(self, start: Start) -> "Task":
        """This task with one start only, and its own instruction where it has one: what a lane is told when its episode begins."""
        return replace(self, starts=(start,), instruction=start.instruction or self.instruction)


@dataclass(frozen=True)
class Trajectory:
    """One episode: frames uint8 `[T+1, H, W, 3]`, actions float32 `[T, A]`, and `states` `[T+1, ...]` where the truth is known.

    `views` are what other cameras saw at the same moments, by their names: uint8 `[T+1, h, w, 3]`, each of its own size.
    """

    task_id: str
    frames: np.ndarray
    actions: np.ndarray
    seed: int = 0
    start_id: str = ""
    states: Mapping[str, np.ndarray] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    views: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.frames.dtype != np.uint8 or self.frames.ndim != 4 or self.frames.shape[-1] != 3:
            raise InvalidInput(f"frames are {self.frames.dtype} {list(self.frames.shape)}, expected uint8 [T+1, H, W, 3]")
        if self.actions.ndim != 2 or len(self.frames) != len(self.actions) + 1:
            raise InvalidInput(f"{len(self.frames)} frames need {len(self.frames) - 1} actions, got {list(self.actions.shape)}")
        for name, values in self.states.items():
            if len(values) != len(self.frames):
                raise InvalidInput(f'state "{name}" has {len(values)} rows for {len(self.frames)} frames')
        for name, view in self.views.items():
            if view.dtype != np.uint8 or view.ndim != 4 or view.shape[-1] != 3 or len(view) != len(self.frames):
                raise InvalidInput(f'view "{name}" is {view.dtype} {list(view.shape)}, expected uint8 [{len(self.frames)}, h, w, 3]')

    def __len__(self) -> int:
        """Number of actions."""
        return len(self.actions)


@dataclass(frozen=True)
class Verdict:
    """A judgement: score in [0, 1], or None for "could not tell", which is counted and never becomes a 0."""

    score: float | None
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.score is not None and not 0 <= self.score <= 1:  # NaN is refused too
            raise InvalidInput(f"a judge gave the score {self.score}, expected a number in [0, 1], or None for could not tell")

    @property
    def success(self) -> bool | None:
        """True or False at a threshold of one half; None where there is no score."""
        return None if self.score is None else self.score >= 0.5


class State(Protocol):
    """What a world model remembers of its lanes. A value: stepping returns a new one, so branching and replay are plain assignments.

    A state may also have `faults`, a tuple with one line per lane, empty while the lane is sound. A lane with a fault is of no more use:
    its episode is left unscored. It must not disturb the other lanes, and its frames stay frames.
    """

    def select(self, lanes: Sequence[int]) -> "State": ...
    def merge(self, lanes: Sequence[int], other: "State") -> "State": ...


class WorldModel(Protocol):
    """Predicts the next frame of every lane from its past and the latest action."""

    spec: WorldSpec

    def start(self, frames: np.ndarray, seeds: np.ndarray) -> State:
        """uint8 `[B, T0, H, W, 3]` and uint64 `[B]` to the state in which the next action acts on the last frame.

        A model that can use the actions between several given frames takes them as a third argument, `[B, T0 - 1, A]`.
        """

    def step(self, state: State, actions: np.ndarray) -> tuple[State, np.ndarray]:
        """float32 `[B, A]` to the next state and uint8 `[B, H, W, 3]`."""


class Policy(Protocol):
    """Chooses an action from the frames it sees. `lanes` are indices of parallel episodes.

    A policy that can fail, such as one behind a network, may also have `faults`, a mapping from lane to one line: the lanes that it can
    no longer act in until they are reset. `act` gives NaN for them. Their episodes are left unscored, and the others go on.

    An `act` that runs out of memory must not have remembered anything: it is called again for half of the lanes, then for the others.
    """

    action: ActionSpec

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Begin an episode in each of `lanes`; each task holds the one start of its lane."""

    def act(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """uint8 `[B, H, W, 3]`, row i belonging to `lanes[i]`, to float32 `[B, A]`."""


@runtime_checkable
class ChunkPolicy(Protocol):
    """A policy that plans several actions ahead. `worldsim.load.load_policy` lifts it to a `Policy`; which actions of a plan are used is
    up to an adapter (`chunk`, `ensemble`). It may have `faults`, as a `Policy` may.
    """

    action: ActionSpec

    def reset(self, lanes: Sequence[int], tasks: Sequence[Task], seeds: Sequence[int]) -> None:
        """Begin an episode in each of `lanes`; each task holds the one start of its lane."""

    def plan(self, frames: np.ndarray, lanes: Sequence[int]) -> np.ndarray:
        """uint8 `[B, H, W, 3]`, row i belonging to `lanes[i]`, to float32 `[B, T, A]`: the next T actions."""


@runtime_checkable
class StatePolicy(Protocol):
    """A policy that also wants the true state, and so acts in a truth only."""

    def see(self, states: Mapping[str, np.ndarray]) -> None:
        """The true states `[B, ...]` by name before each `act`; empty in an imagined world."""


class Verifier(Protocol):
    """Judges finished trajectories.

    One that may say something else another day (people do) has `revisable`, which is then true: it is asked again about all of a run.
    """

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]: ...


class Truth(Protocol):
    """A world that can be trusted, driven like a world model: reset to starts, then stepped.

    A truth may also have `faults`, as a `State` may: one line per lane, empty while it is sound. `worldsim.wrappers.stepped` minds them.
    """

    action: ActionSpec

    def reset(self, starts: Sequence[Start]) -> np.ndarray:
        """Frames uint8 `[B, H, W, 3]` of the true world at these starts."""

    def states(self) -> dict[str, np.ndarray]:
        """The true states `[B, ...]` now, by name."""

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """float32 `[B, A]` to frames uint8 `[B, H, W, 3]` and the true states `[B, ...]` by name."""


@dataclass(frozen=True)
class EpisodeResult:
    """One episode's outcome, as results are computed from: who acted, from which start, and what the judge said."""

    policy: str
    task_id: str
    start_id: str
    seed: int
    length: int
    verdict: Verdict


@dataclass(frozen=True)
class EvaluationResult:
    """All episodes of a run, with pure summaries."""

    episodes: tuple[EpisodeResult, ...]

    def policies(self) -> list[str]:
        """Policy names in order of first appearance."""
        return list(dict.fromkeys(episode.policy for episode in self.episodes))

    def of(self, policy: str) -> list[EpisodeResult]:
        """The episodes of one policy."""
        return [episode for episode in self.episodes if episode.policy == policy]

    def counts(self, policy: str) -> tuple[int, int, int]:
        """(successes, scored, unscored) of one policy."""
        verdicts = [episode.verdict.success for episode in self.of(policy)]
        scored = [verdict for verdict in verdicts if verdict is not None]
        return sum(scored), len(scored), len(verdicts) - len(scored)
