"""What `meta/info.json` says of a data set: version, rate, features, cameras, splits, where files lie. Opens no file."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from worldsim.errors import InvalidInput

ACTIONS, STATES = ("action", "actions"), ("observation.state", "state")  # lerobot's name first, then openpi's
PATH_PATTERNS = {  # what lerobot writes; info.json states it too
    2: (
        "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    ),
    3: (
        "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    ),
}
NUMBERS = {2: ("episode_chunk", "episode_index"), 3: ("chunk_index", "file_index")}  # that a path pattern may name
LARGEST_RATE, LARGEST_VECTOR = 10_000, 10_000
OTHER = "other"  # the split of an episode that info.json puts in none


@dataclass(frozen=True)
class Vector:
    """A feature of one row of numbers per frame: its column, and a name for each number."""

    column: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Description:
    """One data set, as `meta/info.json` describes it.

    Attributes:
        version: of the format, as (2, 1).
        fps: frames per second.
        action: what was commanded.
        state: what was measured, if it is recorded.
        cameras: "video" or "image" by the name of each colour camera; by name, wrist cameras after the others, depth last.
        splits: (name, first episode, one past its last).
        data_path: pattern of the path of a parquet file.
        video_path: pattern of the path of a video.
        chunk: files per folder.
        episodes: how many there are, if stated.
        robot: its type, "" where it is not stated.
    """

    version: tuple[int, int]
    fps: float
    action: Vector
    state: Vector | None
    cameras: Mapping[str, str]
    splits: tuple[tuple[str, int, int], ...]
    data_path: str
    video_path: str
    chunk: int
    episodes: int | None
    robot: str

    def split_of(self, episode: int) -> str:
        """The split that an episode belongs to; "other" where info.json puts it in none."""
        return next((name for name, first, end in self.splits if first <= episode < end), OTHER if self.splits else "train")


def parse_description(data: bytes) -> Description:
    """The content of `meta/info.json`, checked.

    Raises:
        InvalidInput: it is not JSON, a version that cannot be read, or an entry that is missing or makes no sense.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"meta/info.json is not JSON ({type(error).__name__}); copy it again from where it came") from error
    if not isinstance(content, dict):
        raise InvalidInput("meta/info.json is not a JSON object; copy it again from where it came")
    version = _version(content.get("codebase_version"))
    features = _features(content.get("features"))
    data_path, video_path = (
        _pattern(content.get(key) or usual, key, version[0])
        for key, usual in zip(("data_path", "video_path"), PATH_PATTERNS[version[0]], strict=True)
    )
    return Description(
        version=version,
        fps=_fps(content.get("fps")),
        action=_action(features),
        state=next((_vector(name, features[name]) for name in STATES if name in features), None),
        cameras=_cameras(features),
        splits=_splits(content.get("splits") or {}),
        data_path=data_path,
        video_path=video_path,
        chunk=_count(content.get("chunks_size", 1000), "chunks_size", least=1),
        episodes=None if content.get("total_episodes") is None else _count(content["total_episodes"], "total_episodes"),
        robot=str(content.get("robot_type") or ""),
    )


def _wrong(key: str, found: Any, expected: str) -> InvalidInput:
    return InvalidInput(f"meta/info.json has {key} {' '.join(repr(found).split())[:60]}, expected {expected}")


def _version(found: Any) -> tuple[int, int]:
    match = re.fullmatch(r"v?(\d{1,3})\.(\d{1,3})(\.\d{1,3})?", found) if isinstance(found, str) else None
    if not match:
        raise _wrong("codebase_version", found, 'one such as "v2.1" or "v3.0"')
    version = int(match[1]), int(match[2])
    if version[0] < 2:
        raise InvalidInput(f"{found} is older than v2.0; convert the data set with lerobot's own script convert_dataset_v1_to_v2.py")
    if version[0] > 3:
        raise InvalidInput(f"{found} is newer than v3, the newest that worldsim reads; write the data set as v3.0 with an earlier lerobot")
    return version


def _features(found: Any) -> dict[str, dict]:
    if not isinstance(found, dict) or not all(isinstance(feature, dict) for feature in found.values()):
        raise _wrong("features", found, "an object with one object per feature")
    return found


