"""What made a number: the command, the versions and the machine. Knows no command's meaning."""

import os
import platform
import re
import shlex
import subprocess
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import worldsim

PLAIN = re.compile(r"[A-Za-z_./-][\w./-]*")  # text that Hydra reads as itself


def command_of(verb: str, config: Any) -> str:
    r"""The shell command that asks for `config`: every key that is not at its default.

    >>> from worldsim.experiments.schema import EvaluateConfig
    >>> command_of("evaluate", EvaluateConfig(episodes=5, policies=["begin", {"name": "cloned", "path": "my run"}]))
    "worldsim evaluate 'policies=[begin,{name:cloned,path:\"my run\"}]' episodes=5"
    """
    words = ["worldsim", verb]
    for field in fields(config):
        value = getattr(config, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if value != default:
            words.append(f"{field.name}={value if isinstance(value, str) else _hydra(value)}")
    return shlex.join(words)


def _hydra(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_hydra(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_hydra, value)) + "]"
    if isinstance(value, str) and not PLAIN.fullmatch(value):
        return '"' + value.replace('"', '\\"') + '"'
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def versions() -> dict[str, str]:
    """Versions of Python, worldsim and what it computes with, and the commit where worldsim runs from a git checkout."""
    found = {"python": platform.python_version(), "worldsim": worldsim.__version__}
    found |= {package: version(package) for package in ("torch", "numpy")}
    commit = _commit(Path(worldsim.__file__).resolve().parents[1])
    return found | ({"commit": commit} if commit else {})


def _commit(root: Path) -> str | None:
    """The commit checked out at `root`; None where `root` is not the top of a git checkout or there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    return lines[1] if done.returncode == 0 and Path(lines[0]).resolve() == root else None


def machine() -> dict[str, Any]:
    """The processor by name, its cores, the system, and the numbers of threads and versions that speed depends on."""
    import torch

    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(terse=True),
        "torch": torch.__version__,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.MULTILINE) if info.exists() else None
    return found.group(1) if found else platform.processor() or platform.machine()
