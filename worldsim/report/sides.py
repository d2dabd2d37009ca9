"""The two sides of a comparison, simulated and real, in one form: rates by policy from a run, a published table or a file of trials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worldsim.data.real_results import RealResults
from worldsim.data.references import Measured, Reference
from worldsim.report.recipe import Recipe
from worldsim.statistics import wilson_interval

UNITS = {"tasks": "tasks", "trials_per_task": "trials each"}  # of a reference's protocol, beside what a recipe has a field for
NO_JUDGE = "The judge {} was not checked against any truth in this run: its errors are part of every simulated rate."
USELESS = (
    "The judge {} can hardly tell success from failure: it says success of true failures up to {:.2f} of the time and of true successes "
    "as little as {:.2f} (ends of their intervals); neither raw nor corrected rates rank anything."
)
STOPPING = (
    "Nothing says whether the number of real trials was fixed beforehand; if trials were added until a difference showed, every interval "
    "and p value here is too sure."
)
SEQUENTIAL = "The number of real trials was chosen while looking at their outcomes, so every interval and p value here is too sure."
Outcomes = Mapping[str, Mapping[str, Sequence[int | None]]]  # by policy and start, in order; None where unscored


@dataclass(frozen=True)
class Rate:
    """One policy's success rate, the counts behind it where they are known, and how many further episodes nobody could score.

    `corrected` is the rate freed of its judge's errors, in the words of results.json, where the judge was calibrated.
    """

    rate: float | None
    successes: int | None
    trials: int | None
    unscored: int = 0
    corrected: Mapping[str, Any] | None = None

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
            "corrected": None if self.corrected is None else dict(self.corrected),
        }


@dataclass(frozen=True)
class Side:
    """Where rates come from, the rates by policy, how they came about, and what a reader must be told of them.

    `outcomes` are the single trials, where they are known with their starts; `films` are paths of their recordings, in the same order.
    """

    source: str
    rates: Mapping[str, Rate]
    recipe: Recipe
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    outcomes: Outcomes = field(default_factory=dict)
    films: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    def knows(self, policy: str) -> bool:
        """Whether the policy is there and has a rate: one without a scored episode has none."""
        return policy in self.rates and self.rates[policy].rate is not None

    def listed(self) -> str:
        """The policies in words, those without a rate marked."""
        return ", ".join(name if self.knows(name) else f"{name} (unscored)" for name in self.rates) or "none"


def imagined_side(source: str, results: Mapping[str, Any], rate_hz: float | None, outcomes: Outcomes) -> Side:
    """What a run's policies did in its world model, from its results.json."""
    model, judge = results["world_model"]["name"], results["verifier"]["name"]
    recipe = _run_recipe(results, rate_hz, judge, f"world model {model}, rates over scored episodes")
    rates = {policy["name"]: _of_run(policy) for policy in results["policies"]}
    return Side(source, rates, recipe, *_judged(results), outcomes)


def true_side(source: str, results: Mapping[str, Any], rate_hz: float | None, outcomes: Outcomes) -> Side:
    """What a run's policies did in its true world; empty where it has none."""
    rates = {policy["name"]: _of_run(policy["real"]) for policy in results["policies"] if policy["real"]}
    recipe = _run_recipe(results, rate_hz, "the true state", "rates over scored episodes")
    return Side(f"{source}, its true world", rates, recipe, outcomes=outcomes)


def _run_recipe(results: Mapping[str, Any], rate_hz: float | None, judge: str, about: str) -> Recipe:
    task = results["task"]
    rule = task.get("success_rule", "last_step")  # what a task says that says nothing
    return Recipe(task.get("id"), "one task", rule, task.get("horizon"), rate_hz, task.get("starts"), judge, "fixed", about)


