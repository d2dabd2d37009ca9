"""Simulated beside real: what the table and the numbers say, the files of real results, and what is refused in one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from comparing import CLOSE, counts_csv, csv_of, make_run, refusal, several, side, trials_csv
from hypothesis import given
from hypothesis import strategies as st

from worldsim.data.real_results import read_real_results
from worldsim.data.references import load_reference, reference_names
from worldsim.errors import InvalidInput, WorldsimError
from worldsim.experiments import cli
from worldsim.report.comparison import build_comparison
from worldsim.statistics import wilson_interval

NAMES = "names={good: rt-1-converged, fair: rt-2-x, poor: octo-base, bad: rt-1-begin}"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def compared(tmp_path, capsys):
    """Compare on the command line; the numbers of the only task and what was printed."""

    def compare(*words: object) -> tuple[dict, str]:
        document, printed = several(tmp_path, capsys, *words)
        assert len(document["comparisons"]) == 1
        return document["comparisons"][0], printed

    return compare


# --- numbers ---


def test_a_published_simulator_is_compared_as_published(compared):
    numbers, printed = compared(CLOSE)
    agreement = numbers["agreement"]
    assert (agreement["pearson"], agreement["mmrv"]) == pytest.approx((0.7712, 0.1233), abs=6e-5)
    assert (agreement["policies"], agreement["tie_rule"], agreement["gap"]) == (6, "strict_gt", "real")
    by_name = {row["name"]: row for row in numbers["policies"]}
    assert by_name["rt-2-x"]["real"] == {
        "corrected": None,
        "letters": "ab",
        "success_rate": 0.63,
        "successes": 17,
        "scored": 27,
        "unscored": 0,
        "interval": list(wilson_interval(17, 27)),
    }
    assert by_name["rt-1-x"]["simulated"]["interval"] is None
    assert any("simulated rate of rt-1-x" in line for line in numbers["warnings"])
    for words in ("0.771", "0.123", "14 of 720", "one of the 2 tasks", ".891"):
        assert words in printed
    assert compared(CLOSE, "setting=va")[0]["agreement"]["pearson"] == pytest.approx(0.613, abs=6e-5)


@pytest.mark.parametrize("name", reference_names())
def test_every_reference_can_be_compared(name, compared):
    numbers, printed = compared(name)
    assert len(numbers["policies"]) == len(load_reference(name).policies)
    assert numbers["agreement"]["mmrv"] <= numbers["agreement"]["mmrv_bound"]
    assert "Agreement over" in printed


def test_a_run_beside_its_own_truth_says_what_its_results_say(run, compared):
    results, (numbers, printed) = json.loads((run / "results.json").read_text()), compared(run)
    agreement = results["agreement"]
    for key in (
        "policies",
        "pearson",
        "spearman",
        "mmrv",
        "bias",
        "mean_absolute_error",
        "top1_correct",
        "top1_probability",
        "regret",
        "noise_ceiling",
    ):
        assert numbers["agreement"][key] == agreement[key]
    assert numbers["agreement"]["paired"] == {
        key: agreement[key] for key in ("phi", "phi_within", "paired_episodes", "false_successes", "missed")
    }
    for row, policy in zip(numbers["policies"], results["policies"], strict=True):
        assert row["simulated"]["interval"] == policy["interval"]
        assert row["real"]["success_rate"] == policy["real"]["success_rate"]
        assert policy["name"] in printed
    assert "Unscored simulated episodes, in no rate: poor 1." in numbers["warnings"]
    assert "31 paired episodes: " in printed


def test_the_same_trials_from_a_file_give_the_same_numbers(run, compared, tmp_path):
    own = compared(run)[0]
    for real in (trials_csv(tmp_path / "trials.csv", starts=True), counts_csv(tmp_path / "counts.csv")):
        numbers = compared(run, "--real", real)[0]
        assert stripped(numbers["policies"]) == stripped(own["policies"])
        pairless = {"paired": None}
        assert numbers["agreement"] | pairless == own["agreement"] | pairless
    assert compared(run, "--real", tmp_path / "trials.csv")[0]["agreement"]["paired"] == own["agreement"]["paired"]
    assert compared(run, "--real", tmp_path / "counts.csv")[0]["agreement"]["paired"] is None


def stripped(rows: list[dict]) -> list[dict]:
    """Rows without the letters of the real side, whose test depends on whether its starts are known."""
    return [row | {"real": row["real"] | {"letters": None}} for row in rows]


def test_trials_without_an_imagined_twin_are_said(run, compared, tmp_path):
    real = csv_of(tmp_path / "real.csv", "policy,success,start\ngood,1,s0\ngood,0,s0\ngood,1,elsewhere\nfair,1,s1\n")
    numbers = compared(run, "--real", real)[0]
    assert numbers["agreement"]["paired"] == {"phi": None, "phi_within": None, "paired_episodes": 2, "false_successes": 0, "missed": 0}
    assert "Of 4 real trials 2 have a scored imagined episode from their start." in numbers["warnings"]


def test_a_damaged_episode_is_in_no_pair_and_stays_where_it_is(run, compared, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    broken = copy / "episodes" / "good-imagined-0.h5"
    broken.write_bytes(broken.read_bytes()[:100])
    numbers = compared(copy, "--real", trials_csv(tmp_path / "trials.csv", starts=True))[0]
    assert numbers["agreement"]["paired"]["paired_episodes"] == 30
    assert "Damaged episodes, in no pair: good-imagined-0." in numbers["warnings"]
    assert broken.is_file()


def test_names_join_policies_that_are_called_otherwise(run, compared, tmp_path):
    real = counts_csv(tmp_path / "counts.csv", rename={"good": "rt-1", "bad": "untrained"})
    numbers, printed = compared(run, "--real", real, "--names", "{good: rt-1, bad: untrained}")
    assert {(row["name"], row["real_name"]) for row in numbers["policies"]} >= {("good", "rt-1"), ("bad", "untrained"), ("fair", "fair")}
    assert "good = rt-1" in printed
    assert numbers["agreement"]["pearson"] == compared(run)[0]["agreement"]["pearson"]
    assert not any("Left out" in line for line in numbers["warnings"])
    assert any("Left out, as they have no real rate: good, bad" in line for line in compared(run, "--real", real)[0]["warnings"])


def test_a_run_is_set_beside_a_reference_and_its_own_simulators(run, compared):
    accepting = "accept=[task,rate_hz]"
    numbers, printed = compared(run, "--real", CLOSE, NAMES, accepting)
    assert set(numbers["published"]) == {"vm", "va"}
    assert numbers["missing"] == {"real": [], "simulated": ["rt-1-15pct", "rt-1-x"]}
    assert "Left out, as they have no simulated rate: rt-1-15pct, rt-1-x (real only)." in numbers["warnings"]
    assert numbers["accepted"] == ["rate_hz", "task"]
    for words in (f'task is "push" in {run} but "{CLOSE}"', f'rate_hz is "4" in {run} but "3"'):
        assert any(words in line for line in numbers["warnings"])
    assert any("does not say its horizon" in line for line in numbers["notes"])
    assert any("openvla-7b, robovlm" in line for line in numbers["notes"])
    assert "Published simulators" in printed
    chosen = {"rt-1-converged": (0.926, 0.861), "rt-2-x": (0.63, 0.343), "octo-base": (0.519, 0.444), "rt-1-begin": (0, 0.278)}
    expected = np.corrcoef(*zip(*chosen.values(), strict=True))[0, 1]
    assert numbers["published"]["vm"]["pearson"] == pytest.approx(expected, abs=1e-6)


def test_the_references_are_listed(capsys):
    assert cli.main(["compare", "--real", "list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == reference_names()


# --- warnings ---


def test_few_policies_are_warned_of():
    numbers = build_comparison(side({"a": 0.1, "b": 0.5, "c": 0.8}), side({"a": 0.2, "b": 0.4, "c": 0.9}), {})
    assert numbers["warnings"] == [
        "Only 3 policies: with fewer than 4 no correlation can reach significance at 0.05 (the least p of 3 is 1/3! = 0.167)."
    ]
    layer = numbers["agreement"]["policy_layer"]
    assert layer["drop_one"] is layer["pearson_interval"] is None


def test_one_policy_that_carries_r_is_named():
    simulated, real = {"a": 0.5, "b": 0.55, "c": 0.6, "d": 0.0}, {"a": 0.6, "b": 0.5, "c": 0.55, "d": 0.0}
    (line,) = build_comparison(side(simulated), side(real), {})["warnings"]
    assert line.startswith("One policy carries r: without d it falls from 0.9")
    assert build_comparison(side(real), side(real), {})["warnings"] == []


def test_a_constant_side_is_warned_of():
    numbers = build_comparison(side(dict.fromkeys("abcd", 0.5)), side({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}), {})
    assert any("All simulated rates are equal" in line for line in numbers["warnings"])
    assert numbers["agreement"]["pearson"] == 0


def test_one_policy_has_rates_and_no_order(run, compared, tmp_path):
    numbers, printed = compared(run, "--real", csv_of(tmp_path / "one.csv", "policy,episodes,successes\ngood,10,5\n"))
    agreement = numbers["agreement"]
    assert [agreement[key] for key in ("pearson", "kendall", "mmrv", "mmrv_bound", "trial_layer", "noise_ceiling")] == [None] * 6
    assert agreement["bias"] == pytest.approx(7 / 8 - 0.5)
    assert "Only 1 policy" in printed
    assert "Agreement over 1 policy " in printed
    assert "1 policies" not in printed


def test_a_judge_that_was_never_checked_is_warned_of(compared, tmp_path):
    run = make_run(tmp_path / "run", truth=False)
    numbers, printed = compared(run, "--real", counts_csv(tmp_path / "counts.csv"))
    assert any("classifier was not checked against any truth" in line for line in numbers["warnings"])
    assert "was not checked" in printed


def test_unscored_policies_are_left_out_by_name():
    numbers = build_comparison(side({"a": 0.1, "b": None, "c": 0.4}), side({"a": 0.1, "b": 0.2, "c": None}), {})
    assert [row["name"] for row in numbers["policies"]] == ["a"]
    assert numbers["missing"] == {"real": ["c"], "simulated": ["b"]}


# --- refusals ---


def test_what_cannot_be_compared_is_refused_in_one_line(run, capsys, tmp_path):
    lonely = make_run(tmp_path / "lonely", truth=False)
    counts = counts_csv(tmp_path / "counts.csv")
    cases = {
        (): "compare needs a run folder or a reference",
        (lonely,): "has no true episodes; type --real FILE.csv",
        (tmp_path / "nowhere",): "is no run folder",
        ("simpler:google_robot/close_draw",): f'did you mean "{CLOSE}"',
        (CLOSE, "setting=mv"): 'has no setting "mv"',
        (run, "setting=vm"): "is a run; leave it out",
        (run, "--real", "nothing.csv"): "there is no file nothing.csv",
        (run, "--real", "simpler:widowx/spon_on_towel"): 'did you mean "simpler:widowx/spoon_on_towel"',
        (run, "--real", CLOSE): f'recipes differ: task is "push" in {run} but "{CLOSE}"',
        (run, "--real", CLOSE, "accept=[task]"): "the same type accept='[task,rate_hz]'",
        (run, "--real", CLOSE, "accept=[task,speed]"): 'no recipe has a field "speed"',
        (run, "--real", CLOSE, "accept=[task,rate_hz]"): "no policy has a rate on both sides",
        (run, "--real", counts, "names={goood: good}"): 'did you mean "good"',
        (run, "--real", counts, "names={good: faair}"): 'did you mean "fair"',
        (run, "--real", counts, "names={good: fair}"): 'good and fair would both be the real policy "fair"',
        (run, "--real", counts, "names=3"): "names is 3",
        (run, "--real", counts, "names={good: [fair]}"): "names is",
        (run, f"out={tmp_path}"): "is a folder",
    }
    for words, expected in cases.items():
        assert expected in refusal(capsys, *words), words


def test_results_that_cannot_be_read_are_refused(run, capsys, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    for text in ("{", '{"schema_version": 99}', "[]"):
        (copy / "results.json").write_text(text)
        assert f"type: worldsim score run={copy}" in refusal(capsys, copy)
    (copy / "results.json").unlink()
    assert "has no results.json yet" in refusal(capsys, copy)


# --- files of real results ---

TRIALS = [("a", "1", "s0"), ("a", "no", "s1"), ("b", "TRUE", "s0"), ("b", "false", "")]


@given(st.permutations(range(4)), st.sampled_from(",;\t"), st.booleans(), st.booleans())
def test_columns_come_in_any_order_and_dress(order, delimiter, capitals, mark):
    header = ["policy", "success", "start", "who"]
    rows = [[f" {name.title()} " if capitals else name for name in header], *([*row, "ann"] for row in TRIALS), ["", "", "", ""]]
    text = "".join(delimiter.join(row[i] for i in order) + "\r\n" for row in rows)
    found = read(text, mark=mark)
    assert found.counts == {"a": (1, 2), "b": (1, 2)}
    assert found.starts == {"a": {"s0": (1,), "s1": (0,)}, "b": {"s0": (1,)}}
    assert found.unused == ("who",)


def read(text: str, *, mark: bool = False):
    """The results in a file with this text; hypothesis wants no fixture, so the file is made and removed here."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "real.csv"
        path.write_bytes(("\ufeff" * mark + text).encode())
        (found,) = read_real_results(path)
        return found


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 50).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1)
)
def test_counts_and_trials_say_the_same(counts):
    one = read("policy,successes,episodes\n" + "".join(f"{name},{k},{n}\n" for name, (k, n) in counts.items()))
    outcomes = [(name, int(i < k)) for name, (k, n) in counts.items() for i in range(n)]
    other = read("success,policy\n" + "".join(f"{outcome},{name}\n" for name, outcome in outcomes))
    assert one.counts == other.counts == counts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("policy,success\n", "a header and no rows"),
        ("policy,sucess\na,1\n", 'row 1: no column "success"; .*did you mean "sucess"'),
        ("success,start\n1,s\n", 'row 1: no column "policy"'),
        ("policy,episodes\na,3\n", 'row 1: no column "successes"'),
        ("policy,success,success\na,1,1\n", 'row 1: the column "success" is there twice'),
        ("policy,success,episodes\na,1,2\n", "row 1: columns of both forms"),
        ("policy,success\na,1\na,2\n", 'row 3, column success: "2" is neither 0 nor 1'),
        ("policy,success\na,\n", 'row 2, column success: "" is neither'),
        ("policy,success\na,0.5\n", "row 2, column success"),
        ("policy,success\n,1\n", "row 2, column policy: it is empty"),
        ("policy,success\na,1,1\n", "row 2: 3 cells, expected 2"),
        ("policy,success\na\n", "row 2: 1 cells, expected 2"),
        ("policy,episodes,successes\na,5,6\n", "row 2, column successes: 6 of 5"),
        ("policy,episodes,successes\na,0,0\n", "row 2, column episodes: 0"),
        ("policy,episodes,successes\na,5,-1\n", 'row 2, column successes: "-1"'),
        ("policy,episodes,successes\na,5,1e0\n", 'row 2, column successes: "1e0"'),
        ("policy,episodes,successes\na,5,nan\n", 'row 2, column successes: "nan"'),
        ("policy,episodes,successes\na,٣,1\n", "row 2, column episodes"),
        (f"policy,episodes,successes\na,{'9' * 5000},1\n", "row 2, column episodes"),
        ("policy,episodes,successes\na,5,1\n\na,5,2\n", 'row 4, column policy: "a" has a row already'),
        ('policy,success\n"a,1\n', "is not CSV"),
    ],
)
def test_a_bad_file_is_refused_with_row_and_column(text, expected):
    with pytest.raises(InvalidInput, match=expected) as error:
        read(text)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_the_task_of_a_file_is_read(run, compared, tmp_path):
    real = csv_of(tmp_path / "real.csv", "task,policy,success\nPush,good,1\nPush,good,0\n")
    assert compared(run, "--real", real)[0]["real"]["recipe"]["task"] == "Push"


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "real.csv"
    path.write_bytes(b"policy,success\n\xff\xfe,1\n")
    with pytest.raises(InvalidInput, match="is not UTF-8"):
        read_real_results(path)


@given(st.lists(st.text("policysuce,;\t\"'\r\n01 9\x00", max_size=12), max_size=12).map("\n".join), st.booleans())
def test_any_text_gives_counts_or_a_refusal(text, headed):
    try:
        found = read("policy,success\n" * headed + text)
    except WorldsimError:  # anything else is a crash
        return
    assert found.counts
    assert all(0 <= k <= n and n >= 1 for k, n in found.counts.values())
