"""Every judge that has judged a run, side by side: how the ranking moves when the judge changes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from worldsim import statistics
from worldsim.report.outcomes import Outcome, select
from worldsim.report.run_folder import RunFolder
from worldsim.types import Verdict


def judge_rows(run: RunFolder, outcomes: Sequence[Outcome], ranked: Sequence[str]) -> list[dict[str, Any]]:
    """A row for the run's own judge, then one per judge with a scored imagined episode, by name; policies in the order of `ranked`.

    Kendall's tau is between the rates of this judge and of the run's own over the episodes that both scored; r and MMRV are against the
    true rates. A rate is over the episodes that this judge scored, which may be few and chosen (labels of a sample).
    """
    own = run.identity["verifier"]["name"]
    said = {name: run.verdicts(name) for name in [own, *(name for name in run.verifiers() if name != own)]}
    true = {name: _rate(each.verdict for each in select(outcomes, name, "truth")) for name in ranked}
    rows = [_row(name, verdicts, said[own], outcomes, true) for name, verdicts in said.items()]
    return [row for row in rows if row["own"] or row["scored"]]


def _row(
    name: str, verdicts: Mapping[str, Verdict], own: Mapping[str, Verdict], outcomes: Sequence[Outcome], true: Mapping[str, float | None]
) -> dict[str, Any]:
    episodes = {policy: [each.episode for each in select(outcomes, policy, "imagined")] for policy in true}
    rates = {policy: _rate(verdicts.get(each) for each in ids) for policy, ids in episodes.items()}
    shared = {policy: [each for each in ids if _told(verdicts.get(each)) and _told(own.get(each))] for policy, ids in episodes.items()}
    scored = sum(_told(verdicts.get(each)) for ids in episodes.values() for each in ids)
    return {
        "verifier": name,
        "own": verdicts is own,
        "scored": scored,
        "unscored": sum(map(len, episodes.values())) - scored,
        "policies": [{"name": policy, "success_rate": rates[policy], "rank": rank} for policy, rank in _ranks(rates).items()],
        "kendall_to_own": _measure(
            statistics.kendall,
            {policy: _rate(verdicts[each] for each in ids) for policy, ids in shared.items()},
            {policy: _rate(own[each] for each in ids) for policy, ids in shared.items()},
        ),
        "pearson": _measure(statistics.pearson, rates, true),
        "mmrv": _measure(statistics.mmrv, rates, true),
    }


def _told(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.success is not None


def _rate(verdicts: Any) -> float | None:
    known = [verdict.success for verdict in verdicts if _told(verdict)]
    return sum(known) / len(known) if known else None


def _ranks(rates: Mapping[str, float | None]) -> dict[str, float | None]:
    """Ranks from 1, the best; equal rates share their mean rank."""
    known = [policy for policy, rate in rates.items() if rate is not None]
    ranks = dict(zip(known, rankdata(-np.array([rates[policy] for policy in known])).tolist(), strict=True)) if known else {}
    return {policy: ranks.get(policy) for policy in rates}


def _measure(measure: Any, rates: Mapping[str, float | None], other: Mapping[str, float | None]) -> float | None:
    """A measure over the policies that have both rates; None where fewer than two do."""
    both = [policy for policy in rates if None not in (rates[policy], other[policy])]
    if len(both) < 2:
        return None
    return measure(simulated=[rates[policy] for policy in both], real=[other[policy] for policy in both])
