"""What a suite is: evaluations that belong together, each by what it changes. Values only; runs nothing."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from worldsim.errors import InvalidInput

KNOWN = "known"


@dataclass
class Axis:
    """One thing that is changed by steps in the true world, everything else as it was.

    Attributes:
        meaning: what it is, in words.
        unit: of the amounts.
        neutral: the amount that changes nothing.
        amounts: the steps.
    """

    meaning: str = ""
    unit: str = ""
    neutral: float = 0.0
    amounts: list[float] = field(default_factory=list)


@dataclass
class Suite:
    """Evaluations that belong together.

    Attributes:
        about: what it asks, in a sentence.
        truth: the true world whose options the axes are, by name or as a mapping with `name` and further options.
        axes: by the name of the option; `make.g` is the key g of the option `make`.
        cases: keys of `worldsim evaluate` by the name of a case that lies on no axis.
        made_by: what to type where folders that the cases name are not there.
    """

    about: str = ""
    truth: Any = ""
    axes: dict[str, Axis] = field(default_factory=dict)
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    made_by: str = ""


class Case(NamedTuple):
    """One evaluation: its name, the axis it lies on, how far, and the keys that it sets."""

    name: str
    axis: str
    amount: float
    keys: dict[str, Any]

    @property
    def folder(self) -> str:
        """Of its run."""
        return self.name.replace(" ", "-")


def cases_of(suite: Suite) -> list[Case]:
    """The known world first, then every step of every axis, then the cases on none.

    Raises:
        InvalidInput: axes without the world whose options they are, amounts that are no numbers, or names that are no folders of their own.
    """
    if suite.axes and not suite.truth:
        raise InvalidInput("the suite has axes and names no truth; write truth: drawer")
    for name, axis in suite.axes.items():
        if name == "name" or not axis.amounts or not all(map(math.isfinite, axis.amounts)):
            raise InvalidInput(f"axis {name} has amounts {axis.amounts}, expected an option of the truth and finite numbers")
    if not isinstance(suite.truth, str | Mapping):
        raise InvalidInput(f"the suite's truth is {suite.truth}, expected a name or a mapping; write truth: {{name: drawer, size: 64}}")
    cases = list(_cases(suite))
    folders = Counter(case.folder for case in cases)
    for case in cases:
        if folders[case.folder] > 1:
            raise InvalidInput(f'several cases would lie in a folder "{case.folder}"; give each a name or an amount of its own')
        if case.folder[:1] in ("", ".") or "/" in case.folder or not case.folder.isprintable():
            raise InvalidInput(f"case {case.name!r} cannot be the name of a folder; leave out slashes and a dot in front")
    return cases


def changed(truth: str | Mapping[str, Any], option: str, amount: float) -> dict[str, Any]:
    """A truth, or one of its options that is a mapping, with that option at that amount."""
    known = {"name": truth} if isinstance(truth, str) else dict(truth)
    key, inside, rest = option.partition(".")
    return known | {key: changed(known.get(key) or {}, rest, amount) if inside else amount}


def _cases(suite: Suite) -> Iterator[Case]:
    if suite.axes:
        yield Case(KNOWN, "", 0.0, {"truth": suite.truth})
    for name, axis in suite.axes.items():
        for amount in axis.amounts:
            if amount != axis.neutral:
                yield Case(f"{name} {amount:g}", name, amount, {"truth": changed(suite.truth, name, amount)})
    for name, keys in suite.cases.items():
        yield Case(name, "", 0.0, dict(keys))
