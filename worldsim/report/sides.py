"""The two sides of a comparison, simulated and real, in one form: rates by policy from a run, a published table or a file of trials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worldsim.data.real_results import RealResults
from worldsim.data.references import Measured, Reference
from worldsim.statistics import wilson_interval

UNITS = {"rate_hz": "Hz", "horizon": "steps at most", "tasks": "tasks", "trials_per_task": "trials each"}  # of a reference's protocol


@dataclass(frozen=True)
class Rate:
    """One policy's success rate, the counts behind it where they are known, and how many further episodes nobody could score."""

    rate: float | None
    successes: int | None
    trials: int | None
    unscored: int = 0

    @property
    def counted(self) -> bool:
        """Whether this is a count of trials, and not an average of tasks or a rate whose count nobody published."""
        return bool(self.trials) and self.successes is not None

    def facts(self, level: float) -> dict[str, Any]:
        """The rate with its Wilson interval, in the words of results.json; the interval is None where the counts are not known."""
        interval = list(wilson_interval(self.successes, self.trials, level)) if self.counted else None
        return {
            "success_rate": self.rate,
            "successes": self.successes,
            "scored": self.trials,
            "unscored": self.unscored,
            "interval": interval,
        }


@dataclass(frozen=True)
class Side:
    """Where rates come from, the rates by policy, what was averaged, and what a reader must be told of them."""

    source: str
    rates: Mapping[str, Rate]
    recipe: str
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def knows(self, policy: str) -> bool:
        """Whether the policy is there and has a rate: one without a scored episode has none."""
        return policy in self.rates and self.rates[policy].rate is not None

    def listed(self) -> str:
        """The policies in words, those without a rate marked."""
        return ", ".join(name if self.knows(name) else f"{name} (unscored)" for name in self.rates) or "none"


def imagined_side(source: str, results: Mapping[str, Any]) -> Side:
    """What a run's policies did in its world model, from its results.json."""
    recipe = f"task {results['task'].get('id', '?')}, world model {results['world_model']['name']}, rates over scored episodes"
    return Side(source, {policy["name"]: _of_run(policy) for policy in results["policies"]}, recipe, *_judged(results["verifier"]))


def true_side(source: str, results: Mapping[str, Any]) -> Side:
    """What a run's policies did in its true world; empty where it has none."""
    rates = {policy["name"]: _of_run(policy["real"]) for policy in results["policies"] if policy["real"]}
    return Side(f"{source}, its true world", rates, f"task {results['task'].get('id', '?')}, rates over scored episodes")


def published_side(reference: Reference, setting: str | None) -> Side:
    """One side of a reference: a simulator's setting, or the robot where `setting` is None."""
    measured = reference.real if setting is None else reference.simulated[setting]
    meaning = "the robot" if setting is None else f"{setting}: {reference.settings[setting]}"
    protocol = ", ".join(f"{value} {UNITS[key]}" for key, value in reference.protocol.items())
    recipe = f"{reference.recipe}; {meaning} ({protocol})"
    unmeasured = ", ".join(dict.fromkeys(name for rates in reference.simulated_only.values() for name in rates))
    alone = (f"{reference.name} has a simulated rate but no real one of {unmeasured}; of no use for an agreement",) if unmeasured else ()
    notes = (*alone, *reference.notes, f"source: {reference.source}") if setting is None else ()
    return Side(reference.name, _of_table(reference.policies, measured), recipe, (), notes)


def robot_side(source: str, results: RealResults) -> Side:
    """Real results of one's own, from a CSV file."""
    rates = {policy: Rate(successes / trials, successes, trials) for policy, (successes, trials) in results.counts.items()}
    unused = (f"columns of {source} that were not used: {', '.join(results.unused)}",) if results.unused else ()
    return Side(source, rates, f"task {results.task or 'not named'}", unused)


def _of_run(block: Mapping[str, Any]) -> Rate:
    return Rate(block["success_rate"], block["successes"], block["scored"], block["unscored"])


def _of_table(policies: tuple[str, ...], measured: Measured) -> dict[str, Rate]:
    """Rates of a table; without its counts where they hold half successes, whose sum is no count of trials."""
    halves = any(count is not None and not float(count).is_integer() for count in measured.successes)
    counts = (None,) * len(policies) if halves else measured.successes
    return {policy: Rate(*each) for policy, *each in zip(policies, measured.rates, counts, measured.trials, strict=True)}


def _judged(verifier: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A warning where the judge was never checked in this run, or a note that says how often it was right."""
    name, share = verifier["name"], verifier["agreement_with_truth"]
    if share is None:
        return (f"The judge {name} was not checked against any truth in this run: its errors are part of every simulated rate.",), ()
    low, high = verifier["interval"]
    cases = f"{verifier['judged_true_episodes']} true episodes"
    return (), (f"the judge {name} says what the truth says in {share:.3f} [{low:.3f}, {high:.3f}] of {cases}",)
