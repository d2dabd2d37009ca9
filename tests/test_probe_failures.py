"""The known-failure probe: what must fail is played and judged, only what failed in truth counts, and the report says what was found."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny
import tiny_runs
from test_report import CONFIG, assert_fits, fill, printed, trajectory
from tiny_runs import evaluate

from worldsim.errors import InvalidInput
from worldsim.experiments import cli
from worldsim.policies.played_back import PlayedBack
from worldsim.report.judge_tables import NO_PROBE, probe_table
from worldsim.report.page import write_report
from worldsim.report.probe import read_probe
from worldsim.report.results import build_results, results_schema
from worldsim.report.run_folder import RunFolder
from worldsim.types import Start, Task, Verdict

KINDS = {
    "still": {"truth": "twin"},
    "untrained": {"truth": "assumed"},
    "failed actions": {"truth": "recorded"},
}


def add(run, kind, world, start, verdict):
    episode = f"{kind.replace(' ', '-')}-{world}-{start}"
    run.add_episode(episode, trajectory(kind, world, start))
    score = None if verdict == "?" else float(verdict)
    run.add_verdicts("classifier" if world == "imagined" else "state", {episode: Verdict(score, "by hand")})


@pytest.fixture
def probed(tmp_path):
    """A run and its probe, small enough to count: of `still` two failed in truth, one succeeded and one is unknown."""
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        fill(run)
    record = {"identity": CONFIG["identity"], "policies": KINDS, "left_out": {"shuffled actions": "no truth <b>"}}
    with RunFolder.open(tmp_path / "run" / "probe", record) as probe:
        for start, (imagined, truth) in enumerate(["11", "10", "00", "1?"]):
            add(probe, "still", "imagined", start, imagined)
            add(probe, "still", "truth", start, truth)
        for start, imagined in enumerate("010"):
            add(probe, "untrained", "imagined", start, imagined)
        for start, imagined in enumerate("1?0"):
            add(probe, "failed actions", "imagined", start, imagined)
    return RunFolder(tmp_path / "run")


def test_only_what_failed_in_truth_counts(probed):
    found = read_probe(probed, 0.95)
    by_kind = {
        kind["name"]: (kind["episodes"], kind["not_counted"], kind["unscored"], kind["scored"], kind["successes"])
        for kind in found["kinds"]
    }
    assert by_kind == {"still": (4, 2, 0, 2, 1), "untrained": (3, 0, 0, 3, 1), "failed actions": (3, 0, 1, 2, 1)}
    assert (found["optimism"]["scored"], found["optimism"]["successes"]) == (7, 3)
    assert found["optimism"]["success_rate"] == pytest.approx(3 / 7)
    low, high = found["optimism"]["interval"]
    assert low < 3 / 7 < high
    assert found["left_out"] == {"shuffled actions": "no truth <b>"}


def test_a_failing_twin_that_is_not_there_does_not_count(probed):
    probe = RunFolder(probed.path / "probe")
    probe.episode_path("still-truth-2").unlink()
    kind = read_probe(probed, 0.95)["kinds"][0]
    assert (kind["not_counted"], kind["scored"]) == (3, 1)


def test_another_judge_of_the_run_judges_its_probe(probed):
    RunFolder(probed.path / "probe").add_verdicts("second", {f"untrained-imagined-{start}": Verdict(1.0) for start in range(3)})
    probed.config["identity"]["verifier"] = {"name": "second"}
    found = read_probe(probed, 0.95)
    assert found["verifier"] == "second"
    assert {kind["name"]: kind["successes"] for kind in found["kinds"]} == {"still": 0, "untrained": 3, "failed actions": 0}


def test_results_table_and_page_say_the_optimism_rate(probed):
    results = build_results(probed)
    assert_fits(results, results_schema())
    assert results["probe"]["optimism"]["successes"] == 3
    assert "0.429" in printed(probe_table(results))
    assert "no truth <b>" in printed(probe_table(results))
    page = write_report(probed).read_text(encoding="utf-8")
    assert re.search(r"Optimism rate: 3 of 7\s+are called a success, 0.429", page)
    assert "no truth &lt;b&gt;" in page
    assert NO_PROBE.split(":")[0] not in page


def test_without_a_probe_the_report_says_so(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        fill(run)
        results = build_results(run)
        assert results["probe"] is None
        assert_fits(results, results_schema())
        assert "No known-failure probe was run" in write_report(run).read_text(encoding="utf-8")


def test_actions_are_played_back_from_their_own_start():
    one, two = np.full((2, 3), 0.5, np.float32), np.full((3, 3), 5.0, np.float32)
    policy = PlayedBack(tiny.ACTION, {"a": one, "b": two})
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    starts = [Start(name, frames[:1]) for name in ("b", "a")]
    policy.reset([4, 7], [Task("t", "", 3, (start,)) for start in starts], [0, 0])
    acted = [policy.act(frames, [4, 7]) for _ in range(3)]
    assert all(np.array_equal(each, np.stack([np.ones(3), np.full(3, 0.5)])) for each in acted)  # bounds are kept, the last action is held
    with pytest.raises(InvalidInput, match="played back"):
        policy.reset([0], [Task("t", "", 3, (Start("c", frames[:1]),))], [0])


# --- whole evaluations ---


@pytest.fixture
def tiny_parts(tmp_path, monkeypatch):
    """The parts of a run; commands run inside their folder, and the true world is called slide."""
    monkeypatch.chdir(tmp_path)
    with tiny_runs.slide():
        yield tiny_runs.parts(tmp_path)


def results(run="run"):
    return json.loads(Path(run, "results.json").read_text())


def test_a_run_with_truth_probes_all_kinds_and_resumes(tiny_parts):
    """In the tiny truth three of four steps must push for a success, so shuffling changes nothing: none of those may count."""
    assert evaluate("truth=slide", "probe=5", "probe_policy=a", "horizon=4") == 0
    run, probe = RunFolder("run"), RunFolder("run/probe")
    found = {kind["name"]: kind for kind in results()["probe"]["kinds"]}
    state = run.verdicts("state")
    true = {episode: each for episode, each in run.episodes() if each.metadata["world"] == "truth"}
    failed = {each.start_id for episode, each in true.items() if state[episode].success is False}
    succeeded = {each.start_id for episode, each in true.items() if state[episode].success}
    assert succeeded, "the test needs a policy that succeeds somewhere"
    assert found["still"]["not_counted"] == 0
    assert found["failed actions"]["episodes"] == len(failed)
    assert found["shuffled actions"]["episodes"] == found["shuffled actions"]["not_counted"] == len(succeeded)
    assert results()["probe"]["optimism"]["scored"] == sum(kind["scored"] for kind in found.values())
    for _, each in probe.episodes():
        if each.metadata["policy"] == "failed actions":
            start = each.start_id.rsplit("-", 1)[0]
            assert any(np.array_equal(other.actions, each.actions) for other in true.values() if other.start_id == start)
        if each.metadata["policy"] == "shuffled actions":
            start = each.start_id.rsplit("-", 1)[0]
            sources = [other.actions for other in true.values() if other.start_id == start]
            assert any(np.array_equal(np.sort(other, axis=0), np.sort(each.actions, axis=0)) for other in sources)
    before = {path.name: path.stat().st_mtime_ns for path in Path("run/probe/episodes").glob("*.h5")}
    assert evaluate("truth=slide", "probe=5", "probe_policy=a", "horizon=4") == 0
    assert before == {path.name: path.stat().st_mtime_ns for path in Path("run/probe/episodes").glob("*.h5")}


def test_a_probe_leaves_the_numbers_of_the_run_alone(tiny_parts):
    assert evaluate("truth=slide", run="plain") == 0
    assert evaluate("truth=slide", "probe=3", "probe_policy=a", run="probed") == 0
    plain, probed = results("plain"), results("probed")
    assert plain["probe"] is None
    assert probed["probe"]["kinds"]
    for key in ("policies", "agreement", "verifier", "judges"):
        assert plain[key] == probed[key]


def test_without_truth_recordings_say_what_failed_and_shuffling_is_left_out(tiny_parts):
    """Recordings of six steps, cut to the horizon: their state at that step is what counts. The shipped untrained policy does not fit."""
    tiny.recordings(tiny_parts / "rec", lengths=(6, 6, 6, 3, 6))
    assert evaluate("probe=5", "horizon=4", task="rec", policies="[replay]") == 0
    found = results()["probe"]
    kinds = {kind["name"]: (kind["truth"], kind["episodes"]) for kind in found["kinds"]}
    assert kinds["still"] == ("assumed", 5)
    assert kinds["failed actions"][0] == "recorded"
    assert 1 <= kinds["failed actions"][1] <= 4  # the one of three steps says nothing of a fourth
    assert set(found["left_out"]) == {"untrained", "shuffled actions"}
    assert "probe_policy=PATH" in found["left_out"]["untrained"]


def test_an_untrained_policy_that_was_asked_for_and_does_not_fit_is_an_error(tiny_parts, capsys):
    assert evaluate("probe=2", "probe_policy=begin") == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("worldsim: ")


def test_scoring_again_judges_the_probe_too(tiny_parts):
    tiny.classifier(tiny_parts / "other", seed=4)
    assert evaluate("probe=3", "probe_policy=a") == 0
    assert cli.main(["score", "run", "verifier={name: classifier, path: other, as: second}"]) == 0
    found = results()["probe"]
    assert found["verifier"] == "second"
    assert found["optimism"]["scored"] == 6
    assert len(RunFolder("run/probe").verdicts("second")) == 6