def _fps(found: Any) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found <= LARGEST_RATE:  # NaN is refused too
        raise _wrong("fps", found, f"a number above 0, at most {LARGEST_RATE}")
    return float(found)


def _count(found: Any, key: str, least: int = 0) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or not least <= found < 2**53:
        raise _wrong(key, found, f"a whole number of at least {least}")
    return found


def _action(features: Mapping[str, dict]) -> Vector:
    name = next((name for name in ACTIONS if name in features), None)
    if name is None:
        raise InvalidInput(f'meta/info.json describes no "action"; its features are {", ".join(sorted(features)[:20]) or "none"}')
    return _vector(name, features[name])


def _vector(name: str, feature: Mapping[str, Any]) -> Vector:
    """A feature of shape [A]. Names that are missing, or not as many as A, are replaced by NAME_0, NAME_1, ..."""
    shape = feature.get("shape")
    if not _is_shape(shape) or len(shape) != 1 or not 0 < shape[0] <= LARGEST_VECTOR:
        raise _wrong(f"{name} of shape", shape, "one vector per frame, as [7]")
    names = tuple(_flat(feature.get("names")))
    usable = len(names) == shape[0] and len(set(names)) == len(names)
    return Vector(name, names if usable else tuple(f"{name}_{i}" for i in range(shape[0])))


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, list) and len(shape) > 0 and all(isinstance(side, int) and not isinstance(side, bool) for side in shape)


def _flat(names: Any) -> list[str]:
    """Names as lerobot's robots state them: a list, perhaps in a list, {"motors": list}, or {name: place}. Others are none."""
    if isinstance(names, str):
        return [names]
    if isinstance(names, dict) and all(isinstance(place, int) for place in names.values()):
        return sorted(names, key=names.get)
    groups = names.values() if isinstance(names, dict) else names if isinstance(names, list) else []
    return [name for group in groups for name in _flat(group)]


def _cameras(features: Mapping[str, dict]) -> dict[str, str]:
    """The colour cameras, by name, wrist cameras after the others, depth shown in colours last."""
    names = [name for name, feature in features.items() if feature.get("dtype") in ("video", "image") and _is_colour(feature)]
    names.sort(key=lambda name: ("depth" in name, "wrist" in name or "hand" in name, name))
    return {name: features[name]["dtype"] for name in names}


def _is_colour(feature: Mapping[str, Any]) -> bool:
    notes = [feature.get(key) for key in ("info", "video_info")]
    depth = any(note.get(key) for note in notes if isinstance(note, dict) for key in ("is_depth_map", "video.is_depth_map"))
    shape = feature.get("shape")
    return not depth and (not _is_shape(shape) or 3 in (shape[0], shape[-1]))


def _splits(found: Any) -> tuple[tuple[str, int, int], ...]:
    """{"train": "0:50"} to (("train", 0, 50),). Ranges that share an episode are refused."""
    if not isinstance(found, dict):
        raise _wrong("splits", found, 'an object such as {"train": "0:50"}')
    splits = []
    for name, span in found.items():
        match = re.fullmatch(r"(\d{1,15}):(\d{1,15})", span) if isinstance(span, str) else None
        if not match or not name:
            raise _wrong(f'split "{name}"', span, 'a range of episodes such as "0:50"')
        splits.append((name, int(match[1]), int(match[2])))
    for one, first, end in splits:
        for other, begin, stop in splits:
            if one != other and max(first, begin) < min(end, stop):
                raise InvalidInput(f'meta/info.json has splits "{one}" and "{other}" that share episodes; give each its own range')
    return tuple(splits)


def _pattern(found: Any, key: str, version: int) -> str:
    """A path pattern that names nothing but its numbers and the camera, and stays within the data set."""
    known = (*NUMBERS[version], *(["video_key"] if key == "video_path" else []))
    try:
        pieces = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(found) if name is not None]
    except (TypeError, ValueError) as error:
        raise _wrong(key, found, "a pattern of paths") from error
    sane = all(name in known and re.fullmatch(r"0?\d?d?", spec) and not conversion for name, spec, conversion in pieces)
    sane = sane and all(not spec for name, spec, _ in pieces if name == "video_key")
    if not sane or found.startswith("/") or ".." in found.split("/") or "\0" in found:
        raise _wrong(key, found, f"a path below the data set with {', '.join(f'{{{name}}}' for name in known)} in it")
    return found
