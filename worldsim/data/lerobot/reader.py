"""Reader of LeRobot data sets: files to episodes. Knows nothing of where episodes go.

A LeRobot episode has T rows, each with what was seen and the action then commanded. `frames[t] --actions[t]--> frames[t + 1]` leaves
T - 1 actions between T frames: nothing shows what the last action did, so it is dropped. What an action means is not part of the
format: its numbers have names at most, so frame, rotation and gripper are placeholders, and `action_unknown` says so.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.lerobot.description import Description, parse_description
from worldsim.data.lerobot.episodes import Episode, list_episodes
from worldsim.data.lerobot.frames import frames_at, pictures
from worldsim.data.lerobot.rows import Rows, read_pictures, read_rows
from worldsim.data.lerobot.tables import arrow, content_of
from worldsim.data.lerobot.tasks import read_tasks
from worldsim.data.recording import RECORDING_FORMATS, Recording, refused
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.registry import did_you_mean
from worldsim.types import Trajectory

PREFIX = "observation.images."  # of most cameras' names; may be left out


@dataclass(frozen=True)
class DataSet:
    """What all episodes of one data set share.

    Attributes:
        root: its folder.
        about: its description.
        tasks: instructions by number.
        camera: the camera whose pictures become the frames.
    """

    root: Path
    about: Description
    tasks: Mapping[int, str]
    camera: str


def read_lerobot(
    path: str | os.PathLike, *, split: str | None = None, camera: str | None = None, limit: int | None = None
) -> Iterator[Recording]:
    """The episodes of a LeRobot data set by number; one is in memory at a time, and nothing of it is read before `Recording.read`.

    Args:
        path: the folder with `meta/info.json`, or one above a single such folder.
        split: one split only; None for all.
        camera: name of the feature whose pictures become the frames, with or without "observation.images."; None for the first by
            name, wrist cameras last.
        limit: at most this many episodes.

    Raises:
        MissingDependency: pyarrow is not installed.
        InvalidInput: no data set there, one of another version, one without colour cameras, or a description that makes no sense.
        UnknownName: no such split or camera.
        DamagedFile: the metadata cannot be read.
    """
    arrow()
    root = _data_set(Path(path))
    about = parse_description(content_of(root, "meta/info.json"))
    data = DataSet(root, about, read_tasks(root, about.version[0]), _camera(camera, about, path))
    recordings = [_recording(data, episode) for episode in list_episodes(root, about)]
    if split is not None:
        known = {name for name, _, _ in about.splits} | {each.split for each in recordings}
        if split not in known:
            raise UnknownName(f'{path} has no split "{split}"; {did_you_mean(split, known)}')
    return islice((each for each in recordings if split in (None, each.split)), limit)


def _data_set(path: Path) -> Path:
    places = [path] if (path / "meta/info.json").exists() else sorted(file.parents[1] for file in path.glob("*/meta/info.json"))
    if len(places) == 1:
        return places[0]
    if (path / "meta_data/info.json").exists():
        raise InvalidInput(f"{path} is older than v2.0; convert it with lerobot's own script convert_dataset_v1_to_v2.py")
    raise InvalidInput(f"{path} holds {len(places)} LeRobot data sets, expected 1; give the folder that has meta/info.json in it")


def _camera(given: str | None, about: Description, path: str | os.PathLike) -> str:
    if not about.cameras:
        raise InvalidInput(f"{path} has no colour camera: no feature is a video or image of 3 channels; worldsim needs one")
    if given is None:
        return next(iter(about.cameras))
    found = next((name for name in (given, PREFIX + given) if name in about.cameras), None)
    if found is None:
        raise UnknownName(f'{path} has no camera "{given}"; {did_you_mean(given, [*about.cameras, *_short(about.cameras)])}')
    return found


def _short(cameras: Mapping[str, str]) -> list[str]:
    return [name.removeprefix(PREFIX) for name in cameras if name.startswith(PREFIX)]


def _recording(data: DataSet, episode: Episode) -> Recording:
    split, name = data.about.split_of(episode.index), f"episode_{episode.index:06d}"
    if episode.missing > 1:
        name = f"episodes_{episode.index:06d}-{episode.index + episode.missing - 1:06d}"
    if episode.fault is not None:
        return refused(split, name, episode.fault, max(1, episode.missing))
    return Recording(split, name, partial(_read, data, episode, split, name))


def _read(data: DataSet, episode: Episode, split: str, name: str) -> Trajectory:
    if episode.length < 2:
        raise DamagedFile(f"it has {episode.length} frames, expected at least 2")
    rows = read_rows(data.root, data.about, episode)
    frames = _frames(data, episode, rows, data.camera)
    views, left_out = {}, {}
    for camera in data.about.cameras:
        try:
            if camera != data.camera:
                views[camera] = _frames(data, episode, rows, camera)
        except DamagedFile as error:
            left_out[camera] = str(error)
    return Trajectory(
        task_id="import",
        frames=frames,
        actions=rows.actions[:-1],
        states={} if rows.states is None else {"state": rows.states},
        views=views,
        metadata=_metadata(data, episode, rows)
        | {"split": split, "episode": name, "cameras": list(data.about.cameras), "views_left_out": left_out},
    )


def _frames(data: DataSet, episode: Episode, rows: Rows, camera: str) -> np.ndarray:
    """What `camera` saw at every row, uint8 `[T, H, W, 3]`. Raises DamagedFile where that cannot be told."""
    if data.about.cameras[camera] == "image":
        return pictures(read_pictures(data.root, episode, camera), camera)
    span = episode.videos[camera]
    if span.fault is not None:
        raise DamagedFile(span.fault)
    if span.end is not None and not rows.times[-1] * data.about.fps < (span.end - span.start) * data.about.fps + 0.5:
        raise DamagedFile(f"its rows last {rows.times[-1]:g} s, but the metadata gives it {span.end - span.start:g} s of {camera}")
    return frames_at(data.root, span.file, span.start + rows.times, data.about.fps)


def _metadata(data: DataSet, episode: Episode, rows: Rows) -> dict[str, Any]:
    about = data.about
    known = data.tasks.get(rows.task) if rows.task is not None else None
    return {
        "source": "lerobot",
        "dataset": data.root.resolve().name,
        "camera": data.camera,
        "instruction": known if known is not None else next(iter(episode.tasks), ""),
        "fps": about.fps,
        "action": {"names": list(about.action.names), "rate_hz": about.fps, "frame": "base", "rotation": "none", "gripper": "none"},
        "action_unknown": True,
        "recorded": {"robot_type": about.robot, "codebase_version": "v{}.{}".format(*about.version), "tasks": list(episode.tasks)},
    }


@RECORDING_FORMATS.register("lerobot")
@dataclass(frozen=True)
class LeRobot:
    """LeRobotDataset v2.0, v2.1 and v3.0: parquet rows and mp4 videos, found by the metadata."""

    path: str
    camera: str | None = None
    limit: int | None = None

    def build(self) -> Iterator[Recording]:
        """Its episodes, unread."""
        return read_lerobot(self.path, camera=self.camera, limit=self.limit)
