"""Evaluation: fixed rounds make resuming equal to not stopping, ids say what an episode depends on, and bad requests cost nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
import tiny_runs
import torch
import toy

from worldsim.data import checked_hdf5
from worldsim.data.checked_hdf5 import read_hdf5, written_hdf5
from worldsim.data.trajectory_file import read_trajectory, write_trajectory
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.evaluate import Cast, Imagined, evaluate, judge_missing, missing, missing_rounds, plan, roll_out, rounds_of, timed
from worldsim.experiments import cli
from worldsim.experiments.provenance import command_of
from worldsim.experiments.schema import EvaluateConfig
from worldsim.load import load_task, part_facts, part_name
from worldsim.registry import POLICIES
from worldsim.report.migration import read_results
from worldsim.report.run_folder import RunFolder
from worldsim.types import Trajectory

IDENTITY = {"world_model": {"name": "toy"}, "verifier": {"name": "column"}, "task": {"id": "shift"}, "sampler": {}, "seed": 0}


@pytest.fixture
def tiny_parts(tmp_path, monkeypatch):
    """The parts of a run with two policies; commands run inside their folder."""
    monkeypatch.chdir(tmp_path)
    return tiny_runs.parts(tmp_path, "ab")


@pytest.fixture
def slide():
    """The tiny true world under the name "slide"."""
    with tiny_runs.slide():
        yield


def arguments(run: str, **values) -> list[str]:
    keys = {"world_model": "world", "policies": "[a,b]", "task": "task.h5", "verifier": "judge", "episodes": 5, "batch": 2}
    return ["evaluate", f"run={run}", *(f"{key}={value}" for key, value in (keys | {"report": "false"} | values).items())]


def contents(run: str) -> dict[str, bytes]:
    """Frames and actions of every episode by id."""
    found = {path.stem: read_trajectory(path) for path in Path(run, "episodes").glob("*.h5")}
    return {name: each.frames.tobytes() + each.actions.tobytes() for name, each in found.items()}


def numbers(run: str) -> dict:
    """results.json without the timings, which no two runs share."""
    results = read_results(Path(run))
    del results["throughput"]
    return results


def refused(capsys, argv: list[str]) -> tuple[int, str]:
    code = cli.main(argv)
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    return code, err


def play_toy(run: RunFolder, episodes: int = 3, batch: int = 2) -> list[str]:
    """Evaluate a seeker in the toy, in rounds of one batch; returns the starts of the episodes that were kept."""
    task, cast, world = toy.shift_task(), Cast({"seeker": toy.Seeker()}), Imagined(toy.PixelShift())
    planned = plan(task, {"seeker": {}}, {"imagined": {}}, episodes, seed=0)
    kept = []
    with timed(run) as clock:
        for each in missing_rounds(run, planned, batch):
            played = roll_out(world, cast, task, each, clock, batch=batch)
            evaluate(run, played, clock, watch=lambda episode: kept.append(episode.start.id))
        judge_missing(run, "column", toy.BrightColumn(), ["imagined"], clock)
    return kept


def test_a_seeker_reaches_the_column_in_the_toy(tmp_path):
    with RunFolder.open(tmp_path / "run", {"identity": IDENTITY}) as run:
        assert play_toy(run) == ["column-1", "column-2", "column-4"]
        assert [verdict.score for verdict in run.verdicts("column").values()] == [1.0, 1.0, 1.0]
        (session,) = run.throughput()
    assert (session["rollouts"], session["frames"]) == (3, 18)
    assert session["seconds"].keys() == {"world_model", "policy", "verifier", "other"}
    assert all(seconds >= 0 for seconds in session["seconds"].values())


def test_only_missing_episodes_are_kept_anew_but_their_round_is_whole(tmp_path):
    with RunFolder.open(tmp_path / "run", {"identity": IDENTITY}) as run:
        play_toy(run)
        planned = plan(toy.shift_task(), {"seeker": {}}, {"imagined": {}}, 3, seed=0)
        before = run.episode_path(planned[0].id).read_bytes()
        run.episode_path(planned[0].id).unlink()
        assert missing_rounds(run, planned, 2) == [planned[:2]]
        assert missing(run, planned) == planned[:1]
        assert play_toy(run) == ["column-1"]
        assert run.episode_path(planned[0].id).read_bytes() == before
        assert len(run.throughput()) == 2


def test_an_interrupted_session_books_its_time(tmp_path):
    with RunFolder.open(tmp_path / "run", {"identity": IDENTITY}) as run:

        def interrupted():
            with timed(run) as clock:
                clock.rollouts = 1
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert run.throughput()[0]["rollouts"] == 1


def test_rounds_are_fixed_and_run_across_policies():
    planned = plan(toy.shift_task(), {"a": {}, "b": {}}, {"imagined": {}}, 3, seed=0)
    assert [[episode.policy for episode in each] for each in rounds_of(planned, 4)] == [["a", "a", "a", "b"], ["b", "b"]]
    assert [episode for each in rounds_of(planned, 4) for episode in each] == planned


@pytest.mark.parametrize(
    "change", [{"policies": {"a": {"sha256": "2"}}}, {"policies": {"b": {}}}, {"worlds": {"imagined": 1}}, {"seed": 3}]
)
def test_an_id_changes_with_what_the_episode_depends_on(change):
    given = {"policies": {"a": {}}, "worlds": {"imagined": {}}, "seed": 0}
    ids = [{episode.id for episode in plan(toy.shift_task(), episodes=3, **keys)} for keys in (given, given | change)]
    assert ids[0].isdisjoint(ids[1])


def test_an_id_does_not_change_with_more_episodes_or_policies():
    few = plan(toy.shift_task(), {"a": {}}, {"imagined": {}}, 2, seed=0)
    many = plan(toy.shift_task(), {"b": {}, "a": {}}, {"imagined": {}, "truth": {}}, 3, seed=0)
    assert {episode.id for episode in few} < {episode.id for episode in many}
    assert len({episode.id for episode in many}) == len(many)


def test_a_run_with_truth_is_judged_twice_and_ranked(tiny_parts, slide, capsys):
    assert cli.main(arguments("run", truth="slide", policies="[a,b,random]", report="true", workers=1)) == 0
    out = capsys.readouterr().out
    results = numbers("run")
    assert "Agreement with the truth" in out
    assert "report: run/report/index.html" in out
    assert [policy["episodes"] for policy in results["policies"]] == [5] * 3
    assert all(policy["real"]["scored"] == 5 and policy["paired_episodes"] == 5 for policy in results["policies"])
    assert results["verifier"]["judged_true_episodes"] == 15
    assert results["world_model"]["leak"] == tiny.LEAK
    assert results["world_model"]["parameters"] > 0
    session = RunFolder("run").throughput()
    assert [(row["rollouts"], row["frames"]) for row in session] == [(15, 60)]  # the imagined ones


def test_true_success_is_what_the_state_says(tiny_parts, slide):
    assert cli.main(arguments("run", truth="slide", workers=1)) == 0
    verdicts = RunFolder("run").verdicts("state")
    for name, trajectory in RunFolder("run").episodes():
        if trajectory.metadata["world"] == "truth":
            closed = 0.03 - 0.005 * (trajectory.actions[:, 0] > 0).sum() < 0.02
            assert verdicts[name].success == closed


def test_resuming_equals_not_stopping(tiny_parts, slide):
    assert cli.main(arguments("whole", truth="slide", workers=1)) == 0
    assert cli.main(arguments("torn", truth="slide", workers=1)) == 0
    for path in sorted(Path("torn", "episodes").glob("*.h5"))[::2]:
        path.unlink()
    assert len(contents("torn")) == 10
    assert cli.main(arguments("torn", truth="slide", workers=1)) == 0
    assert contents("torn") == contents("whole")
    assert numbers("torn") == numbers("whole")


def test_a_damaged_episode_is_made_again(tiny_parts):
    assert cli.main(arguments("run")) == 0
    before = contents("run")
    path = next(Path("run", "episodes").glob("*.h5"))
    path.write_bytes(path.read_bytes()[:-200])
    assert cli.main(arguments("run")) == 0
    assert contents("run") == before
    assert numbers("run")["quarantined"] == []


@pytest.mark.slow
def test_a_killed_run_goes_on(tiny_parts):
    assert cli.main(arguments("whole", policies="[a,b,random,still]")) == 0
    program = "import sys; from worldsim.experiments.cli import main; main(sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", program, *arguments("killed", policies="[a,b,random,still]")], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(Path("killed").glob("episodes/[!.]*.h5")):
        assert process.poll() is None, process.communicate(timeout=120)
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=120)
    kept = {path: path.stat().st_mtime_ns for path in Path("killed").glob("episodes/[!.]*.h5")}
    assert 0 < len(kept) < 20
    assert cli.main(arguments("killed", policies="[a,b,random,still]")) == 0
    assert contents("killed") == contents("whole")
    assert numbers("killed") == numbers("whole")
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())


def test_another_policy_and_more_episodes_keep_what_is_there(tiny_parts):
    assert cli.main(arguments("run", episodes=3)) == 0
    kept = {path: path.stat().st_mtime_ns for path in Path("run").glob("episodes/*.h5")}
    assert cli.main(arguments("run", episodes=5, policies="[a,b,random]")) == 0
    assert len(contents("run")) == 15
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    assert RunFolder("run").config["planned"] == 15
    assert cli.main(arguments("run", episodes=5, policies="[still]")) == 0
    assert [policy["episodes"] for policy in numbers("run")["policies"]] == [5] * 4


def test_two_names_for_one_checkpoint_act_alike(tiny_parts):
    assert cli.main(arguments("run", policies="[a,{name: a, as: twin},{name: cloned, path: a, as: third}]")) == 0
    shown = {}
    for _, trajectory in RunFolder("run").episodes():
        shown.setdefault(trajectory.start_id, []).append(trajectory.actions)
    for actions in shown.values():
        np.testing.assert_allclose(actions, actions[:1] * 3, atol=1e-2)  # bit-equal in determinism=strict
    facts = RunFolder("run").config["policies"]
    assert facts["a"] == facts["twin"] == facts["third"]


def test_recordings_are_a_task(tiny_parts):
    tiny.recordings(tiny_parts / "rec", lengths=(4, 6, 6))
    assert cli.main(arguments("run", task="rec", policies="[replay,still]", verifier="none", episodes=3)) == 0
    results = numbers("run")
    assert results["task"]["horizon"] == 6
    assert [policy["unscored"] for policy in results["policies"]] == [3, 3]
    replayed = {t.start_id: t for _, t in RunFolder("run").episodes() if t.metadata["policy"] == "replay"}
    for name, trajectory in replayed.items():
        recorded = read_trajectory(tiny_parts / "rec" / f"{name}.h5")
        assert np.array_equal(trajectory.frames[0], recorded.frames[0])
        assert np.array_equal(trajectory.actions[: len(recorded)], recorded.actions)


def test_the_world_models_own_judge_is_the_default(tiny_parts):
    tiny.world_model(tiny_parts / "world", verifier="none")
    assert cli.main([word for word in arguments("run") if not word.startswith("verifier=")]) == 0
    assert numbers("run")["verifier"]["name"] == "none"


def test_the_recorded_command_asks_for_the_same(tiny_parts):
    assert cli.main(arguments("run", policies="[a,{name: b, as: twin}]")) == 0
    assert RunFolder("run").config["command"].startswith("worldsim evaluate world_model=world 'policies=[a,{name:b,as:twin}]'")
    assert command_of("evaluate", EvaluateConfig()) == "worldsim evaluate"


@pytest.mark.parametrize(
    ("values", "code", "words"),
    [
        ({"world_model": "wrld"}, 2, 'unknown world model "wrld"'),
        ({"policies": "[a,randm]"}, 2, 'did you mean "random"?'),
        ({"policies": "[a,{path: a}]"}, 2, "or a mapping with a name"),
        ({"policies": "[5]"}, 2, "a policy is a name, a path or a mapping"),
        ({"policies": "[{name: cloned}]"}, 2, 'policy "cloned" needs path'),
        ({"policies": "[{name: a, step: 3}]"}, 2, 'has no option "step"'),
        ({"policies": "[a,./a]"}, 2, 'two policies are called "a"'),
        ({"policies": "[a,replay]"}, 2, 'policy "replay" does not fit task "tiny"'),
        ({"task": "drawr"}, 2, 'did you mean "drawer"?'),
        ({"verifier": "judg"}, 2, 'unknown verifier "judg"'),
        ({"truth": "drawr"}, 2, 'did you mean "drawer"?'),
        ({"episodes": 6}, 2, "has 5 starts, not 6; type episodes=5"),
        ({"device": "cuda:99"}, 2, "is not there"),
        ({"device": "gpu"}, 2, 'unknown device "gpu"'),
        ({"history": "widow"}, 2, 'unknown history "widow"; did you mean "window"'),
        ({"world_model": "a"}, 2, "holds a policy, expected a world_model"),
        ({"verifier": "large-judge"}, 2, "judges frames of 32 x 32, expected 16 x 16"),
        ({"policies": "[large-policy]"}, 2, "this network was trained on [N, 32, 32, 3]"),
        ({"policies": "[other-arm]"}, 2, "put a converter between them"),
        ({"world_model": "large-world", "verifier": "none"}, 2, 'start "0000000" of task "tiny" does not fit the world model'),
    ],
)
def test_a_request_that_cannot_be_met_is_one_line_and_no_work(tiny_parts, capsys, values, code, words):
    tiny.classifier(tiny_parts / "large-judge", size=32)
    tiny.policy(tiny_parts / "large-policy", size=32)
    tiny.policy(tiny_parts / "other-arm", action=toy.SPEC.action)
    tiny.world_model(tiny_parts / "large-world", size=32)
    if torch.cuda.is_available() and "cuda" in str(values):
        pytest.skip("this machine has a GPU")
    found, line = refused(capsys, arguments("run", **values))
    assert (found, words in line) == (code, True), line
    assert not Path("run").exists()


def test_recorded_starts_have_no_truth(tiny_parts, slide, capsys):
    tiny.recordings(tiny_parts / "rec", lengths=(4,))
    code, line = refused(capsys, arguments("run", task="rec", episodes=1, truth="slide"))
    assert code == 2
    assert "recorded starts" in line


@pytest.mark.parametrize("part", ["world", "a", "judge"])
def test_a_damaged_checkpoint_is_refused(tiny_parts, capsys, part):
    path = tiny_parts / part / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    code, line = refused(capsys, arguments("run"))
    assert code == 1
    assert "damaged or replaced" in line
    assert not Path("run").exists()


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": 1}, {"horizon": 3}, {"verifier": "none"}, {"determinism": "strict"}])
def test_another_configuration_does_not_enter_a_run(tiny_parts, capsys, change):
    assert cli.main(arguments("run", episodes=2)) == 0
    capsys.readouterr()
    before = sorted(contents("run"))
    try:
        code, line = refused(capsys, arguments("run", episodes=2, **change))
    finally:
        torch.use_deterministic_algorithms(False)
    assert code == 1
    assert "but run was made with" in line
    assert sorted(contents("run")) == before


def test_a_retrained_policy_does_not_enter_under_its_old_name(tiny_parts, capsys):
    assert cli.main(arguments("run", episodes=2)) == 0
    capsys.readouterr()
    tiny.policy(tiny_parts / "a", seed=9)
    code, line = refused(capsys, arguments("run", episodes=2))
    assert code == 1
    assert "policies.a.sha256" in line


def test_part_names_and_facts(tiny_parts):
    assert [part_name(spec) for spec in ("a", "./x/a", {"name": "a", "as": "z"}, {"name": "cloned", "path": "x/b"})] == ["a", "a", "z", "b"]
    assert part_facts(POLICIES, "random") == {"name": "random"}
    assert part_facts(POLICIES, "a") == part_facts(POLICIES, {"name": "cloned", "path": "./a", "device": "cpu"})
    assert part_facts(POLICIES, "a") != part_facts(POLICIES, "b")


def test_a_task_file_comes_back_as_it_was(tiny_parts):
    task = load_task("task.h5")
    assert (task.id, task.horizon, len(task.starts)) == ("tiny", 4, 5)
    assert np.array_equal(task.starts[3].frames[0], tiny.picture(3))
    (tiny_parts / "torn.h5").write_bytes((tiny_parts / "task.h5").read_bytes()[:100])
    with pytest.raises(DamagedFile, match="torn.h5 does not match its checksum"):
        load_task("torn.h5")


def trajectory() -> Trajectory:
    return Trajectory("tiny", np.zeros((3, 4, 4, 3), np.uint8), np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("name", ["seed", "metadata", "format"])
def test_a_trajectory_without_an_attribute_is_damaged(tmp_path, name):
    """A file whose bytes are as they were written, by something that wrote too little."""
    write_trajectory(tmp_path / "whole.h5", trajectory())
    with read_hdf5(tmp_path / "whole.h5") as whole, written_hdf5(tmp_path / "a.h5") as file:
        file["frames"], file["actions"] = whole["frames"][()], whole["actions"][()]
        file.attrs.update({key: value for key, value in whole.attrs.items() if key != name})
    with pytest.raises(DamagedFile):
        read_trajectory(tmp_path / "a.h5")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(checked_hdf5, "open", lambda path, mode: open("/dev/full", mode), raising=False)  # noqa: SIM115
    with pytest.raises(OSError, match="No space left"):
        write_trajectory(tmp_path / "a.h5", trajectory())
    assert list(tmp_path.iterdir()) == []


def test_more_episodes_than_starts_are_refused():
    with pytest.raises(InvalidInput, match="type episodes=3"):
        plan(toy.shift_task(), {"a": {}}, {"imagined": {}}, 4, seed=0)
