"""What `worldsim --help` and `worldsim VERB --help` print: keys with their types and defaults. Knows nothing of how words are read."""

import json
import re
import textwrap
from dataclasses import MISSING, Field, fields
from typing import Any

from worldsim import __version__
from worldsim.experiments.schema import REQUIRED, VERBS, Verb


def overview() -> str:
    """Every verb with its line of help, and how a command is typed."""
    width = max(map(len, VERBS)) + 2
    rows = [f"  {verb.name:{width}}{verb.meaning}" for verb in VERBS.values()]
    return "\n".join(
        [
            f"worldsim {__version__}: rank robot policies inside a learned video world model.",
            "",
            "usage: worldsim VERB key=value ...",
            "",
            *rows,
            "",
            "worldsim VERB --help     the keys of a verb, with types and defaults",
            "worldsim VERB --cfg job  the resolved configuration, without running it",
            "worldsim --version       the version",
            "",
            "Arguments are key=value: worldsim evaluate policies='[begin,converged]' episodes=50 'run=runs/my run'",
            "--key value says the same as key=value, and --key the same as key=true.",
        ]
    )


def keys_of(verb: Verb) -> str:
    """The keys of a verb, its own first, with types, defaults and meanings."""
    lines = [f"usage: {usage(verb)}", "", verb.meaning]
    for field in sorted(fields(verb.config), key=lambda field: field.name not in verb.config.__annotations__):  # shared ones last
        default = default_of(field)
        shown = "required" if default == REQUIRED else f"default {written(default)}"
        lines += [
            "",
            f"  {field.name}: {type_name(field)} ({shown})",
            textwrap.fill(field.metadata["meaning"], 100, initial_indent=" " * 6),
        ]
    return "\n".join(lines)


def usage(verb: Verb) -> str:
    """How a verb is typed, with the keys that may go without their names."""
    choices = {field.name: "|".join(field.metadata["choices"]) for field in fields(verb.config)}
    places = "".join(f" {choices[place] or place.upper()}{' ...' * (place == verb.gathers)}" for place in verb.positional)
    return f"worldsim {verb.name}{places} key=value ..."


def type_name(field: Field) -> str:
    """What a key takes: its choices, or its type as a user would say it."""
    if field.metadata["choices"]:
        return "|".join(field.metadata["choices"]) + ("|null" if field.type == str | None else "")
    return type_in_words(field.type).replace("any", "name|mapping")


def type_in_words(kind: Any) -> str:
    """A type as a user would say it."""
    plain = isinstance(kind, type) and not hasattr(kind, "__args__") and kind is not Any
    name = re.sub(r"\b(typing|collections\.abc)\.", "", kind.__name__ if plain else str(kind))
    for said, meant in (("None", "null"), ("Any", "any"), ("Sequence", "list"), ("Mapping", "mapping"), ("dict", "mapping")):
        name = name.replace(said, meant)
    return name


def default_of(field: Field) -> Any:
    """The default of a dataclass's field, REQUIRED where it has none."""
    if callable(field.default_factory):
        return field.default_factory()
    return REQUIRED if field.default is MISSING else field.default


def written(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, str):
        return value if value.isprintable() and value else json.dumps(value)
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
