"""The tutorial for one's own recordings, every command of it, on videos that are made here."""

import json
import shlex
from pathlib import Path

import pytest
from made_videos import write_recordings

from worldsim.experiments import cli

PAGE = Path(__file__).parents[1] / "docs/own-data.md"


def tutorial() -> list[list[str]]:
    """The commands of the page's first block."""
    block = PAGE.read_text(encoding="utf-8").split("```")[1]
    return [shlex.split(line)[1:] for line in block.strip().splitlines()]


@pytest.mark.slow
def test_the_tutorial_leads_from_videos_to_a_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_recordings(Path("recordings/pushes"))
    said = {}
    for command in tutorial():
        assert cli.main(command) == 0, command
        said[command[0]] = said.get(command[0], "") + capsys.readouterr().out
    summary = json.loads(Path("data/pushes/summary.json").read_text())
    assert (summary["episodes"], summary["splits"], summary["dropped"]) == (20, {"train": 16, "validation": 4}, [])
    assert summary["action"]["names"] == ["dx", "dy"]
    assert "actions move the picture as recorded" in said["replay"]
    results = json.loads(Path("runs/pushes/results.json").read_text())
    assert {(p["name"], p["episodes"], p["unscored"]) for p in results["policies"]} == {
        ("pushes", 4, 4),
        ("replay", 4, 4),
        ("random", 4, 4),
    }
    open_loop = results["open_loop"]
    assert open_loop["psnr"][-1] > open_loop["copy_psnr"][-1] + 0.5  # decibels above a picture that stands still
    page = Path("runs/pushes/report/index.html").read_text(encoding="utf-8")
    for name in ("pushes", "replay", "random"):
        assert name in page


def test_every_format_of_the_page_is_registered():
    from worldsim.data.recording import RECORDING_FORMATS

    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `worldsim import")]
    assert {row.split()[3] for row in rows} | {"mp4-json"} == set(RECORDING_FORMATS.names())
