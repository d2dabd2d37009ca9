"""Seeded damage to recordings, and what an import of damaged ones must hold to: a named drop or a WorldsimError, never a wrong number.

whole = imported("my-format", folder, tmp_path / "whole")
for case in cases(folder, sorted(folder.rglob("*.bin")), 60, seed=0):
    with damaged(folder, case):
        check(imported("my-format", folder, tmp_path / str(case)), whole)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from worldsim.data.importing import import_recordings
from worldsim.data.trajectory_file import read_trajectory, trajectory_paths
from worldsim.errors import WorldsimError
from worldsim.types import Trajectory

Kind = Callable[[bytes, np.random.Generator], bytes]  # a file's content to a damaged one; may give it back unchanged


def flip(data: bytes, rng: np.random.Generator, count: int = 1) -> bytes:
    """`count` bits turned, anywhere."""
    changed = bytearray(data)
    for place in rng.integers(len(data), size=count):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def flips(data: bytes, rng: np.random.Generator) -> bytes:
    """Many bits turned."""
    return flip(data, rng, 40)


def truncate(data: bytes, rng: np.random.Generator) -> bytes:
    """The end is missing, from anywhere on; perhaps all of it."""
    return data[: int(rng.integers(len(data)))]


def _overwrite(data: bytes, rng: np.random.Generator, fill: Callable[[int], bytes]) -> bytes:
    begin = int(rng.integers(len(data)))
    length = int(rng.integers(1, 1 + max(1, len(data) // 8)))
    return data[:begin] + fill(len(data[begin : begin + length])) + data[begin + length :]


def zero(data: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of zeros, as an interrupted copy leaves it."""
    return _overwrite(data, rng, bytes)


def noise(data: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of random bytes."""
    return _overwrite(data, rng, rng.bytes)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """A stretch is missing, what follows has moved up."""
    return _overwrite(data, rng, lambda length: b"")


def double(data: bytes, rng: np.random.Generator) -> bytes:
    """A stretch stands there twice."""
    begin = int(rng.integers(len(data)))
    return data[:begin] + data[begin : begin + 1 + len(data) // 8] + data[begin:]


KINDS: Mapping[str, Kind] = {each.__name__: each for each in (flip, flips, truncate, zero, noise, cut, double)}


@dataclass(frozen=True)
class Case:
    """One damaged file: which (below the recordings' folder), how, and the seed of where. `str(case)` can name a folder."""

    file: Path
    kind: str
    seed: int
    how: Kind = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.seed}-{self.kind}-{self.file.name}"


def cases(root: Path, files: Iterable[Path], count: int, seed: int, kinds: Mapping[str, Kind] = KINDS) -> list[Case]:
    """`count` cases, every kind on every file in turn; `kinds` may hold a format's own, as `{**KINDS, "length": absurd_length}`."""
    pairs = [(file.relative_to(root), kind) for kind in kinds for file in files]
    order = np.random.default_rng(seed).permutation(len(pairs))
    chosen = (pairs[order[number % len(pairs)]] for number in range(count))
    return [Case(file, kind, seed * 100_000 + number, kinds[kind]) for number, (file, kind) in enumerate(chosen)]


@contextmanager
def damaged(root: Path, case: Case) -> Iterator[None]:
    """The file is damaged inside the block and whole again after it. `root` must be a copy that may be written to."""
    path = root / case.file
    data = path.read_bytes()
    rng = np.random.default_rng(case.seed)
    changed = next((new for new in (case.how(data, rng) for _ in range(100)) if new != data), None)
    assert changed is not None, f"{case} leaves the file as it is"
    path.write_bytes(changed)
    try:
        yield
    finally:
        path.write_bytes(data)


@dataclass(frozen=True)
class Outcome:
    """What an import came to: episodes by "SPLIT/NAME", how many were named as dropped, or the line it was refused with."""

    episodes: Mapping[str, Trajectory]
    dropped: int = 0
    refusal: str = ""


def imported(source: str, path: Path, out: Path, **options: object) -> Outcome:
    """Import into an empty folder `out`. Anything but a WorldsimError of one line passes through and fails the test."""
    try:
        summary = import_recordings(source, path, out, **options)
    except WorldsimError as error:
        line = str(error)
        assert line.strip() == line != ""
        assert "\n" not in line
        assert not list(out.rglob("*.*"))
        return Outcome({}, refusal=line)
    assert all(each.reason and "\n" not in each.reason for each in summary.dropped)
    episodes = {file.relative_to(out).with_suffix("").as_posix(): read_trajectory(file) for file in trajectory_paths(out)}
    assert len(episodes) == summary.episodes
    return Outcome(episodes, sum(each.episodes for each in summary.dropped))


def check(outcome: Outcome, whole: Outcome, *, frames: bool = True) -> None:
    """No wrong number: what came through is what the whole recordings gave, and what did not was named, each episode once.

    With `frames=False` only the number of frames and their size must be right: for formats whose pictures have no checksum.
    """
    assert whole.episodes
    if outcome.refusal:
        return
    assert set(outcome.episodes) <= set(whole.episodes)
    assert len(outcome.episodes) + outcome.dropped >= len(whole.episodes) + whole.dropped
    for name, trajectory in outcome.episodes.items():
        true = whole.episodes[name]
        np.testing.assert_array_equal(trajectory.actions, true.actions, strict=True)
        assert trajectory.frames.shape == true.frames.shape
        if frames:
            np.testing.assert_array_equal(trajectory.frames, true.frames, strict=True)
        assert trajectory.states.keys() == true.states.keys()
        for state, values in trajectory.states.items():
            np.testing.assert_array_equal(values, true.states[state], strict=True)
        assert trajectory.metadata["action"] == true.metadata["action"]
