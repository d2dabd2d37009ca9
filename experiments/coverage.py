"""How often intervals hold the truth and tests raise false alarms, by simulation. Not a verb; docs/statistics.md shows what it prints.

It asks the functions that users call, and knows nothing of how they work.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

from worldsim.statistics import (
    Estimate,
    Interval,
    anytime_interval,
    betting_interval,
    clopper_pearson_interval,
    jeffreys_interval,
    prediction_powered_bounds,
    prediction_powered_rate,
    prediction_powered_wilson,
    wilson_interval,
)
from worldsim.statistics.exact_region import rejected
from worldsim.statistics.sequential import log_e_process

LEVEL = 0.95
REAL = (0.1, 0.3, 0.5, 0.7, 0.9)
SIMULATED = {  # as far off as a correlation of 0.8 allows; somewhat off; not at all
    "far off": (0.147, 0.4, 0.395, 0.6, 0.853),
    "biased": (0.14, 0.35, 0.5, 0.65, 0.86),
    "unbiased": REAL,
}
PHIS, TRIALS = (0.3, 0.5, 0.8), (20, 50)
RATES = np.linspace(0.02, 0.98, 49)  # true rates for one-policy intervals
LOOKS = range(5, 101, 5)
EQUAL, APART = (0.1, 0.5, 0.9), (0.8, 0.5)
MOST_PAIRS = 200
Rate = Callable[[Sequence[float], Sequence[float], Sequence[float]], Estimate]


FORMS: dict[str, Rate] = {"normal": prediction_powered_rate, "wilson": prediction_powered_wilson, "bounds": prediction_powered_bounds}


class Powered(NamedTuple):
    """Coverage over panels, its least and most at one rate of the panel, and the mean width beside that of Wilson's on real trials only."""

    coverage: float
    least: float
    most: float
    width: float
    wilson_width: float


