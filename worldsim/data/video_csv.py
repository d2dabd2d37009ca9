"""Reader of a plain folder of videos with their actions in CSV files. `worldsim.data.action_table` says what a table holds.

    PATH/**/NAME.mp4, NAME.csv      a table for each video, or
    PATH/**/NAME.mp4, actions.csv   one table for all, whose column `video` (or `episode`) names the video by its path without the ending;
                                    the rows of an episode stand together

A row belongs to every frame, or to every step between two frames. Text files carry no checksum: a changed digit is not found.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path, PurePosixPath

from worldsim.data.action_table import Columns, parse_header, parse_rows
from worldsim.data.paired import ENDINGS, Meaning, Pair, PairedOptions, Rows, Told, pairs_below, split_and_name
from worldsim.data.recording import RECORDING_FORMATS, Recording
from worldsim.data.whole_video import whole_video
from worldsim.errors import DamagedFile, InvalidInput, WorldsimError
from worldsim.types import Trajectory

ONE_TABLE = "actions.csv"
Row = tuple[int, list[str]]  # line number, cells


def read_video_csv(
    path: str | os.PathLike, *, meaning: Meaning | None = None, rows: str | None = None, limit: int | None = None
) -> Iterator[Recording]:
    """The videos in a folder, by split and name, or in the order of the one table; nothing is decoded before `Recording.read`.

    Args:
        path: the folder.
        meaning: what an action means.
        rows: "frames" or "steps"; None takes either, and an import all as in its first episode.
        limit: at most this many episodes.

    Raises:
        InvalidInput: no videos there, tables of both kinds, a table for all without a usable header, or `rows` is another word.
        DamagedFile: the table for all cannot be read.
    """
    root = Path(path)
    told, one = Told("video-csv", meaning or Meaning(), Rows(rows)), root / ONE_TABLE
    pairs = pairs_below(root, ".csv", apart=[one])
    if not os.path.lexists(one):
        return islice((Recording(pair.split, pair.name, partial(_read_pair, told, pair)) for pair in pairs), limit)
    if any(pair.tables for pair in pairs):
        raise InvalidInput(f"{path} holds {ONE_TABLE} and other tables; keep one kind")
    with _table(one) as lines:
        columns = parse_header(next(lines, (0, []))[1])
    who = next((name for name in ("video", "episode") if name in columns.all), None)
    if who is None:
        raise InvalidInput(f'{one} has no column "video" or "episode"; add one, or write a table for each video')
    return islice(_recordings(told, one, columns, columns.all.index(who), pairs), limit)


@contextmanager
def _table(path: Path) -> Iterator[Iterator[Row]]:
    """The rows of a CSV file one by one, empty lines left out. Raises DamagedFile where it is no such text."""
    try:
        with open(path, "rb") as file:  # decoded line by line, so that what stands before a bad one is still read
            reader = csv.reader((line.decode("utf-8-sig" if not place else "utf-8") for place, line in enumerate(file)), strict=True)
            yield ((reader.line_num, cells) for cells in reader if cells)
    except WorldsimError:
        raise
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise DamagedFile(
            f"{path.name} is no readable table ({' '.join(str(error).split())[:80]}); write it as UTF-8 with commas"
        ) from error


def _read_pair(told: Told, pair: Pair) -> Trajectory:
    with _table(pair.table()) as lines:
        columns = parse_header(next(lines, (0, []))[1])
        return _read(told, pair, columns, list(lines))


def _read(told: Told, pair: Pair, columns: Columns, rows: Iterable[Row]) -> Trajectory:
    table = parse_rows(columns, rows)
    footage = whole_video(pair.video())
    table.check_rate(told.meaning.rate or footage.fps())
    return told.trajectory(pair, footage, table.actions, table.names, table.instruction or pair.instruction())


def _recordings(told: Told, one: Path, columns: Columns, who: int, pairs: Sequence[Pair]) -> Iterator[Recording]:
    """The episodes of the table for all in its order, then the videos that it does not name; its faults become ones that refuse."""
    waiting = {(pair.split, pair.name): pair for pair in pairs}
    last = 0
    try:
        with _table(one) as lines:
            next(lines, None)
            for key, group in groupby(lines, key=lambda row: _key(row[1], who)):
                rows = list(group)
                last = rows[-1][0]
                place = split_and_name(key)
                pair = waiting.pop(place, None)
                if pair is None:
                    yield _refusing(*place, f"no video of this name, or its rows do not stand together (line {rows[0][0]})", rows[0][0])
                else:
                    yield Recording(*place, partial(_read, told, pair, columns, rows))
    except DamagedFile as error:
        yield _refusing("train", one.name, str(error), last + 1)
    for place in waiting:
        yield Recording(*place, partial(_refuse, f"{one.name} has no rows for this video"))


def _key(cells: Sequence[str], who: int) -> str:
    """The path of a row's video without its ending."""
    named = PurePosixPath(cells[who].strip().replace("\\", "/") if who < len(cells) else "")
    return (named.with_suffix("") if named.suffix.lower() in ENDINGS else named).as_posix()


def _refusing(split: str, name: str, reason: str, line: int) -> Recording:
    return Recording(split, f"{name[:80]} (line {line})", partial(_refuse, reason))


def _refuse(reason: str) -> Trajectory:
    raise InvalidInput(reason)


@RECORDING_FORMATS.register("video-csv")
@dataclass(frozen=True)
class VideoCsv(PairedOptions):
    """Videos with their actions in CSV files; what the actions mean is said by names, rate, frame, rotation and gripper."""

    def build(self) -> Iterator[Recording]:
        """Its episodes, unread."""
        return read_video_csv(self.path, meaning=self.meaning("video-csv"), rows=self.rows, limit=self.limit)
