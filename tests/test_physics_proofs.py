"""The proofs of docs/physics.md: their measures in closed form, and the command whole at its smallest size."""

import json

import numpy as np
import pytest

from worldsim.data.files import write_json
from worldsim.data.trajectory_file import write_trajectory
from worldsim.experiments import physics_proofs
from worldsim.experiments.proofs import tracks
from worldsim.experiments.proofs.all_claims import CLAIMS
from worldsim.experiments.proofs.models import BALL
from worldsim.experiments.proofs.rows import FAIL, NULL, PASS, below, interval, ratio
from worldsim.types import Trajectory


def clip(seed: int, frames: int = 13, size: int = 32) -> Trajectory:
    """A red ball of 6 x 6 pixels that is let go and falls, before a camera that looks along the world's y."""
    rng = np.random.default_rng(seed)
    column, row, actions = int(rng.integers(4, 22)), int(rng.integers(2, 8)), rng.uniform(-1, 1, (frames - 1, 2)).astype(np.float32)
    pictures, depth = np.full((frames, size, size, 3), 90, np.uint8), np.full((frames, size, size), 4.0, np.float32)
    things, places = np.zeros((frames, size, size), np.uint8), np.zeros((frames, 3))
    for t in range(frames):
        top = min(row + t * t // 8, size - 7)
        spot = (t, slice(top, top + 6), slice(column, column + 6))
        pictures[spot], depth[spot], things[spot] = (220, 30, 30), 3.0, BALL
        places[t] = (column + 3 - size / 2) * 3 / 40, 3.0, -(top + 3 - size / 2) * 3 / 40
    pose = np.eye(4)
    pose[:3, :3] = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]).T
    lens = np.array([[40.0, 0, size / 2], [0, 40, size / 2], [0, 0, 1]])
    states = {"ball": places, "depth": depth, "segmentation": things, "miss": places[:, 0]}
    states |= {"intrinsics": np.repeat(lens[None], frames, 0), "camera_pose": np.repeat(pose[None], frames, 0)}
    return Trajectory("drop", pictures, actions, seed, states=states, metadata={"fps": 12.5})


def test_the_centre_of_red_and_how_far_it_is():
    one = clip(0)
    found = tracks.centres(one.frames)
    rows, columns = np.nonzero(one.states["segmentation"][0] == BALL)
    np.testing.assert_allclose(found[0], [columns.mean(), rows.mean()])
    aside = np.roll(one.frames, 2, axis=2)
    assert tracks.distance(aside[None], one.frames[None])[0] == pytest.approx(2 / (np.sqrt(2) * 32))
    grey = np.full_like(one.frames, 90)
    np.testing.assert_allclose(tracks.centres(grey), 15.5)


def test_intervals_and_verdicts():
    rng = np.random.default_rng(0)
    value, low, high = interval(rng.normal(1, 1, 400))
    assert low < value < high
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.2)
    assert interval(np.array([[1.0, 2], [3, 6]]), ratio) == pytest.approx((0.5, 0.5, 0.5))
    assert [below((0, *each), 0.5) for each in ((0.1, 0.4), (0.6, 0.9), (0.4, 0.6))] == [PASS, FAIL, NULL]


@pytest.mark.slow
def test_every_claim_is_put_to_the_test_and_kept(tmp_path, capsys):
    """All rows at a size at which nothing is learned; the second time nothing is done again; and other sizes are refused there."""
    for split, base in (("train", 0), ("validation", 1_000_000)):
        for seed in range(6):
            write_trajectory(tmp_path / "data" / split / f"{base + seed:07d}.h5", clip(base + seed))
    action = {"names": ["release", "push"], "low": [-1, -1], "high": [1, 1], "rate_hz": 12.5}
    write_json(tmp_path / "data" / "summary.json", {"action": action})
    words = [f"out={tmp_path}", "scale=ci", "seeds=3"]
    assert physics_proofs.main(words) == 0
    rows = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "seed-3" / "rows").glob("*.json") if "l2-" not in path.name}
    assert rows.keys() == CLAIMS.keys()
    assert all(row["verdict"] in (PASS, FAIL, NULL) and row["seed"] == 3 for row in rows.values())
    assert all(np.isfinite(list(row["beside"].values())).all() for row in rows.values())
    assert rows["gravity"]["beside"]["untrained"] > 0
    written = (tmp_path / "table.md").stat().st_mtime_ns, (tmp_path / "seed-3" / "heads" / "model.safetensors").stat().st_mtime_ns
    capsys.readouterr()
    assert physics_proofs.main(words) == 0
    assert "SFT learns gravity (seed 3)" in capsys.readouterr().out
    assert (tmp_path / "seed-3" / "heads" / "model.safetensors").stat().st_mtime_ns == written[1]
    assert physics_proofs.main([f"out={tmp_path}", "scale=small"]) == 1
    assert "was made with scale=ci" in capsys.readouterr().err


WRONG = {"sead=1": "did you mean", "scale=huge": "unknown name", "claims=flows": "flow", "seeds=x": "no whole number"}


@pytest.mark.parametrize("word", WRONG)
def test_wrong_words_are_refused(tmp_path, capsys, word):
    assert physics_proofs.main([f"out={tmp_path}", word]) == 2
    assert WRONG[word] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
