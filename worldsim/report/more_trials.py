"""What a few more real trials would buy, for the two policies hardest to tell apart and for the ranking. Knows only joined rows."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from worldsim.report.agreement_layers import counts_of
from worldsim.statistics import MoreTrials, trials_for_difference, what_more_trials_buy

FURTHER = (10, 25, 50)  # more real trials of each policy
WORTH = 0.8  # a chance to separate from which more trials are advised


def more_trials(rows: Sequence[Mapping[str, Any]], level: float) -> dict[str, Any] | None:
    """Expected widths and chances after 0, 10, 25 and 50 more real trials of each policy, and one sentence of advice.

    The policies hardest to tell apart are the neighbours in the real ranking whose real rates are closest, the upper ones of several. For
    the ranking: the mean width over all policies, and how many neighbours are expected to be told apart. None where the real trials of
    some policy are not known.
    """
    counts = counts_of(rows, "real")
    if counts is None or len(rows) < 2:
        return None
    known = {row["real_name"]: each for row, each in zip(rows, counts, strict=True)}
    order = sorted(known, key=lambda name: (-known[name][0] / known[name][1], name))
    successes, trials = zip(*(known[name] for name in order), strict=True)
    rates = [k / n for k, n in zip(successes, trials, strict=True)]
    place = min(range(len(order) - 1), key=lambda i: round(rates[i] - rates[i + 1], 9))
    steps = [_step(more, what_more_trials_buy(successes, trials, more, level), place) for more in (0, *FURTHER)]
    pair = order[place : place + 2]
    return {"pair": pair, "neighbours": len(order) - 1, "steps": steps, "advice": _advice(pair, rates[place : place + 2], steps)}


def _step(more: int, bought: MoreTrials, place: int) -> dict[str, Any]:
    neighbours = [bought.separated[couple] for couple in pairwise(range(len(bought.widths)))]
    return {
        "more": more,
        "pair_width": sum(bought.widths[place : place + 2]) / 2,
        "pair_chance": neighbours[place],
        "ranking_width": sum(bought.widths) / len(bought.widths),
        "ranking_separated": sum(neighbours),
    }


def _advice(pair: Sequence[str], rates: Sequence[float], steps: Sequence[Mapping[str, Any]]) -> str:
    upper, lower = pair
    if steps[0]["pair_chance"] == 1:
        return f"Even {upper} and {lower}, the closest neighbours, are apart already; more real trials only narrow the intervals."
    enough = next((step for step in steps[1:] if step["pair_chance"] >= WORTH), None)
    if enough:
        return (
            f"{enough['more']} more real trials of {upper} and {lower} each would tell them apart in {enough['pair_chance']:.0%} of cases."
        )
    most = steps[-1]
    needed = (
        f"about {trials_for_difference(*rates, WORTH)} each would, if their rates were these" if rates[0] != rates[1] else "call them equal"
    )
    return (
        f"Even {most['more']} more real trials each would tell {upper} from {lower} in only {most['pair_chance']:.0%} of cases; {needed}."
    )
