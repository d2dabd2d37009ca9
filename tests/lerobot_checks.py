"""What a reading of the synthetic LeRobot data sets comes to, and where in them to do damage."""

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from lerobot_data import LOSSLESS, WRITERS, Content, edit_rows, read_stamp

from worldsim.data.lerobot import read_lerobot
from worldsim.errors import WorldsimError
from worldsim.types import Trajectory

TOP, WRIST = "observation.images.top", "observation.images.wrist"
CONTENT = Content()


@cache
def originals() -> Mapping[str, Path]:
    """A data set of each version, written once per process, to be left as it is."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {version: write(folder / version) for version, write in WRITERS.items()}


def copied(version: str, folder: Path) -> Path:
    """A data set that may be spoilt."""
    return Path(shutil.copytree(originals()[version], folder / "data set"))


def outcome(root: Path, **options: Any) -> tuple[dict[str, Trajectory], dict[str, str]]:
    """(episodes by name, reasons by the name of what could not be read)."""
    read, reasons = {}, {}
    for recording in read_lerobot(root, **options):
        try:
            read[recording.name] = recording.read()
        except WorldsimError as error:
            reasons[recording.name] = one_line(error)
    return read, reasons


def one_line(error: WorldsimError) -> str:
    """What it says, which must be one line."""
    assert str(error)
    assert "\n" not in str(error)
    return str(error)


def name(episode: int) -> str:
    return f"episode_{episode:06d}"


def rows_file(root: Path, episode: int) -> Path:
    """The parquet file that holds an episode's rows."""
    files = {
        "v2.1": f"data/chunk-{episode // 2:03d}/episode_{episode:06d}.parquet",
        "v3.0": f"data/chunk-000/file-{episode // 3:03d}.parquet",
    }
    return root / files[json.loads((root / "meta/info.json").read_text())["codebase_version"]]


def video_file(root: Path, episode: int, camera: str = TOP) -> Path:
    files = {
        "v2.1": f"videos/chunk-{episode // 2:03d}/{camera}/episode_{episode:06d}.mp4",
        "v3.0": f"videos/{camera}/chunk-000/file-{min(1, episode // 2):03d}.mp4",
    }
    return root / files[json.loads((root / "meta/info.json").read_text())["codebase_version"]]


def edit_episode(root: Path, episode: int, change: Callable[[list[dict]], list[dict]]) -> None:
    """Rewrite the rows of one episode, those of others in the same file stay as they are."""

    def among(rows: list[dict]) -> list[dict]:
        others = [row["episode_index"] != episode for row in rows]
        mine = change([row for row, other in zip(rows, others, strict=True) if not other])
        place = others.index(False)
        return [*rows[:place], *mine, *(row for row, other in zip(rows[place:], others[place:], strict=True) if other)]

    edit_rows(rows_file(root, episode), among)


def assert_right(trajectory: Trajectory, episode: int, content: Content = CONTENT) -> None:
    """Actions and states exactly, and every picture of every camera the one of its moment."""
    np.testing.assert_array_equal(trajectory.actions, content.actions(episode)[:-1], strict=True)
    np.testing.assert_array_equal(trajectory.states["state"], content.states(episode), strict=True)
    cameras = list(content.cameras)
    pictures = {trajectory.metadata["camera"]: trajectory.frames, **trajectory.views}
    assert sorted(pictures) == sorted(cameras)
    for camera, frames in pictures.items():
        expected = [(cameras.index(camera), episode, frame) for frame in range(content.lengths[episode])]
        assert [read_stamp(frame) for frame in frames] == expected
        assert np.abs(frames.astype(int) - content.frames(camera, episode)).max() <= (0 if content.codec == LOSSLESS else 40)
