"""Which rows and which stretch of which video make an episode, by the metadata of either version. Reads no frame and no action."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldsim.data.lerobot.description import Description
from worldsim.data.lerobot.tables import content_of, plain, read_table
from worldsim.errors import DamagedFile, WorldsimError

if TYPE_CHECKING:
    import pyarrow

EPISODES = {2: "meta/episodes.jsonl", 3: "meta/episodes"}
TASKS = {2: "meta/tasks.jsonl", 3: "meta/tasks.parquet"}


@dataclass(frozen=True)
class Span:
    """Where a camera's frames of one episode are: the file below the data set, and from when to when in it, in seconds (end None: all)."""

    file: str
    start: float = 0.0
    end: float | None = None


@dataclass(frozen=True)
class Episode:
    """One episode, as the metadata lists it.

    Attributes:
        index: its number.
        length: rows and frames.
        data: the parquet file below the data set.
        first: number of its first row in the data set, where the format states it.
        tasks: what was to be done.
        videos: by camera.
        fault: why it cannot be read, if that is known already.
        missing: how many episodes, from `index` on, this stands for that the metadata lists nowhere.
    """

    index: int
    length: int = 0
    data: str = ""
    first: int | None = None
    tasks: tuple[str, ...] = ()
    videos: Mapping[str, Span] = field(default_factory=dict)
    fault: str | None = None
    missing: int = 0


def list_episodes(root: Path, about: Description) -> list[Episode]:
    """All episodes of a data set by number, those included that the metadata should list and does not.

    Raises:
        DamagedFile: the metadata of the episodes is missing, or none of it can be read.
        MissingDependency: pyarrow is not installed.
    """
    notes: list[str] = []  # what is wrong with the listing itself
    rows = _lines(root, EPISODES[2], notes) if about.version[0] == 2 else _parquet_rows(root, about, notes)
    parse = _parsed_v2 if about.version[0] == 2 else _parsed_v3
    found: dict[int, Episode] = {}
    for place, row in rows:
        try:
            episode = parse(row, about)
        except (KeyError, TypeError, ValueError) as error:
            notes.append(f"{place} is no episode ({type(error).__name__})")
            continue
        twice = episode.index in found
        found[episode.index] = replace(episode, fault=f"the metadata lists it twice, also at {place}") if twice else episode
    if not found:
        raise DamagedFile(f"{EPISODES[about.version[0]]} lists no episode{_because(notes)}; copy the data set again from where it came")
    whole = [*found.values(), *_gaps(found, about.episodes, notes)]
    return _without_overlaps(sorted(whole, key=lambda episode: episode.index), about.fps)


def read_tasks(root: Path, version: int) -> dict[int, str]:
    """Instructions by number; empty where the data set has no file of them.

    Raises:
        DamagedFile: there is one, and it cannot be read whole.
    """
    name, notes = TASKS[version], []
    if not (root / name).exists():
        return {}
    try:
        pairs = [_task(row) for _, row in _lines(root, name, notes)] if version == 2 else _task_columns(root, name)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFile(f"{name} holds something else than numbered tasks ({type(error).__name__}); restore it") from error
    if notes:
        raise DamagedFile(f"{notes[0]}; restore the file")
    return dict(pairs)


def _task(row: Mapping[str, Any]) -> tuple[int, str]:
    return _natural(row["task_index"]), _text(row["task"])


def _task_columns(root: Path, name: str) -> Iterable[tuple[int, str]]:
    """The text stands in pandas' index, which has a name of its own or pandas' usual one."""
    table = read_table(root, name)
    text = next(column for column in ("task", "__index_level_0__", *table.column_names) if column in table.column_names)
    return [_task({"task_index": number, "task": task}) for number, task in zip(plain(table, "task_index"), plain(table, text), strict=True)]


