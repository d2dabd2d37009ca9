"""`worldsim replay --check-actions`: do recorded actions move the imagined picture as they moved the real one?

The recorded actions are replayed as they are and changed in ways that a wrong convention would change them: a component turned round, all
of them halved, doubled, late, those of another episode, none. Whatever fits the recording better than the actions as recorded tells
what is wrong; where nothing fits worse, the world model does not listen.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from worldsim.actions import ActionSpec
from worldsim.errors import InvalidInput
from worldsim.statistics import Interval, student_interval
from worldsim.types import Trajectory

if TYPE_CHECKING:
    from rich.table import Table

STEPS = 8  # actions of each episode that are replayed, where the picture changes most
MOST = 12  # components that are turned round one by one
FEWEST = 3  # episodes without which nothing can be told
LEVEL = 0.95  # of all intervals together

Change = Callable[[np.ndarray], np.ndarray]  # of actions [T, A]


@dataclass(frozen=True)
class Finding:
    """What one change does: the error it adds, as a share of the recorded motion, and what that tells.

    Attributes:
        change: its name.
        error: mean squared error of the prediction, where repeating the first frame has 1.
        added: that, less the error with the actions as recorded; above 0 speaks for the recording.
        interval: of `added`, over episodes, at 95 % for all changes together.
        verdict: "worse" as it should be, "better" as it should not, or "cannot tell".
    """

    change: str
    error: float
    added: float
    interval: Interval
    verdict: str


@dataclass(frozen=True)
class ActionCheck:
    """All findings, and the error with the actions as recorded."""

    episodes: int
    steps: int
    error: float
    findings: tuple[Finding, ...]

    @property
    def listens(self) -> bool:
        """Whether other actions, or none, predict the recording worse."""
        return any(each.verdict == "worse" for each in self.findings if each.change in ("none", "another episode's"))

    @property
    def suspects(self) -> list[str]:
        """The changes after which the prediction is better, the best first."""
        return [each.change for each in sorted(self.findings, key=lambda each: each.added) if each.verdict == "better"]

    @property
    def passed(self) -> bool:
        """The world model listens, and nothing fits better than what was recorded."""
        return self.listens and not self.suspects

    def line(self) -> str:
        """The result in a line."""
        if self.suspects:
            return f"actions do not mean here what the world model takes them for: better are actions {', '.join(self.suspects)}"
        if not self.listens:
            return "cannot tell: the world model does not follow the actions of these recordings (nothing fits worse); train it longer"
        unsure = [each.change for each in self.findings if each.verdict == "cannot tell"]
        return "actions move the picture as recorded" + (f"; too alike to tell: {', '.join(unsure)}" if unsure else "")

    def numbers(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"passed": self.passed, "listens": self.listens, "suspects": self.suspects}


def check_actions(
    recorded: Sequence[Trajectory],
    spec: ActionSpec,
    predict: Callable[[Sequence[Trajectory], Sequence[np.ndarray]], Sequence[np.ndarray]],
    steps: int = STEPS,
) -> ActionCheck:
    """Replay recorded actions as they are and changed, and compare what is predicted with what was recorded.

    Args:
        recorded: episodes.
        spec: what the world model takes their actions for.
        predict: episodes and actions `[T, A]` for each, which may leave the bounds, to frames uint8 `[T + 1, H, W, 3]` for each.
        steps: actions of each episode that are replayed.

    Raises:
        InvalidInput: fewer than three episodes in which the picture changes.
    """
    clips = [clip for clip in (busiest(each, steps) for each in recorded) if _motion(clip) > 0]
    if len(clips) < FEWEST:
        raise InvalidInput(
            f"the picture changes in {len(clips)} of {len(recorded)} recordings, expected at least {FEWEST}; give more episodes"
        )
    actions = [clip.actions for clip in clips]
    scale = float(np.mean([_motion(clip) for clip in clips]))

    def errors(chosen: Sequence[np.ndarray]) -> np.ndarray:
        made = predict(clips, [each.astype(np.float32) for each in chosen])
        return np.array([_squared(frames, clip.frames) for frames, clip in zip(made, clips, strict=True)]) / scale

    base = errors(actions)
    others = [np.resize(actions[(row + 1) % len(actions)], each.shape) for row, each in enumerate(actions)]
    changed = {name: [change(each) for each in actions] for name, change in changes(spec, np.concatenate(actions)).items()}
    changed |= {"another episode's": others}
    level = 1 - (1 - LEVEL) / len(changed)
    findings = tuple(_finding(name, errors(chosen), base, level) for name, chosen in changed.items())
    return ActionCheck(len(clips), steps, float(base.mean()), findings)


def changes(spec: ActionSpec, actions: np.ndarray) -> dict[str, Change]:
    """Ways to change actions like these, `[N, A]`: all together, and each component that varies turned round."""
    rest = spec.rest
    held = np.array([_held(spec, axis) for axis in range(spec.size)])  # where to be, rather than how to move: left alone by a scale
    found: dict[str, Change] = {
        "none": lambda a: np.tile(rest, (len(a), 1)),
        "a step late": lambda a: np.concatenate([rest[None], a[:-1]]),
        "half as large": lambda a: np.where(held, a, a / 2),
        "twice as large": lambda a: np.where(held, a, a * 2),
    }
    span = np.maximum(np.array(spec.high) - np.array(spec.low), 1e-12)
    spread = actions.std(axis=0) / span
    axes = sorted(sorted(np.flatnonzero(spread > 1e-3), key=lambda axis: -spread[axis])[:MOST])
    return found | {f"with {spec.names[axis]} turned round": _turned_round(spec, axis) for axis in axes}


def _turned_round(spec: ActionSpec, axis: int) -> Change:
    def turn(actions: np.ndarray) -> np.ndarray:
        turned = actions.astype(float)
        turned[:, axis] = (1 if _held(spec, axis) else 0) - turned[:, axis]
        return turned

    return turn


def _held(spec: ActionSpec, axis: int) -> bool:
    """Whether a component says where to be between 0 and 1: an absolute gripper, a key that is pressed or not."""
    absolute = spec.gripper.startswith("absolute") and "grip" in spec.names[axis].lower()
    return absolute or (spec.low[axis] > -0.5 and spec.high[axis] > 0.5)


def busiest(trajectory: Trajectory, steps: int) -> Trajectory:
    """The `steps` actions of an episode over which the picture changes most, with their frames; all of a shorter one."""
    steps = min(steps, len(trajectory))
    frames = trajectory.frames.astype(np.float32)
    change = [np.mean((frames[begin + steps] - frames[begin]) ** 2) for begin in range(len(frames) - steps)]
    begin = int(np.argmax(change))
    return Trajectory(
        trajectory.task_id,
        trajectory.frames[begin : begin + steps + 1],
        trajectory.actions[begin : begin + steps],
        trajectory.seed,
        metadata=trajectory.metadata,
    )


def _motion(clip: Trajectory) -> float:
    """Squared difference of its frames from the first."""
    return _squared(np.broadcast_to(clip.frames[:1], clip.frames.shape), clip.frames)


def _squared(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.mean((left[1:].astype(np.float32) - right[1:]) ** 2))


def _finding(name: str, errors: np.ndarray, base: np.ndarray, level: float) -> Finding:
    added = errors - base
    interval = student_interval(added, level)
    verdict = "worse" if interval.low > 0 else "better" if interval.high < 0 else "cannot tell"
    return Finding(name, float(errors.mean()), float(added.mean()), interval, verdict)


def check_table(check: ActionCheck) -> "Table":
    """The findings as a table."""
    from rich.table import Column, Table

    title = f"Actions, {check.episodes} episodes, {check.steps} steps each; errors as a share of the recorded motion"
    table = Table(
        Column("actions", no_wrap=True), *(Column(name, justify="right") for name in ("error", "added", "interval")), "", title=title
    )
    table.add_row("as recorded", f"{check.error:.3f}", "", "", "")
    for each in check.findings:
        interval = f"[{each.interval.low:+.3f}, {each.interval.high:+.3f}]"
        table.add_row(each.change, f"{each.error:.3f}", f"{each.added:+.3f}", interval, each.verdict)
    return table
