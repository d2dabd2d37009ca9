"""The reward of learning inside a world model: success, progress by the judge, less doubt. Knows no policy and no learner."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from worldsim.errors import InvalidInput
from worldsim.experiments.inside.doubt import Doubting

SUREST = 1e-6  # probabilities nearer to 0 or 1 than this earn nothing more


@dataclass(frozen=True)
class Prices:
    """What earns and costs: 1 for success, `shaping` times the gain of the judge's logit, `doubt` per grey level of disagreement."""

    shaping: float
    doubt: float


@dataclass
class Tally:
    """What a rollout came to."""

    episodes: int = 0
    successes: int = 0
    doubts: float = 0.0
    doubted: int = 0
    unscored: int = 0

    def row(self) -> dict[str, float | int]:
        """As JSON."""
        mean = self.doubts / self.doubted if self.doubted else 0.0
        return {"episodes": self.episodes, "successes": self.successes, "doubt": mean, "unscored_steps": self.unscored}


class GuardedReward(VecEnvWrapper):
    """The batched world with its reward replaced; episodes that end are counted in `tally`.

    The potential of a step is the logit of the judge's score. A difference of potentials along an episode cannot be earned twice by going
    to and fro. The first step of an episode has none before it and earns none; nor does a step that the judge could not tell.
    """

    def __init__(self, venv: VecEnv, prices: Prices, doubting: Doubting | None) -> None:
        super().__init__(venv)
        self._prices, self._doubting = prices, doubting
        self._before = np.full(venv.num_envs, np.nan)
        self.tally = Tally()

    def reset(self) -> np.ndarray:
        """Begin anew in all lanes, with an empty tally."""
        self._before[:], self.tally = np.nan, Tally()
        return self.venv.reset()

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """As the world's, with rewards float32 `[B]` of this kind.

        Raises:
            InvalidInput: the memory was too small for all lanes in one call.
        """
        frames, _, dones, infos = self.venv.step_wait()
        scores = np.array([_score(info) for info in infos])
        won = np.array([bool(info.get("success")) for info in infos])
        logits = logit(scores)
        gained = np.nan_to_num(logits - self._before)
        doubt = self._doubt()
        rewards = won + self._prices.shaping * gained - self._prices.doubt * doubt
        self._before = np.where(dones, np.nan, np.where(np.isnan(logits), self._before, logits))
        self._count(won, dones, doubt, scores)
        return frames, rewards.astype(np.float32), dones, infos

    def _doubt(self) -> np.ndarray:
        """Of each lane's step, float64 `[B]`."""
        doubt = np.zeros(self.num_envs) if self._doubting is None else self._doubting.latest
        if len(doubt) != self.num_envs:
            raise InvalidInput(f"the memory holds {len(doubt)} of {self.num_envs} lanes at a time; type lanes={len(doubt)}")
        return doubt

    def _count(self, won: np.ndarray, dones: np.ndarray, doubt: np.ndarray, scores: np.ndarray) -> None:
        tally = self.tally
        tally.episodes += int(dones.sum())
        tally.successes += int(won.sum())
        tally.doubts += float(doubt.sum())
        tally.doubted += int((doubt > 0).sum())
        tally.unscored += int(np.isnan(scores).sum())


def logit(scores: np.ndarray) -> np.ndarray:
    """Log odds of scores in [0, 1], held within those of 1e-6 and 1 - 1e-6; NaN stays."""
    sure = np.clip(scores, SUREST, 1 - SUREST)
    return np.log(sure) - np.log1p(-sure)


def _score(info: dict[str, Any]) -> float:
    score = info.get("verifier", {}).get("score")
    return np.nan if score is None else float(score)
