"""Episodes whose success is seen in motion only, and the same labels three ways: a true state, people, a data set's flag."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from worldsim.data.trajectory_file import write_trajectory
from worldsim.labelling.label import Label, content_of
from worldsim.labelling.label_file import write_labels
from worldsim.labelling.ledger import opened
from worldsim.report.run_folder import RunFolder
from worldsim.types import Trajectory

SIZE, STEPS = 16, 3
IDENTITY = {"world_model": {"name": "toy"}, "verifier": {"name": "none"}, "task": {"id": "slide"}, "sampler": {}, "seed": 0}


def moving(seed: int) -> tuple[Trajectory, bool]:
    """A bright bar that moves right (success) or left by two pixels a step; where it ends says nothing about which."""
    rng = np.random.default_rng(seed)
    right, end = bool(rng.integers(2)), int(rng.integers(SIZE))
    frames = rng.integers(0, 60, (STEPS + 1, SIZE, SIZE, 3), dtype=np.uint8)
    for step in range(STEPS + 1):
        column = (end + (2 if right else -2) * (step - STEPS)) % SIZE
        frames[step, :, [column, (column + 1) % SIZE]] += 180
    start = f"{seed:07d}"
    metadata = {"policy": "some", "world": "truth", "instruction": "move right"}
    return Trajectory("slide", frames, np.zeros((STEPS, 3), np.float32), seed, start, metadata=metadata), right


def episodes(folder: Path, count: int, first: int = 0, *, told: str = "state") -> Path:
    """Files of that many episodes; `told` is who knows the outcome: state, recorded, or nobody."""
    for seed in range(first, first + count):
        trajectory, success = moving(seed)
        if told == "state":
            opening = np.full(STEPS + 1, 0.005 if success else 0.06)
            trajectory = replace(trajectory, states={"opening": opening})
        if told == "recorded":
            trajectory = replace(trajectory, metadata={**trajectory.metadata, "recorded": {"success": success}})
        write_trajectory(folder / f"{seed:07d}.h5", trajectory)
    return folder


def divided(folder: Path, train: int = 200, held_out: int = 60, **told: str) -> Path:
    """Episodes to learn from and others to calibrate on."""
    episodes(folder / "train", train, **told)
    episodes(folder / "validation", held_out, 1_000_000, **told)
    return folder


def labels_of(seeds, rater: str = "ada") -> list[Label]:
    """What a careful rater says of these episodes."""
    return [
        Label(trajectory.start_id, rater, "y" if success else "n", content_of(trajectory))
        for trajectory, success in (moving(seed) for seed in seeds)
    ]


def label_file(path: Path, seeds) -> Path:
    """Those labels, exported."""
    write_labels(path, labels_of(seeds))
    return path


def labelled_run(path: Path, seeds) -> Path:
    """A run of these episodes, labelled in place."""
    with RunFolder.open(path, {"identity": IDENTITY}) as run:
        for seed in seeds:
            run.add_episode(f"{seed:07d}", moving(seed)[0])
        with opened(run, "ada") as ledger:
            ledger.add(labels_of(seeds))
    return path
