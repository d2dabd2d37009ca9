"""What a judge of rollouts is, what it gives, and where that is kept. Knows no particular judge.

What is rewarded is agreement with what really happened under the same actions, never success: a rollout of a policy that fails must stay a
failure, or a world model that is trained on it flatters policies.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from worldsim.data.files import digest_of, written_whole
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.labelling.label import content_of
from worldsim.registry import Registry
from worldsim.types import Trajectory

FEEDBACK = Registry("feedback")


@dataclass(frozen=True)
class Reward:
    """How well a rollout agrees with its reference: of the clip, None for "could not tell"; and of each frame after the first, if known."""

    clip: float | None
    frames: tuple[float, ...] | None = None


class Feedback(Protocol):
    """A judge of rollouts.

    Attributes:
        name: what it is called.
        facts: what identifies it, as JSON; for one that asks a question, "prompt" says which.
        trusted: whether it reads the true world, and so needs no calibration before it may train.
    """

    name: str
    facts: Mapping[str, Any]
    trusted: bool

    def score(self, rollouts: Sequence[Trajectory], references: Sequence[Trajectory]) -> list[Reward]:
        """A reward for each rollout; its reference begins alike, has the same actions and is what really happened."""


def prompt_of(feedback: Feedback) -> str:
    """Hash of what a judge asks; empty where it asks nothing."""
    asked = feedback.facts.get("prompt")
    return digest_of(asked) if asked else ""


class Kept:
    """A judge whose rewards are kept in a file, by what it was shown, who it is and what it was asked.

    What it could not tell is not kept: it is asked again, for a server may have been away.
    """

    def __init__(self, feedback: Feedback, path: str | os.PathLike) -> None:
        self.feedback, self.path = feedback, Path(path)
        self.name, self.facts, self.trusted = feedback.name, feedback.facts, feedback.trusted

    def score(self, rollouts: Sequence[Trajectory], references: Sequence[Trajectory]) -> list[Reward]:
        """As the judge's own.

        Raises:
            InvalidInput: it gave something that is not a number.
            DamagedFile: the file of kept rewards is not one.
        """
        who = {"judge": digest_of(dict(self.facts)), "prompt": prompt_of(self.feedback)}
        keys = [digest_of({**who, "shown": [content_of(a), content_of(b), _led(a)]}) for a, b in zip(rollouts, references, strict=True)]
        held = self._read()
        new = [row for row, key in enumerate(keys) if key not in held]
        if new:
            fresh = checked(self.name, self.feedback.score([rollouts[row] for row in new], [references[row] for row in new]))
            held |= {keys[row]: reward for row, reward in zip(new, fresh, strict=True)}
            self._add(who, {keys[row]: held[keys[row]] for row in new if held[keys[row]].clip is not None})
        return [held[key] for key in keys]

    def _read(self) -> dict[str, Reward]:
        if not self.path.exists():
            return {}
        try:
            rows = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
            return {row["key"]: Reward(row["clip"], row["frames"] and tuple(row["frames"])) for row in rows}
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedFile(f"{self.path} holds no rewards ({error}); delete it and type the command again") from error

    def _add(self, who: Mapping[str, str], rewards: Mapping[str, Reward]) -> None:
        before = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        rows = [json.dumps({"key": key, **who, **vars(reward)}) + "\n" for key, reward in rewards.items()]
        with written_whole(self.path) as aside:
            aside.write_text(before + "".join(rows), encoding="utf-8")


def _led(trajectory: Trajectory) -> str:
    return digest_of(trajectory.actions.astype(float).round(6).tolist())


def checked(judge: str, rewards: Sequence[Reward]) -> list[Reward]:
    """Rewards that are numbers, or None.

    Raises:
        InvalidInput: NaN or infinity among them.
    """
    for reward in rewards:
        if not all(math.isfinite(value) for value in (reward.clip or 0.0, *(reward.frames or ()))):
            raise InvalidInput(f"{judge} gave a reward that is not a number; nothing is trained on it")
    return list(rewards)


def table_of(rewards: Sequence[Reward], group: int) -> np.ndarray:
    """Clip rewards as `[N, G]`, NaN for "could not tell"."""
    return np.array([math.nan if reward.clip is None else reward.clip for reward in rewards]).reshape(-1, group)


def frames_of(rewards: Sequence[Reward], group: int, given: int) -> np.ndarray:
    """Rewards of the imagined frames as `[N, G, L - given]`, of a judge that gives them to every frame after the first.

    Raises:
        InvalidInput: it judges clips as a whole, or could not tell of some.
    """
    if any(reward.frames is None for reward in rewards):
        raise InvalidInput("this judge gives no reward to single frames; type credit=clip, or feedback=simulator")
    table = np.array([reward.frames for reward in rewards])[:, given - 1 :]
    return table.reshape(-1, group, table.shape[1])
