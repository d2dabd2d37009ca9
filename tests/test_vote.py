"""A vote of judges, and judges given as mappings, wherever a judge is given: evaluation, scoring again, replaying."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tiny

from worldsim.data.trajectory_file import read_trajectory
from worldsim.errors import InvalidInput, UnknownName
from worldsim.experiments import cli
from worldsim.load import load_verifier, part_facts
from worldsim.registry import VERIFIERS
from worldsim.report.run_folder import RunFolder
from worldsim.types import Trajectory, Verdict
from worldsim.verifiers.vote import Vote


@dataclass
class Says:
    """A judge whose scores are given, None for "could not tell"."""

    scores: tuple

    def build(self):
        return self

    def judge(self, trajectories):
        return [Verdict(score, f"says {score}") for score in self.scores[: len(trajectories)]]


@pytest.fixture
def says():
    VERIFIERS.register("says")(Says)
    yield
    del VERIFIERS._parts["says"]


def member(name, *scores):
    return {"name": "says", "as": name, "scores": scores}


def episodes(count=1):
    return [Trajectory("t", np.zeros((2, 8, 8, 3), np.uint8), np.zeros((1, 2), np.float32)) for _ in range(count)]


def verdict_of(*scores, **options):
    members = [member(f"judge{place}", score) for place, score in enumerate(scores)]
    return load_verifier({"name": "vote", "of": members, **options}).judge(episodes())[0]


@pytest.mark.parametrize(
    ("scores", "rule", "expected"),
    [
        ((1.0, 1.0, 0.0), "majority", 2 / 3),
        ((0.6, 0.55, 0.0), "majority", 2 / 3),
        ((0.6, 0.55, 0.0), "mean", 1.15 / 3),
        ((1.0, 0.0), "majority", None),
        ((1.0, 0.0), "mean", None),
        ((0.9, 0.2), "mean", 0.55),
        ((1.0, None, None), "majority", None),
        ((1.0, 1.0, None), "majority", 1.0),
        ((0.0, 0.0, None), "mean", 0.0),
        ((None, None), "majority", None),
        ((0.5,), "majority", 1.0),
        ((0.5,), "mean", None),
        ((0.9, 0.7), "all", 0.7),
        ((0.9, 0.9, 0.2), "all", 0.2),
        ((1.0, None), "all", None),
        ((0.1, None), "all", 0.1),
        ((0.5, 0.9), "all", 0.5),
    ],
)
def test_the_score_is_the_share_the_mean_or_the_least_and_a_tie_is_no_answer(says, scores, rule, expected):
    verdict = verdict_of(*scores, rule=rule)
    assert verdict.score == (None if expected is None else pytest.approx(expected))
    assert verdict.details["could_not_tell"] == scores.count(None)


@pytest.mark.parametrize(("quorum", "told"), [(1, True), (2, False), (3, False)])
def test_too_few_who_could_tell_is_no_answer(says, quorum, told):
    verdict = verdict_of(1.0, None, None, quorum=quorum)
    assert (verdict.success is True) == told
    assert told or "expected at least" in verdict.reason


def test_disagreement_is_kept(says):
    verdict = verdict_of(1.0, 0.2, None)
    members = verdict.details["members"]
    assert members == {f"judge{place}": {"score": score, "reason": f"says {score}"} for place, score in enumerate((1.0, 0.2, None))}
    assert verdict.details["unanimous"] is False
    assert verdict.reason == "a tie: 1 of 2 say success, 1 could not tell"
    assert verdict_of(1.0, 0.7).details["unanimous"] is True
    json.dumps(dict(verdict.details), allow_nan=False)


def test_every_episode_gets_its_own_members(says):
    vote = load_verifier({"name": "vote", "of": [member("a", 1.0, 0.0, None), member("b", 1.0, 0.0, 0.0), member("c", 0.0, 0.0, 1.0)]})
    assert [verdict.success for verdict in vote.judge(episodes(3))] == [True, False, None]
    assert vote.judge([]) == []


def test_a_vote_may_vote(says):
    inner = {"name": "vote", "as": "inner", "of": [member("a", 1.0), member("b", 1.0), member("c", 0.0)]}
    (verdict,) = load_verifier({"name": "vote", "of": [inner, member("d", 1.0), member("e", 0.0)]}).judge(episodes())
    assert verdict.score == pytest.approx(2 / 3)
    assert set(verdict.details["members"]) == {"inner", "d", "e"}


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({}, InvalidInput, "needs members"),
        ({"of": "classifier"}, InvalidInput, "of is 'classifier', expected a list"),
        ({"of": ["state", "state"]}, InvalidInput, "as: OTHER"),
        ({"of": ["state", "none"], "rule": "majorty"}, UnknownName, 'did you mean "majority"'),
        ({"of": ["state", "none"], "quorum": 3}, InvalidInput, "expected 1 to 2"),
        ({"of": ["state", "none"], "quorum": 0}, InvalidInput, "expected 1 to 2"),
        ({"of": ["state", "none"], "quorum": 1, "rule": "all"}, InvalidInput, "drop quorum:"),
        ({"of": ["state", "nobody"]}, UnknownName, 'unknown verifier "nobody"'),
    ],
)
def test_what_is_no_vote_is_refused_in_one_line(options, kind, words):
    with pytest.raises(kind) as caught:
        load_verifier({"name": "vote", **options})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# --- in a run ---


@pytest.fixture
def tiny_run(tmp_path, monkeypatch):
    """A folder with a world, two judges, recordings and a run."""
    monkeypatch.chdir(tmp_path)
    tiny.world_model(tmp_path / "world")
    tiny.policy(tmp_path / "a", seed=1)
    tiny.classifier(tmp_path / "judge")
    tiny.classifier(tmp_path / "other judge", seed=4)
    tiny.classifier(tmp_path / "third", seed=5)
    tiny.classifier(tmp_path / "large", size=32)
    tiny.task_file(tmp_path / "task.h5")
    return tmp_path


def evaluate(run, verifier):
    return cli.main(["evaluate", "world_model=world", "policies=[a]", "task=task.h5", "episodes=3", f"run={run}", f"verifier={verifier}"])


VOTE = "{name: vote, of: [judge, {name: classifier, path: other judge, as: second}, none], quorum: 2, as: jury}"


JURY = "{name: vote, of: [judge, {name: classifier, path: other judge, as: second}, third], as: jury}"


def test_a_run_is_judged_by_a_vote_given_as_a_mapping(tiny_run):
    assert evaluate("run", VOTE) == 0
    run = RunFolder("run")
    assert run.identity["verifier"]["name"] == "jury"
    said = run.verdicts("jury")
    members = {
        name: load_verifier(path).judge([run.episode(episode) for episode in said])
        for name, path in (("judge", "judge"), ("second", "other judge"))
    }
    for place, verdict in enumerate(said.values()):
        assert set(verdict.details["members"]) == {"judge", "second", "none"}
        assert verdict.details["members"]["second"]["score"] == pytest.approx(members["second"][place].score)
        assert verdict.details["could_not_tell"] == 1
    assert json.loads(Path("run/results.json").read_text())["verifier"]["name"] == "jury"
    assert "jury" in Path("run/report/index.html").read_text()
    assert evaluate("run", VOTE) == 0  # the same command resumes


def test_a_vote_is_known_by_its_members_weights(tiny_run):
    spec = {"name": "vote", "of": ["judge", "none"]}
    before = part_facts(VERIFIERS, spec)
    assert [each["name"] for each in before["of"]] == ["judge", "none"]
    assert before["of"][0]["sha256"] == part_facts(VERIFIERS, "judge")["sha256"]
    tiny.classifier(tiny_run / "judge", seed=9)
    assert part_facts(VERIFIERS, spec) != before


def test_a_member_trained_on_other_frames_is_refused_before_anything_is_played(tiny_run, capsys):
    assert evaluate("run", "{name: vote, of: [judge, large]}") == 2
    assert "judges frames of 32 x 32, expected 16 x 16" in capsys.readouterr().err
    assert not Path("run").exists()


@pytest.mark.parametrize("verifier", ["{path: judge}", "[judge]"])
def test_what_is_neither_name_nor_mapping_is_refused(tiny_run, capsys, verifier):
    assert evaluate("run", verifier) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "verifier" in err


def test_scoring_again_by_mapping_and_vote_makes_no_frame(tiny_run, capsys, monkeypatch):
    """The world is gone, and the episodes are the same bytes."""
    assert evaluate("run", "judge") == 0
    (tiny_run / "world").rename(tiny_run / "gone")
    before = {path.name: path.read_bytes() for path in Path("run/episodes").glob("*.h5")}
    own = RunFolder("run").verdicts("judge")
    assert cli.main(["score", "run", "verifier={name: classifier, path: other judge, as: second}"]) == 0
    assert cli.main(["score", "run", f"verifier={JURY}"]) == 0
    assert {path.name: path.read_bytes() for path in Path("run/episodes").glob("*.h5")} == before
    run = RunFolder("run")
    assert run.verifiers() == ["judge", "jury", "second"]
    assert run.verdicts("judge") == own
    assert run.identity["verifier"]["name"] == "judge"
    results = json.loads(Path("run/results.json").read_text())
    assert results["verifier"]["name"] == "jury"
    rows = {row["verifier"]: row for row in results["judges"]}
    assert list(rows) == ["jury", "judge", "second"]
    assert rows["second"]["scored"] == 3
    trajectories = [read_trajectory(path) for path in sorted(Path("run/episodes").glob("*.h5"))]
    rate = np.mean([verdict.success for verdict in load_verifier("other judge").judge(trajectories)])
    assert rows["second"]["policies"][0]["success_rate"] == rate
    assert evaluate("run", "judge") == 2  # the world is gone: the run could not have been played again
    assert "world" in capsys.readouterr().err


def test_two_judges_of_one_name_do_not_mix_their_verdicts(tiny_run, capsys):
    assert evaluate("run", "judge") == 0
    assert cli.main(["score", "run", "verifier={name: classifier, path: other judge, as: second}"]) == 0
    said = RunFolder("run").verdicts("second")
    for spec in ("{name: classifier, path: judge, as: second}", "{name: classifier, path: other judge, as: judge}"):
        assert cli.main(["score", "run", f"verifier={spec}"]) == 2
        assert "as: OTHER" in capsys.readouterr().err
    assert RunFolder("run").verdicts("second") == said
    assert cli.main(["score", "run", "verifier=other judge"]) == 0  # without a name of the user's choice it carries its digest
    assert [name for name in RunFolder("run").verifiers() if name.startswith("other judge-")]


def test_replay_takes_a_mapping(tiny_run):
    tiny.recordings(tiny_run / "rec")
    spec = "{name: vote, of: [judge, other judge, none], as: jury}"
    assert cli.main(["replay", "world_model=world", "data=rec", f"verifier={spec}", "out=out"]) == 0
    assert json.loads(Path("out/open_loop.json").read_text())["success_agreement"]["verifier"] == "jury"


def test_people_vote_with_judges_on_the_run_that_they_labelled(tiny_run):
    from worldsim.labelling.label import Label, content_of
    from worldsim.labelling.ledger import opened

    assert evaluate("run", "judge") == 0
    run = RunFolder("run")
    first, *_ = run.episode_ids()
    with opened(run, "anna") as ledger:
        ledger.add([Label(first, "anna", "n", content_of(run.episode(first)))])
    spec = "{name: vote, of: [human, none], quorum: 1, as: people}"
    assert cli.main(["score", "run", f"verifier={spec}"]) == 0
    said = run.verdicts("people")
    assert {episode: verdict.score for episode, verdict in said.items()} == {each: 0.0 if each == first else None for each in said}
    with opened(run, "anna") as ledger:  # she changes her mind, and the vote is taken again
        ledger.add([Label(first, "anna", "y", content_of(run.episode(first)))])
    assert cli.main(["score", "run", f"verifier={spec}"]) == 0
    assert run.verdicts("people")[first].score == 1.0


def test_a_member_out_of_reach_keeps_the_vote_open():
    class Says:
        def __init__(self, verdict):
            self.verdict = verdict

        def judge(self, trajectories):
            return [self.verdict] * len(trajectories)

    lost = Verdict(None, "nobody answers", {"fault": "nobody answers"})
    said = Vote({"a": Says(Verdict(1.0)), "b": Says(lost)}, "majority", 1).judge([None])[0]
    assert (said.success, said.details["fault"]) == (None, "nobody answers")
    open_minded = Vote({"a": Says(Verdict(1.0)), "b": Says(Verdict(None, "cannot tell"))}, "majority", 1).judge([None])[0]
    assert open_minded.success is True


@pytest.mark.parametrize("name", ["state", "human", "human:ann"])
def test_a_judge_does_not_take_the_name_of_other_verdicts(name):
    from worldsim.experiments.setting import verifier_facts

    with pytest.raises(InvalidInput, match="cannot go by"):
        verifier_facts({"name": "classifier", "as": name})


def test_a_score_that_is_no_probability_is_refused():
    for score in (float("nan"), -0.1, 1.1):
        with pytest.raises(InvalidInput, match=r"expected a number in \[0, 1\]"):
            Verdict(score)
