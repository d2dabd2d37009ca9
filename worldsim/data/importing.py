"""From somebody's recordings to a folder of episode files that a world model can be trained on. Knows readers by name only.

out/import.json       what is imported, and how; another import into the same folder is refused
out/SPLIT/NAME.h5     one trajectory file per episode; a readable one is kept, so the same command again resumes
out/summary.json      ImportSummary: counts, action statistics and bounds, and every dropped episode with its reason
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from worldsim.data.actions import ActionStatistics, bounds_of, describe_actions
from worldsim.data.files import write_json
from worldsim.data.recording import RECORDING_FORMATS, Recording
from worldsim.data.trajectory_file import read_trajectory, write_trajectory
from worldsim.data.video import resize_frames
from worldsim.errors import DamagedFile, InvalidInput, RunMismatch, WorldsimError
from worldsim.types import ActionSpec, Trajectory


@dataclass(frozen=True)
class Dropped:
    """An episode that was left out, and why."""

    split: str
    episode: str
    reason: str


@dataclass(frozen=True)
class ImportSummary:
    """What an import brought: the episodes of this command, those already there included.

    Attributes:
        source: name of the recording format.
        path: where the recordings are.
        out: where the episode files are.
        size: side of the square frames in pixels.
        cameras: the cameras that frames were taken from.
        episodes: number of episode files.
        kept: how many of them an earlier run had written.
        splits: number of episode files per split.
        repeated: episodes whose frames and actions are exactly those of an earlier one. Above 0, splits may not be independent.
        frames: number of frames in all.
        fps: frames per second.
        fps_assumed: the recordings do not state a rate and none is known for them.
        action: what an action means, with bounds that hold every action seen and a little more.
        statistics: how each component is distributed.
        dropped: episodes left out.
    """

    source: str
    path: str
    out: str
    size: int
    cameras: tuple[str, ...]
    episodes: int
    kept: int
    splits: Mapping[str, int]
    repeated: int
    frames: int
    fps: float
    fps_assumed: bool
    action: ActionSpec
    statistics: tuple[ActionStatistics, ...]
    dropped: tuple[Dropped, ...]


@dataclass(frozen=True)
class Imported:
    """What is remembered of one written episode: all but its frames."""

    frames: int
    actions: np.ndarray
    metadata: Mapping[str, Any]
    fingerprint: str
    kept: bool


def import_recordings(
    source: str,
    path: str | os.PathLike,
    out: str | os.PathLike,
    *,
    limit: int | None = None,
    camera: str | None = None,
    size: int = 64,
    progress: Callable[[Iterable[Recording]], Iterable[Recording]] = iter,
) -> ImportSummary:
    """Write one episode file per recorded episode, frames cropped to a centred square, actions as recorded.

    Args:
        source: "rlds" or "mp4-json", or a registered name.
        path: the recordings.
        out: folder for the episode files and `summary.json`.
        limit: at most this many episodes.
        camera: the reader's name of a camera; None for its default.
        size: side of the frames in pixels.
        progress: wraps the episodes as they pass, `tqdm` for example.

    Raises:
        UnknownName: no such format, split or camera.
        InvalidInput: no recordings there, or none of them could be read.
        RunMismatch: `out` holds another import.
        MissingDependency: the format needs a package that is not installed.
    """
    if size < 1 or (limit is not None and limit < 1):
        raise InvalidInput(f"size is {size} and limit is {limit}; give at least 1, or no limit")
    path, out = Path(path), Path(out)
    recordings = RECORDING_FORMATS.config(source, {"path": str(path), "camera": camera, "limit": limit}).build()
    plan = {"source": source, "path": str(path.resolve()), "camera": camera, "size": size}
    _refuse_other(out, plan)
    done: list[Imported] = []
    dropped: list[Dropped] = []
    for recording in progress(recordings):
        try:
            done.append(_import_one(recording, out, size, first=done[:1]))
        except WorldsimError as error:
            dropped.append(Dropped(recording.split, recording.name, str(error)))
        if len(done) == 1:
            write_json(out / "import.json", plan)
    if not done:
        reason = dropped[0].reason if dropped else "there is none"
        raise InvalidInput(f"none of the {len(dropped)} episodes of {path} could be read; the first: {reason}")
    summary = _summarise(source, str(path), str(out), size, done, dropped)
    write_json(out / "summary.json", asdict(summary))
    return summary


def _refuse_other(out: Path, plan: Mapping[str, Any]) -> None:
    """Stop where `out` is noted to hold another import."""
    note = out / "import.json"
    try:
        found = json.loads(note.read_bytes()) if note.exists() else plan
    except ValueError as error:
        raise DamagedFile(f"{note} is not JSON; delete the folder {out} and import again") from error
    if found != plan:
        raise RunMismatch(f"{out} holds another import ({found}); give another out=FOLDER")


def _import_one(recording: Recording, out: Path, size: int, first: list[Imported]) -> Imported:
    file = out / quote(recording.split, safe="") / f"{quote(recording.name, safe='')}.h5"
    try:
        trajectory, kept = read_trajectory(file), True
    except DamagedFile:  # missing or torn
        trajectory, kept = recording.read(), False
    trajectory = replace(trajectory, frames=resize_frames(trajectory.frames, size, size))
    _check(trajectory, first)
    if not kept:
        write_trajectory(file, trajectory)
    fingerprint = hashlib.sha256(trajectory.frames.tobytes() + trajectory.actions.tobytes()).hexdigest()
    return Imported(len(trajectory.frames), trajectory.actions, trajectory.metadata, fingerprint, kept)


def _check(trajectory: Trajectory, first: list[Imported]) -> None:
    """Refuse an episode that would spoil the data set, or that does not fit the first one."""
    if not np.isfinite(trajectory.actions).all():
        raise InvalidInput("an action is not finite")
    if trajectory.frames.min() == trajectory.frames.max():
        raise InvalidInput(f'camera "{trajectory.metadata["camera"]}" shows one colour throughout')
    for earlier in first:
        mine, theirs = trajectory.metadata["action"], earlier.metadata["action"]
        if mine != theirs:
            raise InvalidInput(f"actions are {mine}, in the first episode {theirs}")


def _summarise(source: str, path: str, out: str, size: int, done: list[Imported], dropped: list[Dropped]) -> ImportSummary:
    meaning = done[0].metadata["action"]
    statistics = describe_actions(np.concatenate([each.actions for each in done]), tuple(meaning["names"]))
    low, high = bounds_of(statistics)
    return ImportSummary(
        source=source,
        path=path,
        out=out,
        size=size,
        cameras=tuple(sorted({each.metadata["camera"] for each in done})),
        episodes=len(done),
        kept=sum(each.kept for each in done),
        splits=dict(Counter(each.metadata["split"] for each in done)),
        repeated=len(done) - len({each.fingerprint for each in done}),
        frames=sum(each.frames for each in done),
        fps=meaning["rate_hz"],
        fps_assumed=any(each.metadata.get("fps_assumed", False) for each in done),
        action=ActionSpec(**meaning, low=low, high=high),
        statistics=statistics,
        dropped=tuple(dropped),
    )
