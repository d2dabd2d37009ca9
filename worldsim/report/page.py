"""The report of a run: one HTML page that needs nothing but what lies beside it. All numbers come from results.json."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worldsim.data.files import written_whole
from worldsim.report import judge_tables, sections, tables
from worldsim.report.checklist import checklist
from worldsim.report.clips import fault_clips, paired_clips
from worldsim.report.environment import environment
from worldsim.report.episode_index import listings, other_judges, replay_command, verdict_word
from worldsim.report.measures import MEASURES
from worldsim.report.outcomes import Outcome, read_outcomes
from worldsim.report.plots import write_plots
from worldsim.report.results import write_results
from worldsim.report.run_folder import RunFolder
from worldsim.report.trials import write_trials
from worldsim.report.video_quality import video_quality

TRIALS = "trials.csv"


def write_report(run: RunFolder) -> Path:
    """Write results.json and report/: index.html, videos/*.mp4, figures/*.pdf and *.png, trials.csv. Returns the path of the page.

    Raises:
        DamagedFile: verdicts, timings, open_loop.json or checklist.yaml that cannot be read.
        UnknownName: a key in checklist.yaml that no item has.
    """
    results, outcomes = write_results(run), read_outcomes(run)
    report = run.path / "report"
    write_trials(report / TRIALS, outcomes)
    page = _template().render(_context(run, results, outcomes, report))
    path = report / "index.html"
    with written_whole(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return path


def headline(results: dict[str, Any]) -> str:
    """The one sentence to remember: r and MMRV with their n, and what a perfect simulator would reach."""
    agreement, ranked = results["agreement"], tables.counted(len(results["policies"]), "policy", "policies")
    if agreement is None:
        scored = sum(policy["scored"] for policy in results["policies"])
        return f"{ranked}, {scored} scored imagined episodes. There is no truth in this run, so how far to trust it is not known."
    if agreement["pearson"] is None:
        return f"{ranked}, of which one was also run in truth: bias {tables.number(agreement['bias'])}. A ranking needs two."
    r, mmrv = (f"{tables.number(agreement[key])} {tables.span(agreement['intervals'][key])}".strip() for key in ("pearson", "mmrv"))
    perfect = " and ".join(f"{label} {tables.ceiling_text(agreement, key)}" for key, label in (("pearson", "r"), ("mmrv", "MMRV")))
    return f"Pearson r = {r}, MMRV = {mmrv} over n = {agreement['policies']} policies. A perfect simulator would show {perfect}."


def _context(run: RunFolder, results: dict[str, Any], outcomes: Sequence[Outcome], report: Path) -> dict[str, Any]:
    """Everything that the templates show."""
    ranked = [policy["name"] for policy in results["policies"]]
    items = checklist(run, results, outcomes)
    training = next(item.answer for item in items if item.key == "training")
    return {
        "title": run.path.resolve().name,
        "results": results,
        "agreement": results["agreement"],
        "headline": headline(results),
        "warnings": sections.warnings_of(results),
        "plots": write_plots(results, report),
        "paired": paired_clips(run, outcomes, ranked),
        "faults": fault_clips(run, outcomes, ranked),
        "modes": [(mode, replay_command(run.path, mode.example.episode)) for mode in sections.failure_modes(outcomes)],
        "listings": listings(run, outcomes, ranked),
        "others": other_judges(run, results),
        "checklist": items,
        "facts": _facts(run, training),
        "cost": sections.cost(results["throughput"]),
        "command": _command(run.config.get("command")),
        "trials": TRIALS,
        "video": video_quality(run),
        "folder": shlex.quote(str(run.path)),
    }


def _facts(run: RunFolder, training: str) -> dict[str, sections.Rows]:
    """What made the numbers, as rows of text by part."""
    identity, config = run.identity, run.config
    return {
        "world model": sections.model_card(run, training),
        "judge": sections.flat("", identity["verifier"]),
        "task": sections.flat("", identity["task"]),
        "versions": sections.flat("", config.get("versions", {})),
        "machine": sections.flat("", config.get("machine", {})),
        "policies": [(name, _policy(facts)) for name, facts in config.get("policies", {}).items()],
    }


def _policy(facts: Mapping[str, Any]) -> str:
    return "; ".join(f"{key} {value}" for key, value in sections.flat("", facts))


def _command(command: str | Sequence[str] | None) -> str | None:
    return command if command is None or isinstance(command, str) else shlex.join(command)


def _template() -> Any:
    made = environment(
        {
            "number": tables.number,
            "span": tables.span,
            "ceiling": tables.ceiling_text,
            "calibration": judge_tables.calibration_sentence,
            "probe_notes": judge_tables.probe_notes,
            "gate_notes": judge_tables.gate_notes,
            "word": verdict_word,
        }
    )
    made.globals["measures"] = tables.MEASURES
    made.globals["gated_measures"] = MEASURES
    return made.get_template("report.html")
