"""Several runs of one suite side by side: their agreement as rows, and how far along each axis a ranking can be trusted. Plays nothing.

In and out of distribution, and one task and another, stand apart: nothing is pooled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

from worldsim.report.measures import MEASURES
from worldsim.report.tables import number, span


@dataclass(frozen=True)
class Value:
    """A number with its 95 % interval; None where it cannot be measured."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float | None, interval: Sequence[float] | None) -> "Value":
        """A value and the interval beside it, where there is one."""
        return cls(value, *(interval or (None, None)))

    def __str__(self) -> str:
        return f"{number(self.value, 2)} {span(None if self.low is None else (self.low, self.high), 2)}".strip()


@dataclass(frozen=True)
class CaseRow:
    """One run of a suite.

    Attributes:
        name: the case.
        axis: what was changed, empty for a case that is on none.
        amount: by how much.
        episodes: of each policy, in each world.
        policies: how many.
        simulated, real: mean success rates.
        measures: agreement by name: Pearson r, MMRV, phi of paired episodes, bias.
        ceiling: what a perfect simulator would show of r and MMRV from so many episodes.
    """

    name: str
    axis: str
    amount: float
    episodes: int
    policies: int
    simulated: float | None
    real: float | None
    measures: Mapping[str, Value] = field(default_factory=dict)
    ceiling: Mapping[str, Value] = field(default_factory=dict)

    @property
    def trusted(self) -> bool | None:
        """Whether r and MMRV are what a perfect simulator might have shown; None where that cannot be said."""
        r, mmrv = (self.measures.get(name, Value(None)).value for name in ("pearson", "mmrv"))
        best_r, best_mmrv = (self.ceiling.get(name, Value(None)) for name in ("pearson", "mmrv"))
        if None in (r, mmrv, best_r.low, best_mmrv.high):
            return None
        return bool(r >= best_r.low and mmrv <= best_mmrv.high)

    def row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"trusted": self.trusted}


def case_row(name: str, axis: str, amount: float, results: Mapping[str, Any]) -> CaseRow:
    """A run's results as a row of its suite."""
    policies, found = results["policies"], results["agreement"] or {}
    intervals, best = found.get("intervals") or {}, found.get("noise_ceiling") or {}
    ceiling = {key: Value(best[key]["median"], best[key]["low"], best[key]["high"]) for key in ("pearson", "mmrv") if best.get(key)}
    return CaseRow(
        name,
        axis,
        amount,
        max(each["episodes"] for each in policies),
        len(policies),
        _mean([each["success_rate"] for each in policies]),
        _mean([each["real"]["success_rate"] for each in policies if each["real"]]),
        {key: Value.of(found.get(key), intervals.get(key)) for key in MEASURES},
        ceiling,
    )


def _mean(rates: Sequence[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known) if known else None


def reach(rows: Sequence[CaseRow], neutral: float, unit: str) -> str:
    """Up to where along one axis the ranking can be trusted, in a plain sentence; a row at the neutral amount is passed over."""
    said = []
    for side in (1, -1):
        ordered = sorted((row for row in rows if side * (row.amount - neutral) > 0), key=lambda row: side * row.amount)
        if ordered:
            said.append(_side(ordered, unit))
    return "; ".join(said)


def _side(ordered: Sequence[CaseRow], unit: str) -> str:
    """One direction, from the smallest change to the largest."""
    if ordered[0].trusted is None:
        return f"not known to be trusted: of {_amount(ordered[0], unit)} too little was played to say"
    holds = [row for place, row in enumerate(ordered) if all(each.trusted for each in ordered[: place + 1])]
    if not holds:
        return f"not even {_amount(ordered[0], unit)} leaves a ranking that can be trusted"
    if len(holds) == len(ordered):
        return f"to be trusted as far as was tried, {_amount(ordered[-1], unit)}"
    after = ordered[len(holds)]
    ends = "not known" if after.trusted is None else "no more"
    return f"to be trusted up to {_amount(holds[-1], unit)}, {ends} at {_amount(after, unit)}"


def _amount(row: CaseRow, unit: str) -> str:
    return f"{row.amount:g}{f' {unit}' if unit else ''}"


def suite_table(title: str, rows: Sequence[CaseRow]) -> Table:
    """One line per case."""
    caption = "Trusted: r and MMRV are what a perfect simulator might have shown from so many episodes."
    table = Table(title=title, caption=caption, caption_justify="left")
    for heading in ("case", "policies x episodes", "simulated", "real", "r at best", *MEASURES.values(), "trusted"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for row in rows:
        values = (Value(row.simulated), Value(row.real), row.ceiling.get("pearson", Value(None)), *(row.measures[key] for key in MEASURES))
        trusted = {True: "yes", False: "no", None: "–"}[row.trusted]
        table.add_row(row.name, f"{row.policies} x {row.episodes}", *map(str, values), trusted)
    return table
