"""The curve of learning inside a world model as JSON and as a picture. Knows nothing of how it came about.

Several side by side: python -m worldsim.experiments.inside.learning_curve PICTURE.png FOLDER [FOLDER ...]
"""

import json
import sys
from pathlib import Path
from typing import Any

from worldsim.data.files import write_json, written_whole

COLOURS = {"imagined": "#1f6fb4", "watched": "#8a8a8a", "true": "#c4501b"}
SAID = {"imagined": "imagined, by the judge that rewards", "watched": "imagined, by the held-out judge", "true": "true"}


def read_curve(path: Path) -> dict[str, Any]:
    """What was written; an empty curve where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"iterations": [], "checks": []}


def write_curve(folder: Path, curve: dict[str, Any]) -> None:
    """`curve.json` and `curve.png` in `folder`."""
    write_json(folder / "curve.json", curve)
    draw([curve], folder / "curve.png")


def draw(curves: list[dict[str, Any]], path: Path) -> None:
    """Success over imagined steps with 95 % intervals; several curves side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(curves) + 0.8, 3.4), layout="constrained")
    for axes, curve in zip(figure.subplots(1, len(curves), sharey=True, squeeze=False)[0], curves, strict=True):
        for name, colour in COLOURS.items():
            rows = [(check["steps"], check[name]) for check in curve["checks"] if name in check]
            if rows:
                steps, counts = zip(*rows, strict=True)
                axes.plot(steps, [each["rate"] for each in counts], color=colour, marker="o", markersize=3, label=SAID[name])
                axes.fill_between(steps, [c["low"] for c in counts], [c["high"] for c in counts], color=colour, alpha=0.15, linewidth=0)
        axes.set(xlabel="steps in the world model", ylim=(0, 1), title=curve.get("title", ""))
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("success rate")
    figure.axes[0].legend(fontsize=7, loc="upper left")
    with written_whole(path) as aside:
        figure.savefig(aside, format="png", dpi=110)


def main(words: list[str]) -> None:
    """Draw the curves of these training folders into the file named first."""
    picture, *folders = map(Path, words)
    draw([read_curve(folder / "curve.json") | {"title": folder.name.removesuffix("-training")} for folder in folders], picture)


if __name__ == "__main__":
    main(sys.argv[1:])
