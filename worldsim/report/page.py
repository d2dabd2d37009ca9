"""The report of a run: one HTML file that needs nothing but itself, with videos beside it. All numbers come from results.json."""

import base64
import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worldsim.data.files import written_whole
from worldsim.data.video import write_video
from worldsim.report import figures, judge_tables, tables
from worldsim.report.outcomes import Outcome, Pair, pairs, read_outcomes, select
from worldsim.report.results import write_results
from worldsim.report.run_folder import RunFolder

STRIPS = 4  # policies shown as film strips
COLUMNS = 8  # frames of a film strip, at most
DEFAULT_FPS = 5.0


def write_report(run: RunFolder) -> Path:
    """Write results.json, report/index.html and one mp4 per policy. Returns the path of the page.

    Raises:
        DamagedFile: verdicts, timings or open_loop.json that cannot be read.
    """
    results, outcomes = write_results(run), read_outcomes(run)
    names = [policy["name"] for policy in results["policies"]]
    page = _template().render(
        title=run.path.resolve().name,
        results=results,
        agreement=results["agreement"],
        headline=headline(results),
        notes=judge_tables.judge_notes(results),
        command=_command(run.config.get("command")),
        facts=_facts(run),
        plots={name: _inline(figure) for name, figure in _plots(results).items()},
        strips=[_strip(run, pair) for pair in _examples(outcomes, _spread(names))],
        bad_cases=[_strip(run, pair) for pair in bad_cases(outcomes, names)],
        videos=_write_videos(run, outcomes, names),
    )
    path = run.path / "report" / "index.html"
    with written_whole(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return path


def headline(results: dict[str, Any]) -> str:
    """The one sentence to remember: r and MMRV with their n, and what a perfect simulator would reach."""
    agreement, count = results["agreement"], len(results["policies"])
    ranked = f"{count} {'policy' if count == 1 else 'policies'}"
    if agreement is None:
        scored = sum(policy["scored"] for policy in results["policies"])
        return f"{ranked}, {scored} scored imagined episodes. There is no truth in this run, so how far to trust it is not known."
    if agreement["pearson"] is None:
        return f"{ranked}, of which one was also run in truth: bias {tables.number(agreement['bias'])}. A ranking needs two."
    r, mmrv = (f"{tables.number(agreement[key])} {tables.span(agreement['intervals'][key])}".strip() for key in ("pearson", "mmrv"))
    perfect = " and ".join(f"{label} {tables.ceiling_text(agreement, key)}" for key, label in (("pearson", "r"), ("mmrv", "MMRV")))
    return f"Pearson r = {r}, MMRV = {mmrv} over n = {agreement['policies']} policies. A perfect simulator would show {perfect}."


def bad_cases(outcomes: Sequence[Outcome], policies: Iterable[str]) -> list[Pair]:
    """Where imagination and truth end differently: the first false success and the first missed success, by rank and start."""
    wrong = [pair for policy in policies for pair in pairs(outcomes, policy) if pair.scored and not pair.agrees]
    kinds = [[pair for pair in wrong if pair.imagined.verdict.success is imagined] for imagined in (True, False)]
    return [kind[0] for kind in kinds if kind]


def _examples(outcomes: Sequence[Outcome], policies: Iterable[str]) -> list[Pair | Outcome]:
    """For each policy its first paired episode, or its first imagined one where it has no true twin."""
    first = [next(iter([*pairs(outcomes, policy), *select(outcomes, policy, "imagined")]), None) for policy in policies]
    return [example for example in first if example]


def _spread(names: Sequence[str]) -> list[str]:
    """A few of the ranked names, the first and the last among them."""
    places = np.linspace(0, len(names) - 1, min(STRIPS, len(names))).round().astype(int)
    return [names[place] for place in places]


def _strip(run: RunFolder, example: Pair | Outcome) -> dict[str, Any]:
    """Truth above imagination as an inline image, with what was said about each."""
    sides = _sides(example)
    frames = [run.episode(outcome.episode).frames for outcome in sides.values()]
    every = max(1, -(-(max(map(len, frames)) - 1) // (COLUMNS - 1)))
    image = figures.film_strip(frames, list(sides), every)
    imagined = sides["imagined"]
    return {
        "policy": imagined.policy,
        "start": imagined.start,
        "image": _inline(image),
        "verdicts": {world: _said(outcome) for world, outcome in sides.items()},
    }


def _sides(example: Pair | Outcome) -> dict[str, Outcome]:
    return {"truth": example.truth, "imagined": example.imagined} if isinstance(example, Pair) else {"imagined": example}


def _said(outcome: Outcome) -> str:
    word = {True: "success", False: "failure", None: "unscored"}[outcome.verdict.success]
    return f"{word} ({outcome.verdict.reason})" if outcome.verdict.reason else word


def _write_videos(run: RunFolder, outcomes: Sequence[Outcome], names: Sequence[str]) -> list[dict[str, str]]:
    """One mp4 per policy: truth at the left and imagination at the right, or imagination alone. Returns names and links."""
    videos = []
    for rank, example in enumerate(_examples(outcomes, names), start=1):
        sides = [run.episode(outcome.episode) for outcome in _sides(example).values()]
        frames = figures.side_by_side(sides[0].frames, sides[1].frames) if len(sides) == 2 else figures.enlarge(sides[0].frames, 256)
        policy = sides[-1].metadata["policy"]
        link = f"videos/{rank:02d}-{re.sub(r'[^A-Za-z0-9_-]+', '-', policy)[:60]}.mp4"
        write_video(run.path / "report" / link, frames, float(sides[-1].metadata.get("fps") or DEFAULT_FPS))
        videos.append(
            {"policy": policy, "link": link, "shows": "truth at the left, imagined at the right" if len(sides) == 2 else "imagined"}
        )
    return videos


def _plots(results: dict[str, Any]) -> dict[str, Any]:
    rows = [figures.Row(each["name"], figures.Estimate.of(each), figures.Estimate.of(each["real"])) for each in results["policies"]]
    plots = {"scatter": figures.scatter(rows)} if results["agreement"] else {}
    plots |= {"reliability": figures.reliability_curve(results["calibration"])} if results["calibration"] else {}
    return plots | ({"open_loop": figures.horizon(results["open_loop"])} if results["open_loop"] else {})


def _facts(run: RunFolder) -> dict[str, list[tuple[str, str]]]:
    """What made the numbers, as rows of text by part."""
    return {part: _flat("", run.identity[part]) for part in ("world_model", "verifier", "task", "sampler")}


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    """Nested values as (dotted key, text)."""
    if isinstance(value, dict):
        return [row for key, inner in value.items() for row in _flat(f"{prefix}.{key}".lstrip("."), inner)]
    return [(prefix, "–" if value is None else str(value))]


def _command(command: str | Sequence[str] | None) -> str | None:
    return command if command is None or isinstance(command, str) else shlex.join(command)


def _inline(picture: Any) -> str:
    return "data:image/png;base64," + base64.b64encode(figures.png_of(picture)).decode()


def _template() -> Any:
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {
        "number": tables.number,
        "span": tables.span,
        "ceiling": tables.ceiling_text,
        "note": tables.agreement_note,
        "warning": tables.warning_of,
        "calibration": judge_tables.calibration_sentence,
        "correction_notes": judge_tables.correction_notes,
        "probe_notes": judge_tables.probe_notes,
    }
    environment.globals["measures"] = tables.MEASURES
    return environment.get_template("report.html")
