"""Real rates with the help of imagined episodes, prediction-powered, and how many real trials that saves. Reads no file."""

from collections.abc import Mapping, Sequence
from typing import Any

from worldsim.report.pairing import Paired
from worldsim.statistics import phi, prediction_powered_wilson, real_trials_saved, wilson_interval

FEWEST = 10  # pairs, below which nobody knows how alike they end
METHOD = (
    "real: Wilson's interval of the paired real trials alone. powered: the rate with the help of their imagined twins and of the imagined "
    "episodes without a twin (extra), which must begin from starts like the others'; Wilson's interval at the trials that this is worth. "
    "trials saved: at this phi, how many fewer real trials would have been as sure."
)


def powered_rates(pairs: Mapping[str, Paired], level: float) -> dict[str, Any]:
    """Plain and prediction-powered real rate of every policy, and one sentence of advice.

    Args:
        pairs: paired and left over outcomes by policy.
        level: of all intervals.
    """
    policies = [{"name": name, **_powered(each, level)} for name, each in pairs.items()]
    return {"policies": policies, "method": METHOD, "advice": _advice(policies)}


def _powered(paired: Paired, level: float) -> dict[str, Any]:
    found = {"pairs": len(paired.real), "extra": len(paired.extra), "reason": None}
    nothing = dict.fromkeys(("plain", "plain_interval", "powered", "powered_interval", "weight", "phi", "trials_saved"))
    if not paired.extra:
        return found | nothing | {"reason": "no imagined episode is left without a real twin; imagine more starts than were tried for real"}
    if len(paired.real) < FEWEST:
        return found | nothing | {"reason": f"of some policies there are fewer than {FEWEST} pairs, too few to know how alike they end"}
    trials, alike = len(paired.real), phi(paired.simulated, paired.real)
    powered = prediction_powered_wilson(paired.real, paired.simulated, paired.extra, level)
    return found | {
        "plain": sum(paired.real) / trials,
        "plain_interval": list(wilson_interval(sum(paired.real), trials, level)),
        "powered": powered.value,
        "powered_interval": [powered.low, powered.high],
        "weight": powered.weight,
        "phi": alike,
        "trials_saved": real_trials_saved(alike or 0.0, trials, len(paired.extra)),
    }


def _advice(policies: Sequence[Mapping[str, Any]]) -> str:
    saved = {each["name"]: each["trials_saved"] for each in policies if each["trials_saved"] is not None}
    if not saved:
        reasons = dict.fromkeys(each["reason"] for each in policies if each["reason"])
        return f"No real trials can be saved yet: {'; '.join(reasons) or 'all real trials of each policy ended alike'}."
    total, trials = sum(saved.values()), sum(each["pairs"] for each in policies if each["name"] in saved)
    if total < 1:
        return f"The imagined episodes save no real trials: they do not end like their twins often enough ({trials} real trials)."
    best = max(saved, key=saved.get)
    most = f"most of them for {best} ({saved[best]:.0f})"
    return f"With the imagined episodes {total:.0f} of the {trials} real trials could have been saved, {most}."
