"""Clips to learn judging from: the last frames of recorded episodes, labelled by a judge that can be trusted (state, human, recorded)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.splits import OWN, hash_split, require_split, split_folder
from worldsim.errors import InvalidInput
from worldsim.experiments.recordings import episodes_of
from worldsim.experiments.relived import Moment, Relive
from worldsim.load import load_verifier
from worldsim.training.judging import LabelledClips, last_frames
from worldsim.types import Trajectory, Verdict
from worldsim.verifiers.state import StateVerifier

ADVICE = "name who knows: labels=state of recordings of the truth, labels=human of a labelled run, labels=recorded of data with flags"
Facts = tuple[bool, float, str, bool]  # label, number it was read off, what the clip belongs to, whether it ends where the episode does


@dataclass(frozen=True)
class Source:
    """Where clips come from: a folder of episodes or a run folder, who labels them, frames per clip, and the share held out of it.

    `held_out` is of a folder that is not divided into train and validation; clips of one start stay on one side. With `task`, only episodes
    of that task are looked at.
    """

    data: Path
    labels: Any
    frames: int
    held_out: float
    task: str | None = None

    def judge(self) -> Any:
        """The one who labels."""
        return load_verifier(self.labels, self.data if (self.data / "config.yaml").is_file() else None)

    def episodes(self, split: str) -> Iterator[tuple[str, Trajectory]]:
        """The episodes of "train" or "validation", each with what it began from.

        Raises:
            InvalidInput: no episodes, or an episode of our own world from another split's seeds.
        """
        whole = self.data / "episodes" if (self.data / "config.yaml").is_file() else self.data  # of a run, no probe and nothing damaged
        folder = split_folder(whole, split)
        for path, trajectory in episodes_of(folder, self.task):
            start = trajectory.start_id or path.stem
            if folder != whole:
                if trajectory.task_id in OWN:
                    require_split(trajectory.seed, split)
                yield start, trajectory
            elif hash_split(start, {"train": 1 - self.held_out, "validation": self.held_out}) == split:
                yield start, trajectory


@dataclass
class Gathered:
    """Clips as they come, and how many episodes got no label."""

    frames: list[np.ndarray]
    rows: list[np.ndarray]
    facts: list[Facts]
    unlabelled: int = 0
    episodes: int = 0
    count: int = 0

    def add(self, pictures: np.ndarray, rows: np.ndarray, facts: list[Facts]) -> None:
        """Pictures and the clips that show them, `rows` `[n, k]` counted from the first of these pictures."""
        self.frames.append(pictures)
        self.rows.append(rows + self.count)
        self.facts += facts
        self.count += len(pictures)

    def clips(self) -> LabelledClips:
        """All of it."""
        labels, values, groups, final = (np.array(column) for column in zip(*self.facts, strict=True))
        return LabelledClips(np.concatenate(self.frames), np.concatenate(self.rows), labels, values.astype(float), groups, final)


def labelled_clips(source: Source, split: str, every: int, relive: Relive | None = None) -> tuple[LabelledClips, dict[str, int]]:
    """The labelled clips of a split and how many episodes were labelled, and how many were not.

    A judge that reads the true state labels a clip at every `every`-th step, from the last one back; others label the episode, and so its
    last clip. With `relive`, clips of some of these moments are added as a world model sees them.

    Raises:
        InvalidInput: no label at all, episodes of several sizes, or of another split.
    """
    judge, found = source.judge(), Gathered([], [], [])
    moments: list[tuple[Moment, Facts]] = []
    longest = 0
    for start, trajectory in source.episodes(split):
        found.episodes, longest = found.episodes + 1, max(longest, len(trajectory))
        ends = list(range(len(trajectory), -1, -every)) if isinstance(judge, StateVerifier) else [len(trajectory)]
        said = dict(zip(ends, judge.judge([_until(trajectory, end) for end in ends]), strict=True))
        said = {end: verdict for end, verdict in said.items() if verdict.success is not None}
        found.unlabelled += not said
        if said:
            _add(found, source, trajectory, start, said)
            if relive is not None:
                drawn = relive.draw(trajectory, list(said), source.frames).items()
                moments += [(moment, _facts(trajectory, start, end, said[end])) for end, moment in drawn]
    if relive is not None and longest < (back := relive.reaches_back(source.frames)):
        raise InvalidInput(
            f"a world model was asked to imagine ends of episodes that began {back} steps before, and the longest {split} episode below "
            f"{source.data} has {longest}; give fewer relived_steps=, or drop world_model="
        )
    if not found.facts:
        raise InvalidInput(f"none of the {found.episodes} {split} episodes below {source.data} is labelled by {source.labels}; {ADVICE}")
    _require_one_size(found, source)
    if moments:
        clips = relive.imagine([moment for moment, _ in moments], source.frames)
        rows = np.arange(clips.shape[0] * source.frames).reshape(-1, source.frames)
        found.add(clips.reshape(-1, *clips.shape[2:]), rows, [facts for _, facts in moments])
    return found.clips(), {"episodes": found.episodes - found.unlabelled, "unlabelled": found.unlabelled}


def _until(trajectory: Trajectory, end: int) -> Trajectory:
    """The episode up to frame `end`."""
    if end == len(trajectory):
        return trajectory
    states = {name: values[: end + 1] for name, values in trajectory.states.items()}
    return Trajectory(trajectory.task_id, trajectory.frames[: end + 1], trajectory.actions[:end], trajectory.seed, states=states)


def _add(found: Gathered, source: Source, trajectory: Trajectory, start: str, said: dict[int, Verdict]) -> None:
    rows = np.stack([last_frames(end, source.frames) for end in said])
    used, places = np.unique(rows, return_inverse=True)
    found.add(trajectory.frames[used], places.reshape(rows.shape), [_facts(trajectory, start, end, said[end]) for end in said])


def _facts(trajectory: Trajectory, start: str, end: int, verdict: Verdict) -> Facts:
    """Label, the number it was read off, what the clip belongs to, and whether it ends where the episode does."""
    numbers = [value for name, value in verdict.details.items() if name in trajectory.states]
    return bool(verdict.success), float(numbers[0]) if numbers else float("nan"), start, end == len(trajectory)


def _require_one_size(found: Gathered, source: Source) -> None:
    if len(sizes := {pictures.shape[1:3] for pictures in found.frames}) > 1:
        raise InvalidInput(
            f"the pictures below {source.data} are of several sizes, {sorted(sizes)}; import them with resize=64 or another size"
        )
