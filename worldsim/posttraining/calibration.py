"""Whether a judge may train: it must have been measured, and be right often enough. Knows nothing of what it judges by.

Either by the file of `worldsim calibrate`, its agreement with people or with the true state; or by preference accuracy: how often it
prefers, of two rollouts of one context, the one that the simulator prefers, where the simulator sees a clear difference.
"""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.errors import DamagedFile, InvalidInput

LEAST = 0.8  # agreement, or preference accuracy
FEWEST = 20  # pairs that an accuracy is believed of
HOW = "type calibration=RUN/calibration/JUDGE.json (from worldsim calibrate) or calibration=simulator"


def preference_accuracy(judge: np.ndarray, simulator: np.ndarray, quantile: float) -> tuple[float, int]:
    """How often the judge prefers what the simulator prefers, a tie counting half; and among how many pairs.

    Pairs are of rollouts of one context, told by both, whose simulator rewards lie further apart than the `quantile` of all gaps.

    Args:
        judge: its rewards `[N, G]`, NaN for "could not tell".
        simulator: those of the true world.
        quantile: in [0, 1).
    """
    pairs = [
        (simulator[row, a] - simulator[row, b], judge[row, a] - judge[row, b])
        for row in range(len(judge))
        for a, b in combinations(range(judge.shape[1]), 2)
    ]
    gaps = np.array([pair for pair in pairs if np.isfinite(pair).all() and pair[0] != 0]).reshape(-1, 2)
    if not len(gaps):
        return 0.0, 0
    gaps = gaps[np.abs(gaps[:, 0]) >= np.quantile(np.abs(gaps[:, 0]), quantile)]
    same = np.sign(gaps[:, 0]) * np.sign(gaps[:, 1])
    return float(((same + 1) / 2).mean()), len(gaps)


def measured_in(path: str | Path) -> float:
    """The agreement that a calibration file states, of the reference with the most episodes.

    Raises:
        InvalidInput: there is no such file, or it rests on too few episodes.
        DamagedFile: it is no calibration.
    """
    if not Path(path).is_file():
        raise InvalidInput(f"no calibration at {path}; {HOW}")
    try:
        found: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        blocks = [found[reference] for reference in ("human", "state") if found[reference]]
        best = max(blocks, key=lambda block: block["episodes"])
        agreement, warnings = best["agreement"]["value"], best["warnings"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"{path} is no calibration of a judge ({error}); type worldsim calibrate again") from error
    if agreement is None or warnings:
        raise InvalidInput(f"{path} says too little to let a judge train: {(warnings or ['no episode was compared'])[0]}")
    return float(agreement)


def require(judge: str, value: float, what: str) -> None:
    """Stop a judge that is not right often enough.

    Raises:
        InvalidInput: below the line.
    """
    if not value >= LEAST:
        raise InvalidInput(f"{judge} may not train: its {what} is {value:.2f}, expected at least {LEAST}; ask another judge")
