"""From somebody's recordings to a folder of episode files that a world model can be trained on. Knows readers by name only.

out/import.json       what is imported, and how; another import into the same folder is refused
out/SPLIT/NAME.h5     one trajectory file per episode; a readable one is kept, so the same command again resumes
out/summary.json      ImportSummary: counts, action statistics and bounds, and every dropped episode with its reason
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from worldsim.data.cameras import flat
from worldsim.data.files import DISK_FULL, write_json
from worldsim.data.import_summary import NEEDED, Dropped, Imported, ImportSummary, summarise
from worldsim.data.recording import RECORDING_FORMATS, Recording
from worldsim.data.resizing import resize_with_pad
from worldsim.data.trajectory_file import read_trajectory, write_trajectory
from worldsim.data.video import parse_size, resize_frames
from worldsim.errors import DamagedFile, InvalidInput, RunMismatch, WorldsimError
from worldsim.types import Trajectory

VIEWS = ("all", "none")
LONGEST_NAME = (
    239  # bytes, quoted: what a file system's 255 leave beside ".h5" and the dot, process number and ".tmp" of a file being written
)
ALIKE = {"action": "actions are", "rows": "there is one row of actions for all"}  # metadata that all episodes share, where they state them
Resize = Callable[[np.ndarray], np.ndarray]  # of frames [T, H, W, 3]


def import_recordings(
    source: str | Mapping[str, Any],
    path: str | os.PathLike,
    out: str | os.PathLike,
    *,
    limit: int | None = None,
    camera: str | None = None,
    resize: str | int = 64,
    views: str = "all",
    progress: Callable[[Iterable[Recording]], Iterable[Recording]] = iter,
) -> ImportSummary:
    """Write one episode file per recorded episode: pictures cut to their centre and resized, actions as recorded.

    One episode is in memory at a time, at its recorded size with all its cameras (T * H * W * 3 bytes each), before it is resized.

    Args:
        source: name of a recording format, as "rlds"; or a mapping with `name` and the format's own options.
        path: the recordings.
        out: folder for the episode files and `summary.json`.
        limit: at most this many episodes.
        camera: the reader's name of the camera whose pictures become the frames; None for its default.
        resize: "64" for a square, "240x320" for that height and width, cut from the centre; "320x512:pad" keeps the whole picture inside
            black borders; "none" keeps the recorded size.
        views: "all" keeps the pictures of the other cameras beside the frames, at the same size; "none" leaves them away.
        progress: wraps the episodes as they pass, `tqdm` for example.

    Raises:
        UnknownName: no such format, option, split or camera.
        InvalidInput: no recordings there, none of them could be read, or `out` cannot be written to.
        OSError: the disk is full.
        DamagedFile: the note in `out` of what was imported there is no JSON.
        RunMismatch: `out` holds another import, or episodes that no import wrote.
        MissingDependency: the format needs a package that is not installed.
    """
    if limit is not None and limit < 1:
        raise InvalidInput(f"limit is {limit}; give at least 1, or no limit")
    if views not in VIEWS:
        raise InvalidInput(f'views is "{views}", expected one of {", ".join(VIEWS)}')
    resized, path, out = _resizing(str(resize)), Path(path), Path(out)
    options = {"name": source} if isinstance(source, str) else dict(source)
    given = {"path": str(path), "camera": camera, "limit": limit} | {key: options[key] for key in options if key != "name"}
    recordings = RECORDING_FORMATS.config(options["name"], given).build()
    plan = {"source": source, "path": str(path.resolve()), "camera": camera, "resize": str(resize), "views": views}
    with _writing(out):
        _refuse_other(out, plan)
    done, dropped = _import_all(progress(recordings), out, plan, resized)
    if not done:
        reason = dropped[0].reason if dropped else "there is none"
        count = sum(each.episodes for each in dropped)
        raise InvalidInput(f"none of the {count} episodes of {path} could be read; the first: {reason}")
    summary = summarise(done, dropped, {"source": source, "path": str(path), "out": str(out), "views": views})
    with _writing(out):
        write_json(out / "summary.json", asdict(summary))
    return summary


def default_folder(path: str | os.PathLike) -> str:
    """Where recordings go when nobody says: data/ and their name, which is that of their file or folder, version numbers left out."""
    place = Path(path).resolve()
    while re.fullmatch(r"v?\d+(\.\d+)*", place.name) and place.parent.name:
        place = place.parent
    return str(Path("data") / (place.stem if place.is_file() else place.name))


def _refuse_other(out: Path, plan: Mapping[str, Any]) -> None:
    """Stop where `out` is noted to hold another import, or holds episodes without a note."""
    if out.exists() and not out.is_dir():
        raise InvalidInput(f"{out} is a file, expected a folder; give another out=FOLDER")
    note = out / "import.json"
    if not note.exists():
        if next(out.rglob("*.h5"), None):
            raise RunMismatch(f"{out} holds episodes that no import wrote; give another out=FOLDER")
        return
    try:
        found = json.loads(note.read_bytes())
    except ValueError as error:
        raise DamagedFile(f"{note} is not JSON; delete the folder {out} and import again") from error
    if found != plan:
        raise RunMismatch(f"{out} holds another import ({found}); give another out=FOLDER")


def _import_all(
    recordings: Iterable[Recording], out: Path, plan: Mapping[str, Any], resized: Resize
) -> tuple[list[Imported], list[Dropped]]:
    """The episodes one by one; the first that can be used claims the folder."""
    done: list[Imported] = []
    dropped: list[Dropped] = []
    for recording in recordings:
        try:
            file = out / _quoted(recording.split) / f"{_quoted(recording.name)}.h5"
            trajectory, kept = _episode(recording, file, plan["views"], resized)
            _check(trajectory, done[:1])
        except WorldsimError as error:
            dropped.append(Dropped(*map(_one_line, (recording.split, recording.name, error)), recording.episodes))
            continue
        with _writing(out):
            if not done:
                write_json(out / "import.json", plan)
            if not kept:
                write_trajectory(file, trajectory)
        done.append(_remembered(trajectory, kept=kept))
    return done, dropped


def _quoted(name: str) -> str:
    """The name of a split or an episode as that of a file, which lies nowhere but in its folder and can be read again.

    Raises:
        InvalidInput: it is empty, begins with a dot (as ".." does), is too long, or has bytes that are no UTF-8.
    """
    if not name or name.startswith("."):
        raise InvalidInput(f'a split or episode is named "{name}", expected a name that does not begin with a dot; rename it')
    try:
        quoted = quote(name, safe="")
    except UnicodeEncodeError as error:
        raise InvalidInput(f'"{name}" is no UTF-8; rename it') from error
    if len(quoted) > LONGEST_NAME:
        raise InvalidInput(f"its name takes {len(quoted)} bytes, expected at most {LONGEST_NAME}; rename it")
    return quoted


def _one_line(words: object) -> str:
    """Words as a terminal and a JSON file take them: in one line, bytes that are no UTF-8 written out."""
    return " ".join(str(words).split()).encode(errors="backslashreplace").decode()


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Inside the block `out` is written to; where it cannot be, that is told in one line, but for a full disk.

    Raises:
        InvalidInput: it cannot be written to.
        OSError: the disk is full.
    """
    try:
        yield
    except WorldsimError:  # a damaged file is an OSError too
        raise
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise InvalidInput(f"{out} cannot be written to ({error.strerror or error}); give another out=FOLDER") from error


