"""Another judge, silent where the world model cannot be trusted: imagined rollouts beyond a calibrated limit get no verdict.

Knows the gate and asks the judge; how the limit was found is `worldsim trust`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from worldsim.data.files import sha256_of
from worldsim.errors import InvalidInput
from worldsim.load import load_verifier, load_world_model, part_facts, part_name
from worldsim.registry import VERIFIERS
from worldsim.report.run_folder import RunFolder
from worldsim.trust import Gate, Measuring, read_gate, rollout_values, unsureness
from worldsim.types import Trajectory, Verdict, Verifier, WorldModel


class Gated:
    """Asks the judge about everything, and withholds what it says of imagined rollouts beyond the limit.

    Rollouts of a truth pass: they say so in their metadata, or have true states. What was withheld is kept in the verdict's details,
    so that results with and without the gate can be had from one file of verdicts.
    """

    def __init__(self, judge: Verifier, gate: Gate, model: WorldModel | None, how: Measuring) -> None:
        self._judge, self._gate, self._model, self._how = judge, gate, model, how
        self.revisable = getattr(judge, "revisable", False)

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]:
        """One verdict each; `details["gate"]` has signal, value, limit and, where it was withheld, what the judge said."""
        verdicts = self._judge.judge(trajectories)
        imagined = [row for row, each in enumerate(trajectories) if not _true(each)]
        values = self._values([trajectories[row] for row in imagined], [verdicts[row] for row in imagined])
        for row, value in zip(imagined, values, strict=True):
            verdicts[row] = self._gated(verdicts[row], value)
        return verdicts

    def _values(self, imagined: Sequence[Trajectory], said: Sequence[Verdict]) -> list[float]:
        name = self._gate.signal
        if name == "judge":
            return [unsureness(verdict) for verdict in said]
        return rollout_values(self._model, imagined, self._how, [name], self._gate.over)[name].tolist()

    def _gated(self, said: Verdict, value: float) -> Verdict:
        gate = self._gate
        if said.details.get("fault"):  # the judge is asked again, and then gated
            return said
        about = {"signal": gate.signal, "value": value, "limit": gate.limit}
        if value <= gate.limit:
            return replace(said, details={**said.details, "gate": about})
        withheld = {"withheld": {"score": said.score, "reason": said.reason}}
        why = f"{gate.signal.replace('_', ' ')} {value:.3g} above the calibrated {gate.limit:.3g}"
        return Verdict(None, why, {**said.details, "gate": about | withheld})


def _true(trajectory: Trajectory) -> bool:
    return trajectory.metadata.get("world") == "truth" or bool(trajectory.states)


@VERIFIERS.register("gated")
@dataclass
class GatedConfig:
    """A judge behind a gate.

    Attributes:
        of: the judge, as a name, path or mapping.
        gate: file that `worldsim trust` wrote.
        world_model: name or folder of the world model, where it has moved since.
        device: where the world model runs.
    """

    incidental: ClassVar = ("world_model",)

    of: Any = "classifier"
    gate: str = "gate.json"
    world_model: str | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not isinstance(self.of, str | Mapping):
            raise InvalidInput(f"a gate stands before one judge, got of={self.of!r}; type {{name: gated, of: classifier, gate: FILE}}")

    def facts(self) -> dict[str, Any]:
        """What the verdicts depend on beside the options: the judge, and the gate as a whole."""
        return {"of": part_facts(VERIFIERS, self.of) | {"name": part_name(self.of)}, "gate": self._hash()}

    def refuse_other_world(self, world_model: Mapping[str, Any], sampler: Mapping[str, Any]) -> None:
        """Nothing, where the gate is that of this world model, sampled so.

        Raises:
            InvalidInput: it is not.
            DamagedFile: there is no sound gate.
        """
        read_gate(self.gate).refuse_other_world(world_model, sampler)

    def in_run(self, path: str | Path) -> "GatedInRun":
        """This judge for the run at `path`.

        Raises:
            InvalidInput, DamagedFile: as `refuse_other_world`, of the run's world model.
        """
        identity = RunFolder(path).identity
        self.refuse_other_world(identity["world_model"], identity["sampler"])
        return GatedInRun(self, path)

    def build(self, run: str | Path | None = None) -> Gated:
        """Load the judge, and the world model that the gate was calibrated for.

        Raises:
            InvalidInput: another judge, or another world model or reader of actions than there was.
            DamagedFile: there is no sound gate.
        """
        gate = read_gate(self.gate)
        gate.refuse_other_judge(part_facts(VERIFIERS, self.of) | {"name": part_name(self.of)})
        model = None if gate.signal == "judge" else self._model(gate)
        how = Measuring(gate.every, gate.draws, gate.noise_level, self._reader(gate))
        return Gated(load_verifier(self.of, run), gate, model, how)

    def _model(self, gate: Gate) -> WorldModel:
        place = self.world_model or gate.load
        model = load_world_model(place, device=self.device, **gate.options)
        found, expected = getattr(model, "card", {}).get("sha256"), gate.world_model.get("sha256")
        if found != expected:
            raise InvalidInput(
                f"{self.gate} was calibrated for world model {expected}, {place} is {found}; name the right one: world_model: FOLDER"
            )
        return model

    def _reader(self, gate: Gate) -> Any:
        if gate.reader is None:
            return None
        from worldsim.posttraining.feedback import load_feedback

        reader = load_feedback({"name": "inverse_dynamics", "path": str(Path(self.gate).parent / gate.reader["path"])})
        if reader.facts["sha256"] != gate.reader["sha256"]:
            raise InvalidInput(f"the reader of actions of {self.gate} has changed since; calibrate it again: worldsim trust")
        return reader

    def _hash(self) -> str:
        read_gate(self.gate)
        return sha256_of(Path(self.gate))


@dataclass(frozen=True)
class GatedInRun:
    """A gated judge that is told the run whose episodes it judges."""

    gated: GatedConfig
    run: str | Path

    def build(self) -> Gated:
        """Load everything."""
        return self.gated.build(self.run)
