"""`worldsim import`: recordings of a real robot to episode files, with a table of what came through. Knows no format itself."""

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from worldsim.data.importing import ImportSummary
    from worldsim.experiments.schema import ImportConfig


def run(config: "ImportConfig") -> "ImportSummary":
    """Import as configured, print what came through and where it is."""
    from rich.console import Console
    from tqdm import tqdm

    from worldsim.data.importing import import_recordings

    progress = partial(tqdm, desc="import", unit=" episodes", leave=False, disable=None)
    summary = import_recordings(
        config.source, config.path, config.out, limit=config.limit, camera=config.camera, size=config.size, progress=progress
    )
    console = Console(highlight=False)
    console.print(_counts(summary), _ranges(summary))
    for dropped in summary.dropped:
        console.print(f"dropped {dropped.split}/{dropped.episode}: {dropped.reason}", markup=False, soft_wrap=True)
    console.print(f"episode files and summary.json: {summary.out}", markup=False, soft_wrap=True)
    return summary


def _counts(summary: "ImportSummary") -> "Table":
    from rich.table import Table

    table = Table(title=f"import of {summary.path}", title_justify="left", show_header=False)
    splits = ", ".join(f"{name} {count}" for name, count in summary.splits.items())
    rows = {
        "episodes": f"{summary.episodes} ({splits})",
        "already there": str(summary.kept),
        "repeated": f"{summary.repeated}" + (" (splits are not independent)" if summary.repeated else ""),
        "dropped": str(len(summary.dropped)),
        "frames": f"{summary.frames} of {summary.size} x {summary.size}, camera {', '.join(summary.cameras)}",
        "frames per second": f"{summary.fps:g}" + (" (assumed: the recordings do not say)" if summary.fps_assumed else ""),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _ranges(summary: "ImportSummary") -> "Table":
    from rich.table import Column, Table

    table = Table(Column("action", no_wrap=True), *("min", "1 %", "mean", "99 %", "max", "std"), title="actions", title_justify="left")
    for each in summary.statistics:
        table.add_row(each.name, *(f"{value:.3g}" for value in (each.min, each.q01, each.mean, each.q99, each.max, each.std)))
    return table
