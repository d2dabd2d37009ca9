"""`worldsim replay RUN episode=ID`: the policy acts again and the episode comes out as it was. And `drift`, which replays actions only."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import tiny_runs

from worldsim.data.trajectory_file import read_trajectory
from worldsim.experiments import cli
from worldsim.experiments.replay_episode import Difference, differences
from worldsim.report.run_folder import RunFolder

STRICT = "determinism=strict"


@pytest.fixture
def tiny_parts(tmp_path, monkeypatch):
    """The parts of a run; commands run inside their folder, and the true world is called slide."""
    monkeypatch.chdir(tmp_path)
    with tiny_runs.slide():
        yield tiny_runs.parts(tmp_path)


def evaluate(*more, truth="slide", **parts):
    assert tiny_runs.evaluate(*([f"truth={truth}"] if truth else []), *more, episodes=3, **parts) == 0


def ids(folder="run", **wanted) -> list[str]:
    """Ids of the episodes whose metadata say so."""
    return [id for id, each in RunFolder(folder).episodes() if wanted.items() <= each.metadata.items()]


def replay(episode, *more) -> dict:
    assert cli.main(["replay", "run", "--episode", episode, *more]) == 0
    return json.loads(max(Path("run/replays").glob(f"{episode}*.json"), key=lambda path: path.stat().st_mtime_ns).read_text())


def refused(capsys, *argv: str) -> tuple[int, str]:
    capsys.readouterr()
    code = cli.main(["replay", *argv])
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    return code, err


def test_differences_by_hand():
    zero = np.zeros((3, 2, 2, 3), np.uint8)
    other = zero.copy()
    other[1, 0, 0, 0], other[2] = 4, 255
    assert differences(zero, zero) == Difference(0.0, None)
    assert differences(zero, other) == differences(other, zero) == Difference(255.0, 1)
    assert differences(zero[:2], other) == Difference(4.0, 1)  # what both have
    assert differences(zero[:0], other[:0]) == Difference(0.0, None)


def test_every_episode_of_a_strict_run_comes_out_bit_for_bit(tiny_parts, capsys):
    """Imagined and true ones, and those of the probe."""
    evaluate(STRICT, "probe=1", "probe_policy=a", "batch=2")
    chosen = {(folder, each.metadata["policy"], each.metadata["world"]): id for folder in ("run", "run/probe")
              for id, each in RunFolder(folder).episodes()}  # fmt: skip
    assert len(chosen) > 7
    for (_, policy, world), id in chosen.items():
        about = replay(id)
        assert (about["equal"], about["policy"], about["world"], about["counterfactual"]) == (True, policy, world, None)
        assert all(each["recorded"] == each["replayed"] != None for each in about["verdicts"])  # noqa: E711
        assert [each["judge"] for each in about["verdicts"]] == (["state", "judge"] if world == "truth" else ["judge"])
    assert "the same to the bit, 4 steps" in capsys.readouterr().out
    assert Path(f"run/replays/{id}.mp4").stat().st_size > 0
    assert Path(f"run/replays/{id}.png").read_bytes()[:4] == b"\x89PNG"


def test_the_policy_acts_again_rather_than_its_recorded_actions(tiny_parts, capsys):
    """A file whose actions were changed is found out, and of a strict run that is a failure."""
    evaluate(STRICT, truth=None)
    (first, *_) = ids(policy="a")
    run = RunFolder("run")
    held = run.episode(first)
    held.actions[2] += 0.25
    run.add_episode(first, held)
    code, err = refused(capsys, "run", f"episode={first}")
    assert code == 1
    assert "should have been the same to the bit" in err
    about = json.loads(Path(f"run/replays/{first}.json").read_text())
    assert (about["equal"], about["frames"]["first"], about["actions"]["first"]) == (False, None, 2)
    assert about["actions"]["largest"] == pytest.approx(0.25)


def test_a_fast_episode_differs_by_what_another_batch_gives(tiny_parts, capsys):
    evaluate("batch=6", truth=None)
    for id in ids():
        about = replay(id[:12])
        assert about["episode"] == id
        assert about["frames"]["largest"] <= 2
        assert about["actions"]["largest"] < 1e-2
        assert (about["start"], about["seed"]) == ((held := RunFolder("run").episode(id)).start_id, held.seed)


def test_other_settings_are_a_counterfactual(tiny_parts, capsys):
    evaluate(STRICT, truth=None)
    (first, *_) = ids(policy="a")
    about = replay(first, "steps=1", "guidance=1")
    assert about["counterfactual"] == {"steps": 1, "guidance": 1.0}
    assert about["frames"]["first"] == 1  # the start is the recorded one
    assert "with steps=1, guidance=1.0 in place of the run's own: frames differ from step 1" in capsys.readouterr().out
    assert Path(f"run/replays/{first}-steps=1-guidance=1.0.mp4").exists()
    tiny.world_model(tiny_parts / "other", size=tiny.SIZE, note="another card, the same weights")
    assert replay(first, "world_model=other")["counterfactual"] == {"world_model": "other"}  # of another name
    assert replay(first, "steps=2")["counterfactual"] is None  # what the run was made with


def test_recordings_are_starts_that_can_be_played_again(tiny_parts):
    tiny.recordings(tiny_parts / "rec", lengths=(4, 4, 4))
    evaluate(STRICT, task="rec", policies="[replay]", truth=None)
    assert all(replay(id)["equal"] for id in ids())


def test_what_has_changed_since_is_refused(tiny_parts, capsys):
    evaluate(truth=None)
    (first, *_) = ids(policy="a")
    (other, *_) = ids(policy="random")
    tiny.policy(tiny_parts / "a", seed=2)
    code, err = refused(capsys, "run", f"episode={first}")
    assert code == 1
    assert "policies.a.sha256 was" in err
    assert replay(other)["policy"] == "random"
    tiny.classifier(tiny_parts / "judge", seed=3)
    assert "verifier.sha256 was" in refused(capsys, "run", f"episode={other}")[1]


def test_a_run_that_does_not_say_how_it_was_played_says_what_to_type(tiny_parts, capsys):
    evaluate(truth=None)
    (first, *_) = ids(policy="a")
    run = RunFolder("run")
    old = {key: value for key, value in run.config.items() if key not in ("settings", "specs")}
    from worldsim.report.run_config import write_config

    write_config(Path("run/config.yaml"), old)
    assert "type its command once more" in refused(capsys, "run", f"episode={first}")[1]
    evaluate(truth=None)
    assert replay(first)["episode"] == first


def test_replay_asks_for_what_is_missing_and_refuses_what_does_not_belong(tiny_parts, capsys):
    evaluate(truth=None)
    first = ids()[0]
    wrong = first[:-1] + ("0" if first[-1] != "0" else "1")
    for argv, code, words in (
        ([], 2, "worldsim replay RUN episode=ID, or recordings"),
        (["run"], 2, "which episode of run?"),
        (["episode=x"], 2, "of which run?"),
        (["run", "episode=x", "data=rec"], 2, "not both"),
        (["run", "episode=x", "shuffle_actions=true"], 2, "shuffle_actions belongs to recordings"),
        (["nowhere", "episode=x"], 2, "no run folder"),
        (["run", "episode=zzz"], 2, 'has no episode "zzz"; it has 6, such as'),
        (["run", f"episode={wrong}"], 2, f'did you mean "{first}"?'),
        (["run", "episode="], 2, "which episode"),
    ):
        got, err = refused(capsys, *argv)
        assert (got, words in err) == (code, True), err
    run = RunFolder("run")
    run.add_episode(f"{first[:6]}xx", run.episode(first))
    assert "begins the ids of 2 episodes" in refused(capsys, "run", f"episode={first[:6]}")[1]
    run.episode_path(first).write_bytes(b"torn")
    code, err = refused(capsys, "run", f"episode={first}")
    assert code == 1
    assert "the run makes it again: worldsim evaluate" in err


# --- drift ---


def loop() -> dict:
    return json.loads(Path("run/open_loop.json").read_text())


def test_drift_replays_true_episodes_spread_over_policies(tiny_parts):
    evaluate("drift=4")
    run, found = RunFolder("run"), loop()
    assert found["data"] == "true episodes of this run"
    sources = [run.episode(id) for id in found["replayed"]]
    assert [(each.metadata["world"], each.metadata["policy"]) for each in sources[:3]] == [("truth", p) for p in ("a", "random", "a")]
    assert [each.start_id for each in sources[:3]] == [f"{seed:07d}" for seed in range(3)]
    assert (sources[3].start_id, sources[3].metadata["policy"]) == ("0000000", "random")
    assert (found["episodes"], found["episodes_by_step"], found["success_agreement"]["scored"]) == (4, [4] * 4, 4)
    assert all(low <= mean <= high for mean, (low, high) in zip(found["psnr"], found["psnr_interval"], strict=True))
    assert all(low <= mean <= high for mean, (low, high) in zip(found["copy_psnr"], found["copy_psnr_interval"], strict=True))
    results = json.loads(Path("run/results.json").read_text())
    assert results["open_loop"] == {key: value for key, value in found.items() if key != "sha256"}
    assert results["throughput"]["lanes_per_call"] == 6  # of the imagined episodes, which drift leaves alone
    before, sessions = Path("run/open_loop.json").stat().st_mtime_ns, len(run.throughput())
    evaluate("drift=4")
    assert (Path("run/open_loop.json").stat().st_mtime_ns, len(run.throughput())) == (before, sessions)
    evaluate("drift=2")
    assert loop()["replayed"] == found["replayed"][:2]


def test_drift_of_recordings_and_of_nothing(tiny_parts, capsys):
    tiny.recordings(tiny_parts / "rec", lengths=(4, 6, 3))
    evaluate("drift=9", "horizon=4", task="rec", policies="[replay]", truth=None)
    found = loop()
    assert (found["data"], found["episodes_by_step"]) == ("recordings of the task", [3, 3, 3, 2])
    assert found["psnr_interval"][3] is not None
    one = read_trajectory(Path("rec/0000002.h5"))
    assert len(one) == 3
    words = ["evaluate", "world_model=world", "policies=[random]", "task=task.h5", "verifier=judge", "episodes=2", "run=other", "drift=2"]
    assert cli.main(words) == 2
    assert "drift needs to know what really happens" in capsys.readouterr().err.splitlines()[-1]


def test_a_replay_that_a_user_put_there_stays(tiny_parts, capsys):
    tiny.recordings(tiny_parts / "rec", lengths=(4, 4))
    evaluate()
    assert cli.main(["replay", "world_model=world", "data=rec", "verifier=judge", "out=run"]) == 0
    held = loop()
    evaluate("drift=2")
    assert loop() == held
    assert "holds a replay of rec, which stays" in capsys.readouterr().out


def test_an_interval_needs_two_episodes(tiny_parts):
    evaluate("drift=1")
    assert loop()["psnr_interval"] == [None] * 4
