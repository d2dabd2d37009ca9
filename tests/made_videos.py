"""Recordings of nobody's robot, as anybody may have them: a folder of videos, each with a CSV of its actions."""

from pathlib import Path

import numpy as np

from worldsim.data.video import write_video

SIZE, STEPS = 64, 12


def picture(x: float, y: float) -> np.ndarray:
    """A bright disc at (x, y) on a table, uint8 `[64, 64, 3]`."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    disc = 1 / (1 + np.exp((columns - x) ** 2 / 10 + (rows - y) ** 2 / 10 - 5))
    table = np.stack([90 + rows, 110 + 0 * rows, 160 - columns], axis=-1)
    return np.clip(table * (1 - disc[..., None]) + np.array([250, 220, 40]) * disc[..., None], 0, 255).astype(np.uint8)


def write_recordings(folder: Path, episodes: int = 16) -> Path:
    """Each episode moves the disc by `dx` and `dy` pixels a step, 5 steps a second."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for episode in range(episodes):
        place, aim = rng.uniform(16, 48, 2), rng.uniform(12, 52, 2)
        frames, rows = [picture(*place)], ["dx,dy"]
        for _ in range(STEPS):
            action = np.clip((aim - place) / 4 + rng.normal(0, 0.5, 2), -4, 4)
            place = place + action
            frames.append(picture(*place))
            rows.append(",".join(f"{value:.3f}" for value in action))
        write_video(folder / f"push-{episode:02d}.mp4", np.stack(frames), fps=5)
        (folder / f"push-{episode:02d}.csv").write_text("\n".join(rows) + "\n")
        (folder / f"push-{episode:02d}.txt").write_text("push the disc")
    return folder
