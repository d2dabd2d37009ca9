"""Measured video quality for people: a table, a film strip and curves over the frames of a clip. Knows nothing of how it was measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldsim.data.files import write_json, written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

DIGITS = {"psnr": 2, "fvd": 1, "fid": 2}
EVERY = 4  # frames between those of a film strip
CURVES = (("psnr", "PSNR (dB)"), ("ssim", "SSIM"))


def quality_table(numbers: dict[str, Any]) -> "Table":
    """One row per metric: the model with its interval over clips, copying, and what was scored."""
    from rich.table import Table

    protocol = numbers["protocol"]
    way = {"ar": "frame by frame", "nar": "all together"}[protocol["mode"]]
    about = ", actions shuffled" if numbers["shuffled_actions"] else ""
    title = f"{protocol['name']}: {numbers['clips']} clips, {protocol['given']} given + {protocol['predicted']} predicted {way}{about}"
    table = Table(title=title)
    for heading in ("metric", "model", "95 % over clips", "copying", "frames scored"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for metric, found in numbers["metrics"].items():
        digits = DIGITS.get(metric, 4)
        interval = f"{found['low']:.{digits}f} to {found['high']:.{digits}f}" if "low" in found else ""
        name = f"{metric.upper()} ({found['unit']})" if found["unit"] else metric.upper()
        table.add_row(name, f"{found['value']:.{digits}f}", interval, f"{found['copy']:.{digits}f}", _spans(found["frames"]))
    return table


def physics_table(numbers: dict[str, Any]) -> "Table":
    """One row per measure of how things move: the model beside a second real take (ceiling) and the last given frame held (floor)."""
    from rich.table import Table

    table = Table(title=f"{numbers['protocol']['name']}: how things move, {numbers['clips']} clips")
    for heading in ("measure", "model", "95 % over clips", "second take", "copying", "better"):
        table.add_column(heading, justify="left" if heading in ("measure", "better") else "right")
    for name, found in numbers["physics"].items():
        words = name.replace("_", " ") + (f" ({found['unit']})" if found["unit"] else "")
        cells = [_short(found[key]) for key in ("value", "low", "high", "ceiling", "floor")]
        interval = f"{cells[1]} to {cells[2]}" if found["low"] is not None else ""
        table.add_row(words, cells[0], interval, cells[3], cells[4], found["better"])
    return table


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _spans(frames: Sequence[int]) -> str:
    """Frame numbers in few words: 2-25, or 8, 12, 20."""
    if len(frames) > 1 and list(frames) == list(range(frames[0], frames[-1] + 1)):
        return f"{frames[0]}-{frames[-1]}"
    return ", ".join(map(str, frames))


def remarks(numbers: dict[str, Any]) -> list[str]:
    """Lines below the table: metrics left out and why, clips that are missing, scores that the given frames raise."""
    lines = [f"{metric.upper()} left out: {reason}" for metric, reason in numbers["left_out"].items()]
    lines += [f"{what} left out: {reason}" for what, reason in numbers["physics_left_out"].items()]
    if numbers["clips"] < numbers["clips_wanted"]:
        lines.append(f"{numbers['clips']} clips, the protocol has {numbers['clips_wanted']}")
    if numbers["too_short"]:
        lines.append(f"{numbers['too_short']} episodes were too short for a clip and not used")
    for metric, found in numbers["metrics"].items():
        if "low" in found and found["predicted_only"] is not None and min(found["frames"]) <= numbers["protocol"]["given"]:
            lines.append(f"{metric.upper()} of the predicted frames alone: {found['predicted_only']:.{DIGITS.get(metric, 4)}f}")
        elif "features" in found and found["vectors"] <= found["features"]:
            lines.append(
                f"{metric.upper()} rests on {found['vectors']} vectors of {found['features']} features: compare it at equal counts only"
            )
    return lines


def write_quality(out: Path, numbers: dict[str, Any], shown: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Numbers, curves and film strip of the shown clips (recorded and imagined, uint8 `[T, H, W, 3]` each) into `out`.

    In both pictures 0 is the last given frame and k the k-th predicted one.
    """
    from worldsim.report.figures import film_strip, png_of

    tail = "_shuffled" if numbers["shuffled_actions"] else ""
    rows = [frames[numbers["protocol"]["given"] - 1 :] for pair in shown for frames in pair]
    pictures = {"strips": film_strip(rows, ["recorded", "imagined"] * len(shown), EVERY, height=64)}
    if any(metric in numbers["metrics"] for metric, _ in CURVES):
        pictures["curves"] = quality_curves(numbers)
    pictures["physics"] = physics_curves(numbers)
    for name, picture in pictures.items():
        with written_whole(out / f"{name}{tail}.png") as aside:
            aside.write_bytes(png_of(picture))
    write_json(out / f"video_quality{tail}.json", numbers)


def quality_curves(numbers: dict[str, Any]) -> "Figure":
    """PSNR and SSIM over the predicted frames of a clip, of the model and of copying the last given frame."""
    from matplotlib.figure import Figure

    from worldsim.report.figures import ACCENT, INK, SECOND

    found = [(label, numbers["metrics"][metric]["by_frame"]) for metric, label in CURVES if metric in numbers["metrics"]]
    given = numbers["protocol"]["given"]
    figure = Figure(figsize=(4.6 * len(found), 3.2), layout="constrained")
    for axes, (label, curve) in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        for way, name, color in (("model", "world model", ACCENT), ("copy", "copying the last given frame", SECOND)):
            values = curve[way][given:]
            axes.plot(range(1, len(values) + 1), values, color=color, linewidth=1.8, marker="o", markersize=2.5, label=name)
        axes.set(xlabel="predicted frame", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e8ecef", linewidth=0.8)
        axes.tick_params(colors=INK, labelsize=9)
        axes.legend(frameon=False, fontsize=8.5)
    return figure


def physics_curves(numbers: dict[str, Any]) -> "Figure":
    """Every measure of motion that has a curve, over the predicted frames: the model between a second real take and copying."""
    from matplotlib.figure import Figure

    from worldsim.report.figures import ACCENT, INK, SECOND

    found = {name: each for name, each in numbers["physics"].items() if each["by_frame"]}
    given, across = numbers["protocol"]["given"], 4
    down = -(-len(found) // across)
    figure = Figure(figsize=(3.1 * across, 2.3 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (name, each) in zip(grid, found.items(), strict=False):
        for way, label, color, dashes in (
            ("model", "world model", ACCENT, "-"),
            ("second take", "second real take", INK, "--"),
            ("copy", "last given frame held", SECOND, ":"),
        ):
            if way in each["by_frame"]:
                values = np.array(each["by_frame"][way][given:], dtype=float)
                axes.plot(range(1, len(values) + 1), values, color=color, linestyle=dashes, linewidth=1.6, label=label)
        unit = f" ({each['unit']})" if each["unit"] else ""
        axes.set_title(f"{name.replace('_', ' ')}{unit}, {each['better']} is better", fontsize=8)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e8ecef", linewidth=0.8)
        axes.tick_params(colors=INK, labelsize=7.5)
    figure.supxlabel("predicted frame", fontsize=8.5)
    for axes in grid[len(found) :]:
        axes.set_axis_off()
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    return figure
