"""What keys of several commands share. Knows no command."""

from typing import Any

from worldsim.options import option

__all__ = ["CPU_OR_CUDA", "REQUIRED", "SEED", "THREADS", "option", "recipe"]

REQUIRED = "???"  # OmegaConf's mark for a value that the user must give
CPU_OR_CUDA = "cpu, cuda or cuda:1"
SEED = "every draw of the command follows from it"
THREADS = "torch threads; 0 leaves the choice to torch"


def recipe(config: Any) -> dict[str, Any]:
    """What a trained result depends on: every key but where things lie and what they run on."""
    elsewhere = ("data", "out", "init", "autoencoder", "device", "threads", "compile", "checkpointing", "fsdp", "save_seconds")
    return {key: value for key, value in vars(config).items() if key not in elsewhere}
