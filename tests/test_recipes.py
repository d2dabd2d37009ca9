"""Recipes: what runs, tables and files say of how they were measured, and the refusal to mix them in silence."""

from functools import partial
from itertools import product

import pytest
from comparing import CLOSE, OUTCOMES, csv_of, make_run, refusal, several, side, trials_csv
from hypothesis import given
from hypothesis import strategies as st

from worldsim.data.real_facts import FACTS
from worldsim.data.real_results import read_real_results
from worldsim.errors import InvalidInput, UnknownName, WorldsimError
from worldsim.report.comparison import build_comparison
from worldsim.report.recipe import COMPARED, Recipe, check_accepted, compare_recipes, same_task

SOURCES = {"simulated": "mine", "real": "theirs"}
FULL = {"task": "close", "averaging": "one task", "rule": "last_step", "horizon": 80, "rate_hz": 3.0, "starts": "grid"}
OTHER = {"task": "open", "averaging": "mean of 2 tasks", "rule": "ever", "horizon": 113, "rate_hz": 5, "starts": "random"}


@pytest.mark.parametrize("field", COMPARED)
def test_a_field_that_differs_is_refused_with_both_values_and_what_to_type(field):
    one, other = Recipe(**FULL), Recipe(**FULL | {field: OTHER[field]})
    with pytest.raises(InvalidInput) as error:
        compare_recipes(SOURCES, one, other, [])
    shown = [f"{value:g}" if isinstance(value, int | float) else value for value in (FULL[field], OTHER[field])]
    assert str(error.value) == (
        f'recipes differ: {field} is "{shown[0]}" in mine but "{shown[1]}" in theirs; '
        f"to compare them all the same type accept='[{field}]'"
    )
    warnings, notes = compare_recipes(SOURCES, one, other, [field])
    assert warnings == [f'Recipes differ, and this was accepted: {field} is "{shown[0]}" in mine but "{shown[1]}" in theirs.']
    assert notes == []


def test_what_one_side_does_not_say_is_a_note_and_what_neither_says_is_none():
    assert compare_recipes(SOURCES, Recipe(**FULL), Recipe(**FULL), []) == ([], [])
    assert compare_recipes(SOURCES, Recipe(), Recipe(), []) == ([], [])
    warnings, notes = compare_recipes(SOURCES, Recipe(task="close", horizon=80), Recipe(rule="ever", task="close"), [])
    assert warnings == []
    assert notes == [
        "mine does not say its rule, so nothing checks that the simulated side has the other's",
        "theirs does not say its horizon, so nothing checks that the real side has the other's",
    ]


def test_judges_differ_by_nature_and_are_told():
    assert compare_recipes(SOURCES, Recipe(judge="classifier"), Recipe(judge="two people"), [])[1] == [
        "success was told by classifier in simulation and by two people in reality"
    ]


def test_a_second_difference_keeps_what_was_accepted_before():
    with pytest.raises(InvalidInput, match=r"type accept='\[rule,horizon\]'"):
        compare_recipes(SOURCES, Recipe(**FULL), Recipe(**FULL | {"rule": "ever", "horizon": 1}), ["rule"])
    with pytest.raises(UnknownName, match='did you mean "horizon"'):
        check_accepted(["horizn"])


def test_names_of_one_task():
    same = ("stack_cube", "Stack-Cube", "simpler:widowx/stack_cube", "widowx/stack_cube")
    assert all(same_task(a, b) for a, b in product(same, same))
    for other in ("cube", "stack_cube/grasp", "simpler:widowx/unstack_cube", ""):
        assert not any(same_task(other, each) for each in same)


def test_an_accepted_difference_is_a_warning_and_kept():
    sides = [side({"a": 0.5, "b": 0.2}, recipe=Recipe(horizon=steps)) for steps in (80, 113)]
    comparison = build_comparison(*sides, {}, ["horizon"])
    assert comparison["accepted"] == ["horizon"]
    assert comparison["warnings"][0] == 'Recipes differ, and this was accepted: horizon is "80" in by hand but "113" in by hand.'


def test_a_run_states_what_its_results_and_episodes_say(tmp_path, capsys):
    run = make_run(tmp_path / "run", task="close_drawer", horizon=113, starts="abc")
    comparison = several(tmp_path, capsys, run)[0]["comparisons"][0]
    recipe = {"task": "close_drawer", "averaging": "one task", "rule": "last_step", "horizon": 113, "rate_hz": 4, "starts": "abc"}
    assert comparison["simulated"]["recipe"] | recipe == comparison["simulated"]["recipe"]
    assert comparison["real"]["recipe"] | recipe | {"stopping": "fixed"} == comparison["real"]["recipe"]
    assert f'rate_hz is "4" in {run} but "3" in {CLOSE}' in refusal(capsys, run, "--real", CLOSE)
    assert 'averaging is "one task"' in refusal(capsys, run, "--real", "simpler:google_robot/drawer", "accept=[task]")


