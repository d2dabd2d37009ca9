"""A recorded episode that has not been read yet: what every reader of recordings yields; and the readers by name. Knows no format."""

from collections.abc import Callable
from dataclasses import dataclass

from worldsim.registry import Registry
from worldsim.types import Trajectory

RECORDING_FORMATS = Registry("recording format")  # each part is a dataclass with path, camera, limit and `build() -> Iterator[Recording]`


@dataclass(frozen=True)
class Recording:
    """One episode of a data set, still on disk.

    Attributes:
        split: the part of the data set that it belongs to.
        name: the same in every run, and unique within its split.
        read: decodes it, frames at their recorded size. Raises a `WorldsimError` that says why where it cannot be read.
    """

    split: str
    name: str
    read: Callable[[], Trajectory]
