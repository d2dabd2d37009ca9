"""How the rates of one side came about, field by field, and the refusal to set rates of different recipes beside one another in silence.

Knows no file and computes no rate.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

COMPARED = ("task", "averaging", "rule", "horizon", "rate_hz", "starts")  # a robot has another judge, so judges are only told
MEANINGS = {
    "task": "task {}",
    "averaging": "{}",
    "rule": "success {}",
    "horizon": "{} steps at most",
    "rate_hz": "{:g} Hz",
    "starts": "starts {}",
    "judge": "judged by {}",
    "stopping": "number of trials {}",
}
RULES = {"last_step": "at the last step", "ever": "at any step"}
STOPPING = {"fixed": "fixed beforehand", "sequential": "chosen while looking at the outcomes"}
ACCEPTABLE = (*COMPARED, "trials", "policies")  # the last two are of averages over tasks


@dataclass(frozen=True)
class Recipe:
    """What is known of how rates were measured; None where nobody says.

    Attributes:
        task: name of the task.
        averaging: what was averaged to get a rate: "one task", or the average in words.
        rule: when an episode is a success, "last_step" or "ever".
        horizon: steps at most.
        rate_hz: actions per second.
        starts: name or digest of the set of initial states.
        judge: who or what told success from failure.
        stopping: whether the number of trials was "fixed" beforehand or "sequential".
        about: anything else, for readers.
    """

    task: str | None = None
    averaging: str | None = None
    rule: str | None = None
    horizon: int | None = None
    rate_hz: float | None = None
    starts: str | None = None
    judge: str | None = None
    stopping: str | None = None
    about: str = ""

    def facts(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)

    def words(self) -> str:
        """What is known, in one line."""
        known = [phrase.format(_word(key, value)) for key, phrase in MEANINGS.items() if (value := getattr(self, key)) is not None]
        return "; ".join([*known, *([self.about] if self.about else [])]) or "nothing is said of how it was measured"


def _word(key: str, value: Any) -> Any:
    return {"rule": RULES, "stopping": STOPPING}.get(key, {}).get(value, value)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else value


def check_accepted(accepted: Collection[str]) -> None:
    """Nothing, where every field is one whose difference can be accepted.

    Raises:
        UnknownName: it is not.
    """
    for field in accepted:
        if field not in ACCEPTABLE:
            raise UnknownName(f'accept: no recipe has a field "{field}" that could differ; {did_you_mean(field, ACCEPTABLE)}')


def same_task(one: str, other: str) -> bool:
    """Whether two names mean one task: equal but for case, `-` and `_`, or one the last part of the other, as `a:b/stack` and `stack`."""
    a, b = (name.strip().lower().replace("-", "_").replace(" ", "_") for name in (one, other))
    return a == b or any(long.endswith((f"/{short}", f":{short}")) for long, short in ((a, b), (b, a)) if short)


def compare_recipes(sources: Mapping[str, str], simulated: Recipe, real: Recipe, accepted: Collection[str]) -> tuple[list[str], list[str]]:
    """Warnings for the differences that were accepted, and notes on what only one side states.

    Args:
        sources: where each side comes from, under "simulated" and "real".
        simulated: recipe of one side.
        real: recipe of the other.
        accepted: fields that may differ.

    Raises:
        InvalidInput: both sides state a field, differ, and this was not accepted; the line names the field and both values.
    """
    warnings, silent = [], []
    for field in COMPARED:
        stated = getattr(simulated, field), getattr(real, field)
        if None in stated:
            silent += [(field, side) for side, value in zip(sources, stated, strict=True) if value is None and stated != (None, None)]
        elif not (same_task(*stated) if field == "task" else stated[0] == stated[1]):
            said = " but ".join(f'"{_plain(value)}" in {source}' for value, source in zip(stated, sources.values(), strict=True))
            if field not in accepted:
                typed = ",".join([*(each for each in ACCEPTABLE if each in accepted), field])
                raise InvalidInput(f"recipes differ: {field} is {said}; to compare them all the same type accept='[{typed}]'")
            warnings.append(f"Recipes differ, and this was accepted: {field} is {said}.")
    notes = []
    for side in sources:
        fields = [field for field, where in silent if where == side]
        if fields:
            notes.append(f"{sources[side]} does not say its {', '.join(fields)}, so nothing checks that the {side} side has the other's")
    return warnings, notes + _judges(simulated, real)


def _judges(simulated: Recipe, real: Recipe) -> list[str]:
    if None in (simulated.judge, real.judge) or simulated.judge == real.judge:
        return []
    return [f"success was told by {simulated.judge} in simulation and by {real.judge} in reality"]
