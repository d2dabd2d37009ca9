"""The page of a comparison: all its numbers, the figures, clips of twins, and nothing from elsewhere."""

import os
import re

import numpy as np
import pytest
from comparing import CLOSE, OUTCOMES, csv_of, make_run, refusal, several

from worldsim.data.video import read_video, write_video
from worldsim.experiments import cli


def films(folder, starts: int) -> str:
    """A file of real trials, the first of which were filmed, at another size than the run's."""
    for start in range(starts):
        write_video(folder / f"film-{start}.mp4", np.full((9, 12, 20, 3), 40 * start, np.uint8), 10)
    rows = [f"good,{digit},s{start},{f'film-{start}.mp4' if start < starts else ''}" for start, digit in enumerate(OUTCOMES["good"][1])]
    return "\n".join(["policy,success,start,video", *rows])


def test_a_page_holds_tables_figures_and_clips(tmp_path, capsys):
    run = make_run(tmp_path / "run", task="<b>push</b>")
    real = csv_of(tmp_path / "real.csv", films(tmp_path, 2))
    document, _ = several(tmp_path, capsys, run, "--real", real, f"report={tmp_path / 'page'}")
    page = (tmp_path / "page" / "index.html").read_text()
    (row,) = document["comparisons"][0]["policies"]
    for words in (f"{row['real']['success_rate']:.3f}", "trial layer (95%)", "&lt;b&gt;push&lt;/b&gt;", "task-1-1.mp4", "<svg"):
        assert words in page
    assert "<b>push" not in page
    assert not re.search(r'(src|href)="(?!data:|#|figures/|videos/)', page)
    assert {path.name for path in (tmp_path / "page" / "videos").iterdir()} == {"task-1-1.mp4"}
    frames = list(read_video(tmp_path / "page" / "videos" / "task-1-1.mp4"))
    assert len(frames) == 2
    for form in ("pdf", "png"):
        assert {path.stem for path in (tmp_path / "page" / "figures").glob(f"*.{form}")} == {"scatter-1", "bland-altman-1", "posteriors-1"}


def test_several_tasks_have_one_panel_each(tmp_path, capsys):
    several(tmp_path, capsys, CLOSE, "simpler:google_robot/move_near", f"report={tmp_path / 'page'}")
    page = (tmp_path / "page" / "index.html").read_text()
    assert "One panel per task" in page
    assert page.count('<h2 id="task-') == 2


def test_a_film_that_is_missing_is_refused_in_one_line(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    real = csv_of(tmp_path / "real.csv", "policy,success,start,video\ngood,1,s0,nowhere.mp4\n")
    assert "nowhere.mp4" in refusal(capsys, run, "--real", real, f"report={tmp_path / 'page'}")


@pytest.mark.parametrize("name", ["report", "out"])
def test_help_names_what_is_written(name, capsys):
    from worldsim.experiments import cli

    assert cli.main(["compare", "--help"]) == 0
    assert f"  {name}: str | null" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["out={}/x.json", "report={}", "report={}/page"])
def test_a_file_in_the_way_of_what_is_written_is_told(tmp_path, capsys, place):
    file = tmp_path / "afile"
    file.write_text("kept")
    assert cli.main(["compare", CLOSE, place.format(file)]) == 2
    assert f"{file} is a file" in capsys.readouterr().err
    assert file.read_text() == "kept"


def test_a_pipe_is_not_replaced_by_the_numbers(tmp_path, capsys):
    os.mkfifo(pipe := tmp_path / "pipe")
    assert cli.main(["compare", CLOSE, f"out={pipe}"]) == 2
    assert "is a device or a pipe" in capsys.readouterr().err
    assert pipe.is_fifo()
