"""The rows of one episode as checked arrays: one per frame, in order, none twice and none missing. Decodes no picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.lerobot.description import Description
from worldsim.data.lerobot.episodes import Episode
from worldsim.data.lerobot.tables import plain, read_table, vectors, whole_numbers
from worldsim.errors import DamagedFile

PACE = 0.1  # by which share the mean time between rows may differ from what the data set's rate says


@dataclass(frozen=True)
class Rows:
    """What the table says of one episode of T frames.

    Attributes:
        times: float64 `[T]`, seconds since its beginning.
        actions: float32 `[T, A]`.
        states: float32 `[T, S]`, if the data set has them; not checked for NaN.
        task: number of the instruction of the first row, if stated.
    """

    times: np.ndarray
    actions: np.ndarray
    states: np.ndarray | None
    task: int | None


def read_rows(root: Path, about: Description, episode: Episode) -> Rows:
    """The rows of `episode`.

    Raises:
        DamagedFile: the file cannot be read, or the rows are not those that the metadata promises.
    """
    state = [about.state.column] if about.state else []
    columns = ["episode_index", "frame_index", "index", "timestamp", "task_index", about.action.column, *state]
    table = read_table(root, episode.data, columns, ("episode_index", episode.index))
    _check_order(table, episode)
    actions = vectors(table, about.action.column, len(about.action.names))
    with np.errstate(over="ignore"):
        actions = actions.astype(np.float32)
    if not np.isfinite(actions).all():
        raise DamagedFile(f"row {np.flatnonzero(~np.isfinite(actions).all(1))[0]} has an action that is not finite")
    return Rows(
        times=_times(table, about.fps),
        actions=actions,
        states=vectors(table, state[0], len(about.state.names)).astype(np.float32) if state else None,
        task=int(whole_numbers(table, "task_index")[0]) if "task_index" in table.column_names else None,
    )


def read_pictures(root: Path, episode: Episode, camera: str) -> list[Any]:
    """The column of pictures of `episode`, undecoded, in the order that `read_rows` has checked. Raises DamagedFile."""
    return plain(read_table(root, episode.data, ["episode_index", camera], ("episode_index", episode.index)), camera)


def _check_order(table: Any, episode: Episode) -> None:
    """Refuse rows that are not `episode.length`, numbered from 0 on, and in the data set's own count where they should be."""
    if len(table) != episode.length:
        raise DamagedFile(f"{episode.data} has {len(table)} rows of it, the metadata says {episode.length}")
    numbers = whole_numbers(table, "frame_index")
    wrong = np.flatnonzero(numbers != np.arange(len(numbers)))
    if len(wrong):
        raise DamagedFile(f"row {wrong[0]} of it in {episode.data} is frame {numbers[wrong[0]]}: out of order, repeated or missing")
    if episode.first is not None and "index" in table.column_names:
        places = whole_numbers(table, "index")
        if (places != np.arange(episode.first, episode.first + episode.length)).any():
            raise DamagedFile(f"{episode.data} has it at rows {places[0]} to {places[-1]}, the metadata says from {episode.first} on")


def _times(table: Any, fps: float) -> np.ndarray:
    times = vectors(table, "timestamp", 1)[:, 0]
    steps = np.diff(times)
    if not (steps > 0).all():  # NaN counts as wrong
        raise DamagedFile("timestamps do not increase from row to row")
    if len(steps) and not abs(steps.mean() * fps - 1) < PACE:
        raise DamagedFile(f"rows are {steps.mean():.4g} s apart, but meta/info.json says {fps:g} frames per second")
    return times
