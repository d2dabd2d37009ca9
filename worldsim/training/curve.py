"""The history of a training run: log.jsonl, one line every few iterations, and its picture. Knows nothing about models.

A line is on disk before the state that includes it; lines beyond the saved iteration are cut off when a run resumes, which then writes
them again. So the file has each line once, however often the run was killed.
"""

import json
import math
import os
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

from worldsim.data.files import written_whole


class Curve:
    """A file in a folder that exists. Its lines have `iteration`, `loss` of that step, `learning_rate` and `seconds` of training so far."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict]:
        """All whole lines; none where there is no file."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_bytes().split(b"\n")[:-1]]

    def cut(self, iteration: int) -> None:
        """Forget what was logged after `iteration`, and a line that a kill left without its end."""
        if self.path.exists():
            kept = [row for row in self.rows() if row["iteration"] <= iteration]
            with written_whole(self.path) as aside:
                aside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")

    def add(self, iteration: int, loss: float, learning_rate: float, seconds: float, seen: Mapping[str, float] | None = None) -> None:
        """One more line; `seen` is what an objective says of its last batch besides."""
        row = {"iteration": iteration, "loss": loss, "learning_rate": learning_rate, "seconds": round(seconds, 3), **(seen or {})}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def flush(self) -> None:
        """Have every line on the disk itself."""
        if self.path.exists():
            with open(self.path, "rb") as file:
                os.fsync(file.fileno())

    def draw(self, path: Path) -> None:
        """Write a PNG of the loss over the iterations, with its running mean; nothing where no line was logged."""
        from matplotlib.figure import Figure

        rows = self.rows()
        if not rows:
            return
        steps, losses = [row["iteration"] for row in rows], [row["loss"] for row in rows]
        smooth = list(accumulate(losses, lambda mean, loss: 0.9 * mean + 0.1 * loss))
        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(steps, losses, color="#7b8894", linewidth=0.6, marker="." if len(rows) == 1 else "")
        axes.plot(steps, smooth, color="#2a6f97", linewidth=1.6)
        scale = "log" if all(loss > 0 and math.isfinite(loss) for loss in losses) else "linear"
        axes.set(xlabel="iteration", ylabel="loss", yscale=scale)
        with written_whole(path) as aside:
            figure.savefig(aside, dpi=90, format="png", metadata={"Software": None})
