"""Which imagined episodes people should label to calibrate a judge: as many of its successes as of its failures, each policy in its share.

An episode's ticket is a hash of seed and id, and of every stratum those with the lowest tickets are drawn: a run that grows, or a larger
sample, keeps nearly all that were drawn before (permanent random numbers; Ohlsson 1995).
"""

from collections.abc import Sequence

import numpy as np

from worldsim.data.files import digest_of
from worldsim.report.outcomes import Outcome


def draw_sample(outcomes: Sequence[Outcome], count: int, seed: int) -> list[Outcome]:
    """At most `count` imagined episodes that the judge could tell, sorted by id, so that their order says nothing of the verdicts.

    Half are successes by the judge's verdict, half failures; where there are too few of one, more of the other. Within a verdict each
    policy has its share (largest remainders), so that the sample of a verdict stands for all its episodes without weights.
    """
    sides = judged_sides(outcomes)
    first = min(count // 2, len(sides[0]))
    second = min(count - first, len(sides[1]))
    sizes = (min(count - second, len(sides[0])), second)
    drawn = [each for side, size in zip(sides, sizes, strict=True) for each in _drawn(side, size, seed)]
    return sorted(drawn, key=lambda outcome: outcome.episode)


def judged_sides(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """The imagined episodes that the judge called a success, and those that it called a failure."""
    imagined = [outcome for outcome in outcomes if outcome.world == "imagined"]
    success, failure = ([outcome for outcome in imagined if outcome.verdict.success is said] for said in (True, False))
    return success, failure


def _drawn(side: Sequence[Outcome], size: int, seed: int) -> list[Outcome]:
    strata: dict[str, list[Outcome]] = {}
    for outcome in sorted(side, key=lambda outcome: digest_of(["calibrate", seed, outcome.episode])):
        strata.setdefault(outcome.policy, []).append(outcome)
    names = sorted(strata)
    counts = shares([len(strata[name]) for name in names], size)
    return [outcome for name, taken in zip(names, counts, strict=True) for outcome in strata[name][:taken]]


def shares(sizes: Sequence[int], count: int) -> list[int]:
    """`count` dealt out in proportion to `sizes` `[K]`, whole numbers by largest remainders; none exceeds its size if count does not."""
    if not sum(sizes):
        return [0] * len(sizes)
    quotas = np.array(sizes) * count / sum(sizes)
    whole = np.floor(quotas + 1e-9).astype(int)
    for place in np.argsort(whole - quotas, kind="stable")[: count - whole.sum()]:
        whole[place] += 1
    return whole.tolist()
