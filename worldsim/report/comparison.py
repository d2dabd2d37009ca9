"""Simulated beside real: policies joined by name, their agreement, and every warning that belongs beside it. Prints nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from worldsim import statistics
from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean
from worldsim.report.results import LEVEL, rate_agreement
from worldsim.report.sides import Rate, Side
from worldsim.report.tables import number, warning_of

CARRIES = 0.1  # an r that falls by more than this without one policy is said to be carried by it


def build_comparison(simulated: Side, real: Side, names: Mapping[str, str]) -> dict[str, Any]:
    """All numbers of a comparison, as JSON; policies are ranked by simulated rate.

    Args:
        simulated: rates of one side.
        real: rates of the other.
        names: what policies of the simulated side are called on the real one, where they are called otherwise.

    Raises:
        UnknownName: a name that its side does not have.
        InvalidInput: two policies for one real name, or nothing to compare.
    """
    called = _called(simulated, real, names)
    pairs = [(name, twin) for name, twin in called.items() if simulated.knows(name) and real.knows(twin)]
    if not pairs:
        example = f"{next(iter(simulated.rates), 'mine')}: {next(iter(real.rates), 'theirs')}"
        raise InvalidInput(
            f"no policy has a rate on both sides: {simulated.source} has {simulated.listed()}; {real.source} has {real.listed()}; "
            f"where names differ, type names='{{{example}}}'"
        )
    rows = sorted((_row(*pair, simulated, real) for pair in pairs), key=lambda row: (-row["simulated"]["success_rate"], row["name"]))
    agreement = _agreement(rows)
    missing = {
        "real": [name for name, twin in called.items() if not real.knows(twin)],
        "simulated": [twin for twin in real.rates if not any(simulated.knows(name) for name in called if called[name] == twin)],
    }
    return {
        "level": LEVEL,
        "simulated": {"source": simulated.source, "recipe": simulated.recipe},
        "real": {"source": real.source, "recipe": real.recipe},
        "policies": rows,
        "missing": missing,
        "agreement": agreement,
        "warnings": [*_warnings(rows, missing, agreement), *simulated.warnings, *real.warnings],
        "notes": [*simulated.notes, *real.notes],
    }


def _called(simulated: Side, real: Side, names: Mapping[str, str]) -> dict[str, str]:
    """What each simulated policy would be called on the real side.

    Raises:
        UnknownName, InvalidInput: as `build_comparison`.
    """
    for given, side, kind in ((names.keys(), simulated, "simulated"), (names.values(), real, "real")):
        for name in given:
            if name not in side.rates:
                raise UnknownName(f'names: {side.source} has no {kind} policy "{name}"; {did_you_mean(name, side.rates)}')
    called = {name: names.get(name, name) for name in simulated.rates}
    for twin in real.rates:
        both = [name for name in called if called[name] == twin]
        if len(both) > 1:
            raise InvalidInput(f'names: {" and ".join(both)} would both be the real policy "{twin}"; give each its own')
    return called


def _row(name: str, twin: str, simulated: Side, real: Side) -> dict[str, Any]:
    sim, truth = simulated.rates[name], real.rates[twin]
    return {
        "name": name,
        "real_name": twin,
        "simulated": sim.facts(LEVEL),
        "real": truth.facts(LEVEL),
        "difference": sim.rate - truth.rate,
        "same_rate_p": _same_rate(sim, truth),
    }


def _same_rate(simulated: Rate, real: Rate) -> float | None:
    if not (simulated.counted and real.counted):
        return None
    return statistics.kruskal_wallis(simulated=(simulated.successes, simulated.trials), real=(real.successes, real.trials)).p_value


def _agreement(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Measures over the joined policies, what limits them, and how far they carry to other policies."""
    sides = {side: [row[side]["success_rate"] for row in rows] for side in ("simulated", "real")}
    measures = rate_agreement(**sides)
    several = len(rows) > 1
    left = statistics.drop_one(**sides) if len(rows) > 3 else None  # of two policies left over r would be 1 or -1
    return {
        "policies": len(rows),
        **measures,
        "kendall": statistics.kendall(**sides) if several else None,
        "mmrv_bound": statistics.mmrv_bound(real=sides["real"]) if several else None,
        "pearson_interval": _listed(statistics.fisher_z_interval(measures["pearson"], len(rows)) if several else None),
        "permutation": statistics.permutation_test(**sides)._asdict() if several else None,
        "drop_one": {row["name"]: value for row, value in zip(rows, left, strict=True)} if left else None,
        "noise_ceiling": _ceiling(rows),
        "paired": None,
    }


def _listed(interval: Sequence[float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _ceiling(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What a perfect simulator would reach with these trials; None where the trials of some policy are not known."""
    trials = {side: [row[side]["scored"] for row in rows] for side in ("simulated", "real")}
    if len(rows) < 2 or None in (*trials["simulated"], *trials["real"]):
        return None
    ceiling = statistics.noise_ceiling([row["real"]["success_rate"] for row in rows], trials["real"], trials["simulated"])
    return {"pearson": ceiling.pearson._asdict(), "mmrv": ceiling.mmrv._asdict()}


def _warnings(rows: Sequence[dict[str, Any]], missing: Mapping[str, Sequence[str]], agreement: Mapping[str, Any]) -> list[str]:
    found = [warning_of(agreement)]
    for side, other in (("real", "simulated"), ("simulated", "real")):
        if missing[side]:
            found.append(f"Left out, as they have no {side} rate: {', '.join(missing[side])} ({other} only).")
        if agreement["policies"] > 1 and len({row[side]["success_rate"] for row in rows}) == 1:
            found.append(f"All {side} rates are equal, so no order can be compared; r is {number(agreement['pearson'])} by convention.")
        unscored = {row["name"]: row[side]["unscored"] for row in rows if row[side]["unscored"]}
        if unscored:
            counts = ", ".join(f"{name} {count}" for name, count in unscored.items())
            found.append(f"Unscored {side} episodes, in no rate: {counts}.")
        unknown = [row["name"] for row in rows if row[side]["interval"] is None]
        if unknown:
            whose = "any policy" if len(unknown) == len(rows) else ", ".join(unknown)
            found.append(f"No interval for the {side} rate of {whose}: no whole count of trials is behind it, or none was published.")
    if len(rows) > 1 and not agreement["noise_ceiling"]:
        found.append("No noise ceiling: the number of trials behind some rates is not known.")
    if agreement["drop_one"]:
        name, value = min(agreement["drop_one"].items(), key=lambda item: item[1])
        if agreement["pearson"] - value > CARRIES:
            found.append(f"One policy carries r: without {name} it falls from {number(agreement['pearson'])} to {number(value)}.")
    return [line for line in found if line]