def published_side(reference: Reference, setting: str | None) -> Side:
    """One side of a reference: a simulator's setting, or the robot where `setting` is None."""
    measured = reference.real if setting is None else reference.simulated[setting]
    facts = {key: reference.protocol.get(key) for key in ("horizon", "rate_hz")}
    beside = [f"{value} {UNITS[key]}" for key, value in reference.protocol.items() if key in UNITS]
    meaning = "the robot" if setting is None else f"{setting}: {reference.settings[setting]}"
    averaging, _, what = reference.recipe.partition("; ")
    about = "; ".join([*([what] if what else []), meaning, *beside])
    recipe = Recipe(reference.name, averaging, reference.rule or None, **facts, about=about)
    unmeasured = ", ".join(dict.fromkeys(name for rates in reference.simulated_only.values() for name in rates))
    alone = (f"without a real rate, so of no use for an agreement: {unmeasured}",) if unmeasured else ()
    notes = (*alone, *reference.notes, f"source: {reference.source}") if setting is None else ()
    side = "real" if setting is None else "simulated"
    warnings = (*_off_lattice(reference, measured, side), *((STOPPING,) if setting is None else ()))
    return Side(reference.name, _of_table(reference.policies, measured), recipe, warnings, notes)


def robot_side(source: str, results: RealResults) -> Side:
    """Real results of one's own, from a CSV file."""
    rates = {policy: Rate(successes / trials, successes, trials) for policy, (successes, trials) in results.counts.items()}
    unused = (f"columns and comments of {source} that were not used: {', '.join(results.unused)}",) if results.unused else ()
    recipe = Recipe(task=results.task or None, **results.facts)
    stopping = {"fixed": (), "sequential": (SEQUENTIAL,)}.get(recipe.stopping, (f"{STOPPING} Write # stopping: fixed where it was.",))
    return Side(source, rates, recipe, stopping, unused, results.starts, results.videos)


def _of_run(block: Mapping[str, Any]) -> Rate:
    return Rate(block["success_rate"], block["successes"], block["scored"], block["unscored"], block.get("corrected"))


def _of_table(policies: tuple[str, ...], measured: Measured) -> dict[str, Rate]:
    """Rates of a table; without its counts where they hold half successes, whose sum is no count of trials."""
    halves = any(count is not None and not float(count).is_integer() for count in measured.successes)
    counts = (None,) * len(policies) if halves else measured.successes
    return {policy: Rate(*each) for policy, *each in zip(policies, measured.rates, counts, measured.trials, strict=True)}


def _off_lattice(reference: Reference, measured: Measured, side: str) -> tuple[str, ...]:
    """A warning where a printed rate is no count of the trials that are stated for it."""
    each = zip(reference.policies, measured.rates, measured.successes, measured.trials, strict=True)
    wrong = [f"{policy} {rate:.3f} of {trials}" for policy, rate, count, trials in each if trials and count is None]
    return (f"No whole number of successes gives these {side} rates: {', '.join(wrong)} trials.",) if wrong else ()


def _judged(results: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Warnings where the judge was never checked in this run, or found of little use, and notes that say how often it was right."""
    verifier, block = results["verifier"], results.get("calibration")
    name, share = verifier["name"], verifier["agreement_with_truth"]
    notes = []
    if share is not None:
        low, high = verifier["interval"]
        cases = f"{verifier['judged_true_episodes']} true episodes"
        notes.append(f"the judge {name} says what the truth says in {share:.3f} [{low:.3f}, {high:.3f}] of {cases}")
    if block is None:
        return (() if notes else (NO_JUDGE.format(name),)), tuple(notes)
    notes.append(f"the judge {name} was calibrated on {block['episodes']} episodes against {block['about']}")
    return (*_useless(name, block), *(f"Calibration of {name}: {line}" for line in block["warnings"])), tuple(notes)


def _useless(name: str, block: Mapping[str, Any]) -> tuple[str, ...]:
    """A warning where the judge's two rates cannot be told apart, so that its word carries nothing."""
    right, wrong = (block[key]["interval"] for key in ("true_positive_rate", "false_positive_rate"))
    return () if right is None or wrong is None or right[0] > wrong[1] else (USELESS.format(name, wrong[1], right[0]),)
