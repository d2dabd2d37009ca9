"""Spot checks: how often a policy succeeds in the world model and in the truth, from the same starts. Trains nothing."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from worldsim.evaluate import Cast, Clock, Episode, Genuine, Imagined, World, roll_out
from worldsim.statistics import wilson_interval
from worldsim.types import Policy, Task, Trajectory, Verifier


@dataclass(frozen=True)
class Count:
    """Successes among the episodes that could be judged."""

    successes: int
    episodes: int

    @property
    def rate(self) -> float:
        """The share; 0 where nothing could be judged."""
        return self.successes / self.episodes if self.episodes else 0.0

    def row(self) -> dict[str, float | int]:
        """As JSON, with Wilson's 95 % interval."""
        low, high = wilson_interval(self.successes, self.episodes) if self.episodes else (0.0, 1.0)
        return asdict(self) | {"rate": self.rate, "low": float(low), "high": float(high)}


@dataclass(frozen=True)
class Checks:
    """Where and by whom a policy is checked.

    Attributes:
        task: its starts are those of the checks.
        judge: gives the reward in training.
        watcher: a judge that does not; None for none.
        model: the world model.
        truth: the true world; None for none.
        batch: lanes played together.
    """

    task: Task
    judge: Verifier
    watcher: Verifier | None
    model: Any
    truth: Any
    batch: int

    def check(self, policy: Policy) -> dict[str, Any]:
        """Counts by where and by whom: "imagined", "watched" and "true" as there are such."""
        imagined = self._played(Imagined(self.model), policy)
        found = {"imagined": counted(self.judge, imagined)}
        if self.watcher is not None:
            found["watched"] = counted(self.watcher, imagined)
        if self.truth is not None:
            from worldsim.load import load_verifier

            found["true"] = counted(load_verifier("state"), self._played(Genuine(self.truth), policy))
        return {name: count.row() for name, count in found.items()}

    def _played(self, world: World, policy: Policy) -> list[Trajectory]:
        episodes = [Episode(f"{index}", "policy", world.name, start, index) for index, start in enumerate(self.task.starts)]
        played = roll_out(world, Cast({"policy": policy}), self.task, episodes, Clock(), batch=self.batch)
        return [trajectory for _, trajectory in played]


def counted(judge: Verifier, trajectories: Sequence[Trajectory]) -> Count:
    """Successes by this judge; broken episodes and those it cannot tell are left out."""
    sound = [each for each in trajectories if "fault" not in each.metadata]
    told = [verdict.success for verdict in judge.judge(sound) if verdict.success is not None]
    return Count(sum(told), len(told))


def alarm(first: dict[str, Any], now: dict[str, Any], limit: float) -> str | None:
    """Why training should stop: the imagined rate has risen by more than `limit` beyond the true one, or the judge's beyond the watcher's.

    Both rises count from the check before training. None where all is well.
    """
    for name, said in (("true", "in the truth"), ("watched", "by the held-out judge")):
        if name not in now:
            continue
        rise, other = (now[key]["rate"] - first[key]["rate"] for key in ("imagined", name))
        if rise - other > limit:
            return f"imagined success rose by {rise:+.2f}, {said} by {other:+.2f}: the policy may exploit the model or its judge"
    return None
