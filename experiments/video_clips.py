"""The frozen list of clips that are scored: chosen by a hash that is the same everywhere, kept in a file. Knows nothing of models."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from worldsim.data.cameras import seen_from
from worldsim.data.files import digest_of, write_json
from worldsim.data.trajectory_file import read_trajectory, trajectory_paths
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.types import Trajectory

FORMAT = "worldsim-clips/1"


@dataclass(frozen=True)
class Clip:
    """Some frames in a row of one recording: its path below the data folder without the ending, and the place of the first frame."""

    episode: str
    begin: int

    def draw_seed(self, seed: int) -> int:
        """The seed that the model draws this clip with: the same whichever clips are beside it."""
        return _draw(f"{seed} {self.episode} {self.begin}")[0] >> 1


@dataclass(frozen=True)
class ClipList:
    """The clips of an evaluation, the frames that each has, the seed they were chosen by, and how many episodes were too short for one."""

    clips: tuple[Clip, ...]
    length: int
    seed: int
    too_short: int = 0

    @property
    def digest(self) -> str:
        """A short name of exactly these clips in this order."""
        return digest_of([self.length, [[clip.episode, clip.begin] for clip in self.clips]])

    def first(self, count: int) -> "ClipList":
        """The first `count` clips."""
        return ClipList(self.clips[:count], self.length, self.seed, self.too_short)


def choose_clips(folder: Path, length: int, count: int, seed: int) -> ClipList:
    """At most one clip of each episode below `folder`: episodes in the order of a hash, `count` of those that are long enough.

    The hash is SHA-256 of the seed and the episode's path below `folder`; the begin is drawn uniformly by its other half.

    Raises:
        InvalidInput: no episodes, or none that is long enough.
    """
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in trajectory_paths(folder)]
    clips, too_short = [], 0
    for name in sorted(names, key=lambda name: (_draw(f"{seed} {name}"), name)):
        spare = len(read_trajectory(folder / f"{name}.h5").frames) - length
        if spare < 0:
            too_short += 1
            continue
        clips.append(Clip(name, _draw(f"{seed} {name}")[1] % (spare + 1)))
        if len(clips) == count:
            break
    if not clips:
        raise InvalidInput(f"none of the {too_short} episodes below {folder} has the {length} frames of a clip; give longer ones")
    return ClipList(tuple(clips), length, seed, too_short)


def write_clips(path: Path, chosen: ClipList) -> None:
    """Write the list as JSON."""
    facts = {"format": FORMAT, "seed": chosen.seed, "frames": chosen.length, "too_short": chosen.too_short, "digest": chosen.digest}
    write_json(path, facts | {"clips": [vars(clip) for clip in chosen.clips]})


def read_clips(path: str, length: int) -> ClipList:
    """The list in the file `path`.

    Raises:
        InvalidInput: no such file, or clips of another length.
        DamagedFile: not such a list, or not the clips that its digest promises.
    """
    if not Path(path).is_file():
        raise InvalidInput(f"no clip list {path}; drop clips= to choose clips, and find the list in the folder out=")
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
        found = ClipList(
            tuple(Clip(str(each["episode"]), int(each["begin"])) for each in raw["clips"]), raw["frames"], raw["seed"], raw["too_short"]
        )
        promised = raw["digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"{path} is not a list of clips ({FORMAT}); give the clips.json of an earlier run") from error
    if found.digest != promised or not found.clips:
        raise DamagedFile(f"{path} does not hold the clips that its digest {promised} promises; give the file as it was written")
    if found.length != length:
        raise InvalidInput(f"{path} lists clips of {found.length} frames, the protocol has {length}; give its own list")
    return found


def read_clip(folder: Path, clip: Clip, length: int, camera: str | None = None) -> Trajectory:
    """A clip of `length` frames as `camera` saw it, with the actions between them and their states; metadata says where it begins.

    Raises:
        InvalidInput: the recording has fewer frames.
        DamagedFile: there is no such recording, or not a sound one.
    """
    recorded = seen_from(read_trajectory(folder / f"{clip.episode}.h5"), camera)
    rows = slice(clip.begin, clip.begin + length)
    if clip.begin < 0 or len(recorded.frames[rows]) < length:
        raise InvalidInput(
            f"{clip.episode} has {len(recorded.frames)} frames, the clip wants {length} from {clip.begin}; give other clips="
        )
    return replace(
        recorded,
        frames=recorded.frames[rows],
        actions=recorded.actions[clip.begin : clip.begin + length - 1],
        states={name: values[rows] for name, values in recorded.states.items()},
        views={},
        metadata={**recorded.metadata, "begin": clip.begin},
    )


def read_batch(folder: Path, clips: Sequence[Clip], length: int, camera: str | None = None) -> list[Trajectory]:
    """Several clips of one frame size and kind of action.

    Raises:
        InvalidInput: recordings of different frame sizes or actions, or as `read_clip`.
    """
    read = [read_clip(folder, clip, length, camera) for clip in clips]
    if len({(clip.frames.shape, clip.actions.shape) for clip in read}) > 1:
        raise InvalidInput(f"the recordings below {folder} differ in frame size or actions; give those of one kind")
    return read


def _draw(text: str) -> tuple[int, int]:
    """Two numbers of 64 bits that follow from `text` alone."""
    digest = sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")
