"""The commands around evaluation: replay, score, bench, demo, and the true world in several processes."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import tiny

import worldsim
from worldsim.data.trajectory_file import read_trajectory
from worldsim.errors import InvalidInput
from worldsim.experiments import cli, demo, replay
from worldsim.experiments.open_loop import Prediction, predict, psnr_by_step, shuffled
from worldsim.experiments.schema import DemoConfig
from worldsim.load import shipped_panel
from worldsim.metrics import psnr
from worldsim.registry import TRUTHS
from worldsim.report.run_folder import RunFolder
from worldsim.types import Trajectory


@pytest.fixture
def tiny_parts(tmp_path, monkeypatch):
    """A folder with a world, a judge, recordings and a run without truth; commands run inside it."""
    monkeypatch.chdir(tmp_path)
    tiny.world_model(tmp_path / "world")
    tiny.classifier(tmp_path / "judge")
    tiny.recordings(tmp_path / "rec", lengths=(4, 6, 4, 6))
    return tmp_path


def refused(capsys, *argv: str) -> tuple[int, str]:
    code = cli.main(argv)
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    return code, err


def moving(seed: int, length: int) -> Trajectory:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (length + 1, 8, 8, 3), dtype=np.uint8)
    return Trajectory("toy", frames, rng.uniform(-1, 1, (length, 2)).astype(np.float32))


@pytest.mark.parametrize(("difference", "expected"), [(255, 0.0), (51, 13.9794), (1, 48.1308), (0, 60.0)])
def test_psnr_is_twenty_log_of_peak_over_difference(difference, expected):
    black = np.zeros((2, 4, 4, 3), np.uint8)
    assert psnr(black + np.uint8(difference), black) == pytest.approx([expected] * 2, abs=1e-4)


def test_a_perfect_prediction_beats_the_copy_and_long_episodes_reach_further():
    found = psnr_by_step([Prediction(each, each.frames) for each in (moving(0, 2), moving(1, 3))])
    assert (found["steps"], found["episodes_by_step"], found["episodes"]) == ([1, 2, 3], [2, 2, 1], 2)
    assert found["psnr"] == [60.0] * 3
    assert max(found["copy_psnr"]) < 12


def test_shuffling_gives_everyone_the_next_ones_actions():
    episodes = [moving(seed, length) for seed, length in enumerate((2, 3, 2))]
    first, second, third = shuffled(episodes)
    assert np.array_equal(first, episodes[1].actions[:2])
    assert np.array_equal(second, np.concatenate([episodes[2].actions, episodes[2].actions[:1]]))
    assert np.array_equal(third, episodes[0].actions)
    with pytest.raises(InvalidInput, match="at least two"):
        shuffled(episodes[:1])


def test_replay_starts_from_the_recorded_frame_and_follows_its_own_actions(tiny_parts):
    model = worldsim.load_world_model("world")
    recorded = replay.read_recordings("rec", 4)
    actions = [trajectory.actions for trajectory in recorded]
    together = list(predict(model, recorded, actions, seed=0, batch=25))
    for row, each in enumerate(together):
        assert np.array_equal(each.frames[0], recorded[row].frames[0])
        (alone,) = predict(model, recorded[row : row + 1], actions[row : row + 1], seed=row, batch=1)
        assert alone.frames.shape == each.frames.shape == recorded[row].frames.shape
        assert np.abs(alone.frames.astype(int) - each.frames).max() <= 2  # other batch sizes round otherwise


def test_replay_writes_its_numbers_where_a_report_finds_them(tiny_parts, capsys):
    evaluate = ["evaluate", "world_model=world", "policies=[still]", "task=rec", "verifier=none", "episodes=2", "run=run", "report=false"]
    assert cli.main(evaluate) == 0
    assert cli.main(["replay", "world_model=world", "data=rec", "verifier=judge", "out=run"]) == 0
    out = capsys.readouterr().out
    assert "worldsim score run=run" in out
    numbers = json.loads(Path("run/open_loop.json").read_text())
    agreement = numbers["success_agreement"]
    cells = [agreement[key] for key in ("true_positive", "false_positive", "false_negative", "true_negative")]
    assert (numbers["episodes"], len(numbers["psnr"]), sum(cells)) == (4, 6, 4)
    assert agreement["agree"] == cells[0] + cells[3]
    assert Path("run/strips.png").read_bytes()[:4] == b"\x89PNG"
    assert len(list(Path("run/open_loop").glob("*.mp4"))) == 4
    assert cli.main(["score", "run=run"]) == 0
    assert json.loads(Path("run/results.json").read_text())["open_loop"]["psnr"] == numbers["psnr"]
    assert "Open loop" in Path("run/report/index.html").read_text()


def test_shuffled_actions_change_the_prediction_and_not_the_reports_numbers(tiny_parts):
    assert cli.main(["replay", "world_model=world", "data=rec", "verifier=judge", "out=out"]) == 0
    assert cli.main(["replay", "world_model=world", "data=rec", "verifier=judge", "out=out", "shuffle_actions=true"]) == 0
    true, other = (json.loads(Path(f"out/open_loop{tail}.json").read_text()) for tail in ("", "_shuffled"))
    assert (true["shuffled_actions"], other["shuffled_actions"]) == (False, True)
    assert true["copy_psnr"] == other["copy_psnr"]
    assert true["psnr"] != other["psnr"]


def test_replay_without_states_says_nothing_of_success(tiny_parts):
    tiny.recordings(tiny_parts / "blind" / "validation", lengths=(3, 3), states=False)
    tiny.recordings(tiny_parts / "blind" / "train", lengths=(5,))
    assert cli.main(["replay", "world_model=world", "data=blind", "episodes=9", "out=out"]) == 0  # no judge is loaded
    numbers = json.loads(Path("out/open_loop.json").read_text())
    assert numbers["success_agreement"] is None
    assert (numbers["episodes"], numbers["steps"]) == (2, [1, 2, 3])  # those of the validation split


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["world_model=world", "data=nowhere"], "no episode files"),
        (["world_model=wold", "data=rec"], "unknown world model"),
        (["world_model=large", "data=rec"], "expected [lanes, frames, 32, 32, 3]"),
        (["world_model=world", "data=rec", "episodes=1", "shuffle_actions=true"], "at least two episodes"),
        (["world_model=world", "data=rec", "verifier=judg"], "unknown verifier"),
    ],
)
def test_replay_refuses_in_one_line(tiny_parts, capsys, argv, words):
    tiny.world_model(tiny_parts / "large", size=32)
    code = cli.main(["replay", *argv])
    line = capsys.readouterr().err.splitlines()[-1]  # a progress line may stand before it
    assert code == 2
    assert words in line


@pytest.fixture
def judged_run(tiny_parts):
    keys = ["world_model=world", "policies=[still,random]", "task=rec", "verifier=judge", "episodes=3", "run=run", "report=false"]
    assert cli.main(["evaluate", *keys]) == 0
    return tiny_parts / "run"


def results_of(run: Path) -> dict:
    return json.loads((run / "results.json").read_text())


def test_another_judge_rewrites_results_and_the_runs_own_comes_back(judged_run, capsys):
    before = results_of(judged_run)
    assert cli.main(["score", f"run={judged_run}", "verifier=none"]) == 0
    assert results_of(judged_run)["verifier"]["name"] == "none"
    assert [policy["unscored"] for policy in results_of(judged_run)["policies"]] == [3, 3]
    assert (judged_run / "report" / "index.html").exists()
    assert cli.main(["score", f"run={judged_run}"]) == 0
    assert results_of(judged_run) == before
    assert RunFolder(judged_run).identity["verifier"]["name"] == "judge"


def test_a_judge_of_the_same_name_keeps_its_own_verdicts(judged_run):
    own = (judged_run / "verdicts" / "judge.jsonl").read_bytes()
    tiny.classifier(judged_run.parent / "other" / "judge", seed=7)
    assert cli.main(["score", f"run={judged_run}", "verifier=other/judge"]) == 0
    assert (judged_run / "verdicts" / "judge.jsonl").read_bytes() == own
    name = results_of(judged_run)["verifier"]["name"]
    assert name.startswith("judge-")
    assert len(RunFolder(judged_run).verdicts(name)) == 6


def test_score_refuses_what_is_no_run_and_unknown_judges(judged_run, capsys):
    capsys.readouterr()
    assert "no run folder" in refused(capsys, "score", "run=nowhere")[1]
    assert 'unknown verifier "judg"' in refused(capsys, "score", f"run={judged_run}", "verifier=judg")[1]


def test_the_panel_comes_in_the_order_of_training(tmp_path, monkeypatch):
    for name, facts in {"late": {"steps": 2}, "early": {"steps": 0}, "middle": {"steps": 1}}.items():
        tiny.policy(tmp_path / "weights" / "policies" / name, training=facts)
    monkeypatch.setattr("worldsim.load.files", lambda package: tmp_path)
    assert shipped_panel() == ["early", "middle", "late"]


def test_the_demo_ranks_the_panel_against_the_truth(monkeypatch):
    asked, calibrated = [], []
    monkeypatch.setattr(demo, "evaluate", lambda config: asked.append(config) or Path(config.run))
    monkeypatch.setattr(demo, "calibrate", calibrated.append)
    demo.run(DemoConfig())
    demo.run(DemoConfig(run="here", episodes=3))
    first = asked[0]
    assert (first.world_model, first.task, first.truth, first.policies) == ("drawer", "drawer", "drawer", [])
    assert [(each.episodes, each.run) for each in asked] == [(50, "runs/demo"), (3, "here")]
    assert [(each.probe > 0, each.drift > 0, max(each.probe, each.drift) <= each.episodes) for each in asked] == [(True, True, True)] * 2
    assert [(each.run, each.against) for each in calibrated] == [("runs/demo", "state"), ("here", "state")]


def drawer_arguments(folder: Path, run: str, workers: int) -> list[str]:
    keys = {"world_model": folder / "world", "task": folder / "task.h5", "truth": "drawer", "policies": "[random,still]"}
    keys |= {"episodes": 2, "batch": 1, "workers": workers, "report": "false", "verifier": "none", "run": folder / run}
    return ["evaluate", *(f"{key}={value}" for key, value in keys.items())]


@pytest.fixture
def drawer_parts(tmp_path):
    """A world of the true drawer's frame size, and two of its starts; skipped where it cannot be rendered."""
    if find_spec("mujoco") is None:  # asked for, not imported: the scene chooses OpenGL first
        pytest.skip("needs mujoco")
    from worldsim.data.tasks import write_starts
    from worldsim.types import Start, Task

    truth = TRUTHS.config("drawer").build()
    starts = [Start(str(seed), np.zeros((1, 64, 64, 3), np.uint8), seed) for seed in (7, 8)]
    frames = truth.reset(starts)
    truth.close()
    begin = tuple(Start(start.id, frame[None], start.seed) for start, frame in zip(starts, frames, strict=True))
    write_starts(tmp_path / "task.h5", Task("drawer", "close the drawer", 3, begin))
    tiny.world_model(tmp_path / "world", size=64)
    return tmp_path


