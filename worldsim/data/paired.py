"""A video beside a table of actions: what the readers of such pairs share. Knows no table's format.

A folder says nothing of what its actions mean; the user does (`Meaning`). Below a folder named train, val, validation, test or evaluation
lies that split; other episodes are split by the hash of their name. A text file NAME.txt beside the video is the instruction.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.actions import ActionSpec
from worldsim.data.file_tree import describe_lost, files_below, leads_nowhere
from worldsim.data.splits import hash_split
from worldsim.data.whole_video import Footage
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.types import Trajectory

SPLIT_FOLDERS = ("train", "val", "validation", "test", "evaluation")
ENDINGS = (".mp4", ".mkv", ".mov", ".avi", ".webm")
CAMERA = "video"
ROWS = ("frames", "steps")
LONGEST_INSTRUCTION = 10_000  # letters


@dataclass(frozen=True)
class Pair:
    """One episode by its name: its videos and tables (one of each where all is well) and its split."""

    split: str
    name: str
    videos: tuple[Path, ...]
    tables: tuple[Path, ...]

    def video(self) -> Path:
        """Its one video. Raises InvalidInput or DamagedFile where there is none, as in `table`."""
        return _only(self.videos, "video", "a file NAME.mp4")

    def table(self) -> Path:
        """Its one table."""
        self.video()  # where both are missing, a link to nothing says why
        return _only(self.tables, "table of actions", "a file of the video's name")

    def instruction(self) -> str:
        """What NAME.txt beside the video says, in one line; "" where there is none. Raises DamagedFile where it is no text."""
        file = self.video().with_suffix(".txt")
        try:
            return " ".join(file.read_text(encoding="utf-8").split())[:LONGEST_INSTRUCTION] if os.path.lexists(file) else ""
        except (OSError, UnicodeDecodeError) as error:
            raise DamagedFile(f"{file.name} is no text ({type(error).__name__}); write it as UTF-8") from error


@dataclass(frozen=True)
class Rows:
    """Whether a table has a row for every frame ("frames") or for every step between two ("steps"); None takes either.

    One data set is of one kind: a table that fits the other has lost a row or its video a frame. Where nobody says which, an episode's
    metadata note what it is, as `rows`, and the import refuses one that differs from the first.
    """

    kind: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in (None, *ROWS):
            raise InvalidInput(f'rows is "{self.kind}", expected frames (a row for every frame) or steps (a row for every step)')

    def found(self, rows: int, frames: int) -> str:
        """Which kind so many rows for so many frames are. Raises InvalidInput where they are none, or not the one that was told."""
        found = {frames: "frames", frames - 1: "steps"}.get(rows)
        if frames < 2:
            raise InvalidInput(f"the video has {frames} frame, expected at least 2")
        if found is None:
            raise InvalidInput(f"{rows} rows of actions for {frames} frames, expected {frames} or {frames - 1}")
        if self.kind not in (None, found):
            raise InvalidInput(
                f"{rows} rows of actions for {frames} frames, where options='{{rows: {self.kind}}}' asks for one for all {self.kind}"
            )
        return found


@dataclass(frozen=True)
class Meaning:
    """What the user says of the actions: names, actions per second, frame, rotation and gripper as in `ActionSpec`; None is not said."""

    names: Sequence[str] | None = None
    rate: float | None = None
    frame: str = "base"
    rotation: str = "none"
    gripper: str = "none"

    def __post_init__(self) -> None:
        if self.rate is not None and not (isinstance(self.rate, int | float) and np.isfinite(self.rate) and self.rate > 0):
            raise InvalidInput(f"rate is {self.rate}, expected actions per second above 0")
        if self.names is not None and (isinstance(self.names, str) or not all(isinstance(name, str) for name in self.names)):
            raise InvalidInput(f"names is {self.names}, expected a list of one name for each number of an action")
        ActionSpec((), (), (), self.rate or 1.0, self.frame, self.rotation, self.gripper)  # refuses words it does not know

    def of(self, names: Sequence[str], fps: float) -> dict[str, Any]:
        """The fields of an ActionSpec without its bounds, for a table whose columns have these names. Raises InvalidInput."""
        if self.names is not None and len(self.names) != len(names):
            raise InvalidInput(f"actions have {len(names)} numbers, options='{{names: [...]}}' gives {len(self.names)}")
        chosen = list(names if self.names is None else self.names)
        return {"names": chosen, "rate_hz": fps, "frame": self.frame, "rotation": self.rotation, "gripper": self.gripper}


@dataclass(frozen=True)
class PairedOptions:
    """What both formats of pairs take: where, how many, what the actions mean, and how rows stand to frames.

    Attributes:
        path: folder or file to read.
        camera: an episode has one video, so none is chosen.
        limit: read this many episodes only.
        names: one for each number of an action; None takes the table's own.
        rate: actions per second; None takes the video's frames per second.
        frame: "base" or "tool", in which translations are given.
        rotation: "none", "rpy" or "axis_angle", in radians.
        gripper: "none"; "relative" (+ closes) or "relative_open" (+ opens); "absolute" (1 is open) or "absolute_closed" (1 is closed).
        rows: "frames", a row for every frame, or "steps", one for every step between two; None takes what fits.
    """

    path: str
    camera: str | None = None
    limit: int | None = None
    names: Sequence[str] | None = None
    rate: float | None = None
    frame: str = "base"
    rotation: str = "none"
    gripper: str = "none"
    rows: str | None = None

    def meaning(self, source: str) -> Meaning:
        """What an action means.

        Raises:
            UnknownName: a camera by name, though an episode has one video.
            InvalidInput: words or numbers that mean nothing.
        """
        if self.camera not in (None, CAMERA):
            raise UnknownName(f'{source} has no camera "{self.camera}"; an episode has one video')
        return Meaning(self.names, self.rate, self.frame, self.rotation, self.gripper)


@dataclass(frozen=True)
class Told:
    """What is known of all pairs of a folder: its format's name, what an action means, and how rows stand to frames."""

    source: str
    meaning: Meaning
    rows: Rows

    def trajectory(self, pair: Pair, footage: Footage, actions: np.ndarray, names: Sequence[str], instruction: str) -> Trajectory:
        """The episode of a video and the actions `[rows, A]` beside it; that of the last frame leads nowhere and is dropped.

        Raises:
            InvalidInput: they do not fit.
        """
        actions = np.asarray(actions, dtype=np.float64)
        if actions.ndim != 2 or not actions.shape[1]:
            raise InvalidInput(f"actions have shape {list(actions.shape)}, expected [rows, numbers]")
        if not (np.abs(actions) <= np.finfo(np.float32).max).all():  # NaN counts as beyond
            raise InvalidInput(
                f"row {int(np.argmin((np.abs(actions) <= np.finfo(np.float32).max).all(axis=1)))} has an action that is not finite"
            )
        meaning = self.meaning.of(names, self.meaning.rate or footage.fps())
        rows = self.rows.found(len(actions), len(footage.frames))
        return Trajectory(
            task_id="import",
            frames=footage.frames,
            actions=actions[: len(footage.frames) - 1].astype(np.float32),
            metadata={
                "source": self.source,
                "split": pair.split,
                "episode": pair.name,
                "camera": CAMERA,
                "instruction": instruction,
                "fps": meaning["rate_hz"],
                "action": meaning,
                "rows": rows,
            },
        )