def paired_outcomes(
    rates: tuple[float, float], phi: float, shape: tuple[int, ...], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Real and simulated outcomes 0/1, float of this shape, of these two rates and this correlation."""
    real, simulated = rates
    both = real * simulated + phi * np.sqrt(real * (1 - real) * simulated * (1 - simulated))
    cells = np.array([both, real - both, simulated - both, 1 - real - simulated + both])
    kind = np.searchsorted(np.cumsum(cells / cells.sum()), generator.random(shape), side="right")
    return np.isin(kind, (0, 1)).astype(float), np.isin(kind, (0, 2)).astype(float)


def prediction_powered(rate: Rate, simulated: Sequence[float], phi: float, trials: int, extra: int, panels: int, seed: int) -> Powered:
    """Simulated panels of five policies, each with `trials` paired and `extra` simulated episodes."""
    generator = np.random.default_rng(seed)
    held, width, wilson = np.zeros((len(REAL), panels)), 0.0, 0.0
    for place, rates in enumerate(zip(REAL, simulated, strict=True)):
        real, paired = paired_outcomes(rates, phi, (panels, trials), generator)
        more = (generator.random((panels, extra)) < rates[1]).astype(float)
        for panel in range(panels):
            _, low, high, _ = rate(real[panel], paired[panel], more[panel])
            held[place, panel] = low <= rates[0] <= high
            width += min(high, 1) - max(low, 0)
            wilson += np.ptp(wilson_interval(real[panel].sum(), trials))
    return Powered(held.mean(), held.mean(axis=1).min(), held.mean(axis=1).max(), width / held.size, wilson / held.size)


def one_look(interval: Callable[[int, int], Interval], trials: int) -> tuple[float, float]:
    """Mean and least probability over true rates that the interval holds the rate after a fixed number of trials; exact."""
    low, high = np.array([interval(k, trials) for k in range(trials + 1)]).T
    chances = binom.pmf(np.arange(trials + 1)[:, None], trials, RATES)  # [k, rate]
    covered = np.sum(chances * ((low[:, None] <= RATES) & (high[:, None] >= RATES)), axis=0)
    return float(covered.mean()), float(covered.min())


def every_look(interval: Callable[[int, int], Interval], rate: float, runs: int, seed: int) -> float:
    """How often the interval holds the rate at every look, of twenty looks five trials apart."""
    outcomes = np.random.default_rng(seed).random((runs, max(LOOKS))) < rate
    held = np.ones(runs, dtype=bool)
    for trials in LOOKS:
        low, high = np.array([interval(k, trials) for k in range(trials + 1)]).T
        k = outcomes[:, :trials].sum(axis=1)
        held &= (low[k] <= rate) & (rate <= high[k])
    return float(held.mean())


def betting(trials: int, runs: int, seed: int) -> tuple[float, float]:
    """Coverage and mean width of the betting interval for partial credit that is 0, 1/3, 2/3 or 1."""
    chances = np.array([0.4, 0.2, 0.1, 0.3])
    credit = np.random.default_rng(seed).choice(np.arange(4) / 3, p=chances, size=(runs, trials))
    low, high = np.array([betting_interval(row, LEVEL) for row in credit]).T
    mean = chances @ np.arange(4) / 3
    return float(np.mean((low <= mean) & (mean <= high))), float(np.mean(high - low))


def decided(rates: tuple[float, float], runs: int, seed: int) -> tuple[float, float]:
    """How often the sequential comparison decides within 200 pairs, and the median number of pairs of the runs that decide."""
    generator = np.random.default_rng(seed)
    first, second = ((generator.random((runs, MOST_PAIRS)) < rate).astype(float) for rate in rates)
    crossed = np.maximum(log_e_process(first, second), log_e_process(second, first)) >= np.log(2 / (1 - LEVEL))
    ends = crossed.any(axis=1)
    return float(ends.mean()), float(np.median(crossed.argmax(axis=1)[ends] + 1)) if ends.any() else np.nan


def peeked(rate: float, runs: int, seed: int) -> float:
    """How often Barnard's test, asked at each of twenty looks, calls two equal policies different at least once."""
    generator = np.random.default_rng(seed)
    first, second = (np.cumsum(generator.random((runs, MOST_PAIRS)) < rate, axis=1) for _ in range(2))
    alarms = [rejected(n, n, round(1 - LEVEL, 9))[first[:, n - 1], second[:, n - 1]] for n in LOOKS]
    return float(np.any(alarms, axis=0).mean())


def powered_lines(panels: int, extra: int, seed: int) -> Iterator[str]:
    """The table of prediction-powered intervals."""
    few = max(1, panels // 20)
    yield f"Prediction-powered: {panels} panels ({few} for bounds) of 5 policies with real rates {_listed(REAL)};"
    yield f"simulated {_listed(SIMULATED['far off'])} where far off, {_listed(SIMULATED['biased'])} where biased;"
    yield f"n pairs, {extra} extra simulated episodes, level {LEVEL:.0%}."
    yield "Saved: of the real trials that Wilson's interval needs to be as narrow, the share spared; and the same in theory."
    yield "form    simulator  phi   n  coverage (by rate)       width  Wilson's  saved  theory"
    for (name, rate), (kind, simulated) in product(FORMS.items(), SIMULATED.items()):
        for phi, trials in product(PHIS, TRIALS):
            found = prediction_powered(rate, simulated, phi, trials, extra, few if name == "bounds" else panels, seed)
            saved = max(0.0, 1 - (found.width / found.wilson_width) ** 2)
            row = f"{name:7} {kind:9} {phi:4.1f} {trials:3}    {found.coverage:6.1%} ({found.least:.1%}-{found.most:.1%})"
            yield f"{row:53} {found.width:.3f}     {found.wilson_width:.3f}   {saved:4.0%}    {phi**2 * extra / (trials + extra):4.0%}"


def looking_lines(runs: int, seed: int) -> Iterator[str]:
    """The table of intervals for one policy."""
    intervals = {
        "Wilson": wilson_interval,
        "Clopper-Pearson": clopper_pearson_interval,
        "Jeffreys": jeffreys_interval,
        "anytime": anytime_interval,
    }
    yield f"One policy. One look: exact, mean and least over {len(RATES)} true rates. Every look: {runs} runs, {len(LOOKS)} looks up to"
    yield f"{max(LOOKS)} trials, at true rates {_listed(EQUAL)}; the share of runs whose intervals all hold the rate:"
    yield "interval           n = 20          n = 50        every look"
    for name, interval in intervals.items():
        once = "".join("   {:6.1%} {:6.1%}".format(*one_look(interval, trials)) for trials in TRIALS)
        always = "".join(f" {every_look(interval, rate, runs, seed):6.1%}" for rate in EQUAL)
        yield f"{name:15}{once}   {always}"
    for trials in TRIALS:
        yield "betting, partial credit, n = {}: {:.1%}, mean width {:.3f}".format(trials, *betting(trials, runs, seed))


def stopping_lines(runs: int, seed: int) -> Iterator[str]:
    """The table of comparisons that are looked at as they go."""
    yield f"Two policies, {runs} runs of up to {MOST_PAIRS} pairs, stopped as soon as one seems better at level {LEVEL:.0%}:"
    yield "                        equal rates   false alarms of the e-process (every pair)   of Barnard's test (twenty looks)"
    for rate in EQUAL:
        alarms = decided((rate, rate), runs, seed)[0]
        yield f"                        {rate:11.1f}   {alarms:40.1%}   {peeked(rate, runs, seed):32.1%}"
    found, pairs = decided(APART, runs, seed)
    yield f"rates {_listed(APART)}: the e-process decides in {found:.1%}, at a median of {pairs:.0f} pairs"


def main(words: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m worldsim.experiments.coverage", description=__doc__.splitlines()[0])
    parser.add_argument("--panels", type=int, default=2000, help="simulated panels, and runs, of every setting (2000)")
    parser.add_argument("--extra", type=int, default=200, help="extra simulated episodes of each policy (200)")
    parser.add_argument("--seed", type=int, default=0, help="of all draws (0)")
    given = parser.parse_args(words)
    if given.panels < 1 or given.extra < 1:
        parser.error(f"--panels {given.panels} --extra {given.extra}: give at least 1 of both")
    tables = powered_lines(given.panels, given.extra, given.seed), looking_lines(given.panels, given.seed)
    for table in (*tables, stopping_lines(given.panels, given.seed)):
        for line in table:
            print(line, flush=True)
        print()


def _listed(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)


if __name__ == "__main__":
    main()
