"""Rollouts that must fail, kept as a run inside the run, and how often world model and judge together call one a success.

RUN/probe/ is a run folder whose policies are the kinds of the probe. An imagined episode counts where its true twin failed; where it has
none, it counts if its kind cannot succeed: actions that failed in truth, or a policy that is taken to be unable to.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worldsim.report.outcomes import Outcome, by_start, read_outcomes, select
from worldsim.report.run_folder import CONFIG, RunFolder
from worldsim.statistics import wilson_interval

PROBE = "probe"
TRUTHS = {
    "twin": "the same actions or policy failed in the true world from the same start",
    "recorded": "these very actions failed in truth",
    "assumed": "taken to be unable to succeed; nothing in this run proves it",
}


def probe_path(run: RunFolder) -> Path:
    """Where a run's probe lies, or would lie."""
    return run.path / PROBE


def has_probe(run: RunFolder) -> bool:
    """Whether a probe was begun."""
    return (probe_path(run) / CONFIG).is_file()


def probe_folder(run: RunFolder) -> RunFolder:
    """The probe of a run as a run, judged by the judge that `run` is read with.

    Raises:
        UnknownName: it has none.
    """
    probe = RunFolder(probe_path(run))
    probe.config["identity"]["verifier"] = run.identity["verifier"]
    return probe


def read_probe(run: RunFolder, level: float) -> dict[str, Any] | None:
    """What the probe found, as results.json holds it; None where no probe was run.

    `optimism` is the share of successes among all imagined episodes that must fail and could be judged, over all kinds.
    """
    if not has_probe(run):
        return None
    probe = probe_folder(run)
    outcomes = read_outcomes(probe)
    kinds = [_kind(outcomes, name, facts["truth"], level) for name, facts in probe.config.get("policies", {}).items()]
    return {
        "verifier": run.identity["verifier"]["name"],
        "optimism": _rate(sum(kind["successes"] for kind in kinds), sum(kind["scored"] for kind in kinds), level),
        "kinds": kinds,
        "left_out": dict(probe.config.get("left_out", {})),
    }


def _kind(outcomes: Sequence[Outcome], name: str, truth: str, level: float) -> dict[str, Any]:
    """The false successes of one kind; `not_counted` are its episodes that the truth did not see fail."""
    imagined = by_start(select(outcomes, name, "imagined"))
    twins = by_start(select(outcomes, name, "truth"))
    failed = {key: truth != "twin" or (key in twins and twins[key].verdict.success is False) for key in imagined}
    said = [outcome.verdict.success for key, outcome in imagined.items() if failed[key]]
    scored = [success for success in said if success is not None]
    return {
        "name": name,
        "truth": truth,
        "episodes": len(imagined),
        "not_counted": len(imagined) - len(said),
        "unscored": len(said) - len(scored),
        **_rate(sum(scored), len(scored), level),
    }


def _rate(successes: int, scored: int, level: float) -> dict[str, Any]:
    return {
        "scored": scored,
        "successes": successes,
        "success_rate": successes / scored if scored else None,
        "interval": list(wilson_interval(successes, scored, level)) if scored else None,
    }
