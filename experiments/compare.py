"""`worldsim compare`: simulated success rates of runs (or of published simulators) beside real ones, and how far they agree."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from worldsim import statistics
from worldsim.data.files import write_json
from worldsim.data.references import Reference, load_reference, reference_names
from worldsim.errors import InvalidInput, UnknownName
from worldsim.experiments.compared_sides import LIST, Real, Simulated, joined, simulated_sides
from worldsim.experiments.schema import CompareConfig
from worldsim.registry import did_you_mean
from worldsim.report.comparison import build_comparison
from worldsim.report.comparison_rates import ranking_table
from worldsim.report.comparison_schema import COMPARISON_VERSION, comparison_schema
from worldsim.report.comparison_tables import average_tables, comparison_tables
from worldsim.report.comparison_tasks import tasks_tables
from worldsim.report.pairing import paired_agreement, paired_outcomes
from worldsim.report.real_trials_saved import powered_rates
from worldsim.report.recipe import check_accepted
from worldsim.report.results import LEVEL
from worldsim.report.task_average import average_over_tasks
from worldsim.report.terminal import print_tables, report_console

FEW_TASKS = 4  # of so many every ranking is printed; of more, one line per task


def run(config: CompareConfig) -> None:
    """Print both sides, their agreement and its warnings, task by task; write the numbers to `config.out` where it is given.

    Raises:
        UnknownName: no such run, reference, file, task or policy.
        InvalidInput: nothing to compare with, recipes that differ, or a file of real results that cannot be read.
    """
    if config.real == LIST:
        _print_references()
        return
    words = [str(word) for word in (config.run if isinstance(config.run, list) else [config.run]) if word is not None]
    if not words:
        raise InvalidInput(
            "compare needs a run folder or a reference; type worldsim compare RUN (worldsim compare --real list lists references)"
        )
    _check_places(config)
    check_accepted(config.accept)
    names, tasks = _named("names", config.names, "mine: rt-1-converged"), _named("tasks", config.tasks, "drawer: close_drawer")
    pairs, notes = joined(simulated_sides(words, config.setting), config.real, tasks)
    _check_names(names, pairs)
    compared = [_compared(*pair, names, config.accept, whole=len(pairs) <= FEW_TASKS) for pair in pairs]
    document = {
        "schema_version": COMPARISON_VERSION,
        "level": LEVEL,
        "comparisons": compared,
        "averages": _averages(compared, config.average, config.accept) if config.average else [],
        "notes": notes,
    }
    if config.out:
        write_json(Path(config.out).with_suffix(".schema.json"), comparison_schema())
        write_json(config.out, document)
    _print(document, config.out)
    if config.report:
        _report(document, pairs, Path(config.report))


def _check_places(config: CompareConfig) -> None:
    """Refuse, before anything is computed, an `out` or `report` that a file or a folder stands in the way of."""
    if config.out and Path(config.out).is_dir():
        raise InvalidInput(
            f"out={config.out} is a folder; name the file that the numbers go to, as out={Path(config.out) / 'comparison.json'}"
        )
    if config.out and Path(config.out).exists() and not Path(config.out).is_file():
        raise InvalidInput(f"out={config.out} is a device or a pipe, which a file would replace; name a file, as out=comparison.json")
    for key, place in (("out", config.out and Path(config.out).parent), ("report", config.report and Path(config.report))):
        barred = next((each for each in (place, *place.parents) if each.exists() and not each.is_dir()), None) if place else None
        if barred:
            raise InvalidInput(f"{key}={getattr(config, key)} cannot be written: {barred} is a file; name another {key}=PATH")


def _report(document: Mapping[str, Any], pairs: Sequence[tuple[Simulated, Real]], folder: Path) -> None:
    """Write the page into this folder and say where it is."""
    from worldsim.report.comparison_page import write_comparison_page

    twins = [list(_twins(comparison, *pair)) for comparison, pair in zip(document["comparisons"], pairs, strict=True)]
    page = write_comparison_page(document, twins, folder)
    report_console().print(f"report: {page}", markup=False, soft_wrap=True)


def _twins(comparison: Mapping[str, Any], simulated: Simulated, real: Real) -> Iterator[Any]:
    """Of each policy the first real trial with a film and an imagined episode from its start."""
    from worldsim.report.comparison_page import Twins

    if not (simulated.folder and real.side.films):
        return
    for row in comparison["policies"]:
        imagined = simulated.trials.episodes["imagined"].get(row["name"], {})
        filmed = real.side.films.get(row["real_name"], {})
        first = next(((start, films[0], imagined[start][0]) for start, films in filmed.items() if films[0] and start in imagined), None)
        if first:
            start, film, episode = first
            trajectory = simulated.folder.episode(episode)
            yield Twins(row["name"], start, real.folder / film, trajectory.frames, trajectory.metadata.get("fps"))


def _named(key: str, given: Any, example: str) -> dict[str, str]:
    """Simulated to real names of policies or tasks, from the command line."""
    if given is not None and (
        not isinstance(given, dict) or any(value is None or isinstance(value, dict | list) for value in given.values())
    ):
        raise InvalidInput(f"{key} is {given}, expected simulated names to real ones; type {key}='{{{example}}}'")
    return {str(name): str(twin) for name, twin in (given or {}).items()}


def _check_names(names: Mapping[str, str], pairs: Sequence[tuple[Simulated, Real]]) -> None:
    """Refuse a name that no task knows: one that a single task lacks is of no use there, and no fault.

    Raises:
        UnknownName: with the closest name.
    """
    for given, kind, sides in (
        (names.keys(), "simulated", [simulated.side for simulated, _ in pairs]),
        (names.values(), "real", [real.side for _, real in pairs]),
    ):
        known = dict.fromkeys(policy for side in sides for policy in side.rates)
        sources = ", ".join(dict.fromkeys(side.source for side in sides))
        for name in given:
            if name not in known:
                raise UnknownName(f'names: {sources} has no {kind} policy "{name}"; {did_you_mean(name, known)}')


def _compared(simulated: Simulated, real: Real, names: Mapping[str, str], accepted: Sequence[str], *, whole: bool) -> dict[str, Any]:
    """One task's comparison, with its pairs and its published simulators."""
    used = {name: twin for name, twin in names.items() if name in simulated.side.rates and twin in real.side.rates}
    comparison = build_comparison(simulated.side, real.side, used, accepted, whole=whole)
    comparison |= {"kind": simulated.kind, "setting": simulated.setting}
    if simulated.folder:
        _pair(comparison, simulated, real)
    if real.reference and real.reference is not simulated.reference:
        comparison["published"] = _published(real.reference, [row["real_name"] for row in comparison["policies"]])
    return comparison


