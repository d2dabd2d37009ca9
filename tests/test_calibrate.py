"""Calibration: who is drawn to be labelled, what is computed from labels and states, and that every rate then stands raw and corrected."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from test_report import CONFIG, Page, assert_fits, fill, printed, trajectory

from worldsim import statistics
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.experiments import cli
from worldsim.labelling.label import Label, content_of
from worldsim.labelling.ledger import opened
from worldsim.report.calibration import best_block, calibration_path, corrected_by
from worldsim.report.calibration_sample import draw_sample, shares
from worldsim.report.judge_tables import NOT_CALIBRATED, corrected_table, judges_table
from worldsim.report.outcomes import Outcome
from worldsim.report.page import write_report
from worldsim.report.results import build_results, results_schema
from worldsim.report.run_folder import RunFolder
from worldsim.types import Verdict

POLICIES = {"good": 0.8, "<b>odd</b>": 0.5, "bad": 0.1}
EPISODES = 30  # of each policy in each world


def drawn(policy, index, said):
    return Outcome(f"{policy}-{index:03d}", policy, "imagined", f"s{index}", index, Verdict(None if said is None else float(said)))


def population(**said):
    """Imagined outcomes: for each policy how many the judge called a success, a failure, or could not tell."""
    return [
        drawn(policy, index, verdict)
        for policy, counts in said.items()
        for index, verdict in enumerate([True] * counts[0] + [False] * counts[1] + [None] * counts[2])
    ]


# --- the sample ---


def test_a_sample_holds_both_verdicts_and_every_policy_in_its_share():
    everybody = population(a=(80, 20, 5), b=(20, 180, 0), c=(0, 100, 0))
    sample = draw_sample(everybody, 60, seed=0)
    counts = {
        (policy, said): sum(o.policy == policy and o.verdict.success is said for o in sample) for policy in "abc" for said in (True, False)
    }
    assert counts == {("a", True): 24, ("b", True): 6, ("c", True): 0, ("a", False): 2, ("b", False): 18, ("c", False): 10}
    assert [o.episode for o in sample] == sorted(o.episode for o in sample)  # the order tells no verdict
    assert draw_sample(list(reversed(everybody)), 60, seed=0) == sample
    assert draw_sample(everybody, 60, seed=1) != sample


def test_too_few_of_one_verdict_leave_their_places_to_the_other_and_nobody_is_drawn_twice():
    for said in ((3, 200, 0), (200, 3, 0)):
        sample = draw_sample(population(a=said), 50, seed=0)
        assert len({o.episode for o in sample}) == 50
        assert min(sum(o.verdict.success is side for o in sample) for side in (True, False)) == 3
    assert len(draw_sample(population(a=(3, 4, 9)), 50, seed=0)) == 7
    assert draw_sample(population(a=(0, 0, 9)), 50, seed=0) == []


def test_a_larger_sample_and_a_grown_run_keep_most_of_what_was_drawn():
    few = {o.episode for o in draw_sample(population(a=(100, 100, 0)), 40, seed=0)}
    assert few <= {o.episode for o in draw_sample(population(a=(100, 100, 0)), 80, seed=0)}
    grown = draw_sample(population(a=(100, 100, 0), b=(5, 5, 0)), 40, seed=0)
    assert len(few & {o.episode for o in grown}) >= 35


def test_which_episodes_are_drawn_is_fair():
    hits = (
        np.mean(
            [
                [o.episode == f"a-{place:03d}" for place in range(20)]
                for seed in range(400)
                for o in draw_sample(population(a=(10, 10, 0)), 8, seed)
            ],
            axis=0,
        )
        * 8
    )
    assert np.abs(hits - 0.4).max() < 0.1


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [((3, 3, 3), 4, [2, 1, 1]), ((0, 10), 5, [0, 5]), ((0, 0), 0, [0, 0]), ((7, 1), 8, [7, 1]), ((99, 1), 10, [10, 0])],
)
def test_shares_add_up(sizes, count, expected):
    assert shares(sizes, count) == expected


# --- the reliability curve ---


def test_a_reliability_curve_by_hand():
    found = statistics.reliability([0.05, 0.05, 0.95, 1.0], [0, 1, 1, 1])
    assert [(each.cases, each.share_true) for each in found.bins] == [(2, 0.5), (2, 1.0)]
    assert found.bins[1].mean_score == pytest.approx(0.975)
    assert found.bins[0].interval == statistics.wilson_interval(1, 2)
    assert found.ece == pytest.approx(0.5 * 0.45 + 0.5 * 0.025)
    assert found.brier == pytest.approx((0.05**2 + 0.95**2 + 0.05**2) / 4)
    weighted = statistics.reliability([0.05, 0.05, 0.95, 1.0], [0, 1, 1, 1], [3, 3, 1, 1])
    assert weighted.ece == pytest.approx(0.75 * 0.45 + 0.25 * 0.025)
    assert weighted.brier == pytest.approx((3 * 0.05**2 + 3 * 0.95**2 + 0.05**2) / 8)


def test_honest_probabilities_have_little_calibration_error():
    rng = np.random.default_rng(0)
    scores = rng.random(20_000)
    found = statistics.reliability(scores, rng.random(20_000) < scores)
    assert found.ece < 0.02
    assert found.brier == pytest.approx(1 / 6, abs=0.01)
    assert statistics.reliability(scores, rng.random(20_000) < scores**3).ece > 0.1


@pytest.mark.parametrize("given", [([], []), ([0.5], [0.5]), ([1.1], [1]), ([0.5, 0.5], [1]), ([0.5], [1], [0])])
def test_what_is_no_curve_is_refused(given):
    with pytest.raises(InvalidInput):
        statistics.reliability(*given)


# --- a run ---


@pytest.fixture
def run(tmp_path):
    """Three policies, thirty starts, both worlds; the judge errs on some episodes of both, known by hand below."""
    rng = np.random.default_rng(3)
    with RunFolder.open(tmp_path / "run", CONFIG) as folder:
        for number, (policy, rate) in enumerate(POLICIES.items()):
            for world in ("imagined", "truth"):
                true = rng.random(EPISODES) < rate
                said = np.where(rng.random(EPISODES) < 0.15, ~true, true)
                for start in range(EPISODES):
                    folder.add_episode(f"{number}-{world}-{start:02d}", trajectory(policy, world, start + 100 * number))
                ids = [f"{number}-{world}-{start:02d}" for start in range(EPISODES)]
                folder.add_verdicts(
                    "classifier", {each: Verdict(float(np.clip(yes, 0.1, 0.9))) for each, yes in zip(ids, said, strict=True)}
                )
                folder.add_verdicts(
                    "state" if world == "truth" else "secret", {each: Verdict(float(yes)) for each, yes in zip(ids, true, strict=True)}
                )
    return RunFolder(tmp_path / "run")


def label(run, episodes, rater="anna", answers=None):
    """What a rater says; without answers the truth that the fixture keeps of imagined episodes."""
    truth = run.verdicts("secret")
    with opened(run, rater) as ledger:
        ledger.add(
            Label(each, rater, answers[each] if answers else "y" if truth[each].success else "n", content_of(run.episode(each)))
            for each in episodes
        )


def sample_of(run):
    return (run.path / "calibration" / "classifier.episodes.txt").read_text().split()


def calibrate(run, *more):
    return cli.main(["calibrate", str(run.path), *more])


def test_against_the_state_the_counts_are_those_of_the_true_episodes(run, capsys):
    assert calibrate(run, "--against", "state") == 0
    held = json.loads(calibration_path(run, "classifier").read_text())
    assert held["schema_version"] == 1
    assert held["human"] is None
    block, state, said = held["state"], run.verdicts("state"), run.verdicts("classifier")
    both = [(said[each].success, state[each].success) for each in state]
    assert block["episodes"] == len(both) == 90
    assert block["counts"] == {
        "true_positives": both.count((True, True)),
        "positives": sum(true for _, true in both),
        "false_positives": both.count((True, False)),
        "negatives": sum(not true for _, true in both),
    }
    assert block["true_positive_rate"]["value"] == both.count((True, True)) / block["counts"]["positives"]
    assert block["kappa"]["value"] == pytest.approx(statistics.cohen_kappa(*zip(*both, strict=True)).value)
    assert block["paired"]["false_success"]["of"] == block["counts"]["negatives"]
    results = json.loads((run.path / "results.json").read_text())
    assert_fits(results, results_schema())
    agreement = results["agreement"]
    assert block["paired"]["false_success"]["count"] == agreement["false_successes"]
    assert block["paired"]["false_failure"]["count"] == agreement["missed"]
    for policy in results["policies"]:
        expected = statistics.corrected_rate(policy["successes"], policy["scored"], **block["counts"])
        assert policy["corrected"]["success_rate"] == expected.value
        assert policy["corrected"]["interval"] == list(expected.interval)
        assert policy["success_rate"] == policy["successes"] / policy["scored"]  # the raw rate stays
    out = capsys.readouterr().out
    assert "true state in this run" in out
    assert "errors on imagined" in out


def test_against_people_a_list_comes_first_and_nothing_is_computed(run, capsys):
    assert calibrate(run, "against=human", "count=40") == 0
    out = capsys.readouterr().out
    assert "worldsim label" in out
    assert not calibration_path(run, "classifier").exists()
    sample = sample_of(run)
    assert len(sample) == 40
    assert all("imagined" in each for each in sample)
    said = run.verdicts("classifier")
    assert sum(said[each].success for each in sample) == 20
    text = (run.path / "calibration" / "classifier.episodes.txt").read_text()
    assert re.fullmatch(r"([\w.-]+\n)+", text)  # ids and nothing else


def test_against_people_labels_give_rates_of_the_whole_run(run, capsys):
    assert calibrate(run, "against=human", "count=60") == 0
    sample = sample_of(run)
    label(run, sample)
    assert calibrate(run, "against=human", "count=60") == 0
    block = json.loads(calibration_path(run, "classifier").read_text())["human"]
    said, truth = run.verdicts("classifier"), run.verdicts("secret")
    imagined = [each for each in said if "imagined" in each]
    for key, success in (("said_success", True), ("said_failure", False)):
        of = [each for each in sample if said[each].success is success]
        assert block["counts"][key] == {
            "true": sum(truth[each].success for each in of),
            "labelled": len(of),
            "judged": sum(said[each].success is success for each in imagined),
        }
    assert block["episodes"] == 60
    assert block["warnings"] == []
    sides = {key: statistics.Labelled(**counts) for key, counts in block["counts"].items()}
    assert block["true_positive_rate"]["value"] == pytest.approx(statistics.judge_rates_by_verdict(**sides).true_positive_rate)
    results = build_results(run)
    assert_fits(results, results_schema())
    first = results["policies"][0]
    expected = statistics.corrected_rate_by_verdict(first["successes"], first["scored"], **sides)
    assert first["corrected"] == {"success_rate": expected.value, "interval": list(expected.interval), "reason": ""}
    assert "people's labels" in printed(corrected_table(results)).replace("\n", " ")
    assert "human against" not in capsys.readouterr().err


def test_all_episodes_labelled_give_the_rates_that_counting_gives(run):
    """With everybody labelled, weights and all, TPR and FPR are plain shares."""
    assert calibrate(run, "against=human", "count=1000") == 0
    label(run, sample_of(run))
    assert calibrate(run, "against=human", "count=1000") == 0
    block = best_block(run, "classifier")
    said, truth = run.verdicts("classifier"), run.verdicts("secret")
    for key, true in (("true_positive_rate", True), ("false_positive_rate", False)):
        of = [said[each].success for each in truth if truth[each].success is true]
        assert block[key]["value"] == pytest.approx(np.mean(of))
    assert block["brier"] == pytest.approx(np.mean([(said[each].score - truth[each].score) ** 2 for each in truth]))


def test_raters_outvote_one_another_and_unclear_episodes_are_counted(run):
    assert calibrate(run, "against=human", "count=12") == 0
    sample = sample_of(run)
    for rater in ("anna", "bert"):
        label(run, sample, rater)
    truth = run.verdicts("secret")
    wrong = {each: "n" if truth[each].success else "y" for each in sample} | {sample[0]: "u"}
    label(run, sample, "carl", wrong)
    label(run, sample[1:2], "anna", {sample[1]: wrong[sample[1]]})  # now one for, two against
    label(run, sample[2:3], "bert", {sample[2]: "u"})  # now a tie
    assert calibrate(run, "against=human", "count=12") == 0
    block = best_block(run, "classifier")
    assert (block["episodes"], block["unscored"]) == (11, 1)
    assert any("Only 11 episodes" in line for line in block["warnings"])
    assert calibrate(run, "against=human", "count=12", "rater=carl") == 0
    assert best_block(run, "classifier")["episodes"] == 11  # carl could not tell one


def test_people_come_before_the_state_and_both_are_kept(run):
    assert calibrate(run, "against=human") == 0
    label(run, sample_of(run))
    assert calibrate(run, "against=human") == 0
    assert calibrate(run, "against=state") == 0
    held = json.loads(calibration_path(run, "classifier").read_text())
    assert held["human"]
    assert held["state"]
    assert build_results(run)["calibration"]["against"] == "human"


def test_another_judge_is_calibrated_without_touching_the_runs_own_rates(run, capsys):
    said = {each: Verdict(1 - verdict.score) for each, verdict in run.verdicts("classifier").items()}
    run.add_verdicts("a/b", said)
    assert calibrate(run, "--verifier", "a/b", "--against", "state") == 0
    assert "worldsim score" in capsys.readouterr().out
    assert best_block(run, "a/b")["true_positive_rate"]["value"] < 0.5
    results = build_results(run)
    assert results["calibration"] is None
    assert results["verifier"]["name"] == "classifier"
    block = best_block(run, "a/b")
    found = corrected_by(block, 10, 30, 0.95)
    assert found["success_rate"] is None
    assert "guesses" in found["reason"]


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["against=state", "verifier=clasifier"], 2, 'did you mean "classifier"'),
        (["against=nobody"], 2, 'unknown against "nobody"'),
        ([], 2, "needs against="),
        (["against=human", "rater=zoe"], 0, ""),
    ],
)
def test_mistakes_end_in_a_line(run, capsys, words, code, line):
    assert calibrate(run, *words) == code
    err = capsys.readouterr().err
    assert line in err
    assert err.count("\n") == (code != 0)


def test_a_rater_who_never_labelled_is_named(run, capsys):
    assert calibrate(run, "against=human", "count=10") == 0
    label(run, sample_of(run)[:1])
    assert calibrate(run, "against=human", "count=10", "rater=ana") == 2
    assert 'did you mean "anna"' in capsys.readouterr().err


def test_a_run_without_truth_or_told_episodes_has_nothing_to_compare(tmp_path, capsys):
    with RunFolder.open(tmp_path / "run", CONFIG) as folder:
        fill(folder, {"good": ("???",)}, worlds=("imagined",))
    for against, line in (("state", "no true episode"), ("human", "nothing to label")):
        assert calibrate(folder, f"against={against}") == 2
        assert line in capsys.readouterr().err


def test_a_file_of_another_form_is_refused(run):
    path = calibration_path(run, "classifier")
    path.parent.mkdir()
    for text in ("{", '{"schema_version": 7}'):
        path.write_text(text)
        with pytest.raises(DamagedFile, match="worldsim calibrate"):
            build_results(run)


def test_page_and_tables_show_both_rates_or_say_that_nobody_calibrated(run):
    page = write_report(run).read_text(encoding="utf-8")
    assert NOT_CALIBRATED in Page(page).text
    assert calibrate(run, "against=state") == 0
    page = (run.path / "report" / "index.html").read_text(encoding="utf-8")
    results = json.loads((run.path / "results.json").read_text())
    odd = next(policy for policy in results["policies"] if policy["name"] == "<b>odd</b>")
    assert NOT_CALIBRATED not in Page(page).text
    for value in (odd["success_rate"], odd["corrected"]["success_rate"]):
        assert f"{value:.3f}" in page
    assert "Calibrated on 90 episodes" in page
    assert "<b>odd" not in page
    table = printed(corrected_table(results))
    assert f"{odd['corrected']['success_rate']:.3f}" in table
    assert "<b>odd</b>" in table


def test_a_judge_that_turns_the_ranking_round_has_tau_minus_one(run):
    said = {each: Verdict(1 - verdict.score) for each, verdict in run.verdicts("classifier").items() if "imagined" in each}
    run.add_verdicts("contrary", said)
    rows = {row["verifier"]: row for row in build_results(run)["judges"]}
    assert list(rows) == ["classifier", "contrary", "secret"]
    assert rows["classifier"]["kendall_to_own"] == pytest.approx(1)
    assert rows["contrary"]["kendall_to_own"] == pytest.approx(-1)
    assert [policy["rank"] for policy in rows["classifier"]["policies"]] == [1, 2, 3]
    assert [policy["rank"] for policy in rows["contrary"]["policies"]] == [3, 2, 1]
    results = build_results(run)
    assert rows["classifier"]["pearson"] == pytest.approx(results["agreement"]["pearson"])
    assert rows["classifier"]["mmrv"] == pytest.approx(results["agreement"]["mmrv"])
    assert "contrary" in printed(judges_table(results))


def test_a_judge_of_few_is_compared_over_those_few(run):
    """On the episodes that both scored they agree, whatever the rates over all of them are."""
    own = run.verdicts("classifier")
    few = [f"{number}-imagined-{start:02d}" for number in range(3) for start in range(10)]
    run.add_verdicts("few", {each: own[each] for each in few})
    row = next(row for row in build_results(run)["judges"] if row["verifier"] == "few")
    assert (row["scored"], row["unscored"]) == (30, 60)
    rates = [np.mean([own[each].success for each in few[10 * number : 10 * number + 10]]) for number in range(3)]
    assert row["kendall_to_own"] == pytest.approx(1 if len(set(rates)) == 3 else row["kendall_to_own"])
    assert sorted(policy["success_rate"] for policy in row["policies"]) == sorted(rates)


def test_results_of_an_older_version_are_still_compared(run, capsys):
    assert calibrate(run, "against=state") == 0
    results = json.loads((run.path / "results.json").read_text())
    for key in ("calibration", "judges", "probe", "sha256"):
        del results[key]
    for policy in results["policies"]:
        del policy["corrected"]
    results["schema_version"] = 1
    (run.path / "results.json").write_text(json.dumps(results))
    assert cli.main(["compare", str(run.path)]) == 0
    assert "Simulated beside real" in capsys.readouterr().out
    Path(run.path / "results.json").write_text(json.dumps(results | {"schema_version": 99}))
    assert cli.main(["compare", str(run.path)]) == 1
    assert "not of schema version 1 to" in capsys.readouterr().err


def test_the_list_is_what_people_are_shown(run):
    from worldsim.experiments import label as page
    from worldsim.experiments.schema import LabelConfig
    from worldsim.labelling.deck import deal, read_entries

    assert calibrate(run, "against=human", "count=20") == 0
    config = LabelConfig(run=str(run.path), rater="anna", episodes=str(run.path / "calibration" / "classifier.episodes.txt"))
    cards = deal(read_entries(run)[0], page._choice(config), "anna")
    assert sorted(card.entry.episode for card in cards) == sample_of(run)


@pytest.mark.parametrize(
    ("text", "words"), [("", "names no episode"), ("0-imagined-00\nnobody\n", "names nobody"), (None, "cannot be read")]
)
def test_a_list_that_names_no_episode_of_the_run_is_refused(run, tmp_path, capsys, text, words):
    if text is not None:
        (tmp_path / "list.txt").write_text(text)
    assert cli.main(["label", str(run.path), f"episodes={tmp_path / 'list.txt'}", "rater=anna", "open=false"]) == 2
    assert words in capsys.readouterr().err
