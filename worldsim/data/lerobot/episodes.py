"""Which rows and which stretch of which video make an episode, by the metadata of either version. Reads no frame and no action."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from worldsim.data.lerobot.description import Description
from worldsim.data.lerobot.json_lines import json_lines, natural, texts
from worldsim.data.lerobot.spans import Span, Stretch, faults
from worldsim.data.lerobot.tables import read_table
from worldsim.errors import DamagedFile

EPISODES = {2: "meta/episodes.jsonl", 3: "meta/episodes"}
VIDEO = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")  # what v3 notes of each camera, behind videos/CAMERA/


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
    rows = json_lines(root, EPISODES[2], notes) if about.version[0] == 2 else _parquet_rows(root, about, notes)
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
    return _with_span_faults(sorted(whole, key=lambda episode: episode.index), about.fps)


def _parquet_rows(root: Path, about: Description, notes: list[str]) -> Iterator[tuple[str, dict]]:
    """(where it stands, row) of all parquet files of the episodes; the statistics in them are not read. A torn file is noted."""
    videos = [camera for camera, kind in about.cameras.items() if kind == "video"]
    columns = ["episode_index", "length", "tasks", "dataset_from_index", "dataset_to_index", "data/chunk_index", "data/file_index"]
    columns += [f"videos/{camera}/{part}" for camera in videos for part in VIDEO]
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
    index = natural(row["episode_index"])
    place = {"episode_chunk": index // about.chunk, "episode_index": index}
    videos = [camera for camera, kind in about.cameras.items() if kind == "video"]
    return Episode(
        index=index,
        length=natural(row["length"]),
        data=about.data_path.format(**place),
        tasks=texts(row.get("tasks")),
        videos={camera: Span(about.video_path.format(video_key=camera, **place)) for camera in videos},
    )


def _parsed_v3(row: Mapping[str, Any], about: Description) -> Episode:
    """An episode of v3, which shares files with others. KeyError, TypeError or ValueError where the row is none."""
    index, length = natural(row["episode_index"]), natural(row["length"])
    episode = Episode(index, length, tasks=texts(row.get("tasks")))
    try:
        first, end = natural(row["dataset_from_index"]), natural(row["dataset_to_index"])
        data = about.data_path.format(chunk_index=natural(row["data/chunk_index"]), file_index=natural(row["data/file_index"]))
    except (KeyError, TypeError, ValueError) as error:
        return replace(episode, fault=f"the metadata does not say where its rows are ({type(error).__name__})")
    videos = {camera: _span(row, camera, about) for camera, kind in about.cameras.items() if kind == "video"}
    fault = None if end - first == length else f"the metadata gives it {length} rows, from {first} to {end}"
    return replace(episode, first=first, data=data, videos=videos, fault=fault)


def _span(row: Mapping[str, Any], camera: str, about: Description) -> Span:
    """What the metadata of v3 says of one camera."""
    try:
        chunk, file, start, end = (row[f"videos/{camera}/{part}"] for part in VIDEO)
        place = about.video_path.format(video_key=camera, chunk_index=natural(chunk), file_index=natural(file))
        span = Span(place, float(start), float(end))
    except (KeyError, TypeError, ValueError) as error:
        return Span(fault=f"the metadata does not say where its frames of {camera} are ({type(error).__name__})")
    known = 0 <= span.start <= span.end < float("inf")  # NaN is not
    return span if known else replace(span, fault=f"the metadata gives it frames of {camera} from {start:g} s to {end:g} s")


def _gaps(found: Iterable[int], stated: int | None, notes: list[str]) -> Iterator[Episode]:
    """The numbers that no episode has, where there are fewer than stated; what is wrong with the listing, if nothing is missing."""
    known = sorted(found)
    count = known[-1] + 1 if stated is None else stated
    gaps = [(one + 1, two) for one, two in pairwise([-1, *known, max(count, known[-1] + 1)]) if two - one > 1] if len(known) < count else []
    reason = f"the metadata lists no such episode{_because(notes)}"
    yield from (Episode(first, fault=reason, missing=end - first) for first, end in gaps)
    if not gaps and notes:
        yield Episode(known[-1] + 1, fault=f"the metadata has more{_because(notes)}", missing=len(notes))


def _because(notes: list[str]) -> str:
    return f": {notes[0]}" + (f" (and {len(notes) - 1} more)" if len(notes) > 1 else "") if notes else ""


def _with_span_faults(episodes: list[Episode], fps: float) -> list[Episode]:
    """The same, with a fault at every span that cannot be the episode's alone."""
    stretches = [
        Stretch(episode.index, episode.length, camera, span)
        for episode in episodes
        for camera, span in episode.videos.items()
        if episode.fault is None and span.fault is None
    ]
    by_number = {episode.index: episode for episode in episodes}
    for (number, camera), reason in faults(stretches, fps).items():
        episode = by_number[number]
        by_number[number] = replace(episode, videos={**episode.videos, camera: replace(episode.videos[camera], fault=reason)})
    return list(by_number.values())