def test_a_file_states_its_recipe_above_its_header_or_in_columns(tmp_path, capsys):
    run = make_run(tmp_path / "run", horizon=80)
    rows = "good,8,6,{}\nfair,8,4,{}\n"
    above = csv_of(
        tmp_path / "above.csv", "# horizon: 80\n# judge: two people\n\npolicy,episodes,successes,who\n" + rows.format("ann", "bo")
    )
    column = csv_of(tmp_path / "column.csv", "policy,episodes,successes,horizon\n" + rows.format(80, 80))
    for real in (above, column):
        assert several(tmp_path, capsys, run, "--real", real)[0]["comparisons"][0]["real"]["recipe"]["horizon"] == 80
    (comparison,) = several(tmp_path, capsys, run, "--real", above)[0]["comparisons"]
    assert "success was told by classifier in simulation and by two people in reality" in comparison["notes"]
    assert any("not used: who" in line for line in comparison["notes"])
    longer = csv_of(tmp_path / "longer.csv", above.read_text().replace("80", "120"))
    assert f'recipes differ: horizon is "80" in {run} but "120" in {longer}' in refusal(capsys, run, "--real", longer)
    (comparison,) = several(tmp_path, capsys, run, "--real", longer, "accept=[horizon]")[0]["comparisons"]
    assert any("horizon is" in line for line in comparison["warnings"])


def test_stopping_is_warned_of_until_it_is_said(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    text = trials_csv(tmp_path / "trials.csv", starts=True).read_text()
    told = {}
    for word in ("", "# stopping: fixed\n", "# stopping: sequential\n"):
        real = csv_of(tmp_path / "real.csv", word + text)
        warnings = several(tmp_path, capsys, run, "--real", real)[0]["comparisons"][0]["warnings"]
        told[word] = [line for line in warnings if "number of real trials" in line]
    assert [len(lines) for lines in told.values()] == [1, 0, 1]
    assert "# stopping: fixed" in told[""][0]
    assert "chosen while looking" in told["# stopping: sequential\n"][0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# rule: any\npolicy,success\na,1\n", '# rule: "any", expected last_step or ever'),
        ("# horizon: 0\npolicy,success\na,1\n", '# horizon: "0" is no number of steps'),
        ("# rate_hz: fast\npolicy,success\na,1\n", '# rate_hz: "fast" is no control rate'),
        ("# rate_hz: 0.0\npolicy,success\na,1\n", "is no control rate"),
        ("# stopping: maybe\npolicy,success\na,1\n", "expected fixed or sequential"),
        (f"# judge: {'x' * 201}\npolicy,success\na,1\n", "201 characters, expected at most 200"),
        ("# rule: ever\n# rule: ever\npolicy,success\na,1\n", "row 2: # rule is there twice"),
        ("# rule: ever\npolicy,success,rule\na,1,ever\n", "rule stands above the header and in a column"),
        ("# task: a\npolicy,success,task\na,1,a\n", "task stands above the header and in a column"),
        ("policy,success,horizon\na,1,80\na,1,113\n", 'row 3, column horizon: "113" after "80"; trials of several recipes'),
        ("policy,success,horizon\na,1,80\na,1,\n", 'row 3, column horizon: "" after "80"'),
        ("policy,success,horizon\na,1,x\n", 'row 2, column horizon: "x" is no number of steps'),
        ("policy,success,task\na,1,open\na,1,\n", "row 3, column task: it is empty"),
        ("# horizon: 80\n\npolicy,success\na,2\n", "row 4, column success"),
        ("# horizon: 80\n", "is empty"),
    ],
)
def test_a_file_whose_recipe_cannot_be_is_refused_in_one_line(text, expected, tmp_path):
    with pytest.raises(InvalidInput) as error:
        read_real_results(csv_of(tmp_path / "real.csv", text))
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_tasks_of_a_file_have_their_own_recipes(tmp_path):
    found = read_real_results(csv_of(tmp_path / "r.csv", "policy,success,task,horizon\na,1,open,80\na,0,close,113\na,1,open,80\n"))
    assert [(each.task, each.facts, each.counts) for each in found] == [
        ("open", {"horizon": 80}, {"a": (2, 2)}),
        ("close", {"horizon": 113}, {"a": (0, 1)}),
    ]


def test_comments_that_state_nothing_are_told(tmp_path):
    (found,) = read_real_results(csv_of(tmp_path / "r.csv", "# Tuesday\n# horzon: 80\npolicy,success\n#a,1\n"))
    assert found.unused == ("Tuesday", "horzon: 80")
    assert found.counts == {"#a": (1, 1)}


comments = st.lists(
    st.tuples(st.sampled_from([*FACTS, "task", "who"]), st.text("ab10.3 :#,\t", max_size=6) | st.sampled_from(["ever", "fixed", "80"])),
    max_size=4,
)


@given(comments, st.text("# :\n\rab,1", max_size=20))
def test_any_comments_give_facts_or_a_refusal(tmp_path_factory, lines, rest):
    path = tmp_path_factory.mktemp("r") / "r.csv"
    path.write_bytes(("".join(f"# {key}: {value}\n" for key, value in lines) + rest + "\npolicy,success\na,1\n").encode())
    try:
        found = read_real_results(path)
    except WorldsimError:
        return
    assert all(set(each.facts) <= set(FACTS) for each in found)


def test_paired_trials_of_all_policies_are_tested_in_pairs(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    compare = partial(several, tmp_path, capsys, run)
    own, paired, counted = (
        compare(*words)[0]["comparisons"][0]
        for words in (
            (),
            ("--real", trials_csv(tmp_path / "trials.csv", starts=True)),
            ("--real", trials_csv(tmp_path / "unpaired.csv", starts=False)),
        )
    )
    assert own["letters"]["real"]["test"] == paired["letters"]["real"]["test"] == "McNemar's exact test on shared starts"
    assert counted["letters"]["real"] == {"test": "Barnard's exact test", "correction": "Holm", "alpha": 0.05, "pairs": 6, "reason": None}
    assert {row["name"] for row in own["policies"]} == set(OUTCOMES)
