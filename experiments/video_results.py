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


def _spans(frames: Sequence[int]) -> str:
    """Frame numbers in few words: 2-25, or 8, 12, 20."""
    if len(frames) > 1 and list(frames) == list(range(frames[0], frames[-1] + 1)):
        return f"{frames[0]}-{frames[-1]}"
    return ", ".join(map(str, frames))


def remarks(numbers: dict[str, Any]) -> list[str]:
    """Lines below the table: metrics left out and why, clips that are missing, scores that the given frames raise."""
    lines = [f"{metric.upper()} left out: {reason}" for metric, reason in numbers["left_out"].items()]
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
