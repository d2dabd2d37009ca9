"""Each policy's rate averaged over tasks, only when asked for and always with the recipe in words. Knows only finished comparisons."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.report.agreement_layers import agreement_of
from worldsim.report.comparison_warnings import comparison_warnings
from worldsim.report.results import LEVEL
from worldsim.statistics import wilson_interval

SIDES = ("simulated", "real")
Comparison = Mapping[str, Any]


def average_over_tasks(comparisons: Sequence[Comparison], how: str, accepted: Collection[str] = ()) -> dict[str, Any]:
    """Both sides' averages over the tasks of these comparisons, as JSON: policies, agreement, warnings, and the recipe.

    `equal_task_mean` weighs tasks alike, whatever their trials. `pooled` adds successes and trials up, so a task weighs as many trials as
    it has.

    Raises:
        InvalidInput: fewer than two tasks, one task twice, success rules that differ, policies that some task lacks, or trials that would
            weigh tasks otherwise from policy to policy or from side to side; the last three unless accepted.
    """
    tasks = _tasks(comparisons)
    policies = _policies(comparisons, tasks, accepted)
    _check_rules(comparisons, tasks, accepted)
    blocks = {name: [_row_of(each, name) for each in comparisons] for name in policies}
    if how == "pooled":
        _check_weights(blocks, tasks, accepted)
    sides = {name: {side: _averaged([row[side] for row in rows], how) for side in SIDES} for name, rows in blocks.items()}
    rows = [
        {
            "name": name,
            "real_name": blocks[name][0]["real_name"],
            **both,
            "difference": both["simulated"]["success_rate"] - both["real"]["success_rate"],
            "difference_interval": None,
            "same_rate_p": None,
        }
        for name, both in sides.items()
    ]
    rows.sort(key=lambda row: (-row["simulated"]["success_rate"], row["name"]))
    agreement = agreement_of(rows)
    weighing = "every task weighs the same" if how == "equal_task_mean" else "a task weighs as many trials as it has"
    warnings = comparison_warnings(rows, dict.fromkeys(("simulated", "real"), ()), agreement)
    return {
        "how": how,
        "recipe": f"{how.replace('_', ' ')} of {len(tasks)} tasks ({', '.join(tasks)}); {weighing}",
        "tasks": tasks,
        "policies": rows,
        "agreement": agreement,
        "warnings": warnings,
    }


def _tasks(comparisons: Sequence[Comparison]) -> list[str]:
    tasks = [each["simulated"]["recipe"]["task"] or each["simulated"]["source"] for each in comparisons]
    twice = next((task for task in tasks if tasks.count(task) > 1), None)
    if twice:
        raise InvalidInput(f"average: task {twice} is there twice; an average takes each task once")
    if len(tasks) < 2:
        raise InvalidInput(
            f"average: {', '.join(tasks) or 'nothing'} is no several tasks of their own; leave average out or give more tasks"
        )
    return tasks


def _policies(comparisons: Sequence[Comparison], tasks: Sequence[str], accepted: Collection[str]) -> list[str]:
    """The policies that every task has, in the order of the first."""
    have = [{row["name"] for row in each["policies"]} for each in comparisons]
    shared = [row["name"] for row in comparisons[0]["policies"] if all(row["name"] in each for each in have)]
    for task, each in zip(tasks, have, strict=True):
        absent = sorted(set().union(*have) - each)
        if absent and "policies" not in accepted:
            raise InvalidInput(
                f"average: {', '.join(absent)} has no rate on both sides at {task}, and averages over different tasks are not comparable; "
                "type accept='[policies]' to average only those that every task has"
            )
    if not shared:
        raise InvalidInput("average: no policy has a rate at every task; compare the tasks one by one")
    return shared


def _check_rules(comparisons: Sequence[Comparison], tasks: Sequence[str], accepted: Collection[str]) -> None:
    for side in SIDES:
        stated = {task: each[side]["recipe"]["rule"] for task, each in zip(tasks, comparisons, strict=True)}
        rules = {rule: task for task, rule in stated.items() if rule}
        if len(rules) > 1 and "rule" not in accepted:
            said = " but ".join(f'"{rule}" at {task}' for rule, task in rules.items())
            raise InvalidInput(f"recipes differ: rule of the {side} side is {said}; to average them all the same type accept='[rule]'")


def _check_weights(blocks: Mapping[str, Sequence[Mapping[str, Any]]], tasks: Sequence[str], accepted: Collection[str]) -> None:
    """Refuse trials that give tasks other weights for one policy or one side than for another."""
    first, reference = "", None
    for name, rows in blocks.items():
        for side in SIDES:
            trials = [row[side]["scored"] for row in rows]
            if any(row[side]["successes"] is None for row in rows):
                raise InvalidInput(
                    f"average=pooled needs counts, and none are known of {name} ({side}) at some task; type average=equal_task_mean"
                )
            weights = [count / sum(trials) for count in trials]
            first, reference = (f"{name} ({side})", weights) if reference is None else (first, reference)
            if "trials" not in accepted and not np.allclose(weights, reference, atol=1e-9):
                place = int(np.argmax(np.abs(np.subtract(weights, reference))))
                raise InvalidInput(
                    f"average=pooled would weigh {tasks[place]} {reference[place]:.3f} for {first} but {weights[place]:.3f} for {name} "
                    f"({side}); type average=equal_task_mean, or accept='[trials]'"
                )


def _row_of(comparison: Comparison, name: str) -> Mapping[str, Any]:
    return next(row for row in comparison["policies"] if row["name"] == name)


def _averaged(blocks: Sequence[Mapping[str, Any]], how: str) -> dict[str, Any]:
    """One side of one policy over the tasks, in the words of a rate."""
    unscored = sum(block["unscored"] for block in blocks)
    beside = {"unscored": unscored, "corrected": None, "letters": None}
    if how == "pooled":
        successes, trials = sum(block["successes"] for block in blocks), sum(block["scored"] for block in blocks)
        interval = list(wilson_interval(successes, trials, LEVEL))
        return {"success_rate": successes / trials, "successes": successes, "scored": trials, "interval": interval, **beside}
    rate = float(np.mean([block["success_rate"] for block in blocks]))
    return {"success_rate": rate, "successes": None, "scored": None, "interval": _mean_interval(blocks), **beside}


def _mean_interval(blocks: Sequence[Mapping[str, Any]]) -> list[float] | None:
    """The mean of the tasks' rates with the distances to their Wilson ends squared and added; None where a task has no interval.

    `mean -+ sqrt(sum((p - end)^2)) / T` over T tasks: the method of variance estimates recovery (Zou and Donner 2008).
    """
    if any(block["interval"] is None for block in blocks):
        return None
    rates, ends = np.array([block["success_rate"] for block in blocks]), np.array([block["interval"] for block in blocks])
    low, high = np.sqrt(np.sum((ends.T - rates) ** 2, axis=1)) / len(blocks)
    return [float(rates.mean() - low), float(rates.mean() + high)]
