"""Simulated beside real: policies joined by name, their agreement, and every warning that belongs beside it. Prints nothing."""

from collections.abc import Collection, Mapping
from typing import Any

from worldsim import statistics
from worldsim.errors import InvalidInput
from worldsim.report.agreement_layers import agreement_of
from worldsim.report.comparison_warnings import ALPHA, comparison_warnings
from worldsim.report.more_trials import more_trials
from worldsim.report.recipe import compare_recipes
from worldsim.report.results import LEVEL
from worldsim.report.side_letters import side_letters
from worldsim.report.sides import Rate, Side


def build_comparison(
    simulated: Side, real: Side, names: Mapping[str, str], accepted: Collection[str] = (), *, whole: bool = True
) -> dict[str, Any]:
    """All numbers of a comparison at one task, as JSON; policies are ranked by simulated rate.

    Args:
        simulated: rates of one side.
        real: rates of the other.
        names: what policies of the simulated side are called on the real one, where they are called otherwise.
        accepted: fields of the recipes that may differ.
        whole: also letters and what more trials would buy, which take seconds; else both are None.

    Raises:
        InvalidInput: recipes that differ, two policies for one real name, or nothing to compare.
    """
    differing, unstated = compare_recipes({"simulated": simulated.source, "real": real.source}, simulated.recipe, real.recipe, accepted)
    called = _called(simulated, real, names)
    pairs = [(name, twin) for name, twin in called.items() if simulated.knows(name) and real.knows(twin)]
    if not pairs:
        example = f"{next(iter(simulated.rates), 'mine')}: {next(iter(real.rates), 'theirs')}"
        raise InvalidInput(
            f"no policy has a rate on both sides: {simulated.source} has {simulated.listed()}; {real.source} has {real.listed()}; "
            f"where names differ, type names='{{{example}}}'"
        )
    rows = sorted((_row(*pair, simulated, real) for pair in pairs), key=lambda row: (-row["simulated"]["success_rate"], row["name"]))
    agreement = agreement_of(rows)
    missing = {
        "real": [name for name, twin in called.items() if not real.knows(twin)],
        "simulated": [twin for twin in real.rates if not any(simulated.knows(name) for name in called if called[name] == twin)],
    }
    return {
        "level": LEVEL,
        "simulated": {"source": simulated.source, "recipe": simulated.recipe.facts()},
        "real": {"source": real.source, "recipe": real.recipe.facts()},
        "accepted": sorted(accepted),
        "letters": _lettered(rows, simulated, real) if whole else None,
        "policies": rows,
        "missing": missing,
        "agreement": agreement,
        "more_trials": more_trials(rows, LEVEL) if whole else None,
        "powered": None,
        "published": None,
        "warnings": [*differing, *comparison_warnings(rows, missing, agreement), *simulated.warnings, *real.warnings],
        "notes": [*simulated.notes, *real.notes, *unstated],
    }


def _called(simulated: Side, real: Side, names: Mapping[str, str]) -> dict[str, str]:
    """What each simulated policy would be called on the real side.

    Raises:
        InvalidInput: two for one.
    """
    called = {name: names.get(name, name) for name in simulated.rates}
    for twin in real.rates:
        both = [name for name in called if called[name] == twin]
        if len(both) > 1:
            raise InvalidInput(f'names: {" and ".join(both)} would both be the real policy "{twin}"; give each its own')
    return called


def _row(name: str, twin: str, simulated: Side, real: Side) -> dict[str, Any]:
    sim, truth = simulated.rates[name], real.rates[twin]
    counted = sim.counted and truth.counted
    counts = (sim.successes, sim.trials), (truth.successes, truth.trials)
    return {
        "name": name,
        "real_name": twin,
        "simulated": {**sim.facts(LEVEL), "letters": None},
        "real": {**truth.facts(LEVEL), "letters": None},
        "difference": sim.rate - truth.rate,
        "difference_interval": list(statistics.newcombe_interval(*counts, level=LEVEL)) if counted else None,
        "same_rate_p": _same_rate(sim, truth) if counted else None,
    }


def _same_rate(simulated: Rate, real: Rate) -> float:
    return statistics.kruskal_wallis(simulated=(simulated.successes, simulated.trials), real=(real.successes, real.trials)).p_value


def _lettered(rows: list[dict[str, Any]], simulated: Side, real: Side) -> dict[str, Any]:
    """How each side's letters were found; the letters themselves go into its rows."""
    found = {}
    for key, side, name in (("simulated", simulated, "name"), ("real", real, "real_name")):
        found[key] = side_letters(side, [row[name] for row in rows], ALPHA)
        letters = found[key].pop("letters")
        for row in rows:
            row[key]["letters"] = letters and letters.get(row[name])
    return found