def _lines(root: Path, name: str, notes: list[str]) -> Iterator[tuple[str, dict]]:
    """(where it stands, object) of a file of JSON lines. A line that is none is noted."""
    for number, line in enumerate(content_of(root, name).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield f"line {number} of {name}", row
        else:
            notes.append(f"line {number} of {name} is not a JSON object")


def _parquet_rows(root: Path, about: Description, notes: list[str]) -> Iterator[tuple[str, dict]]:
    """(where it stands, row) of all parquet files of the episodes; the statistics in them are not read. A torn file is noted."""
    videos = [camera for camera, kind in about.cameras.items() if kind == "video"]
    parts = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
    columns = ["episode_index", "length", "tasks", "dataset_from_index", "dataset_to_index", "data/chunk_index", "data/file_index"]
    columns += [f"videos/{camera}/{part}" for camera in videos for part in parts]
    for file in sorted((root / EPISODES[3]).rglob("*.parquet")):
        name = file.relative_to(root).as_posix()
        try:
            rows = read_table(root, name, columns).to_pylist()
        except DamagedFile as error:
            notes.append(str(error))
        except (ValueError, OverflowError):  # text that is not UTF-8
            notes.append(f"{name} cannot be read as parquet")
        else:
            yield from ((f"row {number} of {name}", row) for number, row in enumerate(rows))


def _parsed_v2(row: Mapping[str, Any], about: Description) -> Episode:
    """An episode of v2, which has files of its own. KeyError, TypeError or ValueError where the row is none."""
    index = _natural(row["episode_index"])
    place = {"episode_chunk": index // about.chunk, "episode_index": index}
    return Episode(
        index=index,
        length=_natural(row["length"]),
        data=about.data_path.format(**place),
        tasks=_texts(row.get("tasks")),
        videos={camera: Span(about.video_path.format(video_key=camera, **place)) for camera, kind in about.cameras.items() if kind == "video"},
    )


def _parsed_v3(row: Mapping[str, Any], about: Description) -> Episode:
    """An episode of v3, which shares files with others. KeyError, TypeError or ValueError where the row is none."""
    index, length = _natural(row["episode_index"]), _natural(row["length"])
    episode = Episode(index, length, tasks=_texts(row.get("tasks")))
    try:
        first, end = _natural(row["dataset_from_index"]), _natural(row["dataset_to_index"])
        data = about.data_path.format(chunk_index=_natural(row["data/chunk_index"]), file_index=_natural(row["data/file_index"]))
        videos = {camera: _span(row, camera, about) for camera, kind in about.cameras.items() if kind == "video"}
    except (KeyError, TypeError, ValueError) as error:
        return replace(episode, fault=f"its metadata does not say where its rows and videos are ({' '.join(str(error).split())[:80]})")
    fault = f"the metadata gives it {length} rows, from {first} to {end}" if end - first != length else None
    short = [camera for camera, span in videos.items() if (span.end - span.start) * about.fps < length - 0.5]
    if short:
        span = videos[short[0]]
        fault = fault or f"the metadata gives it {length} frames, but of {short[0]} only {span.end - span.start:g} seconds"
    return replace(episode, first=first, data=data, videos=videos, fault=fault)


def _span(row: Mapping[str, Any], camera: str, about: Description) -> Span:
    chunk, file, start, end = (row[f"videos/{camera}/{part}"] for part in ("chunk_index", "file_index", "from_timestamp", "to_timestamp"))
    if not (isinstance(start, int | float) and isinstance(end, int | float) and 0 <= start <= end < 1e9):  # NaN is refused too
        raise ValueError(f"{camera} from {start} to {end}")
    return Span(about.video_path.format(video_key=camera, chunk_index=_natural(chunk), file_index=_natural(file)), start, end)


def _gaps(found: Iterable[int], count: int | None, notes: list[str]) -> Iterator[Episode]:
    """The numbers below `count` (or the highest found) that no episode has; what is wrong with the listing, if nothing is missing."""
    known = sorted(found)
    count = max(known[-1] + 1, count or 0)
    reason = f"the metadata lists no such episode{_because(notes)}"
    gaps = [(one + 1, two) for one, two in pairwise([-1, *known, count]) if two - one > 1]
    yield from (Episode(first, fault=reason, missing=end - first) for first, end in gaps)
    if not gaps and notes:
        yield Episode(count, fault=f"the metadata has more{_because(notes)}", missing=len(notes))


def _because(notes: list[str]) -> str:
    return f": {notes[0]}" + (f" (and {len(notes) - 1} more)" if len(notes) > 1 else "") if notes else ""


def _without_overlaps(episodes: list[Episode], fps: float) -> list[Episode]:
    """The same, with a fault for every episode whose frames would be frames of another one too."""
    stretches: dict[tuple[str, str], list[tuple[float, float, int]]] = defaultdict(list)
    for place, episode in enumerate(episodes):
        for camera, span in episode.videos.items() if episode.fault is None else ():
            stretches[camera, span.file].append((span.start, span.start + episode.length / fps, place))
    shared = {}
    for (camera, _), stretch in stretches.items():
        reach = (float("-inf"), -1)  # the furthest end so far, and whose it is
        for start, end, place in sorted(stretch):
            if start < reach[0] - 0.5 / fps:
                shared[place], shared[reach[1]] = (reach[1], camera), (place, camera)
            reach = max(reach, (end, place))
    return [
        replace(episode, fault=f"the metadata gives frames of {shared[place][1]} to it and to episode {episodes[shared[place][0]].index}")
        if place in shared
        else episode
        for place, episode in enumerate(episodes)
    ]


def _natural(found: Any) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 2**53:
        raise ValueError(f"{' '.join(repr(found).split())[:30]} where a number from 0 on is expected")
    return found


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise ValueError("a task that is no text")
    return found


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(_text(each) for each in found or ())
