"""One published table as a value: the policies of one task, their real rates and their simulated ones. Computes no agreement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from worldsim.errors import DamagedFile, UnknownName
from worldsim.registry import did_you_mean
from worldsim.statistics import lattice_count

KINDS = {
    "task": "a task of its own",
    "part": "a part of another table's average",
    "average": "an average over tasks",
    "partial": "partial success, such as a grasp",
}


@dataclass(frozen=True)
class Measured:
    """Success rates of the policies of a reference, in its order; counts and trials are None where they are not known."""

    rates: tuple[float, ...]
    successes: tuple[float | None, ...]
    trials: tuple[int | None, ...]


@dataclass(frozen=True)
class Reference:
    """Real and simulated success rates of some policies at one task, as published.

    Attributes:
        name: as `simpler:google_robot/close_drawer`.
        policies: names, in the order of all rates.
        real: measured on the robot.
        simulated: measured in the published simulator, by setting (vm, va, world_model).
        simulated_only: rates of policies without a real counterpart, by setting; of no use for any agreement.
        recipe: what was averaged to get these rates, or "one task"; after a semicolon, what else these are.
        settings: what each setting means.
        protocol: control rate in Hz, horizon in steps, ...
        notes: known quirks.
        source: where the numbers were read.
        rule: success at the "last_step" or "ever"; empty where the source does not say.
        kind: one of `KINDS`.
    """

    name: str
    policies: tuple[str, ...]
    real: Measured
    simulated: Mapping[str, Measured]
    simulated_only: Mapping[str, Mapping[str, float]]
    recipe: str
    settings: Mapping[str, str]
    protocol: Mapping[str, float]
    notes: tuple[str, ...]
    source: str
    rule: str = ""
    kind: str = "task"


def reference_names() -> list[str]:
    """The names of all references that come with worldsim, sorted."""
    return sorted(_tables())


def family_names(prefix: str) -> list[str]:
    """The references whose name begins with these whole parts, as `simpler` or `simpler:google_robot`, in the order of their file."""
    stem = prefix.rstrip(":/")
    return [name for name in _tables() if stem and name.startswith((f"{stem}:", f"{stem}/"))]


def load_reference(name: str) -> Reference:
    """The reference of this name.

    Raises:
        UnknownName: there is none; with the closest name, or all of them.
        DamagedFile: a table that contradicts itself.
    """
    if name not in _tables():
        raise UnknownName(f'unknown reference "{name}"; {did_you_mean(name, _tables())}')
    family, table = _tables()[name]
    return parse_reference(name, family, table)


def parse_reference(name: str, family: Mapping[str, Any], table: Mapping[str, Any]) -> Reference:
    """A table of a YAML file as a reference: its own keys, and those of its family (source, policies, settings, notes).

    Raises:
        DamagedFile: rates of another number than policies, or a rate that no count of the trials gives and that is not marked `off_grid`.
    """
    policies = tuple(family["policies"])
    if table.get("kind", "task") not in KINDS:
        raise DamagedFile(f"reference {name} is of kind {table['kind']}, expected {', '.join(KINDS)}")
    if "mean_of" in table:
        real, simulated = _mean([load_reference(family["family"] + part) for part in table["mean_of"]])
    else:
        real = _measured(name, policies, table["real"])
        simulated = {setting: _measured(name, policies, block) for setting, block in table["simulated"].items()}
    return Reference(
        name=name,
        policies=policies,
        real=real,
        simulated=simulated,
        simulated_only=table.get("simulated_only", {}),
        recipe=table["recipe"],
        settings={setting: family["settings"][setting] for setting in simulated},
        protocol=table["protocol"],
        notes=(*table.get("notes", ()), *family.get("notes", ())),
        source=family["source"],
        rule=family.get("rule", ""),
        kind=table.get("kind", "task"),
    )


@cache
def _tables() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Every table by its full name, with the file that it stands in."""
    found = {}
    for file in sorted(files("worldsim.data.references").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            family = yaml.safe_load(file.read_text(encoding="utf-8"))
            found |= {family["family"] + short: (family, table) for short, table in family["tables"].items()}
    return found


def _measured(name: str, policies: Sequence[str], block: Mapping[str, Any]) -> Measured:
    """Rates from counts, or counts from rates where the trials are known and the rate says which count it is."""
    trials = block.get("trials")
    trials = tuple(trials) if isinstance(trials, list) else (trials,) * len(policies)
    rates = block.get("rates") or [k / n for k, n in zip(block["successes"], trials, strict=True)]
    counts = [lattice_count(rate, n) if n else None for rate, n in zip(rates, trials, strict=False)]
    successes = block.get("successes", counts)
    if not len(policies) == len(rates) == len(trials) == len(successes):
        raise DamagedFile(f"reference {name} has {len(rates)} rates and {len(successes)} counts for {len(policies)} policies")
    off_grid = [policy for policy, count, n in zip(policies, counts, trials, strict=True) if n and count is None]
    if "rates" in block and (off_grid != block.get("off_grid", []) or (all(trials) and not off_grid and list(successes) != counts)):
        raise DamagedFile(
            f"reference {name}: rates {list(rates)} and counts {list(successes)} of {list(trials)} trials contradict each other"
        )
    return Measured(tuple(map(float, rates)), tuple(successes), trials)


def _mean(parts: Sequence[Reference]) -> tuple[Measured, dict[str, Measured]]:
    """The plain mean over tasks, for the settings that all of them have. It is no rate of trials, so it has no counts."""

    def mean(blocks: list[Measured]) -> Measured:
        rates = tuple(sum(each) / len(each) for each in zip(*(block.rates for block in blocks), strict=True))
        return Measured(rates, (None,) * len(rates), (None,) * len(rates))

    settings = [setting for setting in parts[0].simulated if all(setting in part.simulated for part in parts)]
    return mean([part.real for part in parts]), {setting: mean([part.simulated[setting] for part in parts]) for setting in settings}