def _episode(recording: Recording, file: Path, views: str, resized: Resize) -> tuple[Trajectory, bool]:
    """(episode as it is to be stored, whether it is so already)."""
    try:
        return read_trajectory(file), True
    except DamagedFile:  # missing or torn
        trajectory = recording.read()
    about = trajectory.metadata
    left_out = dict(about.get("views_left_out", {}))
    left_out |= {name: "it shows one colour throughout" for name, view in trajectory.views.items() if flat(view)}
    cameras = sorted({*about.get("cameras", ()), *trajectory.views, *left_out, about["camera"]})
    chosen = {name: view for name, view in trajectory.views.items() if views == "all" and name not in left_out}
    noted = {"split": recording.split, "episode": recording.name, "cameras": cameras, "views_left_out": left_out if views == "all" else {}}
    return replace(
        trajectory,
        frames=resized(trajectory.frames),
        views={name: resized(view) for name, view in chosen.items()},
        metadata={**about, **noted},
    ), False


def _resizing(text: str) -> Resize:
    """What `resize` asks for, as a function of frames `[T, H, W, 3]`.

    Raises:
        InvalidInput: it is none of the forms above.
    """
    size, colon, fit = text.partition(":")
    if colon and fit != "pad":
        raise InvalidInput(f'resize is "{text}", expected 64, 240x320, 240x320:pad or none')
    wanted = parse_size(size)
    if wanted is None:
        return lambda frames: frames
    return partial(resize_with_pad if colon else resize_frames, height=wanted[0], width=wanted[1])


def _check(trajectory: Trajectory, first: list[Imported]) -> None:
    """Refuse an episode that would spoil the data set, or that does not fit the first one."""
    if not np.isfinite(trajectory.actions).all():
        raise InvalidInput("an action is not finite")
    if flat(trajectory.frames):
        raise InvalidInput(f'camera "{trajectory.metadata["camera"]}" shows one colour throughout')
    for earlier in first:
        for key, words in ALIKE.items():
            mine, theirs = trajectory.metadata.get(key), earlier.metadata.get(key)
            if None not in (mine, theirs) and mine != theirs:
                raise InvalidInput(f"{words} {mine}, in the first episode {theirs}")
        size = trajectory.frames.shape[1:3]
        if size != earlier.size:
            shapes = f"{size[0]} x {size[1]}, in the first episode {earlier.size[0]} x {earlier.size[1]}"
            raise InvalidInput(f"frames are {shapes}; type resize=64 or another size")


def _remembered(trajectory: Trajectory, *, kept: bool) -> Imported:
    fingerprint = hashlib.sha256(trajectory.frames.tobytes() + trajectory.actions.tobytes()).hexdigest()
    frames, about = trajectory.frames, trajectory.metadata
    return Imported(
        frames.shape[1:3], len(frames), trajectory.actions, {key: about[key] for key in NEEDED if key in about}, fingerprint, kept
    )
