"""video/video_quality.json of a run: what `worldsim evaluate-video out=RUN/video` measured of the same world model. Computes nothing."""

import json
from dataclasses import dataclass
from typing import Any

from worldsim.errors import DamagedFile
from worldsim.report.run_folder import RunFolder

FILE = "video/video_quality.json"


@dataclass(frozen=True)
class Measured:
    """One measure of predicted video: the model's mean with its interval, that of a second real take and of copying, as text."""

    name: str
    value: str
    interval: str
    ceiling: str
    floor: str
    better: str


@dataclass(frozen=True)
class VideoQuality:
    """The protocol by its name, how many clips, every measure, and whether another world model was measured than the run's."""

    protocol: str
    clips: int
    measures: list[Measured]
    another: bool


def video_quality(run: RunFolder) -> VideoQuality | None:
    """What lies in the run, None where nothing does.

    Raises:
        DamagedFile: a file that cannot be read.
    """
    path = run.path / FILE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = [_measured(name, each, "higher" if name in ("psnr", "ssim") else "lower") for name, each in found["metrics"].items()]
        rows += [_measured(name, each, each["better"]) for name, each in found["physics"].items()]
        another = found["world_model"].get("sha256") != run.identity["world_model"].get("sha256")
        return VideoQuality(str(found["protocol"]["name"]), int(found["clips"]), rows, another)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFile(f"{path} cannot be read; make it again: worldsim evaluate-video out={path.parent}, or delete it") from error


def _measured(name: str, found: dict[str, Any], better: str) -> Measured:
    value, low, high, ceiling = (_text(found.get(key)) for key in ("value", "low", "high", "ceiling"))
    words = name.upper() if "ceiling" not in found else name.replace("_", " ")
    unit = f" ({found['unit']})" if found.get("unit") else ""
    return Measured(
        words + unit, value, f"[{low}, {high}]" if low != "–" else "", ceiling, _text(found.get("floor", found.get("copy"))), better
    )


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
