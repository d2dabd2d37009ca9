"""The trees that pages draw are the folders that are there, the index of docs/ names every page, and links lead to files."""

import re
import tomllib

import pytest
from pages import BLOCKS, NAMES, ROOT
from test_floors import FLOORS

PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
TREE = next(block for block in BLOCKS if block.page == "README.md" and block.language == "text").text.splitlines()
FLOOR_BLOCK = next(block for block in BLOCKS if block.page == "CONTRIBUTING.md" and block.language == "text").text.splitlines()
SOURCES = ("envs", "policies", "verifiers", "experiments")  # folders that stand at the top and import as worldsim.NAME


def paths_of(line: str) -> list[str]:
    """The paths that a line begins with, before two blanks; those after the first stand beside it."""
    first, *rest = re.split(r"\s{2,}", line.strip())[0].split()
    beside = first.rpartition("/")[0] if not first.endswith("/") else first.rstrip("/").rpartition("/")[0]
    return [first, *(f"{beside}/{name}".lstrip("/") for name in rest)]


def folder_of(package: str) -> str:
    """Where a package lies: `worldsim.envs.drawer` is envs/drawer."""
    parts = package.split(".")
    return "/".join(parts[1:] if parts[1:2] and parts[1] in SOURCES else parts)


@pytest.mark.parametrize("line", TREE, ids=lambda line: line.split()[0])
def test_what_the_tree_names_is_there(line):
    folder = ROOT / paths_of(line)[0]
    for path in paths_of(line):
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path
    said = re.split(r"\s{2,}", line.strip(), maxsplit=1)[1]
    for name in re.findall(r"(?<![\w/])([a-z_0-9]+)/(?!\w)", said.replace("docs/README.md", "")):
        assert (folder / name).is_dir(), f"{folder.name}/{name}"


@pytest.mark.parametrize("package", [package for package in PACKAGES if package != "worldsim"])
def test_a_package_stands_in_the_tree(package):
    folder = folder_of(package)
    lines = {path.rstrip("/"): line for line in TREE for path in paths_of(line)}
    place = folder
    while place not in lines:
        place = place.rpartition("/")[0]
        assert place, f"{folder}/ is not in the tree of README.md"
    assert place == folder or re.search(rf"\b{folder.rpartition('/')[2]}/", lines[place]), f"{folder}/ is not in the line of {place}/"


def test_the_floors_of_the_page_are_those_that_are_checked():
    drawn = {}
    for line in FLOOR_BLOCK:
        floor, paths = line.split(maxsplit=1)
        for name in re.findall(r"(?<!\w)(?:worldsim/)?([a-z_]+)(?:/|\.py)", paths):
            drawn[f"worldsim.{name}"] = int(floor)
    assert drawn == FLOORS


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([\w-]+\.md)\)", index)
    assert sorted(linked) == sorted({page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"})


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files(name):
    page = ROOT / name
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)):
        assert target.startswith(("http://", "https://")) or (page.parent / target).exists(), target
