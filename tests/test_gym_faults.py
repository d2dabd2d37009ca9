"""An environment whose own code fails, or that gives what is no number, as a truth: one line, and in an evaluation one episode."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import tiny_gym

from worldsim.errors import InvalidInput, WorldsimError
from worldsim.evaluate import Cast, Clock, Episode, Genuine, roll_out
from worldsim.experiments import cli
from worldsim.load import load_policy, load_task, load_truth
from worldsim.types import Start
from worldsim.wrappers import stepped

BREAKING = {"name": "gym", "id": "tests/Breaking-v0", "size": 16}
STUCK = "tests/Breaking-v0 failed in {} (RuntimeError: the arm is stuck); mend it there: WORLDSIM_TRACEBACK=1 before the command"
RIGHT = np.ones((3, 1), np.float32)


def typed(call: str) -> str:
    return f"truth={{name: gym, id: 'tiny_gym:tests/Breaking-v0', size: 16, make: {{call: {call}}}}}"


@pytest.mark.parametrize("call", ["step", "render"])
def test_a_lane_that_fails_has_a_fault_and_the_others_go_on(call):
    truth, sound = load_truth(BREAKING | {"make": {"call": call}}), load_truth(BREAKING | {"id": "tests/Dot-v0"})
    assert truth.place([0, 1, 2]).tobytes() == sound.place([0, 1, 2]).tobytes()
    for step in range(4):
        frames, states = truth.step(RIGHT)
        expected, known = sound.step(RIGHT)
        for lane in (0, 2) if step else (0, 1, 2):
            np.testing.assert_array_equal(frames[lane], expected[lane])
            np.testing.assert_array_equal(states["observation"][lane], known["observation"][lane])
        assert truth.faults[::2] == ("", "")
        assert truth.faults[1].startswith(STUCK.format(call)) if step else truth.faults[1] == ""
    with pytest.raises(WorldsimError, match="the arm is stuck"):
        stepped(truth, RIGHT)
    truth.place([0, 2])
    assert truth.faults == ("", "")
    truth.close(), sound.close()


def test_an_episode_ends_where_its_truth_fails():
    truth = load_truth(BREAKING)
    task = load_task(BREAKING | {"id": "tests/Dot-v0", "starts": 4})
    queue = [Episode(f"e{start.seed % 10}", "random", "truth", start, start.seed) for start in task.starts]
    cast = Cast({"random": load_policy("random", truth.action)})
    played = {e.id: t for e, t in roll_out(Genuine(truth), cast, task, queue, Clock(), batch=2)}
    assert {name: len(trajectory) for name, trajectory in played.items()} == {"e0": 8, "e1": 2, "e2": 8, "e3": 2}
    assert ["fault" in played[name].metadata for name in sorted(played)] == [False, True, False, True]


def test_a_recording_stops_in_one_line(tmp_path, capfd):
    assert cli.main(["collect", typed("step"), f"out={tmp_path}", "episodes=2", "workers=1"]) == 1
    said = capfd.readouterr().err
    assert "tests/Breaking-v0 failed in step (RuntimeError: the arm is stuck); mend it there" in said
    assert "Traceback" not in said
    assert not list(tmp_path.rglob("0000001.h5"))


def test_what_only_another_process_cannot_make_stops_it_in_one_line(tmp_path, monkeypatch, capfd):
    single = "{name: gym, id: 'tiny_gym:tests/Single-v0', size: 16}"
    assert cli.main(["collect", f"truth={single}", f"out={tmp_path / 'out'}", "episodes=1", "workers=1"]) == 2
    monkeypatch.chdir(tmp_path)
    tiny.world_model(Path("world"), action=load_truth(BREAKING).action)
    tiny.classifier(Path("judge"))
    words = ["world_model=world", "policies=[random]", "verifier=judge", "episodes=2", "batch=1", "run=run", "report=false"]
    assert cli.main(["evaluate", f"truth={single}", *words, "workers=2"]) == 2
    said = capfd.readouterr().err
    assert said.count("cannot be made (RuntimeError: the port is taken)") == 2
    assert "Traceback" not in said


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("success", ["reward", "return"])
def test_a_reward_that_decides_is_a_number(reward, success):
    truth = load_truth({"name": "gym", "id": "tests/Diverging-v0", "success": success, "threshold": 1.0, "make": {"reward": reward}})
    truth.place([0])
    for _ in range(2):
        stepped(truth, RIGHT[:1])
    with pytest.raises(WorldsimError, match=f"tests/Diverging-v0 gave the reward {reward}, expected a number.*type success: info"):
        stepped(truth, RIGHT[:1])
    truth.close()


def test_one_that_decides_nothing_is_kept_as_it_is():
    truth = load_truth({"name": "gym", "id": "tests/Diverging-v0"})
    truth.place([0])
    assert np.isnan([stepped(truth, RIGHT[:1])[1]["reward"][0] for _ in range(3)][2])
    truth.close()


CHANGING = [
    ("tests/Crowded-v0", r"changed the size of its observation: \[1\] and then \[2\]; register it with a wrapper"),
    ("tests/Fading-v0", r"render\(\) gave float64 \[16, 16, 3\], expected uint8 \[H, W, 3\]"),
]


@pytest.mark.parametrize(("name", "line"), CHANGING, ids=lambda value: value[:12])
def test_what_changes_in_mid_episode_is_refused(name, line):
    truth = load_truth({"name": "gym", "id": name})
    truth.place([0]), truth.states()
    truth.step(RIGHT[:1])
    with pytest.raises(InvalidInput, match=line):
        truth.step(RIGHT[:1])
    truth.close()


def test_the_place_is_shown_on_request(monkeypatch, capsys):
    truth = load_truth(BREAKING | {"make": {"call": "reset"}})
    for wanted in ("", "0", "1"):
        monkeypatch.setenv("WORLDSIM_TRACEBACK", wanted)
        with pytest.raises(WorldsimError):
            truth.reset([Start("", np.zeros(0), 1)])
        assert ("in _break" in capsys.readouterr().err) == (wanted == "1")


def test_what_an_import_raises_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "torn.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["collect", "truth=gym:torn:X-v0", f"out={tmp_path / 'out'}", "episodes=1"]) == 1
    assert "torn:X-v0 failed in import torn (ZeroDivisionError: division by zero)" in capsys.readouterr().err


def test_an_evaluation_leaves_the_episode_unscored_and_plays_it_again_on_request(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    action = load_truth(BREAKING).action
    tiny.world_model(Path("world"), action=action)
    tiny.classifier(Path("judge"))
    words = ["evaluate", "world_model=world", "policies=[random]", "verifier=judge", "episodes=4", "workers=1", "run=run", "report=false"]
    assert cli.main([*words, typed("reset")]) == 1  # the task begins at its seeds
    assert STUCK.format("reset") in capsys.readouterr().err
    assert not Path("run").exists()

    assert cli.main([*words, typed("step")]) == 0
    results = json.loads(Path("run/results.json").read_text())
    assert (results["policies"][0]["scored"], results["policies"][0]["real"]["scored"]) == (4, 2)
    ((line, count),) = results["faults"].items()
    assert STUCK.format("step") in line
    assert count == 2
    monkeypatch.setattr(tiny_gym.Breaking, "mended", True)
    assert cli.main([*words, typed("step"), "--retry"]) == 0
    results = json.loads(Path("run/results.json").read_text())
    assert results["faults"] == {}
    assert results["policies"][0]["real"]["scored"] == 4
