"""Names to parts: a mapping with did-you-mean. It knows no part itself; installed packages bring them.

A part is a dataclass with a `build` method. Packages announce the modules that register parts through the entry-point
group `worldsim.plugins`; worldsim's own parts come through the same door.
"""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from worldsim.checking import check_options
from worldsim.errors import InvalidInput, UnknownName


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The end of an error line: the closest known name, or all of them.

    >>> did_you_mean("convergd", ["begin", "converged"])
    'did you mean "converged"?'
    """
    known = sorted(known)
    close = difflib.get_close_matches(given, known, n=1)
    return f'did you mean "{close[0]}"?' if close else f"known: {', '.join(known) or 'none'}"


@cache
def load_plugins() -> None:
    """Import every module announced under `worldsim.plugins`, once per process."""
    for point in entry_points(group="worldsim.plugins"):
        point.load()


class Registry:
    """The parts of one kind (policy, verifier, ...) by name. Registering a name twice is an error."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[type], type]:
        """Class decorator: the decorated config dataclass answers to `name`."""

        def add(part: type) -> type:
            if name in self._parts:
                raise InvalidInput(f'{self.kind} "{name}" is registered twice: {self._parts[name]} and {part}')
            self._parts[name] = part
            return part

        return add

    def names(self) -> list[str]:
        """All registered names, sorted."""
        load_plugins()
        return sorted(self._parts)

    def __contains__(self, name: str) -> bool:
        load_plugins()
        return name in self._parts

    def part(self, name: str) -> Callable[..., Any]:
        """The config dataclass that answers to `name`.

        Raises:
            UnknownName: no part has this name.
        """
        if name not in self:
            raise UnknownName(f'unknown {self.kind} "{name}"; {did_you_mean(name, self._parts)}')
        return self._parts[name]

    def config(self, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """The config dataclass of `name`, filled with `options`.

        Raises:
            UnknownName: no part has this name, or the part has no such option.
            InvalidInput: an option is missing or of another type.
        """
        part, options = self.part(name), dict(options or {})
        fields = [field.name for field in dataclasses.fields(part)]
        for key in options:
            if key not in fields:
                raise UnknownName(f'{self.kind} "{name}" has no option "{key}"; {did_you_mean(key, fields)}')
        check_options(part, options, f'{self.kind} "{name}"')
        return part(**options)


WORLD_MODELS = Registry("world model")
POLICIES = Registry("policy")
ADAPTERS = Registry("adapter")  # what stands between a policy and a world: converters of actions, chunks, a gripper that sticks
VERIFIERS = Registry("verifier")
TASKS = Registry("task")
TRUTHS = Registry("truth")