def _pair(comparison: dict[str, Any], simulated: Simulated, real: Real) -> None:
    """Add how episodes from the same start end on both sides, or a line that says why that is not known."""
    if not real.side.outcomes:
        comparison["warnings"].append("Real trials are not paired with imagined episodes; a file with a column start pairs them.")
        return
    imagined = simulated.trials.outcomes["imagined"]
    pairs = {
        row["name"]: paired_outcomes(imagined.get(row["name"], {}), real.side.outcomes.get(row["real_name"], {}))
        for row in comparison["policies"]
    }
    paired = comparison["agreement"]["paired"] = paired_agreement(list(pairs.values()))
    comparison["powered"] = powered_rates(pairs, LEVEL)
    trials = sum(row["real"]["scored"] for row in comparison["policies"])
    if paired["paired_episodes"] < trials and real.side is not simulated.own:
        comparison["warnings"].append(
            f"Of {trials} real trials {paired['paired_episodes']} have a scored imagined episode from their start."
        )
    if simulated.trials.damaged:
        comparison["warnings"].append(f"Damaged episodes, in no pair: {', '.join(simulated.trials.damaged)}.")


def _published(reference: Reference, policies: list[str]) -> dict[str, Any]:
    """Agreement of each published simulator over these policies; empty below two."""
    chosen = [reference.policies.index(policy) for policy in policies]
    if len(chosen) < 2:
        return {}
    found = {}
    for setting, measured in reference.simulated.items():
        sides = {"simulated": [measured.rates[i] for i in chosen], "real": [reference.real.rates[i] for i in chosen]}
        found[setting] = {"pearson": statistics.pearson(**sides), "mmrv": statistics.mmrv(**sides)}
    return found


def _averages(compared: Sequence[dict[str, Any]], how: str, accepted: Sequence[str]) -> list[dict[str, Any]]:
    """The average over the tasks of their own, one for each simulator of a family."""
    whole = [each for each in compared if each["kind"] == "task"]
    settings = list(dict.fromkeys(each["setting"] for each in whole)) or [None]
    return [
        {"setting": setting, **average_over_tasks([each for each in whole if each["setting"] == setting], how, accepted)}
        for setting in settings
    ]


def _print(document: dict[str, Any], out: str | None) -> None:
    console, compared = report_console(), document["comparisons"]
    if len(compared) == 1:
        tables = comparison_tables(compared[0])
    else:
        tables = [*(map(ranking_table, compared) if len(compared) <= FEW_TASKS else []), *tasks_tables(compared)]
    print_tables(console, [*tables, *(table for average in document["averages"] for table in average_tables(average, document["level"]))])
    for heading in ("warnings", "notes"):
        told = {_task_of(each): each[heading] for each in compared}
        beside = [line for each in document["averages"] for line in each.get(heading, [])] + (
            document["notes"] if heading == "notes" else []
        )
        _list(console, heading.capitalize(), [*_gathered(told), *beside])
    if len(compared) > FEW_TASKS:
        console.print("letters, layers and all warnings of one task: worldsim compare NAME", markup=False)
    if out:
        console.print(f"numbers: {out}", markup=False, soft_wrap=True)


def _task_of(comparison: Mapping[str, Any]) -> str:
    task = comparison["simulated"]["recipe"]["task"] or comparison["simulated"]["source"]
    return f"{task}, {comparison['setting']}" if comparison["setting"] else task


def _gathered(told: Mapping[str, Sequence[str]]) -> list[str]:
    """Every line once, behind the tasks that it is said of; of all tasks, or where there is only one, behind none."""
    lines = dict.fromkeys(line for each in told.values() for line in each)
    whose = {line: [task for task, each in told.items() if line in each] for line in lines}
    return [line if len(tasks) == len(told) else f"{_some(tasks)}: {line}" for line, tasks in whose.items()]


def _some(tasks: Sequence[str]) -> str:
    return "; ".join(tasks) if len(tasks) <= 2 else f"{len(tasks)} tasks ({tasks[0]}, ...)"


def _list(console: Any, heading: str, lines: Sequence[str]) -> None:
    if lines:
        console.print(heading)
        for line in lines:
            console.print(f"  - {line}", markup=False, soft_wrap=True)


def _print_references() -> None:
    console = report_console()
    for name in reference_names():
        reference = load_reference(name)
        console.print(f"{name:55}{', '.join(reference.simulated)}; {reference.recipe}", markup=False, soft_wrap=True)
