"""The claim that counts: policies of graded skill are ranked in a world model as in MuJoCo, before and after post-training.

The policies are hands of the drop world that see the true state; what they did in MuJoCo is done again in the world model, open loop. The
judge reads the red ball's place off the last frame; where the line is it learned on recordings.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from worldsim.experiments.proofs import tracks
from worldsim.experiments.proofs.claims import row_of
from worldsim.experiments.proofs.learning_claims import taught
from worldsim.experiments.proofs.models import Models, sampled
from worldsim.experiments.proofs.rows import Row, below, interval
from worldsim.types import Trajectory

SKILLS = (-0.5, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)  # shares of the expert's push; a negative one pushes the wrong way
FIRST_START = 2_000_000  # seeds of starts that nothing was trained on
WAYS = ("real-sft", "dpo-real", "rwr")


class Played(NamedTuple):
    """P policies from S starts in MuJoCo: episodes, policy by policy, and their successes `[P, S]`."""

    episodes: list[Trajectory]
    won: np.ndarray


def ranking(models: Models) -> Row:
    """Post-training makes success rates truer; the best of the ways that are asked is compared with equal extra SFT."""
    played, line = play(models.scale.starts), _line(models)
    before = models.sft()
    won = {
        name: imagined_wins(models, folder, played, line) for name, folder in [("before", before), *((w, taught(models, w)) for w in WAYS)]
    }
    errors = {name: np.abs(_gap(each, played.won)) for name, each in won.items()}
    found = _over_starts(
        lambda rows: _mean_error(won["dpo-real"], played.won, rows) - _mean_error(won["real-sft"], played.won, rows), models
    )
    beside = {f"MAE {name}": each.mean() for name, each in errors.items()}
    beside |= {f"{what} {name}": value for name, each in won.items() for what, value in _agreement(each, played.won).items()}
    measure = "change of the mean absolute error of success rates, dpo-real less real-sft"
    return row_of("evaluation is better", measure, "below 0, else null", found, below(found, 0.0), models, beside)


def play(starts: int) -> Played:
    """Every policy from the same starts, in MuJoCo."""
    from worldsim.envs.drop.behaviours import expert_action
    from worldsim.envs.drop.env import DropTruthEnv

    env, episodes, won = DropTruthEnv(), [], []
    for skill in SKILLS:
        for start in range(FIRST_START, FIRST_START + starts):
            frame, info = env.reset(options={"start": start})
            frames, actions, over = [frame], [], False
            while not over:
                actions.append(np.array([1.0, np.clip(skill * expert_action(info)[1], -1, 1)], np.float32))
                frame, _, terminated, truncated, info = env.step(actions[-1])
                frames.append(frame)
                over = terminated or truncated
            episodes.append(Trajectory("drop", np.stack(frames), np.stack(actions)))
            won.append(info["success"])
    env.close()
    return Played(episodes, np.array(won, float).reshape(len(SKILLS), starts))


def imagined_wins(models: Models, folder, played: Played, line: float) -> np.ndarray:
    """Successes `[P, S]` that the judge sees when the same is done in the world model."""
    frames, _ = tracks.imagined(sampled(folder), played.episodes, models.seed)
    return (tracks.centres(frames[:, -1])[:, 0] > line).astype(float).reshape(played.won.shape)


def _line(models: Models) -> float:
    """The column, in pixels, that divides recorded successes from failures with the fewest errors."""
    recorded = models.recorded("train")
    columns = tracks.centres(np.stack([each.frames[-1] for each in recorded]))[:, 0]
    won = np.array([each.states["miss"][-1] < 0 for each in recorded])
    candidates = np.sort(columns)
    wrong = [((columns > at) != won).sum() for at in candidates]
    return float(candidates[int(np.argmin(wrong))])


def _gap(simulated: np.ndarray, real: np.ndarray) -> np.ndarray:
    return simulated.mean(1) - real.mean(1)


def _mean_error(simulated: np.ndarray, real: np.ndarray, rows: np.ndarray) -> float:
    return float(np.abs(_gap(simulated[:, rows], real[:, rows])).mean())


def _over_starts(statistic: Callable[[np.ndarray], float], models: Models) -> tuple[float, float, float]:
    """A statistic of starts with its bootstrap interval over them: policies share starts."""
    return interval(np.arange(models.scale.starts), lambda rows: statistic(rows.astype(int)))


def _agreement(simulated: np.ndarray, real: np.ndarray) -> dict[str, float]:
    from worldsim.statistics import bias, mmrv, phi, spearman

    rates = {"simulated": simulated.mean(1).tolist(), "real": real.mean(1).tolist()}
    constant = len(set(rates["simulated"])) == 1 or len(set(rates["real"])) == 1
    pooled = phi(simulated.ravel().tolist(), real.ravel().tolist())
    return {
        "bias": bias(**rates),
        "MMRV": mmrv(**rates),
        "Spearman": 0.0 if constant else spearman(**rates),
        "phi": 0.0 if pooled is None else pooled,
    }
