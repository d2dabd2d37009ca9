"""Rows of the proof table: a claim, what was measured, the line set beforehand, and what came out. Knows no model."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from worldsim.data.files import write_json

PASS, FAIL, NULL = "pass", "fail", "null"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        claim: what should be so.
        measure: what was measured, with the controls beside it.
        line: from where on it passes, as it was set before any run.
        value, low, high: with its 95 % interval; NaN is no interval.
        verdict: pass, fail, or null where the interval leaves it open.
        seed: of the models.
        beside: other numbers by name.
    """

    claim: str
    measure: str
    line: str
    value: float
    low: float
    high: float
    verdict: str
    seed: int
    beside: dict[str, float]


def interval(values: np.ndarray, statistic: Callable[..., float] = np.mean) -> tuple[float, float, float]:
    """A statistic of rows `[N]` or `[N, k]` and its 95 % percentile bootstrap interval over rows, 4,000 resamples, always the same ones."""
    values = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(0).integers(len(values), size=(4000, len(values)))
    spread = np.array([statistic(values[rows]) for rows in drawn])
    low, high = np.percentile(spread, [2.5, 97.5])
    return float(statistic(values)), float(low), float(high)


def ratio(pairs: np.ndarray) -> float:
    """Mean of the first column over that of the second, `[N, 2]`."""
    return float(pairs[:, 0].mean() / pairs[:, 1].mean())


def below(found: tuple[float, float, float], line: float) -> str:
    """Pass where the interval lies below the line, fail where it lies above, else null."""
    _, low, high = found
    return PASS if high < line else FAIL if low > line else NULL


def above(found: tuple[float, float, float], line: float) -> str:
    """Pass where the interval lies above the line, fail where it lies below, else null."""
    value, low, high = found
    return below((-value, -high, -low), -line)


def kept(path: Path, make: Callable[[], Row]) -> Row:
    """The row in a file, made and written there unless it is there already."""
    if not path.exists():
        write_json(path, asdict(make()))
    return Row(**json.loads(path.read_text(encoding="utf-8")))


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| claim | seed | measure | pass line | value [95 %] | verdict | beside |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        beside = ", ".join(f"{name} {value:.4g}" for name, value in row.beside.items())
        value = f"{row.value:.4g} [{row.low:.4g}, {row.high:.4g}]"
        lines.append(f"| {row.claim} | {row.seed} | {row.measure} | {row.line} | {value} | {row.verdict} | {beside} |")
    return "\n".join(lines)
