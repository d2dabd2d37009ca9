"""A comparison as one HTML page that needs nothing but what lies beside it. Its tables are those of the terminal; it computes nothing."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

from worldsim.data.files import written_whole
from worldsim.data.video import read_video, write_video
from worldsim.report import figures
from worldsim.report.comparison_tables import average_tables, comparison_tables
from worldsim.report.comparison_tasks import tasks_tables
from worldsim.report.environment import environment
from worldsim.report.plots import CAPTIONS, Plot, write_plot
from worldsim.report.terminal import words

HEIGHT = 256  # pixels of a clip, about
FPS = 5.0
LONGEST = 3000  # frames of a film that are read
MULTIPLES = "One panel per task; tasks are never pooled. Bars are Wilson intervals."


@dataclass(frozen=True)
class Twins:
    """A real trial's film, and the frames uint8 `[T, H, W, 3]` of the imagined episode from the same start."""

    policy: str
    start: str
    film: Path
    imagined: np.ndarray
    fps: float | None


def write_comparison_page(document: Mapping[str, Any], twins: Sequence[Sequence[Twins]], folder: Path) -> Path:
    """Write FOLDER/index.html with figures/ and videos/ beside it; `twins` are of each comparison in turn. Returns the page's path.

    Raises:
        DamagedFile: a film that is missing or cannot be read.
    """
    compared = document["comparisons"]
    several = _multiples(compared, folder) if len(compared) > 1 else None
    tasks = [_task(place, *each, folder) for place, each in enumerate(zip(compared, twins, strict=True), start=1)]
    averages = [table for each in document["averages"] for table in average_tables(each, document["level"])]
    overview = [*(tasks_tables(compared) if several else []), *averages]
    page = (
        environment()
        .get_template("comparison.html")
        .render(overview=list(map(cells, overview)), multiples=several, tasks=tasks, notes=document["notes"])
    )
    path = folder / "index.html"
    with written_whole(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return path


def _task(place: int, comparison: Mapping[str, Any], twins: Sequence[Twins], folder: Path) -> dict[str, Any]:
    """Everything that the page shows of one task."""
    title = comparison["simulated"]["recipe"]["task"] or comparison["simulated"]["source"]
    return {
        "title": f"{title}, {comparison['setting']}" if comparison["setting"] else title,
        "tables": [cells(table) for table in comparison_tables(comparison)],
        "plots": list(_plots(place, _rows(comparison), folder)),
        "clips": [_clip(f"task-{place}-{number}", each, folder) for number, each in enumerate(twins, start=1)],
        "warnings": comparison["warnings"],
        "notes": comparison["notes"],
    }


def _rows(comparison: Mapping[str, Any]) -> list[figures.Row]:
    each = comparison["policies"]
    return [figures.Row(r["name"], *(figures.Estimate.of(r[s]) for s in ("simulated", "real")), r["real"]["letters"] or "") for r in each]


def _plots(place: int, rows: Sequence[figures.Row], folder: Path) -> Iterator[Plot]:
    drawn = {"scatter": figures.scatter, "bland-altman": figures.bland_altman, "posteriors": figures.posteriors}
    for name, draw in drawn.items():
        yield write_plot(f"{name}-{place}", draw(rows), CAPTIONS[name], folder)


def _multiples(compared: Sequence[Mapping[str, Any]], folder: Path) -> Plot:
    panels = {f"{each['simulated']['recipe']['task']} {each['setting'] or ''}".strip(): _rows(each) for each in compared}
    return write_plot("tasks", figures.small_multiples(panels), MULTIPLES, folder)


def cells(table: Table) -> dict[str, Any]:
    """A table of the terminal as plain words: title, headings, rows, caption."""
    columns = [[words(cell) for cell in column.cells] for column in table.columns]
    return {
        "title": words(table.title),
        "headings": [words(column.header) for column in table.columns],
        "rows": list(zip(*columns, strict=True)),
        "caption": words(table.caption).split("\n"),
    }


def _clip(name: str, twins: Twins, folder: Path) -> dict[str, str]:
    """Write videos/NAME.mp4, the real trial at the left and the imagined one at the right, both from beginning to end."""
    film = list(islice(read_video(twins.film), LONGEST))
    imagined = figures.enlarge(twins.imagined, HEIGHT)
    chosen = np.linspace(0, len(film) - 1, len(imagined)).round().astype(int)
    height = imagined.shape[1]
    width = max(1, round(film[0].shape[1] * height / film[0].shape[0]))
    real = np.stack([np.asarray(Image.fromarray(film[index]).resize((width, height))) for index in chosen])
    both = figures.side_by_side(real, imagined, height)
    both = both[:, :, : both.shape[2] - both.shape[2] % 2]  # the codec wants even sides
    write_video(folder / "videos" / f"{name}.mp4", both, float(twins.fps or FPS))
    poster = base64.b64encode(figures.png_of(both[-1])).decode()
    return {"policy": twins.policy, "start": twins.start, "video": f"videos/{name}.mp4", "poster": f"data:image/png;base64,{poster}"}
