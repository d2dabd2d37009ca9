"""From an environment nobody has seen to a comparison, by the command line: collect, train, judge, clone, evaluate, compare."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from worldsim.data.trajectory_file import read_trajectory, trajectory_paths
from worldsim.experiments import cli
from worldsim.experiments.recordings import action_spec, read_split
from worldsim.load import load_policy, load_truth
from worldsim.types import Trajectory

TRUTH = "truth={name: gym, id: 'tiny_gym:tests/Dot-v0', size: 16}"
SCRIPT = "{name: function, call: 'acting:homing', observation: state, as: homing}"
LOOKING = "{name: function, call: 'acting:looking', stack: 2, as: looking}"


def told(*words: str) -> None:
    assert cli.main([*words]) == 0, words


def collect(*words: str, episodes: int = 24, split: str = "train", out: str = "data") -> None:
    told("collect", TRUTH, f"out={out}", f"episodes={episodes}", f"split={split}", "workers=1", *words)


def episodes(folder: str) -> list[Trajectory]:
    return [read_trajectory(path) for path in trajectory_paths(Path(folder))]


@pytest.mark.slow
def test_from_an_environment_to_a_comparison(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    panel = f"policies=[random,{SCRIPT}]"
    collect(panel, f"expert={SCRIPT}")
    collect(panel, f"expert={SCRIPT}", episodes=16, split="validation")
    for stage in ("autoencoder", "pretrain", "causalize", "posttrain"):
        told("train", f"stage={stage}", "world_model=tiny", "data=data", "out=world", "steps=12", "threads=1")
    told("train-verifier", "data=data", "out=judge", "steps=30", "batch=8", "channels=8", "threads=1", "world_model=world/posttrain")
    told("train-policy", "data=data", "out=policies", "name=dot", "steps=8", "save_at=[0]", "threads=1")
    card = json.loads(Path("judge/config.json").read_text())
    assert (card["estimates"]["name"], card["estimates"]["boundary"]) == ("success", 0.5)

    run = ["evaluate", "world_model=world/posttrain", TRUTH, "verifier=judge", "episodes=6", "workers=1", "threads=1", "run=run"]
    assert cli.main([*run, f"policies=[{SCRIPT}]"]) == 2
    assert 'policy "homing" does not fit task "tests-Dot-v0": it reads the true state' in capsys.readouterr().err
    told(*run, f"policies=[policies/dot-0,policies/dot,{LOOKING},random]", "drift=4", "report=false")
    results = json.loads(Path("run/results.json").read_text())
    rates = {row["name"]: (row["episodes"], row["unscored"], row["real"]["success_rate"]) for row in results["policies"]}
    assert rates["looking"] == (6, 0, 1.0)
    assert set(rates) == {"dot-0", "dot", "looking", "random"}
    assert results["open_loop"]["psnr"]
    told("replay", "run", f"episode={next(Path('run/episodes').glob('*.h5')).stem}", "threads=1")
    told("compare", "run", "out=comparison.json")
    assert len(json.loads(Path("comparison.json").read_text())["comparisons"][0]["policies"]) == 4

    other = ["evaluate", "world_model=world/posttrain", "verifier=judge", "episodes=2", "run=other", "policies=[random]"]
    assert cli.main([*other, "truth={name: gym, id: 'tests/Dot-v0', size: 24}"]) == 2
    assert cli.main([*other, "truth={name: gym, id: 'tests/Dot-v0', size: 16, frame_skip: 2}"]) == 2
    said = capsys.readouterr().err
    assert "expected [lanes, frames, 16, 16, 3]" in said or "[24, 24, 3]" in said
    assert "rate_hz=5.0" in said


def test_recordings_replay_bit_for_bit_and_say_who_acted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    collect(f"policies=[random,{SCRIPT}]", "noise=0.2", f"expert={SCRIPT}", episodes=6)
    recorded, truth = episodes("data/train"), load_truth({"name": "gym", "id": "tests/Dot-v0", "size": 16})
    assert {episode.metadata["behaviour"] for episode in recorded} == {"random", "homing"}
    assert max(episode.metadata["noise"] for episode in recorded) <= 0.2
    assert any(episode.states["success"][-1] for episode in recorded)
    for episode in recorded:
        frames = [truth.place([episode.seed])[0], *(truth.step(action[None])[0][0] for action in episode.actions)]
        np.testing.assert_array_equal(np.stack(frames), episode.frames)
        said = [[1.0 if place < 0.6 else 0.0] for place in episode.states["observation"][:, 0]]
        np.testing.assert_array_equal(episode.states["expert"], said)
    truth.close()
    assert cli.main(["collect", TRUTH, "out=data", "episodes=6", "workers=1", "noise=0.3"]) == 1  # another recipe


def test_choices_are_recorded_one_hot_and_known_for_what_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    truth = "truth={name: gym, id: 'tiny_gym:tests/Dot-v0', size: 16, make: {discrete: true}}"
    told("collect", truth, "out=data", "episodes=6", "workers=1")
    spec = action_spec(Path("data"))
    assert (spec.choice, spec.names) == (True, ("choice0", "choice1", "choice2"))
    actions = np.concatenate([episode.actions for episode in read_split(Path("data"), "train")])
    assert set(map(tuple, actions)) == set(map(tuple, np.eye(3)))
    told("train-policy", "data=data", "out=policies", "name=dot", "steps=1", "threads=1")
    policy = load_policy("policies/dot", spec)
    assert policy.action.choice
    assert set(spec.check(policy.act(np.zeros((1, 16, 16, 3), np.uint8), [0])).ravel()) == {0, 1}


def test_a_policy_that_fails_stops_the_recording_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for call, line in (("acting:failing", "its code failed (RuntimeError: no idea)"), ("acting:loking", 'did you mean "looking"')):
        assert cli.main(["collect", TRUTH, "out=data", "episodes=1", f"policies=[{{name: function, call: '{call}'}}]"]) == 2
        assert line in capsys.readouterr().err
    assert not Path("data").exists()


def test_processes_of_a_world_drawn_by_sdl_end(tmp_path):
    """SDL takes SIGTERM for itself unless told otherwise, and a pool of processes is ended by it."""
    pytest.importorskip("pygame")
    command = [sys.executable, "-m", "worldsim.experiments.cli", "collect", f"out={tmp_path}", "episodes=1", "workers=1"]
    truth = "truth={name: gym, id: Pendulum-v1, size: 16, horizon: 1, success: reward, threshold: 0}"
    assert subprocess.run([*command, truth], capture_output=True, timeout=300).returncode == 0
    (episode,) = episodes(tmp_path / "train")
    assert set(episode.states) == {"reward", "return", "ended", "success", "observation", "state"}
