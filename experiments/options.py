"""One key of a command: its default, its meaning and what it accepts. Knows no command."""

from collections.abc import Sequence
from dataclasses import field
from typing import Any

REQUIRED = "???"  # OmegaConf's mark for a value that the user must give
CPU_OR_CUDA = "cpu, cuda or cuda:1"
SEED = "every draw of the command follows from it"
THREADS = "torch threads; 0 leaves the choice to torch"


def option(default: Any, meaning: str, *, choices: Sequence[str] = (), least: float | None = None) -> Any:
    """A field with its line of help, and the words or the smallest number that it accepts (for a list: each element)."""
    metadata = {"meaning": meaning, "choices": tuple(choices), "least": least}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def recipe(config: Any) -> dict[str, Any]:
    """What a trained result depends on: every key but where things lie and what they run on."""
    elsewhere = ("data", "out", "init", "autoencoder", "device", "threads", "compile", "checkpointing", "fsdp", "save_seconds")
    return {key: value for key, value in vars(config).items() if key not in elsewhere}
