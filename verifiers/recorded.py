"""What the data set says: the success flag that an imported episode carries. It works on recordings only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldsim.registry import VERIFIERS
from worldsim.types import Trajectory, Verdict


@VERIFIERS.register("recorded")
@dataclass
class RecordedVerifier:
    """Success as the field `flag` of an episode's metadata says: its own, or of what `worldsim import` kept of the data set ("recorded").

    Attributes:
        flag: name of the field; one with dots goes into mappings: `outcome.success`.
    """

    flag: str = "success"

    def build(self) -> "RecordedVerifier":
        """Itself: the config is the judge."""
        return self

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]:
        """1 or 0 for each; "could not tell" where there is no flag, or one that is neither true nor false, 1 nor 0."""
        return [self._judge(trajectory.metadata) for trajectory in trajectories]

    def _judge(self, metadata: Mapping[str, Any]) -> Verdict:
        for place in (metadata, metadata.get("recorded", {})):
            value = _found(place, self.flag.split("."))
            if value is not None:
                break
        else:
            return Verdict(None, f'no "{self.flag}" was recorded')
        if value not in (0, 1):  # False is 0 and True is 1
            return Verdict(None, f'"{self.flag}" is {str(value)[:40]!r}, neither true nor false')
        return Verdict(float(value), f'"{self.flag}" was recorded as {value}')


def _found(place: Any, names: list[str]) -> Any:
    for name in names:
        place = place.get(name) if isinstance(place, Mapping) else None
    return place
