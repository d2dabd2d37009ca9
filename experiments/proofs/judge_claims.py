"""The claims about judges that may train a world model: they prefer what the simulator prefers, and tell spoilt clips from real ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.experiments.proofs.claims import HEADS_ALONE, row_of
from worldsim.experiments.proofs.learning_claims import taught
from worldsim.experiments.proofs.models import BALL, Models
from worldsim.experiments.proofs.rows import FAIL, PASS, Row, above, interval
from worldsim.types import Trajectory

LINE = 0.8
CLEAR = 0.5  # quantile of the simulator's gaps from which on a pair counts


def inverse_dynamics(models: Models) -> Row:
    """Reading actions off frames is a judge."""
    from worldsim.experiments.posttrain_clips import reader_of

    config = models.post_config("inverse-dynamics", models.sft(), {"mode": "rwr", "feedback": "inverse_dynamics"})
    return _judge(models, "inverse dynamics", {"name": "inverse_dynamics", "path": str(reader_of(config))})


def chamfer(models: Models) -> Row:
    """What heads see of a rollout, beside the true points, is a judge."""
    from worldsim.training.geometry import GeometryWeights

    heads = models.with_heads("heads", models.sft(), GeometryWeights(*HEADS_ALONE))
    return _judge(models, "4D Chamfer", {"name": "chamfer", "world_model": str(heads)})


def _judge(models: Models, name: str, spec: Mapping[str, Any]) -> Row:
    from worldsim.posttraining.candidates import read_candidates
    from worldsim.posttraining.feedback import load_feedback, table_of

    rollouts = read_candidates(taught(models, "rwr") / "rounds" / "1" / "candidates.h5")
    claim, measure = f"judge works: {name}", "share of clear pairs of rollouts that it orders as the simulator does"
    line = "above 0.8, every AUC too"
    try:
        judge, simulator = load_feedback(dict(spec)), load_feedback("simulator")
    except InvalidInput as refused:  # it can tell nothing in this world
        print(f"{claim}: {refused}")
        return row_of(claim, measure, line, (0.0, 0.0, 0.0), FAIL, models, {})
    group = rollouts.rollouts.shape[1]
    mine, true = (table_of(each.score(rollouts.imagined(), rollouts.references()), group) for each in (judge, simulator))
    found = interval(_agreements(mine, true))
    episodes = models.recorded("validation")
    real = _scores(judge, episodes, episodes)
    beside = {
        f"AUC {kind}": auc(real, _scores(judge, [spoil(each, episodes) for each in episodes], episodes)) for kind, spoil in SPOILT.items()
    }
    verdict = above(found, LINE)
    if verdict == PASS and min(beside.values()) < LINE:
        verdict = FAIL
    return row_of(claim, measure, line, found, verdict, models, beside)


def _agreements(mine: np.ndarray, true: np.ndarray) -> np.ndarray:
    """1, 0 or, for a tie, one half for each pair of rollouts of one context that lie clearly apart, `[P]`."""
    pairs = [(true[:, a] - true[:, b], mine[:, a] - mine[:, b]) for a, b in combinations(range(true.shape[1]), 2)]
    gaps, said = (np.concatenate(each) for each in zip(*pairs, strict=True))
    clear = (np.abs(gaps) >= np.quantile(np.abs(gaps), CLEAR)) & (gaps != 0)
    return (np.sign(gaps[clear]) * np.sign(said[clear]) + 1) / 2


def _scores(judge: Any, clips: Sequence[Trajectory], references: Sequence[Trajectory]) -> np.ndarray:
    return np.array([reward.clip for reward in judge.score(clips, references)])


def auc(better: np.ndarray, worse: np.ndarray) -> float:
    """Chance that one of `better` `[N]` scores above one of `worse` `[M]`, a tie counting half (Mann-Whitney)."""
    return float((np.sign(better[:, None] - worse[None]) / 2 + 0.5).mean())


def teleported(clip: Trajectory, others: Sequence[Trajectory]) -> Trajectory:
    """From the middle on, the frames of the next episode."""
    other = others[(next(row for row, each in enumerate(others) if each is clip) + 1) % len(others)]
    middle = len(clip.frames) // 2
    return replace(clip, frames=np.concatenate([clip.frames[:middle], other.frames[middle : len(clip.frames)]]))


def frozen(clip: Trajectory, others: Sequence[Trajectory]) -> Trajectory:
    """From the middle on, always the same frame."""
    middle = len(clip.frames) // 2
    return replace(
        clip, frames=np.concatenate([clip.frames[:middle], np.repeat(clip.frames[middle : middle + 1], len(clip.frames) - middle, 0)])
    )


def hovering(clip: Trajectory, others: Sequence[Trajectory]) -> Trajectory:
    """The ball never leaves its start, whatever is done."""
    return replace(clip, frames=np.repeat(clip.frames[:1], len(clip.frames), 0))


def shrunk(clip: Trajectory, others: Sequence[Trajectory]) -> Trajectory:
    """From the middle on the ball has lost its rim: what has the background beside it."""
    from scipy.ndimage import binary_erosion

    empty = np.median([each.frames[0] for each in others], axis=0).astype(np.uint8)
    frames, ball = clip.frames.copy(), clip.states["segmentation"] == BALL
    for t in range(len(frames) // 2, len(frames)):
        rim = ball[t] & ~binary_erosion(ball[t])
        frames[t][rim] = empty[rim]
    return replace(clip, frames=frames)


SPOILT: dict[str, Callable[[Trajectory, Sequence[Trajectory]], Trajectory]] = {
    "teleport": teleported,
    "freeze": frozen,
    "hover": hovering,
    "shrink": shrunk,
}
