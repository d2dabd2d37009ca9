"""results.json: every number of a run with its n and its interval, rebuilt from the run folder at any time. Draws nothing."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from worldsim import statistics
from worldsim.data.files import write_json
from worldsim.data.sealed import read_sealed, write_sealed
from worldsim.errors import DamagedFile
from worldsim.report.calibration import best_block, corrected_by
from worldsim.report.gated import gate_block
from worldsim.report.judges import judge_rows
from worldsim.report.layers import line, policy_layer, top1_probability, trial_layer
from worldsim.report.open_loop import NEEDED, open_loop_path
from worldsim.report.outcomes import Outcome, Pair, outcome_matrix, pairs, read_outcomes, select
from worldsim.report.probe import read_probe
from worldsim.report.result_tables import result_tables
from worldsim.report.run_folder import RunFolder
from worldsim.report.schema import SCHEMA_VERSION, results_schema
from worldsim.report.tables import agreement_table, open_loop_table, results_table

__all__ = ["agreement_table", "build_results", "open_loop_table", "result_tables", "results_schema", "results_table", "write_results"]

LEVEL = 0.95
TIE_RULE, GAP = "strict_gt", "real"


def build_results(run: RunFolder) -> dict[str, Any]:
    """All numbers of a run, in the form that `results_schema` describes.

    Policies are ranked by simulated success rate. A rate is over scored episodes only; the unscored are counted beside it.
    Rates carry Wilson intervals, agreement carries bootstrap intervals over starts; all at `level`. Where the run's judge was
    calibrated, every imagined rate also stands corrected for its errors. Nothing here is random from call to call.

    Raises:
        DamagedFile: verdicts, timings or open_loop.json that cannot be read. Damaged episodes are put aside and listed instead.
    """
    outcomes = read_outcomes(run)
    policies = _ranked([_policy(outcomes, name, run.identity["task"].get("id", "")) for name in sorted({o.policy for o in outcomes})])
    letters = _letters(outcomes, [policy["name"] for policy in policies if policy["scored"]])
    for policy in policies:
        policy["letters"] = letters.get(policy["name"])
    world_model, judge = run.identity["world_model"], run.identity["verifier"]["name"]
    calibration = best_block(run, judge)
    for policy in policies:
        policy["corrected"] = corrected_by(calibration, policy["successes"], policy["scored"], LEVEL) if calibration else None
    return {
        "schema_version": SCHEMA_VERSION,
        "level": LEVEL,
        "task": run.identity["task"],
        "sampler": run.identity["sampler"],
        "seed": run.identity["seed"],
        "policies": policies,
        "faults": dict(Counter(sorted(o.fault for o in outcomes if o.fault))),
        "agreement": _agreement(outcomes, policies),
        "world_model": {key: world_model.get(key) for key in ("name", "sha256", "parameters", "leak")},
        "verifier": _verifier(outcomes, judge),
        "throughput": _throughput(run.throughput()),
        "calibration": calibration,
        "judges": judge_rows(run, outcomes, [policy["name"] for policy in policies]),
        "probe": read_probe(run, LEVEL),
        "gate": gate_block(outcomes, [policy["name"] for policy in policies], LEVEL),
        "open_loop": _open_loop(run),
        "quarantined": run.quarantined(),
    }


def write_results(run: RunFolder) -> dict[str, Any]:
    """Build the results and write results.json and, beside it, results.schema.json. Returns the results."""
    results = build_results(run)
    write_json(run.path / "results.schema.json", results_schema())
    write_sealed(run.path / "results.json", results)
    return results


def _policy(outcomes: list[Outcome], name: str, task: str) -> dict[str, Any]:
    imagined, truth = (select(outcomes, name, world) for world in ("imagined", "truth"))
    scored = [pair for pair in pairs(outcomes, name) if pair.scored]
    return {
        "name": name,
        "task": task,
        **_rate(imagined),
        "real": _rate(truth) if truth else None,
        "paired_episodes": len(scored),
        "phi": statistics.phi(*_sides(scored)),
        "agreement": sum(pair.agrees for pair in scored) / len(scored) if scored else None,
    }


def _rate(outcomes: list[Outcome]) -> dict[str, Any]:
    known = [outcome.verdict.success for outcome in outcomes if outcome.verdict.success is not None]
    return {"episodes": len(outcomes), "unscored": len(outcomes) - len(known), **_share(sum(known), len(known))}


def _share(successes: int, scored: int) -> dict[str, Any]:
    return {
        "scored": scored,
        "successes": successes,
        "success_rate": successes / scored if scored else None,
        "interval": list(statistics.wilson_interval(successes, scored, LEVEL)) if scored else None,
    }


def _ranked(policies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(policies, key=lambda policy: (policy["success_rate"] is None, -(policy["success_rate"] or 0), policy["name"]))


def _letters(outcomes: list[Outcome], ranked: list[str]) -> dict[str, str]:
    """Compact letters of the policies, from McNemar's exact test on shared imagined starts with Holm's correction."""
    matrix = outcome_matrix(outcomes, ranked, "imagined")
    couples = list(combinations(range(len(ranked)), 2))
    p_values = statistics.holm([statistics.mcnemar_exact(matrix[i], matrix[j]) for i, j in couples])
    different = [(ranked[i], ranked[j]) for (i, j), p in zip(couples, p_values, strict=True) if p <= 1 - LEVEL]
    return statistics.compact_letters(ranked, different)


def _agreement(outcomes: list[Outcome], policies: list[dict[str, Any]]) -> dict[str, Any] | None:
    """How simulated and real rates agree over the policies that have both; None where no policy has."""
    both = [policy for policy in policies if policy["scored"] and policy["real"] and policy["real"]["scored"]]
    if not both:
        return None
    names = [policy["name"] for policy in both]
    simulated, real = outcome_matrix(outcomes, names, "imagined"), outcome_matrix(outcomes, names, "truth")
    intervals = statistics.agreement_intervals(simulated, real, LEVEL)
    paired = [[pair for pair in pairs(outcomes, name) if pair.scored] for name in names]
    rates = {"simulated": [p["success_rate"] for p in both], "real": [p["real"]["success_rate"] for p in both]}
    return {
        "policies": len(both),
        **rate_agreement(**rates),
        "top1_probability": top1_probability(both),
        "line": line(**rates),
        "trial_layer": trial_layer(both, LEVEL),
        "policy_layer": policy_layer(names, **rates, level=LEVEL),
        **_pair_agreement(paired),
        "intervals": {name: list(interval) if interval else None for name, interval in intervals.items()},
        "noise_ceiling": _ceiling(both),
    }


def rate_agreement(*, simulated: Sequence[float], real: Sequence[float]) -> dict[str, Any]:
    """Measures of two columns of rates `[P]`; those that need an order are None for a single policy."""
    sides = {"simulated": simulated, "real": real}
    ordered = len(real) > 1
    return {
        "pearson": statistics.pearson(**sides) if ordered else None,
        "spearman": statistics.spearman(**sides) if ordered else None,
        "mmrv": statistics.mmrv(**sides, tie_rule=TIE_RULE, gap=GAP) if ordered else None,
        "tie_rule": TIE_RULE,
        "gap": GAP,
        "mean_absolute_error": statistics.mean_absolute_error(**sides),
        "bias": statistics.bias(**sides),
        "top1_correct": statistics.top1_correct(**sides) if ordered else None,
        "regret": statistics.regret(**sides) if ordered else None,
    }


def _pair_agreement(paired: list[list[Pair]]) -> dict[str, Any]:
    """How scored pairs end, given by policy."""
    simulated, real = _sides([pair for pairs in paired for pair in pairs])
    return {
        "phi": statistics.phi(simulated, real),
        "phi_within": statistics.phi_within([_sides(pairs) for pairs in paired]),
        "paired_episodes": len(real),
        "false_successes": sum(s > r for s, r in zip(simulated, real, strict=True)),
        "missed": sum(s < r for s, r in zip(simulated, real, strict=True)),
    }


def _sides(paired: list[Pair]) -> tuple[list[int], list[int]]:
    return [int(pair.imagined.verdict.success) for pair in paired], [int(pair.truth.verdict.success) for pair in paired]


def _ceiling(policies: list[dict[str, Any]]) -> dict[str, Any] | None:
    if len(policies) < 2:
        return None
    real = [policy["real"] for policy in policies]
    ceiling = statistics.noise_ceiling([r["success_rate"] for r in real], [r["scored"] for r in real], [p["scored"] for p in policies])
    return {"pearson": ceiling.pearson._asdict(), "mmrv": ceiling.mmrv._asdict()}


def _verifier(outcomes: list[Outcome], name: str) -> dict[str, Any]:
    """The verifier and, where it also judged true episodes, how often it says what the state says."""
    known = [(o.verdict.success, o.second_opinion.success) for o in outcomes if o.second_opinion]
    scored = [truth == said for truth, said in known if name != "state" and None not in (truth, said)]
    share = _share(sum(scored), len(scored))
    return {"name": name, "agreement_with_truth": share["success_rate"], "interval": share["interval"], "judged_true_episodes": len(scored)}


def _throughput(sessions: list[dict[str, Any]]) -> dict[str, Any]:
    parts = list(dict.fromkeys(part for session in sessions for part in session["seconds"]))
    seconds = {part: sum(session["seconds"].get(part, 0.0) for session in sessions) for part in parts}
    total = sum(seconds.values())
    per_second = {key: sum(session[key] for session in sessions) / total if total else None for key in ("rollouts", "frames")}
    hourly = None if per_second["rollouts"] is None else 3600 * per_second["rollouts"]
    lanes = next((session["lanes"] for session in reversed(sessions) if session.get("lanes")), None)
    return {"rollouts_per_hour": hourly, "frames_per_second": per_second["frames"], "lanes_per_call": lanes, "seconds": seconds}


def _open_loop(run: RunFolder) -> dict[str, Any] | None:
    file, again = open_loop_path(run), "delete it and run worldsim replay again"
    if not file.exists():
        return None
    found = read_sealed(file, again)
    if not found.keys() >= set(NEEDED):
        raise DamagedFile(f"{file} holds no numbers of a replay; {again}")
    return found
