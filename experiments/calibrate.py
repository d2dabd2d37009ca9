"""`worldsim calibrate`: how often a judge errs on the very episodes of a run, against people or against the true state."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldsim.data.files import written_whole
from worldsim.errors import InvalidInput, UnknownName
from worldsim.experiments.schema import CalibrateConfig
from worldsim.labelling.ledger import raters_of
from worldsim.load import load_verifier
from worldsim.registry import did_you_mean
from worldsim.report.calibration import add_calibration, against_human, against_state, calibration_path, state_cases
from worldsim.report.calibration_sample import draw_sample, judged_sides
from worldsim.report.outcomes import Outcome, pairs, read_outcomes
from worldsim.report.results import LEVEL
from worldsim.report.run_folder import RunFolder

if TYPE_CHECKING:
    from rich.console import Console


def run(config: CalibrateConfig) -> None:
    """Calibrate, keep what was found in the run folder, rebuild its results and report, and print the table.

    Against people, the list of episodes that they should label is written first; without labels that is all.

    Raises:
        UnknownName: no such run, or a judge that has not judged it.
        InvalidInput: nothing to compare with.
    """
    from rich.console import Console

    held = RunFolder(config.run)
    verifier = config.verifier or held.identity["verifier"]["name"]
    _check_verifier(held, verifier)
    if verifier.split(":")[0] == config.against:
        raise InvalidInput(f'"{verifier}" cannot be calibrated against itself; name another judge: --verifier NAME')
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    with RunFolder.open(config.run, held.config) as folder:
        own = folder.identity["verifier"]
        folder.config["identity"]["verifier"] = own if verifier == own["name"] else {"name": verifier}
        outcomes = read_outcomes(folder)
        block = _against_state(folder, outcomes) if config.against == "state" else _against_human(folder, outcomes, config, console)
        if block is None:
            return
        path = add_calibration(folder, verifier, block)
        folder.config["identity"]["verifier"] = own
        _show(folder, block, verifier, console)
        console.print(f"calibration: {path}", markup=False, soft_wrap=True)


def _check_verifier(run: RunFolder, verifier: str) -> None:
    if not run.verdicts(verifier):
        known = did_you_mean(verifier, run.verifiers())
        raise UnknownName(
            f'no judge called "{verifier}" has judged {run.path}; {known} To let it judge: worldsim score {run.path} verifier={verifier}'
        )


def _against_state(folder: RunFolder, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    cases, unscored = state_cases(outcomes)
    if not cases:
        raise InvalidInput(
            f"{folder.path} has no true episode that both the state and this judge have judged; run worldsim evaluate with truth=NAME, "
            "or calibrate --against human"
        )
    policies = dict.fromkeys(outcome.policy for outcome in outcomes)
    paired = [pair for policy in policies for pair in pairs(outcomes, policy)]
    return against_state(cases, paired, unscored, LEVEL)


def _against_human(folder: RunFolder, outcomes: Sequence[Outcome], config: CalibrateConfig, console: "Console") -> dict[str, Any] | None:
    """The block, or None where nobody has labelled an episode of the sample yet; the sample is written in any case."""
    sample = draw_sample(outcomes, config.count, config.seed)
    if not sample:
        raise InvalidInput(f"{folder.path} has no imagined episode that the judge could tell, so there is nothing to label")
    path = _write_sample(folder, sample)
    console.print(f"sample: {path} ({len(sample)} episodes; ids only, so raters stay blind)", markup=False, soft_wrap=True)
    labels = _labels(folder, sample, config)
    cases = [(outcome.verdict, success) for outcome, success in zip(sample, labels, strict=True) if success is not None]
    if not cases:
        console.print(
            f"none of them is labelled yet; type: worldsim label {folder.path} episodes={path}, then this command again",
            markup=False,
            soft_wrap=True,
        )
        return None
    success, failure = judged_sides(outcomes)
    return against_human(cases, (len(success), len(failure)), len(sample) - len(cases), LEVEL)


def _write_sample(folder: RunFolder, sample: Sequence[Outcome]) -> Path:
    """The list of episodes to label, one id a line. Nothing in it tells policy or verdict."""
    verifier = folder.identity["verifier"]["name"]
    path = calibration_path(folder, verifier).with_suffix(".episodes.txt")
    with written_whole(path) as aside:
        aside.write_text("".join(f"{outcome.episode}\n" for outcome in sample), encoding="utf-8")
    return path


def _labels(folder: RunFolder, sample: Sequence[Outcome], config: CalibrateConfig) -> list[bool | None]:
    """What people said of each episode: the majority of those who could tell."""
    if not config.labels and not raters_of(folder):
        return [None] * len(sample)
    judge = load_verifier({"name": "human", "labels": config.labels or str(folder.path), "rater": config.rater})
    return [judge.judge([folder.episode(outcome.episode)])[0].success for outcome in sample]


def _show(folder: RunFolder, block: dict[str, Any], verifier: str, console: "Console") -> None:
    """Rebuild results and report, and print what was found with the corrected rates of the run's own judge."""
    from worldsim.report.judge_tables import calibration_table, corrected_table
    from worldsim.report.migration import read_results
    from worldsim.report.page import write_report

    page = write_report(folder)
    console.print(calibration_table(block, verifier))
    results = read_results(folder.path)
    if verifier == results["verifier"]["name"]:
        console.print(corrected_table(results))
    else:
        console.print(f"for rates by this judge: worldsim score {folder.path} verifier={verifier}", markup=False, soft_wrap=True)
    console.print(f"report: {page}", markup=False, soft_wrap=True)
