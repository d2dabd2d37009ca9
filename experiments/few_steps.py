"""Quality against cost of a few sampling steps. Not a verb; docs/few-steps.md says what it found.

python -m worldsim.experiments.few_steps measure OUT.json DATA NAME=WORLD_MODEL:STEPS ...
python -m worldsim.experiments.few_steps draw OUT.png NAME=REPLAY_FOLDER[:RUN_FOLDER] ...

`measure` compares each sampler with the first one named, one frame ahead from the same real history and the same noise, and takes the
sharpness of its frames; `draw` plots what `worldsim replay` and `worldsim evaluate` wrote against the evaluations a frame takes. Names
begin with "shipped", which are joined by a line, or "student".
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

PANELS = {"psnr": "PSNR at step 24 (dB), open loop", "mmrv": "MMRV", "bias": "bias (simulated - real)"}
GIVEN, AT, ROLLED, BATCH = 4, (4, 8, 12, 16, 20), 24, 25  # frames of history, where in an episode, steps rolled out, lanes together


def measure(data: str, samplers: dict[str, tuple[str, int]], episodes: int = 50) -> dict[str, Any]:
    """For each named (world model, steps) the distance of its frames to the first one's and to the truth, and their sharpness.

    Distances are root mean squares in grey levels (0 to 255) over all frames; sharpness is relative to the recorded frames.
    """
    from worldsim.experiments.replay import read_recordings
    from worldsim.load import load_world_model

    recorded = read_recordings(data, episodes)
    found, first = {}, None
    true = np.stack([trajectory.frames[list(AT)] for trajectory in recorded])  # [N, AT, H, W, 3]
    last = np.stack([trajectory.frames[ROLLED] for trajectory in recorded])
    for name, (world_model, steps) in samplers.items():
        model = load_world_model(world_model, steps=steps)
        ahead, rolled = one_ahead(model, recorded), rolled_out(model, recorded)
        first = ahead if first is None else first
        found[name] = {
            "steps": steps,
            "to_first": distance(ahead, first),
            "to_truth": distance(ahead, true),
            "sharpness_ahead": sharpness(ahead) / sharpness(true),
            "sharpness_rolled": sharpness(rolled) / sharpness(last),
        }
        print(name, found[name], flush=True)
    return found


def one_ahead(model: Any, recorded: Sequence[Any]) -> np.ndarray:
    """The frames at `AT`, each drawn from the real ones before it, uint8 `[N, len(AT), H, W, 3]`; noise depends on the episode only."""
    from worldsim.experiments.continuations import continue_stepwise

    def drawn(rows: Sequence[int], at: int) -> np.ndarray:
        given = np.stack([recorded[row].frames[at - GIVEN : at] for row in rows])
        led = np.stack([recorded[row].actions[at - GIVEN : at] for row in rows])
        return continue_stepwise(model, given, led[:, -1:], list(rows), led[:, :-1])[:, 0]

    return np.stack([np.concatenate([drawn(rows, at) for rows in _groups(len(recorded))]) for at in AT], axis=1)


def rolled_out(model: Any, recorded: Sequence[Any]) -> np.ndarray:
    """The last of `ROLLED` frames drawn from the first one and the recorded actions, uint8 `[N, H, W, 3]`."""
    from worldsim.experiments.continuations import continue_stepwise

    def drawn(rows: Sequence[int]) -> np.ndarray:
        first = np.stack([recorded[row].frames[:1] for row in rows])
        return continue_stepwise(model, first, np.stack([recorded[row].actions[:ROLLED] for row in rows]), list(rows))[:, -1]

    return np.concatenate([drawn(rows) for rows in _groups(len(recorded))])


def _groups(count: int) -> list[range]:
    return [range(begin, min(begin + BATCH, count)) for begin in range(0, count, BATCH)]


def distance(left: np.ndarray, right: np.ndarray) -> float:
    """Root mean square difference in grey levels."""
    return float(np.sqrt(np.mean((left.astype(np.float32) - right.astype(np.float32)) ** 2)))


def sharpness(frames: np.ndarray) -> float:
    """Mean absolute Laplacian in grey levels: 0 for a flat picture or an even slope, large at fine detail and noise."""
    grey = frames.astype(np.float32).mean(-1)
    middle = grey[..., 1:-1, 1:-1]
    around = grey[..., :-2, 1:-1] + grey[..., 2:, 1:-1] + grey[..., 1:-1, :-2] + grey[..., 1:-1, 2:]
    return float(np.abs(4 * middle - around).mean())


def point(name: str, replay: Path, run: Path | None = None) -> dict[str, Any]:
    """One sampler as `worldsim replay` (and `worldsim evaluate`, where `run` is given) found it."""
    loop = json.loads((replay / "open_loop.json").read_text(encoding="utf-8"))
    found = {"name": name, "steps": loop["sampler"]["steps"], "psnr": {str(n): loop["psnr"][n - 1] for n in (1, 4, 8, 16, 24)}}
    if run is not None:
        agreement = json.loads((run / "results.json").read_text(encoding="utf-8"))["agreement"]
        found |= {key: agreement[key] for key in ("pearson", "mmrv", "bias", "mean_absolute_error", "phi", "intervals")}
    return found


def draw(points: Sequence[dict[str, Any]]) -> Any:
    """PSNR after 24 steps open loop, and MMRV and bias of the ranking, over evaluations per frame (steps, and one for history)."""
    from matplotlib.figure import Figure

    from worldsim.report.figures import ACCENT, SECOND

    plot = Figure(figsize=(9.6, 3.2), layout="constrained")
    for axes, (key, label) in zip(plot.subplots(1, 3), PANELS.items(), strict=True):
        for kind, colour, style in (("shipped", ACCENT, "o-"), ("student", SECOND, "s")):
            chosen = [at for at in points if at["name"].startswith(kind) and (key == "psnr" or key in at)]
            axes.errorbar(**_bars(chosen, key), fmt=style, color=colour, label=kind, capsize=2)
        axes.set(xlabel="network evaluations per frame", ylabel=label, xticks=[2, 3, 5, 11], xlim=(1, 12))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e8ecef", linewidth=0.8)
        axes.legend(frameon=False, fontsize=8)
    return plot


def _bars(points: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    """Where the points stand, with the arms of their intervals where they have one."""
    value = [at["psnr"]["24"] if key == "psnr" else at[key] for at in points]
    ends = [at.get("intervals", {}).get(key) or (y, y) for at, y in zip(points, value, strict=True)]
    arms = [
        [max(0, y - low) for y, (low, _) in zip(value, ends, strict=True)],
        [max(0, high - y) for y, (_, high) in zip(value, ends, strict=True)],
    ]
    beside = [0.3 * at["name"].startswith("student") for at in points]  # so that neither hides the other
    return {"x": [at["steps"] + 1 + shift for at, shift in zip(points, beside, strict=True)], "y": value, "yerr": arms if points else None}


def main(words: Sequence[str]) -> None:
    """`measure` or `draw`, as the head of this file says."""
    from worldsim.data.files import write_json, written_whole
    from worldsim.report.figures import png_of

    what, out, *rest = words
    if what == "measure":
        pairs = [word.split("=", 1) for word in rest[1:]]
        samplers = {name: (value.rpartition(":")[0], int(value.rpartition(":")[2])) for name, value in pairs}
        write_json(Path(out), measure(rest[0], samplers))
        return
    folders = [(name, *value.split(":")) for name, _, value in (word.partition("=") for word in rest)]
    points = [point(name, Path(replay), *map(Path, run)) for name, replay, *run in folders]
    write_json(Path(out).with_suffix(".json"), points)
    with written_whole(Path(out)) as aside:
        aside.write_bytes(png_of(draw(points)))


if __name__ == "__main__":
    main(sys.argv[1:])
