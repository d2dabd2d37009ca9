"""A judge's calibration in a run: how often it errs against labels or the true state, kept in one file, and applied to rates.

RUN/calibration/<judge>.json: {schema_version, verifier, human, state}; each of the last two is a block as `against_human` and
`against_state` give it, or null.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from worldsim import statistics
from worldsim.data.sealed import read_sealed, write_sealed
from worldsim.errors import DamagedFile
from worldsim.report.outcomes import Outcome, Pair
from worldsim.report.run_folder import RunFolder
from worldsim.statistics import Labelled
from worldsim.types import Verdict

CALIBRATION_VERSION = 1
REFERENCES = ("human", "state")  # in the order in which they are preferred: people saw the imagined episodes themselves
FEWEST, FEWEST_OF_A_KIND = 30, 10  # labelled episodes, and true successes and true failures among them, below which a warning stands
ABOUT = {
    "human": "people's labels of imagined episodes of this run, drawn by policy and by the judge's verdict",
    "state": "the true state in this run's true episodes; errors on imagined frames may be more frequent than on these",
}
Case = tuple[Verdict, bool]  # what the judge said, and what is true


def calibration_path(run: RunFolder, verifier: str) -> Path:
    """The file of a judge's calibration."""
    return run.path / "calibration" / f"{quote(verifier, safe='')}.json"


def read_calibration(run: RunFolder, verifier: str) -> dict[str, Any] | None:
    """The whole file of a judge's calibration; None where there is none.

    Raises:
        DamagedFile: it is not of the form that this version writes.
    """
    file = calibration_path(run, verifier)
    if not file.is_file():
        return None
    found = read_sealed(file, "delete it and type worldsim calibrate again")
    if found.get("schema_version") != CALIBRATION_VERSION:
        raise DamagedFile(f"{file} is not of schema version {CALIBRATION_VERSION}; delete it and type worldsim calibrate again")
    return found


def add_calibration(run: RunFolder, verifier: str, block: Mapping[str, Any]) -> Path:
    """Keep a block beside the one against the other reference; the file is written whole. Returns it."""
    held = read_calibration(run, verifier) or dict.fromkeys(REFERENCES)
    blocks = {reference: held.get(reference) for reference in REFERENCES} | {block["against"]: dict(block)}
    path = calibration_path(run, verifier)
    write_sealed(path, {"schema_version": CALIBRATION_VERSION, "verifier": verifier, **blocks})
    return path


def best_block(run: RunFolder, verifier: str) -> dict[str, Any] | None:
    """The block that rates are corrected by: against people, else against the state, one of enough episodes first; None without any."""
    found = read_calibration(run, verifier) or {}
    blocks = [found[reference] for reference in REFERENCES if found.get(reference)]
    return next((block for block in blocks if not block["warnings"]), next(iter(blocks), None))


def corrected_by(block: Mapping[str, Any], successes: int, scored: int, level: float) -> dict[str, Any] | None:
    """A rate freed of the judge's errors, `{success_rate, interval, reason}`; None where no episode was scored."""
    if not scored:
        return None
    counts = block["counts"]
    if block["against"] == "human":
        sides = {side: Labelled(**counts[side]) for side in ("said_success", "said_failure")}
        found = statistics.corrected_rate_by_verdict(successes, scored, **sides, level=level)
    else:
        found = statistics.corrected_rate(successes, scored, **counts, level=level)
    reason = found.reason or _misfit(block, statistics.wilson_interval(successes, scored, level))
    return {"success_rate": found.value, "interval": list(found.interval), "reason": reason}


def _misfit(block: Mapping[str, Any], raw: statistics.Interval) -> str:
    """A line where the judge says "success" less often than its false positive rate allows, or more often than its true positive rate."""
    least, most = block["false_positive_rate"]["interval"], block["true_positive_rate"]["interval"]
    if raw.high >= least[0] and raw.low <= most[1]:
        return ""
    word, rate = ("less", "FPR") if raw.high < least[0] else ("more", "TPR")
    return (
        f"the judge says success {word} often than its {rate} allows; it errs otherwise on this policy, and the interval may be too narrow"
    )


def against_state(cases: Sequence[Case], paired: Sequence[Pair], unscored: int, level: float) -> dict[str, Any]:
    """Error rates from true episodes: what the judge said of their frames, beside their states.

    Args:
        cases: true episodes that both have judged.
        paired: imagined episodes and their true twins: the errors of world model and judge together.
        unscored: true episodes that the judge could not tell.
        level: of all intervals.
    """
    said = [(verdict.success, true) for verdict, true in cases]
    counts = {
        "true_positives": said.count((True, True)),
        "positives": sum(true for _, true in said),
        "false_positives": said.count((True, False)),
        "negatives": sum(not true for _, true in said),
    }
    rates = {
        "true_positive_rate": _share(counts["true_positives"], counts["positives"], level),
        "false_positive_rate": _share(counts["false_positives"], counts["negatives"], level),
    }
    return _block("state", cases, None, level) | {"unscored": unscored, "counts": counts, **rates, "paired": _paired(paired, level)}


