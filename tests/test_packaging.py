"""What is in the repository is in the wheel: packages, data files, version. A missing package works in a checkout and nowhere else."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import worldsim

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
DATA_SUFFIXES = (".xml", ".yaml", ".html", ".js", ".css")


def folder_of(package: str) -> Path:
    """The folder of a package, by the longest prefix in `package-dir`."""
    prefixes = [name for name in SETUPTOOLS["package-dir"] if f"{package}.".startswith(f"{name}.")]
    longest = max(prefixes, key=len)
    return ROOT / SETUPTOOLS["package-dir"][longest] / package[len(longest) :].strip(".").replace(".", "/")


def packages_on_disk() -> list[str]:
    found = []
    for name, folder in SETUPTOOLS["package-dir"].items():
        for init in (ROOT / folder).rglob("__init__.py"):
            found.append(".".join((name, *init.parent.relative_to(ROOT / folder).parts)))
    return sorted(found)


def data_files() -> list[Path]:
    """Files that the code reads beside itself, in any folder of code."""
    files = [path for folder in SETUPTOOLS["package-dir"].values() for path in (ROOT / folder).rglob("*")]
    return sorted(path for path in files if path.suffix in DATA_SUFFIXES)


def test_the_packages_are_the_folders_with_an_init():
    assert sorted(SETUPTOOLS["packages"]) == packages_on_disk()


def test_every_python_file_lies_in_a_package():
    folders = {folder_of(package) for package in SETUPTOOLS["packages"]}
    strays = [path for folder in SETUPTOOLS["package-dir"].values() for path in (ROOT / folder).rglob("*.py") if path.parent not in folders]
    assert strays == []


@pytest.mark.parametrize(
    ("package", "pattern"), [(package, each) for package, found in SETUPTOOLS["package-data"].items() for each in found]
)
def test_a_data_pattern_matches_files(package, pattern):
    assert [path for path in folder_of(package).glob(pattern) if path.is_file()], f"{package}: nothing matches {pattern}"


def test_what_is_to_be_installed_is_said_in_one_way():
    """Of extras that there are, and with the tested versions of everything else."""
    named, otherwise = set(), []
    for package in SETUPTOOLS["packages"]:
        for path in folder_of(package).glob("*.py"):
            text = path.read_text(encoding="utf-8")
            named |= set(re.findall(r"install_extra\([\"']([^\"']+)[\"']\)", text))
            otherwise += [f"{path.name}: {line}" for line in re.findall(r".*pip install (?!-c constraints\.txt).*", text)]
    assert "rl" in named
    assert named <= PROJECT["project"]["optional-dependencies"].keys()
    assert otherwise == []


def test_every_data_file_is_matched_by_a_pattern():
    matched = {path for package, found in SETUPTOOLS["package-data"].items() for each in found for path in folder_of(package).glob(each)}
    assert [path for path in data_files() if path not in matched] == []


def test_the_version_is_said_once():
    assert PROJECT["project"]["version"] == worldsim.__version__


def test_the_constraints_pin_every_dependency():
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    extras = PROJECT["project"]["optional-dependencies"]
    asked = [*PROJECT["project"]["dependencies"], *(each for found in extras.values() for each in found)]
    assert {each.split(">=")[0] for each in asked} <= pinned


@pytest.mark.slow
def test_a_wheel_holds_code_and_data(tmp_path):
    source = tmp_path / "source"
    for folder in SETUPTOOLS["package-dir"].values():
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(tmp_path), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    wheel = next(tmp_path.glob("worldsim-*.whl"))
    held = set(zipfile.ZipFile(wheel).namelist())
    expected = [path for folder in SETUPTOOLS["package-dir"].values() for path in (ROOT / folder).rglob("*.py")] + data_files()
    names = {
        relative if (relative := path.relative_to(ROOT).as_posix()).startswith("worldsim/") else f"worldsim/{relative}" for path in expected
    }
    assert names - held == set()
    assert not [name for name in held if name.startswith(("envs/", "policies/", "verifiers/", "experiments/"))]
