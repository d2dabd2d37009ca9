"""What the plots of a ranking are drawn from: a policy with its simulated and its real rate. Knows no file format and draws nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Estimate:
    """A success rate in [0, 1] with its interval and the counts behind it; what was not published is None."""

    rate: float
    interval: tuple[float, float] | None = None
    successes: int | None = None
    trials: int | None = None

    @classmethod
    def of(cls, block: Mapping[str, Any] | None) -> Self | None:
        """From the words of results.json (`success_rate`, `interval`, `successes`, `scored`); None where nothing was scored."""
        if block is None or block["success_rate"] is None:
            return None
        interval = block["interval"]
        return cls(block["success_rate"], interval and (interval[0], interval[1]), block["successes"], block["scored"])

    @property
    def counted(self) -> bool:
        """Whether the counts are known, so that a posterior can be drawn."""
        return bool(self.trials) and self.successes is not None


@dataclass(frozen=True)
class Row:
    """A policy on both sides; `letters` are its compact letters, where some were given."""

    name: str
    simulated: Estimate | None
    real: Estimate | None = None
    letters: str = ""

    @property
    def paired(self) -> bool:
        """Whether both sides have a rate."""
        return self.simulated is not None and self.real is not None
