"""The calibrated limit of one signal, for one world model sampled in one way, as a file. Measures nothing.

gate.json: the fields of `Gate` under their names, `version` and a checksum.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from worldsim.checking import check_options
from worldsim.data.sealed import read_sealed, write_sealed
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.trust.signals import SIGNALS, SUMMARIES

VERSION = 1
CALLED = ("name", "kind")  # how a judge is called, which does not change what it says
AGAIN = "calibrate it again: worldsim trust"
ROUNDING = ("precision", "determinism", "threads", "device", "compile", "channels_last")  # what changes frames in their last bits only


@dataclass(frozen=True)
class Gate:
    """Rollouts whose signal lies above `limit` are not to be judged.

    Attributes:
        signal: which one, of `worldsim.trust.SIGNALS`.
        over: how a rollout's steps become one number, of `worldsim.trust.SUMMARIES`.
        limit: the largest value that is let through.
        every: steps between two that are measured.
        draws: times that a step is imagined again, for the signal "seeds".
        noise_level: that frames are reconstructed from, for the signal "denoising".
        reader: {path, sha256} of the network that reads actions, for the signal "inverse_dynamics"; None for the others.
            The path is relative to the gate's folder.
        world_model: what the world model is known by; at least its name and the hash of its weights.
        sampler: how its frames were drawn.
        options: what it is loaded with besides its name or folder, which is under `load`.
        load: name or folder of the world model.
        judge: the judge whose verdicts were compared with the truth; None where only frames were.
        promise: what holds of the rollouts that are let through: target, level, tolerance, and what was counted.
        curve: what other limits would have kept.
        data: what it was calibrated on.
    """

    signal: str
    over: str
    limit: float
    every: int
    draws: int
    noise_level: float
    reader: dict[str, Any] | None
    world_model: dict[str, Any]
    sampler: dict[str, Any]
    options: dict[str, Any]
    load: str
    judge: dict[str, Any] | None
    promise: dict[str, Any]
    curve: list[Any]
    data: dict[str, Any]

    def refuse_other_world(self, world_model: Mapping[str, Any], sampler: Mapping[str, Any]) -> None:
        """Nothing, where the gate was calibrated for this world model and this way of sampling it.

        Raises:
            InvalidInput: it was calibrated for another; one line with what differs.
        """
        mine, theirs = (_identity(each) for each in (self.world_model, world_model))
        if mine != theirs:
            raise InvalidInput(f"the gate was calibrated for world model {_said(mine)}, not for {_said(theirs)}; {AGAIN}")
        for key in sorted({*self.sampler, *sampler} - set(ROUNDING)):
            if self.sampler.get(key) != sampler.get(key):
                raise InvalidInput(f"the gate was calibrated with {key}={self.sampler.get(key)}, not {key}={sampler.get(key)}; {AGAIN}")

    def refuse_other_judge(self, judge: Mapping[str, Any]) -> None:
        """Nothing, where the gate was calibrated with this judge, or by frames alone.

        Raises:
            InvalidInput: it was calibrated with another.
        """
        mine, theirs = ({key: value for key, value in (each or {}).items() if key not in CALLED} for each in (self.judge, judge))
        if self.judge is not None and mine != theirs:
            raise InvalidInput(f"the gate was calibrated with judge {self.judge.get('name')}, not with this {judge.get('name')}; {AGAIN}")


def write_gate(path: str | Path, gate: Gate) -> None:
    """Write the file, whole or not at all."""
    write_sealed(path, {"version": VERSION, **asdict(gate)})


def read_gate(path: str | Path) -> Gate:
    """The gate that a file holds.

    Raises:
        DamagedFile: it is missing, not what its hash promises, or no gate of this version.
    """
    found = read_sealed(path, AGAIN)
    if found.pop("version", None) != VERSION or found.keys() != {field.name for field in fields(Gate)}:
        raise DamagedFile(f"{path} holds no gate of version {VERSION}; {AGAIN}")
    try:
        check_options(Gate, found, f"gate {path}")
    except InvalidInput as error:
        raise DamagedFile(f"{error}; {AGAIN}") from error
    gate = Gate(**found)
    if gate.signal not in SIGNALS or gate.over not in SUMMARIES:
        raise DamagedFile(f"{path} is about the {gate.over} of {gate.signal}, which is not known here; {AGAIN}")
    return gate


def _identity(facts: Mapping[str, Any]) -> tuple[Any, Any]:
    """The hash tells; a world model without one is known by its name."""
    return (None, facts["sha256"]) if facts.get("sha256") else (facts.get("name"), None)


def _said(identity: tuple[Any, Any]) -> str:
    name, sha256 = identity
    return f"{name}" if sha256 is None else f"{sha256[:12]}"