def contents(run: Path) -> dict[str, bytes]:
    """Frames, actions and states of every episode by file name."""
    episodes = {path.name: read_trajectory(path) for path in (run / "episodes").glob("*.h5")}
    arrays = {name: [each.frames, each.actions, *each.states.values()] for name, each in episodes.items()}
    return {name: b"".join(array.tobytes() for array in each) for name, each in arrays.items()}


@pytest.mark.slow
def test_the_true_drawer_is_the_same_in_several_processes(drawer_parts):
    assert cli.main(drawer_arguments(drawer_parts, "alone", workers=1)) == 0
    assert cli.main(drawer_arguments(drawer_parts, "together", workers=2)) == 0
    alone, together = (contents(drawer_parts / run) for run in ("alone", "together"))
    assert len(alone) == 8
    assert alone == together
    assert results_of(drawer_parts / "together")["policies"][0]["real"]["scored"] == 2


def children_of(process: int) -> set[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)
    return {int(line) for line in found.stdout.split()}


def alive(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_processes_of_an_ended_run_end_with_it_and_it_is_resumed(drawer_parts, number, code):
    program = "import sys; from worldsim.experiments.cli import main; sys.exit(main(sys.argv[1:]))"
    argv = drawer_arguments(drawer_parts, "ended", workers=2)
    process = subprocess.Popen(
        [sys.executable, "-c", program, *argv], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    children: set[int] = set()
    while len(children) < 3:  # two workers and multiprocessing's own tracker
        assert process.poll() is None
        children |= children_of(process.pid)
        time.sleep(0.02)
    if number == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, number)  # Ctrl-C reaches all processes of a terminal
    _, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "Traceback" not in err
    deadline = time.monotonic() + 30
    while any(map(alive, children)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for run in ("ended", "alone"):
        assert cli.main(drawer_arguments(drawer_parts, run, workers=1)) == 0
    assert contents(drawer_parts / "ended") == contents(drawer_parts / "alone")
