"""Imports point down, never up and never sideways on floor 4; and the code keeps to its size. Both are read with `ast`."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("envs", "policies", "verifiers")  # floor 4: no doors between them
FOLDERS = ("worldsim", *ROOMS, "experiments")
FLOORS = {
    "worldsim.types": 0,
    "worldsim.actions": 0,
    "worldsim.registry": 0,
    "worldsim.checking": 0,
    "worldsim.options": 0,
    "worldsim.errors": 0,
    "worldsim.diffusion": 1,
    "worldsim.geometry": 1,
    "worldsim.data": 1,
    "worldsim.statistics": 1,
    "worldsim.metrics": 1,
    "worldsim.models": 2,
    "worldsim.simulator": 3,
    "worldsim.wrappers": 3,
    "worldsim.evaluate": 3,
    "worldsim.load": 3,
    "worldsim.training": 3,
    "worldsim.posttraining": 3,
    "worldsim.report": 3,
    "worldsim.trust": 3,
    "worldsim.labelling": 3,
    "worldsim.serving": 3,
    "worldsim.playing": 3,
    **{f"worldsim.{room}": 4 for room in ROOMS},
    "worldsim.experiments": 5,
}
LONGEST_FUNCTION, LONGEST_FILE, MOST_PARAMETERS = 80, 300, 8


@dataclass(frozen=True)
class Source:
    """One file, under the name that it is imported by."""

    path: Path
    module: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))


def sources(root: Path) -> list[Source]:
    """Every Python file of the five folders below `root`."""
    found = []
    for path in sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        parts = parts if parts[0] == "worldsim" else ("worldsim", *parts)
        found.append(Source(path.relative_to(root), ".".join(parts).removesuffix(".__init__"), path.read_text(encoding="utf-8")))
    return found


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, wherever it stands. `from a import b` is `a.b`; a relative import begins with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def part_of(name: str) -> str:
    """The folder or file that a dotted name belongs to: `worldsim.models.cache.Ring` to `worldsim.models`."""
    return ".".join(name.split(".")[:2])


def fault(importer: str, name: str) -> str | None:
    """What is wrong with `importer` importing `name`, or None."""
    top, here, there = name.split(".")[0], part_of(importer), part_of(name)
    if not top:
        return "is relative; write worldsim...."
    if top in FOLDERS[1:]:
        return f"makes a second copy; write worldsim.{name}"
    if FLOORS.get(here, 0) == 0 and top not in ("worldsim", "numpy") and top not in sys.stdlib_module_names:
        return "is neither numpy nor the standard library, all that floor 0 knows"
    if there not in FLOORS or here == "worldsim.experiments":  # another package, or a public name of worldsim/__init__.py
        return None
    if FLOORS[there] > FLOORS.get(here, 0):
        return f"points up, from floor {FLOORS.get(here, 0)} to floor {FLOORS[there]}"
    if FLOORS[there] == 4 and there != here:
        return "points sideways on floor 4"
    return None


def faults(files: list[Source]) -> list[str]:
    """One line for each file without a floor and each import that the floors forbid."""
    homeless = [f"{file.path} has no floor" for file in files if file.module != "worldsim" and part_of(file.module) not in FLOORS]
    return homeless + [
        f"{file.path}:{line} {name} {reason}"
        for file in files
        for line, name in imported(file.tree)
        if (reason := fault(file.module, name))
    ]


def oversized(files: list[Source]) -> list[str]:
    """One line for each file and function above the bar. `self` and `cls` are no parameters."""
    found = [f"{file.path} has {lines} lines" for file in files if (lines := file.text.count("\n")) > LONGEST_FILE]
    for file in files:
        for node in ast.walk(file.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                count = len(names) - (names[:1] in (["self"], ["cls"]))
                if lines > LONGEST_FUNCTION or count > MOST_PARAMETERS:
                    found.append(f"{file.path}:{node.lineno} {node.name} has {lines} lines and {count} parameters")
    return found


def planted(folder: Path, name: str, text: str) -> list[Source]:
    """The sources of a repository that holds one file."""
    path = folder / name
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return sources(folder)


def test_imports_point_down():
    assert faults(sources(ROOT)) == []


def test_every_folder_is_read():
    read = {part_of(file.module) for file in sources(ROOT)}
    assert read >= {"worldsim.types", "worldsim.data", "worldsim.envs", "worldsim.policies", "worldsim.verifiers", "worldsim.experiments"}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("worldsim/data/a.py", "import worldsim.models.causal", "points up"),
        ("worldsim/models/a.py", "from worldsim import simulator", "points up"),
        ("worldsim/evaluate.py", "def f():\n    from worldsim.envs.drawer import truth", "points up"),
        ("worldsim/types.py", "from worldsim.data.files import sha256_of", "points up"),
        ("worldsim/__init__.py", "from worldsim.evaluate import evaluate", "points up"),
        ("worldsim/errors.py", "import torch", "standard library"),
        ("envs/a.py", "from worldsim.policies import random", "points sideways"),
        ("verifiers/a.py", "from worldsim.experiments.schema import VERBS", "points up"),
        ("experiments/a.py", "from envs.drawer import truth", "second copy"),
        ("worldsim/load.py", "import policies", "second copy"),
        ("policies/a.py", "from .random import RandomPolicy", "relative"),
        ("worldsim/attic.py", "import numpy", "has no floor"),
    ],
)
def test_a_planted_import_is_found(tmp_path, name, text, reason):
    found = faults(planted(tmp_path, name, text))
    assert len(found) == 1
    assert reason in found[0]
    assert name in found[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("worldsim/models/a.py", "import torch\nfrom worldsim.diffusion.noise import keyed\nfrom worldsim.types import WorldSpec"),
        ("worldsim/data/a.py", "from worldsim.statistics import wilson_interval"),
        ("envs/a.py", "from worldsim import load_world_model\nfrom worldsim.envs.drawer import truth"),
        ("experiments/a.py", "from worldsim.envs import drawer\nfrom worldsim.policies import random"),
    ],
)
def test_an_import_that_points_down_is_accepted(tmp_path, name, text):
    assert faults(planted(tmp_path, name, text)) == []


def test_functions_and_files_keep_to_their_size():
    assert oversized(sources(ROOT)) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("def f():\n" + "    x = 1\n" * 79, 0),
        ("def f():\n" + "    x = 1\n" * 80, 1),
        ("class A:\n    def f(self, a, b, c, d, *, e, f, g, h): ...\n", 0),
        ("async def f(a, b, c, d, e, /, f, g, *, h, i): ...\n", 1),
        ("x = 1\n" * 300, 0),
        ("x = 1\n" * 301, 1),
    ],
)
def test_the_size_bar_counts_right(tmp_path, text, count):
    assert len(oversized(planted(tmp_path, "envs/a.py", text))) == count
