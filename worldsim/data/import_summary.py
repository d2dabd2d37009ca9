"""What an import brought, in numbers: episodes, cameras, how the actions are distributed, and everything that was left out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.data.actions import ActionStatistics, bounds_of, describe_actions
from worldsim.types import ActionSpec


@dataclass(frozen=True)
class Dropped:
    """An episode that was left out, and why; or several at once, where the rest of a damaged file cannot be reached."""

    split: str
    episode: str
    reason: str
    episodes: int = 1


@dataclass(frozen=True)
class MissingView:
    """A camera whose pictures are not beside the frames of some episodes: why, of how many, and which is the first of them."""

    camera: str
    reason: str
    episodes: int
    first: str


NEEDED = ("split", "episode", "camera", "cameras", "views_left_out", "action", "rows", "fps_assumed", "action_unknown")


@dataclass(frozen=True)
class Imported:
    """What is remembered of one written episode: its actions, and of its metadata what is `NEEDED` for the summary and the comparison."""

    size: tuple[int, int]
    frames: int
    actions: np.ndarray
    metadata: Mapping[str, Any]
    fingerprint: str
    kept: bool


@dataclass(frozen=True)
class ImportSummary:
    """What an import brought: the episodes of this command, those already there included.

    Attributes:
        source: name of the recording format, or a mapping with `name` and the format's options.
        path: where the recordings are.
        out: where the episode files are.
        size: rows and columns of the frames.
        frames_from: the cameras that frames were taken from; usually one.
        cameras: all cameras that the recordings have, those first.
        views: whether the other cameras were kept beside the frames, "all" or "none".
        views_left_out: those that an episode lacks all the same.
        episodes: number of episode files.
        kept: how many of them an earlier run had written.
        splits: number of episode files per split.
        repeated: episodes whose frames and actions are exactly those of an earlier one. Above 0, splits may not be independent.
        frames: number of frames in all.
        fps: frames per second.
        fps_assumed: the recordings do not state a rate and none is known for them.
        action_unknown: nobody has said what the actions of this data set mean; frame, rotation and gripper are placeholders.
        action: what an action means, with bounds that hold every action seen and a little more.
        statistics: how each component is distributed.
        dropped: episodes left out.
    """

    source: str | Mapping[str, Any]
    path: str
    out: str
    size: tuple[int, int]
    frames_from: tuple[str, ...]
    cameras: tuple[str, ...]
    views: str
    views_left_out: tuple[MissingView, ...]
    episodes: int
    kept: int
    splits: Mapping[str, int]
    repeated: int
    frames: int
    fps: float
    fps_assumed: bool
    action_unknown: bool
    action: ActionSpec
    statistics: tuple[ActionStatistics, ...]
    dropped: tuple[Dropped, ...]

    @property
    def lost(self) -> int:
        """How many episodes were left out."""
        return sum(each.episodes for each in self.dropped)


def summarise(done: Sequence[Imported], dropped: Iterable[Dropped], about: Mapping[str, Any]) -> ImportSummary:
    """The summary of at least one episode; `about` is source, path, out and views."""
    meaning = done[0].metadata["action"]
    statistics = describe_actions(np.concatenate([each.actions for each in done]), tuple(meaning["names"]))
    low, high = bounds_of(statistics)
    frames_from = sorted({each.metadata["camera"] for each in done})
    others = {camera for each in done for camera in each.metadata["cameras"]}.difference(frames_from)
    return ImportSummary(
        **about,
        size=done[0].size,
        frames_from=tuple(frames_from),
        cameras=(*frames_from, *sorted(others)),
        views_left_out=_missing_views(done),
        episodes=len(done),
        kept=sum(each.kept for each in done),
        splits=dict(Counter(each.metadata["split"] for each in done)),
        repeated=len(done) - len({each.fingerprint for each in done}),
        frames=sum(each.frames for each in done),
        fps=meaning["rate_hz"],
        fps_assumed=any(each.metadata.get("fps_assumed", False) for each in done),
        action_unknown=any(each.metadata.get("action_unknown", False) for each in done),
        action=ActionSpec(**meaning, low=low, high=high),
        statistics=statistics,
        dropped=tuple(dropped),
    )


def _missing_views(done: Iterable[Imported]) -> tuple[MissingView, ...]:
    """One entry per camera and reason, however many episodes it concerns."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in done:
        for camera, reason in each.metadata["views_left_out"].items():
            found.setdefault((camera, reason), []).append(f"{each.metadata['split']}/{each.metadata['episode']}")
    return tuple(MissingView(camera, reason, len(names), names[0]) for (camera, reason), names in sorted(found.items()))
