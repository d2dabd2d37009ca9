"""Reader of mp4 + JSON folders, one video per camera and one annotation per episode. Knows nothing of where episodes go.

    PATH/videos/SPLIT/ID/CAMERA.mp4
    PATH/annotation/SPLIT/ID.json      "texts": [instruction], "states": one row of 7 numbers per video frame

This is how Ctrl-World keeps DROID. A state is position (metres), roll, pitch, yaw (radians) of the gripper in the base frame, and
how far the gripper is closed (0 open, 1 closed). The files hold commands too, but at a higher rate than the video. An action is
therefore what the robot did between two frames: `action[t][:6] = state[t + 1][:6] - state[t][:6]`, angles wrapped to [-pi, pi),
and `action[t][6] = state[t + 1][6]`, the gripper position reached.

Neither file has a checksum. What the files say twice is compared: a state with the row of "observation.state.*" that it was taken
from, the number of frames with that of states, the frame rates of an episode's cameras with one another.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.recording import RECORDING_FORMATS, Recording
from worldsim.data.video import gather_frames, read_video, video_fps
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.registry import did_you_mean
from worldsim.types import Trajectory

NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper_closed")
DEFAULT_CAMERA = "0"
LARGEST_STATE = 1e6
SOURCES = ("observation.state.cartesian_position", "observation.state.gripper_position")  # states, at the rate of the recording


@dataclass(frozen=True)
class Annotation:
    """What one annotation file says: the instruction ("" where there is none) and states float64 `[T, 7]`."""

    instruction: str
    states: np.ndarray


def read_mp4_json(
    path: str | os.PathLike, *, split: str | None = None, camera: str | None = None, limit: int | None = None
) -> Iterator[Recording]:
    """The episodes of an mp4 + JSON folder, in order of split and id; nothing is decoded before `Recording.read`.

    Args:
        path: the folder that holds `annotation/` and `videos/`.
        split: one split only; None for all.
        camera: name of the video file without `.mp4`; None for "0".
        limit: at most this many episodes.

    Raises:
        InvalidInput: no such folder, or no annotation in it.
        UnknownName: no such split.
    """
    root = Path(path)
    splits = sorted(folder.name for folder in (root / "annotation").glob("*/"))
    if split is not None and split not in splits:
        raise UnknownName(f'{path} has no split "{split}"; {did_you_mean(split, splits)}')
    files = [file for name in splits if split in (None, name) for file in _annotations(root / "annotation" / name)]
    if not files:
        raise InvalidInput(f"{path} holds no annotation/SPLIT/ID.json; give the folder that has annotation and videos in it")
    return islice((Recording(file.parent.name, file.stem, partial(_read, root, file, camera or DEFAULT_CAMERA)) for file in files), limit)


def parse_annotation(data: bytes) -> Annotation:
    """An annotation file's content, checked.

    Raises:
        InvalidInput: for anything that is not JSON with at least two rows of 7 finite states, or that contradicts itself.
    """
    try:
        content = json.loads(data)
        states = np.asarray(content["states"], dtype=np.float64)
        instruction = (content.get("texts") or [""])[0]
        sources = [np.asarray(content[name], dtype=np.float64) for name in SOURCES] if SOURCES[0] in content else []
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise InvalidInput(f'annotation is not JSON with "states" and "texts" ({type(error).__name__})') from error
    if states.ndim != 2 or states.shape[1] != len(NAMES) or len(states) < 2:
        raise InvalidInput(f"annotation has states {list(states.shape)}, expected [frames, {len(NAMES)}] with at least 2 frames")
    if not (np.abs(states) < LARGEST_STATE).all():  # NaN counts as outside
        raise InvalidInput(f"annotation has a state that is not a number within {LARGEST_STATE:g} metres or radians")
    if not isinstance(instruction, str):
        raise InvalidInput("annotation has an instruction that is not text")
    if sources and not _agree(states, *sources):
        raise InvalidInput('annotation contradicts itself: "states" are not rows of "observation.state"; copy it again')
    return Annotation(instruction, states)


def _agree(states: np.ndarray, poses: np.ndarray, grippers: np.ndarray) -> bool:
    """Whether states are every n-th row of the recording that they were taken from, whose rate is a multiple of theirs."""
    every = round(len(poses) / len(states))
    if every < 1 or len(poses) != len(grippers) or len(poses[::every]) != len(states):
        return False
    return np.array_equal(states[:, :6], poses[::every]) and np.array_equal(states[:, 6], grippers[::every].ravel())


def actions_between(states: np.ndarray) -> np.ndarray:
    """What the robot did between frames: states `[T, 7]` to actions float32 `[T - 1, 7]`, by the rule on top of this file."""
    change = np.diff(states[:, :6], axis=0)
    change[:, 3:] = (change[:, 3:] + np.pi) % (2 * np.pi) - np.pi
    return np.concatenate([change, states[1:, 6:]], axis=1).astype(np.float32)


def _annotations(folder: Path) -> list[Path]:
    """Its JSON files, numbers in numeric order before other names."""
    return sorted(folder.glob("*.json"), key=lambda file: (0, int(file.stem), "") if file.stem.isdecimal() else (1, 0, file.stem))


def _read(root: Path, file: Path, camera: str) -> Trajectory:
    split, name = file.parent.name, file.stem
    try:
        annotation = parse_annotation(file.read_bytes())
    except OSError as error:
        raise DamagedFile(f"annotation cannot be read ({error.strerror})") from error
    videos = {video.stem: video for video in sorted((root / "videos" / split / name).glob("*.mp4"))}
    if camera not in videos:
        raise UnknownName(f'no camera "{camera}"; {did_you_mean(camera, videos)}')
    rates = _rates(videos)
    frames = _frames(videos[camera], len(annotation.states), rates)
    views, left_out = _views({other: video for other, video in videos.items() if other != camera}, len(annotation.states), rates)
    return Trajectory(
        task_id="import",
        frames=frames,
        actions=actions_between(annotation.states),
        views=views,
        metadata={
            **{"source": "mp4-json", "split": split, "episode": name, "instruction": annotation.instruction},
            **{"camera": camera, "cameras": list(videos), "views_left_out": left_out},
            **{"fps": rates[videos[camera]], "action": _meaning(rates[videos[camera]])},
        },
    )


def _meaning(rate: float) -> dict[str, Any]:
    return {"names": list(NAMES), "rate_hz": rate, "frame": "base", "rotation": "rpy", "gripper": "absolute_closed"}


def _rates(videos: Mapping[str, Path]) -> dict[Path, float]:
    """Frames per second of every video that states them."""
    rates = {}
    for video in videos.values():
        try:
            rates[video] = video_fps(video)
        except DamagedFile:  # said again, and by name, when its frames are read
            continue
    return rates


def _frames(video: Path, count: int, rates: Mapping[Path, float]) -> np.ndarray:
    """All frames of a video uint8 `[count, H, W, 3]`; none beyond that number is held.

    Raises:
        DamagedFile: it is not readable throughout, or its frames change their size.
        InvalidInput: another number of frames, or another rate than most of the episode's videos.
    """
    decoded = read_video(video)
    frames = gather_frames(islice(decoded, count), count)
    found = len(frames) + sum(1 for _ in decoded)
    if found != count:
        raise InvalidInput(f"video has {found} frames for {count} states")
    usual = Counter(rates.values()).most_common(1)[0][0]
    if rates[video] != usual and list(rates.values()).count(usual) > 1:
        raise InvalidInput(f"video has {rates[video]:g} frames per second, the episode's other videos {usual:g}")
    return frames


def _views(videos: Mapping[str, Path], count: int, rates: Mapping[Path, float]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(pictures of the other cameras, why one of them has none)."""
    views, left_out = {}, {}
    for camera, video in videos.items():
        try:
            views[camera] = _frames(video, count, rates)
        except (DamagedFile, InvalidInput) as error:
            left_out[camera] = str(error)
    return views, left_out


@RECORDING_FORMATS.register("droid")
@RECORDING_FORMATS.register("mp4-json")
@dataclass(frozen=True)
class Mp4Json:
    """One mp4 per camera and one JSON annotation per episode."""

    path: str
    camera: str | None = None
    limit: int | None = None

    def build(self) -> Iterator[Recording]:
        """Its episodes, unread."""
        return read_mp4_json(self.path, camera=self.camera, limit=self.limit)
