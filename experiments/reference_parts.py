"""The part of the reference that lists registered parts with their options, as their dataclasses and docstrings say. Builds no part."""

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import Field, fields, is_dataclass

from worldsim.data.recording import RECORDING_FORMATS
from worldsim.experiments.help import default_of, type_in_words, written
from worldsim.experiments.options import REQUIRED
from worldsim.experiments.reference_words import anchor, cell, table
from worldsim.experiments.schema_making import ImportConfig
from worldsim.load import KINDS, shipped_names
from worldsim.registry import ADAPTERS, POLICIES, TASKS, TRUTHS, VERIFIERS, WORLD_MODELS, Registry

HOW = {
    "world model": "Where a key takes a world model: a shipped one, or the folder of a checkpoint. A package may register more.",
    "policy": "For `policies=` and `policy=`: a shipped one, the folder of a checkpoint (which `cloned` reads), or one of these.",
    "adapter": "Between a policy and a world, in `adapters:` of a policy, nearest to the policy first.",
    "verifier": "For `verifier=`: a shipped one, the folder of a checkpoint (which `classifier` reads), or one of these.",
    "task": "For `task=`, besides a folder of recorded episodes or a file of starts.",
    "truth": "For `truth=`.",
    "feedback": "For `feedback=` of `worldsim posttrain`.",
    "recording format": "For `worldsim import FORMAT FOLDER`; what follows stands in `options=`, but for `path`, `camera` and `limit`.",
}
PLURAL = {"policy": "Policies", "feedback": "Feedback"}


def parts_section() -> Iterator[str]:
    """Every registry with its parts, then the options that several parts share."""
    from worldsim.posttraining.feedback import FEEDBACK

    shared: dict[type, list[str]] = {}
    yield "## Parts"
    for registry in (WORLD_MODELS, POLICIES, ADAPTERS, VERIFIERS, TASKS, TRUTHS, FEEDBACK, RECORDING_FORMATS):
        yield from ("", f"### {PLURAL.get(registry.kind, registry.kind.capitalize() + 's')}", "", HOW[registry.kind])
        if registry.kind in KINDS:
            yield from ("", f"Shipped: {', '.join(f'`{name}`' for name in shipped_names(KINDS[registry.kind]))}.")
        yield from _registered(registry, shared)
    for base, names in shared.items():
        yield from ("", f"### {_title(base)}", "", f"Of {', '.join(f'`{name}`' for name in names)}. {_summary(base)}")
        yield from _options(base, fields(base))


def _registered(registry: Registry, shared: dict[type, list[str]]) -> Iterator[str]:
    """The parts of worldsim itself: what else is installed or was registered by hand is not ours to list."""
    parts = {name: part for name in registry.names() if (part := registry.part(name)).__module__.startswith("worldsim.")}
    keys = {field.name for field in fields(ImportConfig)} if registry is RECORDING_FORMATS else set()
    for name, part in parts.items():
        yield from ("", f"**`{name}`** {cell(_summary(part))}")
        bases = [base for base in part.__mro__[1:] if is_dataclass(base) and base not in parts.values()]
        for base in bases:
            shared.setdefault(base, []).append(name)
        yield from _options(part, [field for field in _own(part, bases) if field.name not in keys])
        if bases:
            yield from ("", f"And the {' and the '.join(f'[{_title(base).lower()}](#{anchor(_title(base))})' for base in bases)}.")


def _options(part: type, options: Sequence[Field]) -> Iterator[str]:
    meanings = _meanings(part)
    if options:
        yield from ("", table(("option", "type", "default", "meaning"), [_row(field, meanings) for field in options]))


def _own(part: type, bases: Sequence[type]) -> list[Field]:
    """The options that a dataclass adds to those of its bases, or gives another default."""
    inherited = {field.name: default_of(field) for base in bases for field in fields(base)}
    return [field for field in fields(part) if field.name not in inherited or inherited[field.name] != default_of(field)]


def _row(field: Field, meanings: dict[str, str]) -> str:
    default = default_of(field)
    shown = "required" if default == REQUIRED else f"`{written(default)}`"
    return f"| `{field.name}` | {cell(type_in_words(field.type))} | {cell(shown)} | {cell(meanings.get(field.name, ''))} |"


def _summary(part: type) -> str:
    """What a docstring says before its sections."""
    return _typed(re.split(r"\n\n(?:Attributes|Raises|Args):", inspect.getdoc(part) or "")[0])


def _meanings(part: type) -> dict[str, str]:
    """What docstrings say of each option, under Attributes, those of the part before those of what it is made from."""
    found: dict[str, str] = {}
    for each in reversed(part.__mro__):
        section = re.search(r"\nAttributes:\n(.*?)(?:\n\n|\Z)", inspect.cleandoc(each.__dict__.get("__doc__") or ""), re.DOTALL)
        for names, meaning in re.findall(r"^    (\w[\w, ]*): (.*(?:\n {8,}.*)*)", section[1] if section else "", re.MULTILINE):
            found |= dict.fromkeys(names.split(", "), _typed(meaning))
    return found


def _typed(text: str) -> str:
    """Words of a docstring as one who types would say them: None is null."""
    return re.sub(r"\bNone\b", "null", " ".join(text.split()))


def _title(base: type) -> str:
    """A class's name as words: `RemoteOptions` is `Remote options`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", base.__name__).capitalize()
    return words if words.endswith("options") else f"{words} options"
