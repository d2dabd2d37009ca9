"""`worldsim import`: recordings of a real robot to episode files, with a table of what came through. Knows no format itself."""

from functools import partial
from typing import TYPE_CHECKING, Any

from worldsim.errors import InvalidInput

if TYPE_CHECKING:
    from rich.table import Table

    from worldsim.data.import_summary import ImportSummary
    from worldsim.experiments.schema import ImportConfig


def run(config: "ImportConfig") -> "ImportSummary":
    """Import as configured, print what came through and where it is."""
    from rich.console import Console
    from tqdm import tqdm

    from worldsim.data.importing import default_folder, import_recordings

    source = _source(config)
    out = config.out or default_folder(config.path)
    options = {key: getattr(config, key) for key in ("limit", "camera", "resize", "views")}
    progress = partial(tqdm, desc="import", unit=" episodes", leave=False, disable=None)
    summary = import_recordings(source, config.path, out, progress=progress, **options)
    console = Console(highlight=False)
    console.print(_counts(summary), _ranges(summary))
    for dropped in summary.dropped:
        count = f" ({dropped.episodes} episodes)" if dropped.episodes > 1 else ""
        console.print(f"dropped {dropped.split}/{dropped.episode}{count}: {dropped.reason}", markup=False, soft_wrap=True)
    for view in summary.views_left_out:
        about = f"camera {view.camera} left out of {view.episodes} episodes, {view.first} first"
        console.print(f"{about}: {view.reason}", markup=False, soft_wrap=True)
    console.print(f"episode files and summary.json: {summary.out}", markup=False, soft_wrap=True)
    return summary


def _source(config: "ImportConfig") -> str | dict[str, Any]:
    """The format's name, with what it is told besides."""
    options = config.options or {}
    if not isinstance(options, dict):
        raise InvalidInput(f"options is {options}, expected a mapping; type options='{{rate: 5}}'")
    told = options | ({"actions": config.actions} if config.actions else {})
    return {"name": config.source} | told if told else config.source


def _counts(summary: "ImportSummary") -> "Table":
    from rich.table import Table

    table = Table(title=f"import of {summary.path}", title_justify="left", show_header=False)
    splits = ", ".join(f"{name} {count}" for name, count in summary.splits.items())
    rows = {
        "episodes": f"{summary.episodes} ({splits})",
        "already there": str(summary.kept),
        "repeated": f"{summary.repeated}" + (" (splits are not independent)" if summary.repeated else ""),
        "dropped": str(summary.lost),
        "frames": f"{summary.frames} of {summary.size[0]} x {summary.size[1]}",
        "cameras": _cameras(summary),
        "frames per second": f"{summary.fps:g}" + (" (assumed: the recordings do not say)" if summary.fps_assumed else ""),
        "actions": _meaning(summary),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _cameras(summary: "ImportSummary") -> str:
    named = ", ".join(f"{name} (frames)" if name in summary.frames_from else name for name in summary.cameras)
    missing = sorted({view.camera for view in summary.views_left_out})
    left_out = f"; {', '.join(missing)} left out of some episodes, see below" if missing else ""
    return named + ("; others not kept" if summary.views == "none" and len(summary.cameras) > 1 else left_out)


def _meaning(summary: "ImportSummary") -> str:
    action = summary.action
    known = f"{action.frame} frame, rotation {action.rotation}, gripper {action.gripper}"
    return "meaning unknown: nobody has described this data set's" if summary.action_unknown else known


def _ranges(summary: "ImportSummary") -> "Table":
    from rich.table import Column, Table

    table = Table(Column("action", no_wrap=True), *("min", "1 %", "mean", "99 %", "max", "std"), title="actions", title_justify="left")
    for each in summary.statistics:
        table.add_row(each.name, *(f"{value:.3g}" for value in (each.min, each.q01, each.mean, each.q99, each.max, each.std)))
    return table
