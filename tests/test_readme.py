"""What the README and the docs say is run: python blocks whole, `worldsim` commands as far as their keys and types."""

import re
import shlex
from pathlib import Path

import pytest

from worldsim.experiments.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of a page that carry this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every `worldsim VERB key=value` line of the unnamed code blocks, without its comment."""
    lines = [line.split(" #")[0].strip() for page in PAGES for block in blocks(page, "") for line in block.splitlines()]
    return [line for line in lines if line.startswith("worldsim ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("command", commands())
def test_a_command_is_understood(command: str, capsys: pytest.CaptureFixture) -> None:
    assert main([*shlex.split(command)[1:], "--cfg", "job"]) == 0, capsys.readouterr().err


def test_there_are_commands_to_check() -> None:
    assert len(commands()) > 5
