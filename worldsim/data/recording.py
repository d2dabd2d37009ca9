"""A recorded episode that has not been read yet: what every reader of recordings yields; and the readers by name. Knows no format."""

from collections.abc import Callable
from dataclasses import dataclass

from worldsim.errors import DamagedFile
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
            Its metadata says which `camera` the frames are of, and where there are several, all `cameras`, and under `views_left_out`
            why one of them is not among the views.
        episodes: how many episodes this stands for; more than 1 only where the rest of a damaged file cannot be reached.
    """

    split: str
    name: str
    read: Callable[[], Trajectory]
    episodes: int = 1


def refused(split: str, name: str, reason: str, episodes: int = 1) -> Recording:
    """A recording that says, when it is read, why it cannot be: `DamagedFile` with that reason."""

    def read() -> Trajectory:
        raise DamagedFile(reason)

    return Recording(split, name, read, episodes)
