"""Several tasks beside one another: never pooled, averaged only when asked and only of one recipe, and SIMPLER's tables as published."""

import numpy as np
import pytest
from comparing import CLOSE, OUTCOMES, csv_of, make_run, refusal, several
from test_references import METRICS

from worldsim.data.references import family_names, load_reference
from worldsim.errors import InvalidInput
from worldsim.experiments import cli
from worldsim.report.comparison import build_comparison
from worldsim.report.recipe import Recipe
from worldsim.report.sides import Rate, Side
from worldsim.report.task_average import average_over_tasks
from worldsim.statistics import wilson_interval

GOOGLE = "simpler:google_robot"
REAL = "policy,episodes,successes,task\n" + "".join(
    f"{policy},{n},{true.count('1')},{task}\n" for task, n in (("push", 8), ("pull", 10)) for policy, (_, true) in OUTCOMES.items()
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of two tasks."""
    folder = tmp_path_factory.mktemp("runs")
    return [make_run(folder / task, truth=False, task=task) for task in ("push", "pull")]


def test_the_tables_of_simpler_print_what_was_published(tmp_path, capsys):
    document, printed = several(tmp_path, capsys, "simpler")
    found = {(each["simulated"]["recipe"]["task"], each["setting"]): each for each in document["comparisons"]}
    published = {key: values for key, values in METRICS.items() if key[0].startswith("simpler:")}
    assert set(published) | {(f"{GOOGLE}/mean_of_5_tasks", "va")} == set(found)
    for key, values in published.items():
        agreement = found[key]["agreement"]
        assert [agreement[name] for name in values if name != "swapped"] == pytest.approx(
            [value for name, value in values.items() if name != "swapped"], abs=6e-5
        )
        trials = load_reference(key[0]).simulated[key[1]].trials
        assert (agreement["trial_layer"] is not None) == (agreement["noise_ceiling"] is not None) == (None not in trials)
        shown = [f"{agreement[name] + 0.0:.4f}" for name in ("pearson", "mmrv")]
        if agreement["trial_layer"]:
            shown += [
                f"[{band['low'] + 0.0:.2f}, {band['high'] + 0.0:.2f}]" for band in map(agreement["trial_layer"].get, ("pearson", "mmrv"))
            ]
            shown.append(f">{agreement['noise_ceiling']['pearson']['low']:.2f}")
        first = key[0].partition("/")[2][:12]  # long names are folded
        assert any(line.strip().startswith(first) and all(words in line for words in shown) for line in section(printed, *key)), (
            key,
            shown,
        )


def section(printed: str, task: str, setting: str) -> list[str]:
    """The lines of the table that this task stands in."""
    return (
        printed.split(f"Agreement, task by task: {task.partition('/')[0]}, {setting}")[1].split("Agreement, task by task")[0].splitlines()
    )


def test_move_near_has_the_trial_layer_that_was_computed_elsewhere(tmp_path, capsys):
    (comparison,) = several(tmp_path, capsys, f"{GOOGLE}/move_near")[0]["comparisons"]
    layer = comparison["agreement"]["trial_layer"]
    assert [layer["pearson"][end] for end in ("low", "median", "high")] == pytest.approx([0.705, 0.839, 0.925], abs=4e-3)
    assert [layer["mmrv"][end] for end in ("low", "median", "high")] == pytest.approx([0, 0.102, 0.198], abs=4e-3)
    policy = comparison["agreement"]["policy_layer"]
    assert policy["pearson_interval"] == pytest.approx([0.146, 0.984], abs=6e-4)
    assert (policy["permutation"]["hits"], policy["permutation"]["orders"]) == (2, 720)
    assert [policy["drop_one"]["low"], policy["drop_one"]["high"]] == pytest.approx([0.854, 0.942], abs=6e-4)


def test_runs_find_their_tasks_in_one_file_and_stay_apart(runs, tmp_path, capsys):
    real = csv_of(tmp_path / "real.csv", REAL + "good,5,5,lift\n")
    document, printed = several(tmp_path, capsys, *runs, "--real", real)
    assert [each["real"]["recipe"]["task"] for each in document["comparisons"]] == ["push", "pull"]
    assert [{row["real"]["scored"] for row in each["policies"]} for each in document["comparisons"]] == [{8}, {10}]
    assert document["averages"] == []
    assert document["notes"] == [f"tasks of {real} without a simulated side, left out: lift"]
    assert "Agreement, task by task" in printed
    for each, run in zip(document["comparisons"], runs, strict=True):
        alone = several(tmp_path, capsys, run, "--real", real)[0]["comparisons"][0]
        assert alone == each


def test_a_list_and_words_say_the_same(runs, tmp_path, capsys):
    real = csv_of(tmp_path / "real.csv", REAL)
    assert (
        several(tmp_path, capsys, *runs, "--real", real)[0] == several(tmp_path, capsys, f"run={list(map(str, runs))}", f"real={real}")[0]
    )
    assert cli.main(["compare", "--help"]) == 0
    assert "usage: worldsim compare RUN ... key=value" in capsys.readouterr().out


def test_a_task_that_is_called_otherwise_is_named(runs, tmp_path, capsys):
    real = csv_of(tmp_path / "real.csv", REAL.replace("push", "shove"))
    assert "recipes differ: task" in refusal(capsys, runs[0], "--real", csv_of(tmp_path / "one.csv", REAL_ONE))
    assert f"is of task push, and none of these: shove, pull ({real}); say which, as tasks='{{push: shove}}'" in refusal(
        capsys, runs[0], "--real", real
    )
    (comparison,) = several(tmp_path, capsys, runs[0], "--real", real, "tasks={push: shove}")[0]["comparisons"]
    assert comparison["real"]["recipe"]["task"] == "push"
    assert f"task shove of {real} was given as the twin of push" in comparison["notes"]
    assert 'has no task "shov"; did you mean "shove"' in refusal(capsys, runs[0], "--real", real, "tasks={push: shov}")
    assert 'no simulated task is called "pusch"; did you mean "push"' in refusal(capsys, runs[0], "--real", real, "tasks={pusch: shove}")
    assert "leave it out" in refusal(capsys, CLOSE, "tasks={close_drawer: close}")


REAL_ONE = "policy,episodes,successes,task\ngood,8,6,shove\n"


def test_a_file_without_tasks_serves_one_run_only(runs, tmp_path, capsys):
    real = csv_of(tmp_path / "real.csv", "policy,episodes,successes\ngood,8,6\n")
    assert "names no task, and several are compared" in refusal(capsys, *runs, "--real", real)
    (comparison,) = several(tmp_path, capsys, runs[0], "--real", real)[0]["comparisons"]
    assert any("does not say its task" in line for line in comparison["notes"])


# --- averages ---


def test_the_equal_mean_of_five_tasks_is_the_one_that_ships(tmp_path, capsys):
    document, printed = several(tmp_path, capsys, GOOGLE, "average=equal_task_mean")
    matching, variants = document["averages"]
    assert (matching["setting"], variants["setting"]) == ("vm", "va")
    assert len(matching["tasks"]) == 5
    assert (matching["agreement"]["pearson"], matching["agreement"]["mmrv"]) == pytest.approx((0.9736, 0.0), abs=6e-5)
    shipped = load_reference(f"{GOOGLE}/mean_of_5_tasks")
    rates = {row["name"]: (row["simulated"]["success_rate"], row["real"]["success_rate"]) for row in matching["policies"]}
    assert [rates[name] for name in shipped.policies] == [
        pytest.approx(pair) for pair in zip(shipped.simulated["vm"].rates, shipped.real.rates, strict=True)
    ]
    assert "every task weighs the same" in printed


def one_task(name: str, simulated: dict, real: dict, **recipe) -> dict:
    """A comparison of counts `(successes, trials)` by policy."""
    sides = [
        Side("by hand", {policy: Rate(k / n, k, n) for policy, (k, n) in counts.items()}, Recipe(name, **recipe))
        for counts in (simulated, real)
    ]
    return build_comparison(*sides, {}, whole=False)


def test_pooling_adds_counts_up_and_an_equal_mean_does_not():
    tasks = [
        one_task("easy", {"a": (36, 40), "b": (20, 40)}, {"a": (9, 10), "b": (5, 10)}),
        one_task("hard", {"a": (20, 120), "b": (60, 120)}, {"a": (3, 30), "b": (15, 30)}),
    ]
    pooled, mean = (average_over_tasks(tasks, how) for how in ("pooled", "equal_task_mean"))
    assert {row["name"]: (row["real"]["successes"], row["real"]["scored"]) for row in pooled["policies"]} == {"a": (12, 40), "b": (20, 40)}
    assert pooled["policies"][0]["real"]["interval"] == list(wilson_interval(20, 40))
    assert {row["name"]: row["real"]["success_rate"] for row in mean["policies"]} == pytest.approx({"a": 0.5, "b": 0.5})
    assert "a task weighs as many trials as it has" in pooled["recipe"]
    low, high = mean["policies"][0]["real"]["interval"]
    ends = np.array([wilson_interval(9, 10), wilson_interval(3, 30)])
    assert (low, high) == pytest.approx(0.5 + np.array([-1, 1]) * np.sqrt(np.sum((ends.T - [0.9, 0.1]) ** 2, axis=1)) / 2)


def test_averages_of_mixed_recipes_are_refused():
    easy = one_task("easy", {"a": (6, 10), "b": (3, 10)}, {"a": (6, 10), "b": (3, 10)}, rule="ever")
    hard = {"a": (1, 10), "b": (0, 10)}
    cases = {
        'recipes differ: rule of the simulated side is "ever" at easy but "last_step" at hard': one_task(
            "hard", hard, hard, rule="last_step"
        ),
        "task easy is there twice": easy,
        "b has no rate on both sides at hard": one_task("hard", {"a": (1, 10)}, hard),
        "would weigh easy 0.500 for a (simulated) but 0.333 for b (simulated)": one_task("hard", {"a": (1, 10), "b": (0, 20)}, hard),
        "would weigh easy 0.500 for a (simulated) but 0.250 for a (real)": one_task("hard", hard, {"a": (1, 30), "b": (0, 30)}),
    }
    for expected, other in cases.items():
        with pytest.raises(InvalidInput) as error:
            average_over_tasks([easy, other], "pooled")
        assert expected in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(InvalidInput, match="no several tasks"):
        average_over_tasks([easy], "pooled")
    accepted = average_over_tasks([easy, cases["b has no rate on both sides at hard"]], "pooled", ["policies"])
    assert [row["name"] for row in accepted["policies"]] == ["a"]
    accepted = average_over_tasks([easy, one_task("hard", hard, {"a": (1, 30), "b": (0, 30)})], "pooled", ["trials"])
    assert [row["real"]["scored"] for row in accepted["policies"]] == [40, 40]


def test_families_with_other_policies_are_not_averaged(capsys):
    assert "octo-small has no rate on both sides" in refusal(capsys, "simpler", "average=equal_task_mean")
    assert 'unknown average "mean"' in refusal(capsys, "simpler", "average=mean")
    assert "average=pooled needs counts" in refusal(capsys, GOOGLE, "average=pooled", "setting=va")


def test_families_are_whole_names():
    assert family_names("simp") == family_names("") == []
    assert family_names("simpler") == family_names("simpler:google_robot") + family_names("simpler:widowx/")
    assert family_names("worldgym") == ["worldgym:bridge"]
