"""What an ablation found, as numbers, a table and a figure. Knows the files that `worldsim ablate` leaves per variant, nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.files import write_json, written_whole
from worldsim.statistics import student_interval

MEASURES = {"psnr": ("PSNR (dB)", 2), "ssim": ("SSIM", 4)}
REFERENCE = "extrapolative"  # what every transfer is compared with


def summarise(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One row per transfer, guidance and scale: means over seeds with Student's intervals, and the difference to the reference.

    Seeds are the independent units; each seed's mean is taken over the same held-out episodes.
    """
    keys = dict.fromkeys((each["transfer"], each["guided"], scale) for each in results for scale in each["rollouts"])
    return {"rows": [_row(results, *key) for key in keys], "seeds": sorted({each["seed"] for each in results})}


def _row(results: Sequence[Mapping[str, Any]], transfer: str, guided: bool, scale: str) -> dict[str, Any]:  # noqa: FBT001
    ours, reference = (_by_seed(results, name, guided, scale) for name in (transfer, REFERENCE))
    losses = [list(each["held_out_loss"].values()) for each in ours.values()]
    row = {"transfer": transfer, "guided": guided, "scale": float(scale), "seeds": len(ours)}
    row |= {"loss_before": float(np.mean([loss[0] for loss in losses])), "loss_after": float(np.mean([loss[-1] for loss in losses]))}
    row["held_out_loss"] = {step: float(np.mean([each["held_out_loss"][step] for each in ours.values()])) for step in _steps(ours)}
    for measure in MEASURES:
        means = {seed: float(np.mean(each["rollouts"][scale][measure]["episodes"])) for seed, each in ours.items()}
        others = {seed: float(np.mean(each["rollouts"][scale][measure]["episodes"])) for seed, each in reference.items()}
        shared = [means[seed] - others[seed] for seed in means if seed in others]
        steps = np.mean([each["rollouts"][scale][measure]["steps"] for each in ours.values()], axis=0)
        row[measure] = _estimate(list(means.values())) | {"steps": steps.round(4).tolist()}
        row[f"{measure}_difference"] = None if transfer == REFERENCE or not shared else _estimate(shared)
    return row


def _by_seed(results: Sequence[Mapping[str, Any]], transfer: str, guided: bool, scale: str) -> dict[int, Mapping[str, Any]]:  # noqa: FBT001
    wanted = [each for each in results if (each["transfer"], each["guided"]) == (transfer, guided) and scale in each["rollouts"]]
    return {each["seed"]: each for each in wanted}


def _steps(ours: Mapping[int, Mapping[str, Any]]) -> list[str]:
    return sorted(next(iter(ours.values()))["held_out_loss"], key=int)


def _estimate(values: Sequence[float]) -> dict[str, Any]:
    interval = list(student_interval(values)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "interval": interval, "values": list(values)}


def write_report(out: Path, numbers: Mapping[str, Any]) -> str:
    """Write `ablation.json`, `ablation.md` and `ablation.png`; returns the table."""
    from worldsim.report.figures import png_of

    table = markdown(numbers)
    write_json(out / "ablation.json", dict(numbers))
    with written_whole(out / "ablation.md") as aside:
        aside.write_text(table, encoding="utf-8")
    with written_whole(out / "ablation.png") as aside:
        aside.write_bytes(png_of(figure(numbers)))
    return table


def markdown(numbers: Mapping[str, Any]) -> str:
    """The table, best PSNR first."""
    head = ["transfer", "guidance", "held-out loss before / after", *(name for name, _ in MEASURES.values()), "PSNR against extrapolative"]
    rows = sorted(numbers["rows"], key=lambda row: -row["psnr"]["mean"])
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row["transfer"], _guidance(row), f"{row['loss_before']:.4f} / {row['loss_after']:.4f}"]
        cells += [_shown(row[measure], digits) for measure, (_, digits) in MEASURES.items()]
        cells.append("" if row["psnr_difference"] is None else _shown(row["psnr_difference"], 2, signed=True))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _guidance(row: Mapping[str, Any]) -> str:
    return f"trained with dropout, scale {row['scale']:g}" if row["guided"] else "none"


def _shown(estimate: Mapping[str, Any], digits: int, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    text = f"{estimate['mean']:{sign}.{digits}f}"
    return (
        text
        if estimate["interval"] is None
        else f"{text} [{estimate['interval'][0]:{sign}.{digits}f}, {estimate['interval'][1]:{sign}.{digits}f}]"
    )


def figure(numbers: Mapping[str, Any]) -> Any:
    """Held-out loss over the steps after the transfer, and PSNR over the imagined steps, of the variants sampled without guidance."""
    from matplotlib.figure import Figure

    plot = Figure(figsize=(10, 3.6), layout="constrained")
    losses, quality = plot.subplots(1, 2)
    for row in (row for row in numbers["rows"] if row["scale"] == 1):
        label, line = f"{row['transfer']}{', dropout' if row['guided'] else ''}", "--" if row["guided"] else "-"
        colour = _colour(row["transfer"])
        losses.plot([int(step) for step in row["held_out_loss"]], list(row["held_out_loss"].values()), line, color=colour, label=label)
        quality.plot(range(1, len(row["psnr"]["steps"]) + 1), row["psnr"]["steps"], line, color=colour)
    losses.set(xlabel="optimizer step after the transfer", ylabel="held-out loss", yscale="log")
    quality.set(xlabel="imagined step", ylabel="PSNR (dB)")
    for axes in (losses, quality):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e8ecef", linewidth=0.8)
    losses.legend(frameon=False, fontsize=8)
    return plot


def _colour(transfer: str) -> str:
    colours = {"shift": "#c8793f", "masked": "#7b8894", "extrapolative": "#2a6f97", "mixed": "#5a9367", "scratch": "#22303c"}
    return colours.get(transfer, "#000000")
