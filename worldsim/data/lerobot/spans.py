"""Which stretch of which video holds a camera's frames of an episode, and which of these stretches cannot be trusted. Opens no file."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Span:
    """Where one camera's frames of one episode are.

    Attributes:
        file: below the data set.
        start: second of the video at which they begin.
        end: second at which they end; None for the end of the video.
        fault: why they cannot be found, if that is known already.
    """

    file: str = ""
    start: float = 0.0
    end: float | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Stretch:
    """The span of one camera of one episode, which has `length` frames."""

    episode: int
    length: int
    camera: str
    span: Span


def faults(stretches: Sequence[Stretch], fps: float) -> Mapping[tuple[int, str], str]:
    """By (episode, camera): why a span is too short for its frames, or holds frames of another episode too."""
    by_camera, by_file = defaultdict(list), defaultdict(list)
    for each in stretches:
        by_camera[each.camera].append(each)
    found = {key: reason for group in by_camera.values() for key, reason in _too_short(group, fps)}
    for each in stretches:
        if (each.episode, each.camera) not in found:
            by_file[each.camera, each.span.file].append(each)
    return found | {key: reason for group in by_file.values() for key, reason in _shared(group, fps)}


def _too_short(group: Sequence[Stretch], fps: float) -> Iterator[tuple[tuple[int, str], str]]:
    """Those of one camera that end before the last frame does; some data sets note everywhere when the last frame begins."""
    ended = [each for each in group if each.span.end is not None]
    surplus = [(each.span.end - each.span.start) * fps - each.length for each in ended]
    least = -1.5 if surplus and median(surplus) < -0.5 else -0.5
    for each, frames in zip(ended, surplus, strict=True):
        if frames < least:
            span = each.span
            reason = f"the metadata gives {each.length} frames of {each.camera} to it, from {span.start:g} s to {span.end:g} s"
            yield (each.episode, each.camera), reason


def _shared(group: Sequence[Stretch], fps: float) -> Iterator[tuple[tuple[int, str], str]]:
    """Those of one file that reach half a frame or more into another one."""
    reach, owner = float("-inf"), None  # the furthest end so far, and whose it is
    for each in sorted(group, key=lambda stretch: (stretch.span.start, stretch.episode)):
        if owner and each.span.start < reach - 0.5 / fps:
            for one, other in ((each, owner), (owner, each)):
                yield (one.episode, one.camera), f"the metadata gives the same frames of {one.camera} to it and to episode {other.episode}"
        end = each.span.start + each.length / fps
        if end > reach:
            reach, owner = end, each
