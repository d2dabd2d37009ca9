"""What this machine has for worldsim, what it lacks and what to type. Measures nothing and changes nothing."""

import ctypes
import ctypes.util
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import worldsim
from worldsim.data.files import sha256_of
from worldsim.errors import WorldsimError
from worldsim.experiments.schema import DoctorConfig

PYTHONS = ((3, 11), (3, 13))
GL_PACKAGES = {"OSMesa": "libosmesa6", "EGL": "libegl1 libegl-mesa0 libgl1-mesa-dri"}
DISK_NEEDED = 5 * 2**30  # bytes: the tested set of packages and a run with its videos
MARKS = {"good": "[green]ok[/]", "note": "[yellow]note[/]", "bad": "[red]missing[/]"}


@dataclass(frozen=True)
class Finding:
    """One line of the table. `state` is good, note (works without it) or bad; `fix` says what to type."""

    what: str
    found: str
    state: str = "good"
    fix: str = ""


def run(config: DoctorConfig) -> None:
    """Print the table.

    Raises:
        WorldsimError: something that every command needs is missing.
    """
    findings = list(examine())
    _show(findings)
    bad = [finding.what for finding in findings if finding.state == "bad"]
    if bad:
        raise WorldsimError(f"missing: {', '.join(bad)}; the last column says what to type")


def examine() -> Iterator[Finding]:
    """All findings, cheap ones first."""
    for check in (_python, _base_packages, _optional_packages, _torch, _bfloat16, _threads, _gl, _disk, _weights):
        yield from check()


def _show(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    columns = [Column(name, overflow="fold") for name in ("", "what", "found", "what to type")]
    table = Table(*columns, title=f"worldsim {worldsim.__version__} on {platform.platform(terse=True)}")
    for finding in findings:
        table.add_row(MARKS[finding.state], escape(finding.what), escape(finding.found), escape(finding.fix))
    Console().print(table)


def _python() -> Iterator[Finding]:
    low, high = PYTHONS
    fits = low <= sys.version_info[:2] <= high
    fix = "" if fits else f"make setup PYTHON=python{high[0]}.{high[1]}"
    yield Finding("python", platform.python_version(), "good" if fits else "bad", fix)


def _requirements() -> list[tuple[str, str | None]]:
    """(package, extra or None) of everything that worldsim's own metadata asks for."""
    found = []
    for line in requires("worldsim") or []:
        name, extra = re.match(r"[\w.-]+", line), re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        found.append((name.group(), extra.group(1) if extra else None))
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _base_packages() -> Iterator[Finding]:
    for package, extra in _requirements():
        if extra is None:
            found = _version(package)
            fix = "" if found else "pip install -c constraints.txt -e ."
            yield Finding(package, found or "not installed", "good" if found else "bad", fix)


def _optional_packages() -> Iterator[Finding]:
    for package, extra in _requirements():
        if extra is not None:
            found = _version(package)
            fix = "" if found else f'pip install -c constraints.txt -e ".[{extra}]"'
            yield Finding(f"{package} ({extra})", found or "not installed", "good" if found else "note", fix)


def _torch() -> Iterator[Finding]:
    if _version("torch") is None:
        return
    import torch

    build = f"CUDA {torch.version.cuda} build" if torch.version.cuda else "CPU build"
    cards = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield Finding("torch build", f"{build}, {', '.join(cards) or 'no GPU'}")


def _bfloat16(cpuinfo: str = "/proc/cpuinfo") -> Iterator[Finding]:
    """Whether the processor multiplies bf16 in hardware; without it bf16 is slower than fp32."""
    if not Path(cpuinfo).exists():
        yield Finding("bf16 on the CPU", "unknown on this system", "note", "precision=fp32")
        return
    flags = set(Path(cpuinfo).read_text(encoding="utf-8").split())
    found = sorted(flags & {"avx512_bf16", "amx_bf16"})
    if found:
        yield Finding("bf16 on the CPU", ", ".join(found))
    else:
        yield Finding("bf16 on the CPU", "no avx512_bf16, no amx_bf16", "note", "precision=fp32, which auto takes here")


def _threads() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = os.environ.get("OMP_NUM_THREADS")
    yield Finding("threads", f"{cores} cores, OMP_NUM_THREADS={limit or 'unset'}")


def _gl(loads: Callable[[str], bool] | None = None) -> Iterator[Finding]:
    """Which off-screen OpenGL libraries load; rendering the true world needs one of them on Linux."""
    if sys.platform != "linux":
        yield Finding("OpenGL", "the system's own")
        return
    loads = loads or _loads
    working = {name for name in GL_PACKAGES if loads(name)}
    for name, packages in GL_PACKAGES.items():
        state = "good" if name in working else "note" if working else "bad"
        fix = "" if name in working else f"apt-get install -y --no-install-recommends {packages}"
        yield Finding(f"OpenGL ({name})", "loads" if name in working else "does not load", state, fix)
    yield Finding("MUJOCO_GL", os.environ.get("MUJOCO_GL", "unset: chosen on the first frame"))


def _loads(name: str) -> bool:
    library = ctypes.util.find_library(name)
    if library is None:
        return False
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(".").free
    enough = free >= DISK_NEEDED
    fix = "" if enough else f"free {_size(DISK_NEEDED - free)} on this disk"
    yield Finding("disk", f"{_size(free)} free here", "good" if enough else "note", fix)


def _weights(folder: Path | None = None) -> Iterator[Finding]:
    """The shipped checkpoints below `folder`, one line each: size, and whether the weights are those that their config names."""
    folder = folder or Path(worldsim.__file__).parent / "weights"
    configs = sorted(folder.rglob("config.json"))
    if not configs:
        yield Finding("shipped weights", f"none in {folder}", "bad", "pip install -c constraints.txt -e . in a full checkout")
    for config in configs:
        name = f"weights {config.parent.relative_to(folder)}"
        model = config.with_name("model.safetensors")
        if model.is_file() and sha256_of(model) == json.loads(config.read_text(encoding="utf-8"))["sha256"]:
            yield Finding(name, _size(model.stat().st_size))
        else:
            yield Finding(name, "missing or damaged", "bad", f"git checkout -- {model}")


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
