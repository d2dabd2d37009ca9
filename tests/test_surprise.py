"""Surprise: what cannot have happened, by hand; a model that knows what comes next is surprised by nothing else; and the command."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tiny

from worldsim.data.trajectory_file import read_trajectory, trajectory_paths
from worldsim.errors import InvalidInput
from worldsim.experiments import cli
from worldsim.experiments.surprise import Surprise
from worldsim.metrics.physics import IMPOSSIBLE, impossible, surprised


def counted(*numbers: int) -> np.ndarray:
    """A clip `[1, T, 1, 1, 3]` whose frames show these numbers."""
    return np.array(numbers, np.uint8)[None, :, None, None, None].repeat(3, -1)


@pytest.mark.parametrize(
    ("how", "said"),
    [("frozen", [0, 1, 2, 3, 3, 3, 3, 3]), ("skipped", [0, 1, 2, 3, 6, 7, 7, 7]), ("backwards", [0, 1, 2, 3, 2, 1, 0, 1])],
)
def test_the_second_half_is_changed(how, said):
    assert impossible(counted(*range(8)), how)[0, :, 0, 0, 0].tolist() == said


def test_elsewhere_is_the_next_clip():
    clips = np.concatenate([counted(*range(4)), counted(*range(10, 14))])
    assert impossible(clips, "elsewhere")[:, :, 0, 0, 0].tolist() == [[0, 1, 12, 13], [10, 11, 2, 3]]


def test_what_rests_freezes_into_itself_and_makes_no_pair():
    still = counted(5, 5, 5, 5)
    assert all((impossible(still, how) == still).all() for how in ("frozen", "skipped", "backwards"))


def test_shares_of_pairs():
    assert surprised(np.array([1.0, 1.0, 1.0]), np.array([2.0, 1.0, 0.0])).tolist() == [1, 0.5, 0]


def test_a_model_that_knows_what_happened_is_never_wrong(monkeypatch, tmp_path):
    import worldsim.experiments.surprise as module

    tiny.recordings(tmp_path, lengths=(8, 8, 8))
    recorded = [read_trajectory(path) for path in trajectory_paths(tmp_path)]
    by_seed = {each.seed: each.frames.astype(int) for each in recorded}

    def known(model, clips, how, names, batch):
        return {"denoising": np.array([np.abs(each.frames - by_seed[each.seed]).mean() for each in clips])}

    monkeypatch.setattr(module, "rollout_values", known)
    surprise = Surprise(SimpleNamespace(denoiser=None))
    surprise.add(recorded)
    found = surprise.summary(0)
    assert set(found) == {f"surprise_{how}" for how in IMPOSSIBLE}
    assert all(each["value"] == 1 for each in found.values())


def test_a_model_that_removes_no_noise_is_refused():
    with pytest.raises(InvalidInput, match="object removes no noise; drop surprise="):
        Surprise(object())


@pytest.mark.slow
def test_the_command_asks_the_model(tmp_path):
    tiny.recordings(tmp_path / "data" / "validation", lengths=(8, 8, 9))
    protocol = "given: 1\npredicted: 7\nclips: 3\nscored: predicted\nvideo: predicted\nmetrics: [psnr]\n"
    (tmp_path / "short.yaml").write_text(protocol)
    world = tiny.world_model(tmp_path / "world")
    words = [f"world_model={world}", f"data={tmp_path / 'data'}", f"protocol={tmp_path / 'short.yaml'}", "surprise=true"]
    numbers = []
    for batch in (1, 3):
        assert cli.main(["evaluate-video", *words, f"batch={batch}", f"out={tmp_path / str(batch)}"]) == 0
        numbers.append(json.loads((tmp_path / str(batch) / "video_quality.json").read_text())["physics"])
    frozen = [each["surprise_frozen"] for each in numbers]
    assert frozen[0]["clips"] == frozen[1]["clips"] == 3
    assert 0 <= frozen[1]["low"] <= frozen[1]["value"] <= frozen[1]["high"] <= 1
