"""`worldsim evaluate suite=NAME`: the evaluations of a suite one after another, and one page of them all. Plays nothing itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from worldsim.checking import check_options, fits
from worldsim.data.files import write_json, written_whole
from worldsim.errors import InvalidInput, UnknownName
from worldsim.experiments.presets import load_preset
from worldsim.experiments.schema import EvaluateConfig
from worldsim.experiments.suites import Axis, Case, Suite, cases_of, changed
from worldsim.load import part_config
from worldsim.options import check_value
from worldsim.registry import TRUTHS, did_you_mean
from worldsim.report.suite import CaseRow, case_row, reach, suite_table

CASES = "cases"


def run(config: EvaluateConfig) -> Path:
    """Evaluate every case in RUN/cases, print the table and write RUN/suite.json and RUN/index.html. The same command again goes on.

    Raises:
        WorldsimError: a suite that is not sound, or whatever one of its evaluations cannot do.
    """
    from worldsim.experiments.evaluate import run as evaluate

    suite, cases = chosen(config)
    out = Path(config.run or f"runs/suite-{Path(str(config.suite)).stem}")
    paths = {}
    for number, case in enumerate(cases, start=1):
        print(f"case {number} of {len(cases)}: {case.name}")
        paths[case.name] = evaluate(replace(config, **case.keys, suite=None, run=str(out / CASES / case.folder)))
    rows = gather(cases, paths)
    write_suite(out, Path(str(config.suite)).stem, suite, rows, paths)
    return out


def chosen(config: EvaluateConfig) -> tuple[Suite, list[Case]]:
    """The suite asked for, and its cases.

    Raises:
        UnknownName: no such suite, or one that sets a key which evaluate lacks.
        InvalidInput: a suite without a case, a key that it sets itself, or a value that evaluate or the truth would refuse.
    """
    suite = load_preset("suite", str(config.suite), Suite)
    cases = [_whole(case, suite.truth) for case in cases_of(suite)]
    known = {field.name for field in fields(EvaluateConfig)} - {"suite", "run"}
    if not cases:
        raise InvalidInput(f"suite {config.suite} has no case; give it axes or cases")
    for key in dict.fromkeys(key for case in cases for key in case.keys):
        if key not in known:
            raise UnknownName(f'suite {config.suite} sets "{key}", and worldsim evaluate has no such key; {did_you_mean(key, known)}')
        if getattr(config, key) != getattr(EvaluateConfig(), key):
            raise InvalidInput(f"suite {config.suite} sets {key} itself; drop {key}=")
    if config.shard:
        raise InvalidInput(f"a suite is not played in shards; drop shard={config.shard}, or give its cases to several machines")
    for case in cases:
        _check_values(case, f"suite {config.suite}, case {case.name}")
    _check_made(suite, cases, str(config.suite))
    for name, axis in suite.axes.items():
        _check_neutral(name, axis, known_amount(suite.truth, name), str(config.suite))
    return suite, cases


def known_amount(truth: Any, option: str) -> Any:
    """What an option, or `make.g` inside one, is in the true world whose axis it names; None where it has none."""
    first, *rest = option.split(".")
    value = getattr(part_config(TRUTHS, truth), first, None)
    for key in rest:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _whole(case: Case, truth: Any) -> Case:
    """The case, its amount a whole number where that of the known world is one."""
    whole = case.axis and case.amount.is_integer() and type(known_amount(truth, case.axis)) is int
    return case._replace(keys={"truth": changed(truth, case.axis, int(case.amount))}) if whole else case


def _check_neutral(name: str, axis: Axis, known: Any, suite: str) -> None:
    """Refuse an axis that does not begin at the known world."""
    if not fits(known, float):
        raise InvalidInput(
            f"axis {name} of suite {suite} goes by numbers, and the known world's is {known}; name an option that is a number, or give it: "
            f"write truth: {{name: NAME, {name.replace('.', ': {')}: NUMBER{'}' * name.count('.')}}}"
        )
    if known != axis.neutral:
        raise InvalidInput(f"axis {name} of suite {suite} is neutral at {axis.neutral:g}, the known world's is {known}")


def _check_values(case: Case, whose: str) -> None:
    """Refuse before anything is played what the command line would refuse, and options that the truth lacks."""
    check_options(EvaluateConfig, case.keys, whose)
    for each in fields(EvaluateConfig):
        given = case.keys.get(each.name)
        for value in given if isinstance(given, list) else [given]:
            check_value(each, value)
    if case.keys.get("truth"):
        part_config(TRUTHS, case.keys["truth"])


def _check_made(suite: Suite, cases: Sequence[Case], name: str) -> None:
    """Stop where a checkpoint that a case names by its folder has not been made, and say how to make it."""
    for path in [text for case in cases for text in _texts([case.keys.get(key) for key in ("world_model", "verifier", "policies")])]:
        if suite.made_by and "/" in path and not (Path(path) / "config.json").exists():
            raise InvalidInput(f"suite {name} needs {path}, which is not here or not finished; type: {suite.made_by}")


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)


def gather(cases: Sequence[Case], paths: dict[str, Path]) -> list[CaseRow]:
    """What each run came to."""
    from worldsim.report.migration import read_results

    return [case_row(case.name, case.axis, case.amount, read_results(paths[case.name])) for case in cases]


def write_suite(out: Path, name: str, suite: Suite, rows: Sequence[CaseRow], paths: dict[str, Path]) -> None:
    """The table on the terminal; suite.json, the page, its figures and film strips in `out`."""
    from worldsim.report.figures import axes_of_change
    from worldsim.report.plots import write_plot
    from worldsim.report.suite_page import suite_page
    from worldsim.report.terminal import print_tables, report_console
    from worldsim.report.worst import write_worst

    by_axis = {axis: [row for row in rows if row.axis == axis] for axis in suite.axes}
    lines = {axis: reach(each, suite.axes[axis].neutral, suite.axes[axis].unit) for axis, each in by_axis.items()}
    drawn = {
        axis: [*each, replace(rows[0], amount=suite.axes[axis].neutral)] for axis, each in by_axis.items()
    }  # rows[0] is the known world
    table = suite_table(f"{name}: agreement case by case", rows)
    console = report_console()
    print_tables(console, [table])
    for axis, line in lines.items():
        console.print(f"{axis}: {line}", markup=False, soft_wrap=True)
    worst = {case: write_worst(path, out, path.name) for case, path in paths.items()}
    told = [row.row() | {"worst": [strip.row() for strip in worst[row.name].strips]} for row in rows]
    facts: dict[str, Any] = {"suite": name, "about": suite.about, "cases": told, "reach": lines}
    write_json(out / "suite.json", facts)
    caption = "Agreement over the size of each change; bars are 95 % intervals, the band is what a perfect simulator would show."
    figure = (
        write_plot("axes", axes_of_change(drawn, {axis: each.unit for axis, each in suite.axes.items()}), caption, out) if drawn else None
    )
    reports = {case: path / "report" / "index.html" for case, path in paths.items()}
    links = {case: path.relative_to(out) for case, path in reports.items() if path.exists()}
    meanings = {axis: each.meaning for axis, each in suite.axes.items()}
    with written_whole(out / "index.html") as aside:
        aside.write_text(suite_page(name, suite.about, table, figure, lines, meanings, links, worst), encoding="utf-8")
    console.print(f"numbers: {out / 'suite.json'}\npage: {out / 'index.html'}", markup=False, soft_wrap=True)
