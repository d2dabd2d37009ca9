"""`python -m worldsim.experiments.reference docs/reference.md`: every command with its keys, every part with its options, as one page.

Says what the schema, the registries and their docstrings say, and nothing of its own but how a command is typed. Not a verb.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import Field, fields
from pathlib import Path

from worldsim.data.files import written_whole
from worldsim.experiments.help import default_of, type_name, usage, written
from worldsim.experiments.reference_parts import parts_section
from worldsim.experiments.reference_words import anchor, cell, table
from worldsim.experiments.schema import REQUIRED, VERBS, Verb
from worldsim.options import EngineKeys, SamplerKeys

HEAD = """# Reference

Every command with its keys, and every part that has a name. This page is made from the code by
`python -m worldsim.experiments.reference docs/reference.md`; `worldsim VERB --help` says the same of one command.

## How a command is typed

`worldsim VERB key=value ...`. The words in capitals after a verb below may go without their key: `worldsim score RUN` is
`worldsim score run=RUN`. `--key value` says the same as `key=value`, and `--key` the same as `key=true`. A list is `'[a,b]'`; a
part with options is `'{name: NAME, option: value}'`, wherever a key takes `name|mapping`. Quote what your shell would read
otherwise. `--cfg job` prints the resolved configuration and runs nothing.

| exit code | means |
|---|---|
| 0 | done |
| 1 | a failure, in one line: a damaged file, a full disk, a missing package, a run folder of another configuration |
| 2 | a wrong request, in one line: an unknown verb, key or name, a value of the wrong type |
| 130, 143 | interrupted by Ctrl-C or SIGTERM; the same command goes on from what is finished |
"""
SHARED = {SamplerKeys: "How frames are drawn", EngineKeys: "How networks are run"}


def page() -> str:
    """The whole page."""
    verbs = [f"| [`{verb.name}`](#{anchor(f'worldsim {verb.name}')}) | {cell(verb.meaning)} |" for verb in VERBS.values()]
    lines = [HEAD, "## Commands", "", table(("command", "what it does"), verbs)]
    for verb in VERBS.values():
        lines += verb_section(verb)
    lines += ["", "## Keys that several commands share"]
    for config, title in SHARED.items():
        lines += shared_section(config, title)
    return "\n".join([*lines, "", *parts_section()]) + "\n"


def verb_section(verb: Verb) -> Iterator[str]:
    """How a verb is typed, what it does and its own keys; links to those that it shares."""
    own = [field for field in fields(verb.config) if field.name in verb.config.__annotations__]
    yield from ("", f"### worldsim {verb.name}", "", f"`{usage(verb)}`", "", verb.meaning)
    if own:
        yield from ("", table(("key", "takes", "default", "meaning"), map(row, own)))
    links = [f"[{title.lower()}](#{anchor(title)})" for config, title in SHARED.items() if issubclass(verb.config, config)]
    if links:
        yield from ("", f"And the keys of {' and of '.join(links)}.")


def shared_section(config: type, title: str) -> Iterator[str]:
    """Keys that several verbs inherit."""
    verbs = ", ".join(f"`{verb.name}`" for verb in VERBS.values() if issubclass(verb.config, config))
    yield from ("", f"### {title}", "", f"Of {verbs}, and of `gymnasium.make`.", "")
    yield table(("key", "takes", "default", "meaning"), map(row, fields(config)))


def row(field: Field) -> str:
    """One key of a command."""
    default, least = default_of(field), field.metadata["least"]
    takes = type_name(field) + (f", at least {least:g}" if least is not None else "")
    shown = "required" if default == REQUIRED else f"`{written(default)}`"
    return f"| `{field.name.rstrip('_')}` | {cell(takes)} | {cell(shown)} | {cell(field.metadata['meaning'])} |"


def main(words: Sequence[str]) -> None:
    """Print the page, or write it to the file that is named."""
    if not words:
        print(page(), end="")
        return
    with written_whole(Path(words[0])) as aside:
        aside.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