def against_human(cases: Sequence[Case], judged: tuple[int, int], unscored: int, level: float) -> dict[str, Any]:
    """Error rates from labels of a sample that was drawn by the judge's verdict.

    Args:
        cases: labelled episodes of the sample.
        judged: how many imagined episodes of the run the judge called a success, and a failure.
        unscored: episodes of the sample that are not labelled, or that people could not tell.
        level: of all intervals.
    """
    said = [(verdict.success, true) for verdict, true in cases]
    sides = {
        name: {"true": said.count((success, True)), "labelled": sum(each == success for each, _ in said), "judged": count}
        for name, success, count in (("said_success", True, judged[0]), ("said_failure", False, judged[1]))
    }
    rates = statistics.judge_rates_by_verdict(**{name: Labelled(**side) for name, side in sides.items()}, level=level)
    weight = {side == "said_success": counts["judged"] / max(counts["labelled"], 1) for side, counts in sides.items()}
    return _block("human", cases, [weight[success] for success, _ in said], level) | {
        "unscored": unscored,
        "counts": sides,
        "true_positive_rate": {"value": rates.true_positive_rate, "interval": list(rates.true_positive_interval)},
        "false_positive_rate": {"value": rates.false_positive_rate, "interval": list(rates.false_positive_interval)},
        "paired": None,
    }


def _block(reference: str, cases: Sequence[Case], weights: Sequence[float] | None, level: float) -> dict[str, Any]:
    true = [each for _, each in cases]
    kappa = statistics.cohen_kappa([verdict.success for verdict, _ in cases], true, level) if cases else None
    curve = statistics.reliability([_probability(verdict) for verdict, _ in cases], true, weights, level=level) if cases else None
    return {
        "against": reference,
        "about": ABOUT[reference],
        "episodes": len(cases),
        "agreement": _share(sum(verdict.success == each for verdict, each in cases), len(cases), level),
        "kappa": {"value": kappa and kappa.value, "interval": kappa and kappa.interval and list(kappa.interval)},
        "ece": curve and curve.ece,
        "brier": curve and curve.brier,
        "bins": [each._asdict() | {"interval": list(each.interval)} for each in curve.bins] if curve else [],
        "warnings": _warnings(true),
    }


def _probability(verdict: Verdict) -> float:
    """How likely the judge found success: what it says itself, where its score is moved so that a threshold lies at one half."""
    return float(verdict.details.get("p", verdict.score))


def _share(part: int, whole: int, level: float) -> dict[str, Any]:
    interval = list(statistics.wilson_interval(part, whole, level)) if whole else None
    return {"value": part / whole if whole else None, "interval": interval}


def _paired(pairs: Sequence[Pair], level: float) -> dict[str, Any]:
    """How often an imagined episode is called a success where its twin failed, and a failure where it succeeded."""
    found = {}
    for name, truth in (("false_success", False), ("false_failure", True)):
        imagined = [pair.imagined.verdict.success for pair in pairs if pair.scored and pair.truth.verdict.success is truth]
        wrong = sum(success is not truth for success in imagined)
        found[name] = {"count": wrong, "of": len(imagined), **_share(wrong, len(imagined), level)}
    return found


def _warnings(true: Sequence[bool]) -> list[str]:
    found = []
    if len(true) < FEWEST:
        found.append(f"Only {len(true)} episodes were compared; below {FEWEST} the numbers say little.")
    for word, count in (("successes", sum(true)), ("failures", len(true) - sum(true))):
        if count < FEWEST_OF_A_KIND:
            found.append(f"Only {count} true {word} were compared; below {FEWEST_OF_A_KIND} the judge's rate on them is hardly known.")
    return found


def state_cases(outcomes: Sequence[Outcome]) -> tuple[list[Case], int]:
    """True episodes that judge and state have both judged, and how many of the others the judge has seen but could not tell."""
    known = [(each.second_opinion, each.verdict.success) for each in outcomes if each.world == "truth" and each.verdict.success is not None]
    asked = [(verdict, true) for verdict, true in known if verdict is not None]
    return [(verdict, true) for verdict, true in asked if verdict.success is not None], sum(v.success is None for v, _ in asked)
