"""Prompts: versioned files that say what a model is told, how it replies, and how it is best asked. Knows no model and no frames.

A file is YAML with
- `name` and `version` (a whole number, raised when the text changes its meaning);
- `reply`: word, final_line or subtasks, the form of the reply, which decides how it is read;
- `settings`: what frames, stride, both_orders, samples, temperature and max_tokens are unless asked for otherwise;
- `text`, with {pictures}, {task}, {rubric} and {options} where those go.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.registry import did_you_mean
from worldsim.verifiers.vlm.text import quoted, shown

REPLIES = ("word", "final_line", "subtasks")
SETTINGS = ("frames", "stride", "both_orders", "samples", "temperature", "max_tokens")
PLACES = ("pictures", "task", "rubric", "options")
KEYS = ("name", "version", "reply", "settings", "text")
LONGEST_LINE = 400  # characters of a line of the rubric
YES, NO, UNSURE = "yes", "no", "cannot tell"


@dataclass(frozen=True)
class Prompt:
    """What a model is told. `sha256` is that of the file's bytes; it is part of what identifies a verifier and a cached answer."""

    name: str
    version: int
    reply: str
    settings: Mapping[str, Any]
    text: str
    sha256: str

    @property
    def facts(self) -> dict[str, Any]:
        """What identifies it, as JSON."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256}

    def filled(self, task: str, rubric: Sequence[str], pictures: int, options: Sequence[str]) -> str:
        """The text for one question. The task is somebody else's words: it is quoted, and what looks like a place in it stays as it is."""
        lines = [f"{number}. {shown(line, most=LONGEST_LINE)}" for number, line in enumerate(rubric, start=1)]
        kind = "The sub-tasks are:" if self.reply == "subtasks" else "It counts as done only if all of this holds:"
        values = {
            "pictures": "1 picture" if pictures == 1 else f"{pictures} pictures, in the order of time",
            "task": quoted(task),
            "rubric": "\n".join([kind, *lines]) if lines else "",
            "options": ", ".join(options),
        }
        return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), self.text).strip()


def shipped_prompts() -> list[str]:
    """Names of the prompts that come with worldsim, sorted."""
    return sorted(path.name.removesuffix(".yaml") for path in _folder().iterdir() if path.name.endswith(".yaml"))


def load_prompt(name: str) -> Prompt:
    """A prompt by its shipped name, or from a file of one's own.

    Raises:
        UnknownName: neither.
        DamagedFile: a file that is no prompt; the line says what is wrong.
    """
    names = shipped_prompts()
    file = _folder() / f"{name}.yaml" if name in names else Path(name)
    if not file.is_file():
        raise UnknownName(f'unknown prompt "{name}" (no such name, no such file); {did_you_mean(str(name), names)}')
    data = file.read_bytes()
    try:
        found = yaml.safe_load(data.decode("utf-8"))
        problem = _problem(found)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = f"it is not YAML ({str(error).splitlines()[0]})"
    if problem:
        raise DamagedFile(f"prompt {name}: {problem}; compare it with a shipped one")
    settings = found.get("settings") or {}
    return Prompt(found["name"], found["version"], found["reply"], settings, found["text"], hashlib.sha256(data).hexdigest())


def ordered_options() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The options in both orders: yes first, then no first; "cannot tell" stays last."""
    return (YES, NO, UNSURE), (NO, YES, UNSURE)


def _folder() -> Path:
    return Path(str(files("worldsim.verifiers.vlm"))) / "prompts"


def _problem(found: Any) -> str | None:
    """Why this is no prompt; None where it is one."""
    if not isinstance(found, dict) or not {"name", "version", "reply", "text"} <= found.keys() <= set(KEYS):
        return f"expected a mapping with {', '.join(KEYS)}"
    if not isinstance(found["name"], str) or type(found["version"]) is not int or not isinstance(found["text"], str):
        return "expected a name, a whole number as version and a text"
    if found["reply"] not in REPLIES:
        return f"reply is {found['reply']}, expected one of {', '.join(REPLIES)}"
    if missing := [place for place in PLACES if f"{{{place}}}" not in found["text"]]:
        return f"its text has no {{{missing[0]}}}"
    settings = found.get("settings") or {}
    if not isinstance(settings, dict) or (unknown := [key for key in settings if key not in SETTINGS]):
        return f"settings may have {', '.join(SETTINGS)}" + (f", not {unknown[0]}" if isinstance(settings, dict) else "")
    return None


def refuse_rubric(prompt: Prompt, rubric: Sequence[Any]) -> None:
    """Stop where the rubric is none, or the prompt asks for one.

    Raises:
        InvalidInput: with what to type.
    """
    if not isinstance(rubric, list | tuple) or not all(isinstance(line, str) and line.strip() for line in rubric):
        raise InvalidInput(f"rubric is {rubric}, expected a list of lines; type rubric: [the drawer is shut, the gripper is open]")
    if long := [line for line in rubric if len(line) > LONGEST_LINE]:
        raise InvalidInput(f"a line of the rubric has {len(long[0])} characters, expected at most {LONGEST_LINE}; split it")
    if prompt.reply == "subtasks" and not rubric:
        raise InvalidInput(f'prompt "{prompt.name}" asks sub-task by sub-task; type rubric: [the can is held, the can is on the plate]')
