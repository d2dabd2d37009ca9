"""What a comparison says beside its numbers: letters of both sides, both layers, what more trials buy, powered rates, and warnings."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from comparing import OUTCOMES, csv_of, make_run, several, side

from worldsim import statistics
from worldsim.data.references import load_reference
from worldsim.report.agreement_layers import counts_of
from worldsim.report.calibration import add_calibration, against_state
from worldsim.report.comparison import build_comparison
from worldsim.report.more_trials import more_trials
from worldsim.report.pairing import Paired, paired_outcomes
from worldsim.report.real_trials_saved import powered_rates
from worldsim.report.recipe import Recipe
from worldsim.report.results import write_results
from worldsim.report.run_folder import RunFolder
from worldsim.report.side_letters import BARNARD, MCNEMAR, paired_trials, side_letters
from worldsim.report.sides import Rate, Side, published_side
from worldsim.types import Verdict

MANY = {  # forty starts; every policy begins from the same
    "best": "1" * 36 + "0" * 4,
    "good": "1" * 26 + "0" * 14,
    "weak": "1" * 10 + "0" * 30,
    "none": "0" * 40,
}


def outcomes_of(strings: dict[str, str]) -> dict:
    return {name: {f"s{i}": (None if digit == "?" else int(digit),) for i, digit in enumerate(string)} for name, string in strings.items()}


def side_of(strings: dict[str, str], **facts) -> Side:
    rates = {name: Rate(each.count("1") / len(each), each.count("1"), len(each)) for name, each in strings.items()}
    return Side("by hand", rates, Recipe("one"), **facts)


# --- letters ---


def test_letters_of_a_run_are_those_of_its_results(tmp_path, capsys):
    run = make_run(tmp_path / "run", {name: (string, string) for name, string in MANY.items()})
    results = write_results(RunFolder(run))
    (comparison,) = several(tmp_path, capsys, run)[0]["comparisons"]
    letters = {row["name"]: row["simulated"]["letters"] for row in comparison["policies"]}
    assert letters == {policy["name"]: policy["letters"] for policy in results["policies"]}
    assert comparison["letters"]["simulated"]["test"] == MCNEMAR
    assert len(set(letters.values())) > 2


def test_letters_share_exactly_where_the_corrected_test_does_not_reject():
    for facts, test in (({}, BARNARD), ({"outcomes": outcomes_of(MANY)}, MCNEMAR)):
        given = side_of(MANY, **facts)
        found = side_letters(given, list(MANY), 0.05)
        couples = list(combinations(MANY, 2))
        if test == BARNARD:
            p = [statistics.barnard(*((given.rates[each].successes, 40) for each in couple)) for couple in couples]
        else:
            p = [statistics.mcnemar_exact(*([int(digit) for digit in MANY[each]] for each in couple)) for couple in couples]
        for (one, other), corrected in zip(couples, statistics.holm(p), strict=True):
            assert bool(set(found["letters"][one]) & set(found["letters"][other])) == (corrected > 0.05)
        assert (found["test"], found["pairs"], found["reason"]) == (test, 6, None)


def test_letters_leave_out_who_has_no_counts():
    close = load_reference("simpler:google_robot/close_drawer")
    found = side_letters(published_side(close, "vm"), close.policies, 0.05)
    assert found["reason"] == "no count of trials is known of rt-1-x"
    assert set(found["letters"]) == set(close.policies) - {"rt-1-x"}
    assert found["pairs"] == 10
    assert side_letters(published_side(close, "va"), close.policies, 0.05)["letters"] is None


def test_trials_are_paired_only_where_all_of_them_share_their_starts():
    whole = side_of({"a": "1100", "b": "1000"}, outcomes=outcomes_of({"a": "1100", "b": "1000"}))
    assert paired_trials(whole, ["a", "b"]) == {"a": [1, 1, 0, 0], "b": [1, 0, 0, 0]}
    elsewhere = {"a": whole.outcomes["a"], "b": {f"t{i}": each for i, each in enumerate(whole.outcomes["b"].values())}}
    assert paired_trials(replace(whole, outcomes=elsewhere), ["a", "b"]) is None
    more = replace(whole, rates=whole.rates | {"b": Rate(0.2, 1, 5)})  # one trial has no start
    assert paired_trials(more, ["a", "b"]) is None
    unscored = side_of({"a": "110", "b": "1000"}, outcomes=outcomes_of({"a": "110?", "b": "1000"}))
    assert paired_trials(unscored, ["a", "b"])["a"] == pytest.approx([1, 1, 0, np.nan], nan_ok=True)


# --- layers ---


def test_layers_are_those_of_the_statistics():
    near = load_reference("simpler:google_robot/move_near")
    comparison = build_comparison(published_side(near, "vm"), published_side(near, None), {}, whole=False)
    agreement, rows = comparison["agreement"], comparison["policies"]
    counts = {key: counts_of(rows, key) for key in ("simulated", "real")}
    expected = statistics.trial_layer(**counts, draws=20_000)
    assert agreement["trial_layer"] == {name: band._asdict() for name, band in expected.items()}
    sides = {key: [row[key]["success_rate"] for row in rows] for key in ("simulated", "real")}
    assert (agreement["slope"], agreement["intercept"]) == statistics.regression_line(**sides)
    left = statistics.drop_one(**sides, measure=statistics.mmrv)
    assert agreement["policy_layer"]["drop_one_mmrv"] == [min(left), max(left)]
    for row in rows:
        counts = [(row[key]["successes"], row[key]["scored"]) for key in ("simulated", "real")]
        assert row["difference_interval"] == list(statistics.newcombe_interval(*counts))
        assert row["difference_interval"][0] <= row["difference"] <= row["difference_interval"][1]


def test_a_misprinted_rate_stands_for_the_nearest_count():
    close = load_reference("simpler:google_robot/close_drawer")
    rows = build_comparison(published_side(close, "vm"), published_side(close, None), {}, whole=False)["policies"]
    assert dict(zip([row["name"] for row in rows], counts_of(rows, "simulated"), strict=True))["rt-1-x"] == (96, 108)


# --- what more trials buy ---


def rows_of(counts: dict[str, tuple[int, int]]) -> list[dict]:
    rates = {name: Rate(k / n, k, n) for name, (k, n) in counts.items()}
    given = Side("by hand", rates, Recipe("one"))
    return build_comparison(given, given, {}, whole=False)["policies"]


def test_more_trials_are_planned_for_the_closest_neighbours():
    counts = {"a": (18, 20), "b": (12, 20), "c": (10, 20), "d": (1, 20)}
    block = more_trials(rows_of(counts), 0.95)
    assert (block["pair"], block["neighbours"], [step["more"] for step in block["steps"]]) == (["b", "c"], 3, [0, 10, 25, 50])
    bought = statistics.what_more_trials_buy(*zip(*counts.values(), strict=True), 25)
    step = block["steps"][2]
    assert step["pair_chance"] == bought.separated[1, 2]
    assert step["ranking_separated"] == pytest.approx(bought.separated[0, 1] + bought.separated[1, 2] + bought.separated[2, 3])
    assert (step["pair_width"], step["ranking_width"]) == pytest.approx((np.mean(bought.widths[1:3]), np.mean(bought.widths)))
    widths, chances = ([step[key] for step in block["steps"]] for key in ("ranking_width", "ranking_separated"))
    assert widths == sorted(widths, reverse=True)
    assert chances[0] <= chances[-1]
    needed = statistics.trials_for_difference(0.6, 0.5, 0.8)
    assert block["advice"].endswith(f"of cases; about {needed} each would, if their rates were these.")


@pytest.mark.parametrize(
    ("counts", "advice"),
    [
        ({"a": (20, 20), "b": (0, 20)}, "are apart already"),
        ({"a": (14, 20), "b": (8, 20)}, "50 more real trials of a and b each would tell them apart in 8"),
        ({"a": (10, 20), "b": (10, 20)}, "of cases; call them equal."),
    ],
)
def test_advice_is_plain(counts, advice):
    assert advice in more_trials(rows_of(counts), 0.95)["advice"]


def test_nothing_is_planned_without_counts():
    assert more_trials(rows_of({"a": (1, 2)}), 0.95) is None
    rows = rows_of({"a": (1, 2), "b": (2, 2)})
    rows[0]["real"] |= {"successes": None, "scored": None}
    assert more_trials(rows, 0.95) is None


# --- powered rates ---


def test_powered_rates_are_those_of_the_statistics():
    real, simulated = ([int(digit) for digit in string] for string in ("1011001101", "1010001111"))
    block = powered_rates({"a": Paired(simulated, real, [1] * 33 + [0] * 27)}, 0.95)
    (policy,) = block["policies"]
    expected = statistics.prediction_powered_wilson(real, simulated, [1] * 33 + [0] * 27)
    assert (policy["powered"], *policy["powered_interval"], policy["weight"]) == expected
    assert 0 < policy["weight"] < 1
    assert policy["plain_interval"] == list(statistics.wilson_interval(6, 10))
    assert policy["phi"] == statistics.phi(simulated, real)
    assert policy["trials_saved"] == statistics.real_trials_saved(policy["phi"], 10, 60)
    assert "of the 10 real trials could have been saved, most of them for a" in block["advice"]


def test_a_simulator_that_knows_nothing_saves_nothing():
    real, simulated = [1, 0] * 20, [1, 1, 0, 0] * 10
    block = powered_rates({"a": Paired(simulated, real, [1, 0] * 50)}, 0.95)
    assert block["policies"][0]["trials_saved"] == 0
    assert block["advice"].startswith("The imagined episodes save no real trials")


def test_powered_rates_say_why_there_are_none():
    found = powered_rates({"a": Paired([1] * 12, [1] * 12, []), "b": Paired([1], [1], [1])}, 0.95)
    assert [each["powered"] for each in found["policies"]] == [None, None]
    assert found["advice"] == (
        "No real trials can be saved yet: no imagined episode is left without a real twin; imagine more starts than were tried for real; "
        "of some policies there are fewer than 10 pairs, too few to know how alike they end."
    )


def test_what_has_no_twin_is_extra():
    imagined = {"s0": [1, 0, 1], "s1": [None], "s2": [0], "s3": [1]}
    real = {"s0": (0,), "s1": (1,), "s2": (1, 1), "s9": (1,)}
    assert paired_outcomes(imagined, real) == Paired([1, 0], [0, 1], [0, 1, 1])


def test_a_file_with_some_of_the_starts_is_powered_by_the_others(tmp_path, capsys):
    run = make_run(tmp_path / "run", {name: (string,) for name, string in MANY.items()}, truth=False)
    tried = [(name, string[i], i) for name, string in MANY.items() for i in range(0, 40, 2)]
    real = csv_of(tmp_path / "real.csv", "policy,success,start\n" + "".join(f"{name},{digit},s{i}\n" for name, digit, i in tried))
    document, printed = several(tmp_path, capsys, run, "--real", real)
    policies = {each["name"]: each for each in document["comparisons"][0]["powered"]["policies"]}
    assert {(each["pairs"], each["extra"]) for each in policies.values()} == {(20, 20)}
    assert policies["good"]["phi"] == pytest.approx(1)
    assert policies["good"]["trials_saved"] == pytest.approx(statistics.real_trials_saved(1, 20, 20))
    assert policies["none"]["trials_saved"] == 0
    assert "trials saved" in printed


# --- warnings ---


def warnings_of(simulated: Side, real: Side) -> list[str]:
    return build_comparison(simulated, real, {}, whole=False)["warnings"]


def test_ties_that_decide_mmrv_are_told_by_every_rule():
    simulated, real = side({"a": 0.5, "b": 0.5, "c": 0.2, "d": 0.0}), side({"a": 0.9, "b": 0.3, "c": 0.1, "d": 0.0})
    (line,) = [each for each in warnings_of(simulated, real) if "Ties" in each]
    values = "0.150 by strict_gt, 0.150 by strict_lt, 0.000 by sign_product, 0.300 by any_difference"
    assert line == f"Ties decide MMRV (a = b): {values}; shown is strict_gt."
    assert not any("Ties" in each for each in warnings_of(real, real))


def test_unequal_trials_are_told():
    mixed = Side("by hand", {"a": Rate(0.5, 5, 10), "b": Rate(0.25, 10, 40)}, Recipe("one"))
    assert "Unequal real trials: from 10 (a) to 40 (b); the fewer, the less a rank is worth." in warnings_of(
        side({"a": 0.5, "b": 0.2}), mixed
    )


def test_rates_off_the_lattice_are_told():
    close = load_reference("simpler:google_robot/close_drawer")
    assert published_side(close, "vm").warnings == (
        "No whole number of successes gives these simulated rates: rt-1-x 0.891 of 108 trials.",
    )


def test_unpaired_trials_are_warned_of(tmp_path, capsys):
    run = make_run(tmp_path / "run", truth=False)
    counts = csv_of(tmp_path / "real.csv", "policy,episodes,successes\ngood,8,6\nfair,8,4\n")
    (comparison,) = several(tmp_path, capsys, run, "--real", counts)[0]["comparisons"]
    assert "Real trials are not paired with imagined episodes; a file with a column start pairs them." in comparison["warnings"]
    assert comparison["powered"] is None


def calibrated(path, *, useful: bool):
    """A run whose judge was checked on sixty true episodes."""
    run = make_run(path)
    said = [(i % 10 != 0) == true if useful else i % 4 < 2 for true in (True, False) for i in range(30)]
    cases = [(Verdict(float(verdict), ""), index < 30) for index, verdict in enumerate(said)]
    with RunFolder.open(run, RunFolder(run).config) as folder:
        add_calibration(folder, "classifier", against_state(cases, [], 0, 0.95))
        write_results(folder)
    return run


def test_corrected_rates_stand_beside_raw_ones(tmp_path, capsys):
    run = calibrated(tmp_path / "run", useful=True)
    results = {policy["name"]: policy["corrected"] for policy in write_results(RunFolder(run))["policies"]}
    document, printed = several(tmp_path, capsys, run)
    rows = document["comparisons"][0]["policies"]
    assert {row["name"]: row["simulated"]["corrected"] for row in rows} == results
    assert all(row["real"]["corrected"] is None for row in rows)
    assert "corrected" in printed
    assert f"{results['good']['success_rate']:.3f} [" in printed
    assert not any("can hardly tell" in line for line in document["comparisons"][0]["warnings"])
    assert any("was calibrated on 60 episodes" in line for line in document["comparisons"][0]["notes"])


def test_a_judge_of_no_use_is_warned_of(tmp_path, capsys):
    (comparison,) = several(tmp_path, capsys, calibrated(tmp_path / "run", useful=False))[0]["comparisons"]
    assert any("The judge classifier can hardly tell success from failure" in line for line in comparison["warnings"])


def test_everything_of_a_run_is_printed(tmp_path, capsys):
    document, printed = several(tmp_path, capsys, make_run(tmp_path / "run"))
    for words in (
        "trial layer (95%)",
        "policy layer",
        "noise ceiling",
        "slope",
        "intercept",
        "with p =",
        "Letters",
        "Holm over 6 pairs",
        "more each",
    ):
        assert words in printed
    assert all(name in printed for name in OUTCOMES)
    assert document["schema_version"] == 1