def pairs_below(root: Path, table_ending: str, endings: Iterable[str] = ENDINGS, apart: Iterable[Path] = ()) -> list[Pair]:
    """Everything in `root` and below that is a video or a table (but those `apart`), joined by its path without the ending, in order.

    A link to nothing makes an episode that cannot be read.

    Raises:
        InvalidInput: there is none, or two episodes would have one name and split.
    """
    found: dict[str, dict[str, list[Path]]] = defaultdict(lambda: {"videos": [], "tables": []})
    left_out = set(apart)
    for file in (path for path in files_below(root) if path not in left_out and not path.name.startswith(".")):
        kind = "tables" if file.suffix.lower() == table_ending else "videos" if file.suffix.lower() in endings else None
        if kind:
            found[file.relative_to(root).with_suffix("").as_posix()][kind].append(file)
        elif leads_nowhere(file):  # perhaps a whole folder
            found[f"{file.relative_to(root).as_posix()} (link)"]["videos"].append(file)
    pairs = [Pair(*split_and_name(key), tuple(files["videos"]), tuple(files["tables"])) for key, files in found.items()]
    if not pairs:
        raise InvalidInput(f"{root} holds no videos; give a folder of NAME.mp4 and NAME{table_ending}")
    names = [(pair.split, pair.name) for pair in pairs]
    twice = next((name for place, name in enumerate(sorted(names)[1:]) if sorted(names)[place] == name), None)
    if twice:
        raise InvalidInput(f"{root} holds two episodes {'/'.join(twice)}; rename one")
    return sorted(
        pairs,
        key=lambda pair: (
            pair.split,
            [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in pair.name.split("/")],
        ),
    )


def split_and_name(key: str) -> tuple[str, str]:
    """(split, name) of an episode by its path below the folder of recordings, without the ending."""
    first, _, rest = key.partition("/")
    return (first, rest) if first in SPLIT_FOLDERS and rest else (hash_split(key), key)


def _only(files: tuple[Path, ...], what: str, expected: str) -> Path:
    if len(files) != 1:
        raise InvalidInput(f"it has {len(files)} files that could be its {what}, expected {expected}")
    if leads_nowhere(files[0]):
        raise DamagedFile(describe_lost(files[0]))
    return files[0]
