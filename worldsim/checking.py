"""Options that a user typed, held against the types of a config dataclass. Knows no part."""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from worldsim.errors import InvalidInput

WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", types.NoneType: "null"}


def check_options(part: type, options: Mapping[str, Any], whose: str) -> None:
    """Refuse options that are missing or of another type than the fields of `part`, a dataclass, are annotated with.

    Annotations that say more than numbers, text, lists and mappings are not looked into.

    Raises:
        InvalidInput: with the name of the option, what was given and what is expected.
    """
    for field in dataclasses.fields(part):
        if field.name not in options and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InvalidInput(f"{whose} needs {field.name}; type {{name: NAME, {field.name}: ...}}")
    try:
        hints = typing.get_type_hints(part)
    except NameError:  # annotated with a name that cannot be seen from here
        return
    for key, value in options.items():
        if not fits(value, hints.get(key, Any)):
            raise InvalidInput(f"{whose}: {key} is {value!r}, expected {in_words(hints[key])}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, in which a whole number is a number, a list a sequence, and what is not known is anything."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if hint is float or hint is int:
        return isinstance(value, (int, float) if hint is float else int) and not isinstance(value, bool)
    if hint in WORDS:
        return isinstance(value, hint)
    if origin in (list, tuple, Sequence):
        element = inner[0] if inner else Any
        return isinstance(value, Sequence) and not isinstance(value, str) and all(fits(each, element) for each in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(fits(key, inner[0]) and fits(each, inner[1]) for key, each in value.items())
    return True


def in_words(hint: Any) -> str:
    """A type as a user would say it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(in_words(each) for each in inner)
    if origin in (list, tuple, Sequence):
        return f"a list of {in_words(inner[0])}" if inner and inner[0] is not Any else "a list"
    if origin in (dict, Mapping):
        return f"a mapping from {in_words(inner[0])} to {in_words(inner[1])}"
    return WORDS.get(hint, "something else")
