"""What is installed: Python, packages beside the tested set, extras, shipped weights. Knows nothing of the machine under them."""

import json
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import worldsim
from worldsim.data.files import sha256_of
from worldsim.errors import INSTALL, install_extra
from worldsim.experiments.findings import Finding, size

PYTHONS = ((3, 11), (3, 13))
NEEDED_EXTRAS = ("mujoco",)  # the demo's true world
USES = {
    "rl": "worldsim train-policy algorithm=ppo",
    "gym": "Gymnasium's classic and MuJoCo environments as true worlds",
    "robotics": "gymnasium-robotics' arms as true worlds, and worldsim evaluate suite=fetch",
    "ray": "worldsim evaluate executor=ray",
    "vid2world": "the authors' checkpoints",
    "rlds": "RLDS recordings and RT-1 policies",
    "lerobot-data": "LeRobot recordings",
    "vlm": "vision-language models as judges",
    "web": "worldsim label and worldsim play",
    "posttrain": "worldsim posttrain trainable=lora",
    "remote": "policies behind a network",
    "test": "the tests",
}


def python() -> Iterator[Finding]:
    """The interpreter."""
    low, high = PYTHONS
    fits = low <= sys.version_info[:2] <= high
    fix = "" if fits else f"make setup PYTHON=python{high[0]}.{high[1]}"
    yield Finding("python", platform.python_version(), "good" if fits else "bad", fix)


def pinned_set(file: Path | None = None) -> dict[str, str]:
    """The versions of constraints.txt by package; empty outside a checkout."""
    file = file or Path(worldsim.__file__).parents[1] / "constraints.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return {name.lower(): pinned for name, equals, pinned in (line.strip().partition("==") for line in lines) if equals}


def base_packages(tested: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """What every command needs, one line each."""
    tested = pinned_set() if tested is None else tested
    for package, extra in _requirements():
        if extra is None:
            found, other = _version(package), _untested([package], tested)
            fix = "" if found and not other else f"{INSTALL} -e ."
            yield Finding(package, other or found or "not installed", "bad" if not found else "note" if other else "good", fix)


def extras(tested: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """The extras, one line each: whole, or what is missing."""
    tested = pinned_set() if tested is None else tested
    by_extra: dict[str, list[str]] = {}
    for package, extra in _requirements():
        if extra is not None:
            by_extra.setdefault(extra, []).append(package)
    for extra, packages in by_extra.items():
        missing, other = [package for package in packages if not _version(package)], _untested(packages, tested)
        fix = install_extra(extra) if missing or other else ""
        if missing:
            state = "bad" if extra in NEEDED_EXTRAS else "optional"
            found = f"without {', '.join(missing)}" + (f"; for {USES[extra]}" if extra in USES else "")
        else:
            state, found = "note" if other else "good", other or ", ".join(f"{package} {_version(package)}" for package in packages)
        yield Finding(f"extra {extra}", found, state, fix)


def weights(folder: Path | None = None) -> Iterator[Finding]:
    """The shipped checkpoints below `folder`, one line each: size, hash, and whether they are those that their config names."""
    folder = folder or Path(worldsim.__file__).parent / "weights"
    configs = sorted(folder.rglob("config.json"))
    if not configs:
        yield Finding("shipped weights", f"none in {folder}", "bad", f"{INSTALL} -e . in a full checkout")
    for config in configs:
        name = f"weights {config.parent.relative_to(folder)}"
        model = config.with_name("model.safetensors")
        found = sha256_of(model) if model.is_file() else None
        if found and found == _promised(config):
            yield Finding(name, f"{size(model.stat().st_size)}, sha256 {found[:12]}")
        else:
            yield Finding(name, f"damaged, sha256 {found[:12]}" if found else "missing", "bad", f"git checkout -- {config.parent}")


def _promised(config: Path) -> str | None:
    try:
        return json.loads(config.read_text(encoding="utf-8"))["sha256"]
    except (ValueError, KeyError, TypeError):
        return None


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


def _untested(packages: list[str], tested: Mapping[str, str]) -> str:
    """Which of these are installed in another version than the tested one; a build as +cpu is none."""
    pairs = [(package, _version(package), tested.get(package.lower())) for package in packages]
    return ", ".join(
        f"{package} {found}, tested with {pinned}" for package, found, pinned in pairs if found and pinned and found.split("+")[0] != pinned
    )
