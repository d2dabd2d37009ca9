"""What a reader must be told of an evaluation, item by item: what this run says, or what to do so that it does.

The items are those of Kress-Gazit et al. (Robot Learning as an Empirical Science, 2409.09491), and those that a world model adds. What
only people know they type into RUN/checklist.yaml (see `stated`).
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldsim.data.files import digest_of
from worldsim.report.outcomes import Outcome
from worldsim.report.run_folder import RunFolder
from worldsim.report.stated import STATED, read_stated
from worldsim.report.tables import number, span


@dataclass(frozen=True)
class Item:
    """One thing to report: `answer` is what the run and its people say, empty where they do not; then `advice` says what to do."""

    key: str
    asks: str
    answer: str
    advice: str


@dataclass(frozen=True)
class Facts:
    """What the answers are read from."""

    run: RunFolder
    results: Mapping[str, Any]
    outcomes: Sequence[Outcome]

    @property
    def path(self) -> str:
        """The run as it is typed."""
        return shlex.quote(str(self.run.path))

    @property
    def imagined(self) -> list[Outcome]:
        """Its imagined episodes."""
        return [outcome for outcome in self.outcomes if outcome.world == "imagined"]


def checklist(run: RunFolder, results: Mapping[str, Any], outcomes: Sequence[Outcome]) -> list[Item]:
    """All items in order.

    Raises:
        DamagedFile, UnknownName: a checklist.yaml that cannot be read, or with a key that no item has.
    """
    facts, stated = Facts(run, results, outcomes), read_stated(run, [key for key, *_ in ITEMS])
    return [_item(facts, stated.get(key, ""), *rest, key=key) for key, *rest in ITEMS]


def _item(facts: Facts, stated: str, asks: str, answer: Callable[[Facts], str] | None, advice: str, *, key: str) -> Item:
    found = [answer(facts) if answer else "", f"Stated by the authors: {stated}" if stated else ""]
    how = (
        advice.replace("RUN", facts.path)
        if advice
        else f"write a line such as {key}: ... into {facts.path}/{STATED}, then type worldsim score {facts.path}"
    )
    return Item(key, asks, " ".join(part for part in found if part), how)


def _judge(facts: Facts) -> str:
    verifier = facts.run.identity["verifier"]
    if verifier["name"] == "none":
        return ""
    return "; ".join(f"{key} {value}" for key, value in verifier.items() if value is not None)


def _humans(facts: Facts) -> str:
    block = facts.results["calibration"]
    if not block or block["against"] != "human":
        return ""
    share, kappa = block["agreement"], block["kappa"]
    more = "" if kappa["value"] is None else f", Cohen's kappa {number(kappa['value'])} {span(kappa['interval'])}"
    return f"{number(share['value'])} {span(share['interval'])} of {block['episodes']} blindly labelled episodes{more}."


def _starts(facts: Facts) -> str:
    starts = {policy["name"]: {o.start for o in facts.imagined if o.policy == policy["name"]} for policy in facts.results["policies"]}
    if not any(starts.values()):
        return ""
    shared = len(set(map(frozenset, starts.values()))) == 1
    same = "every policy begins from the same ones" if shared else "not every policy begins from the same ones"
    paired = (facts.results["agreement"] or {}).get("paired_episodes")
    twins = f"; {paired} scored episodes have a true twin from the same start" if paired else ""
    digest = facts.run.identity["task"].get("starts")
    return f"{len(set().union(*starts.values()))} starts{f' (hash {digest})' if digest else ''}; {same}{twins}."


def _trials(facts: Facts) -> str:
    if not facts.imagined:
        return ""
    counts = sorted({policy["scored"] for policy in facts.results["policies"]})
    many = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    unscored = sum(policy["unscored"] for policy in facts.results["policies"])
    return (
        f"{many} scored imagined episodes per policy, on one task; seed {facts.results['seed']}; excluded: {unscored} unscored, "
        f"{len(facts.results['quarantined'])} damaged."
    )


def _order(facts: Facts) -> str:
    if not facts.imagined:
        return ""
    return "Every imagined episode is drawn from a seed of its own and hands nothing on to the next, so the order of trials has no effect."


def _control(facts: Facts) -> str:
    task = facts.run.identity["task"]
    return f"At most {task['horizon']} steps." if task.get("horizon") else ""


def _metrics(facts: Facts) -> str:
    scored = any(o.verdict.score not in (None, 0.0, 1.0) for o in facts.imagined)
    return "Beside success the judge's score of every episode, in trials.csv." if scored else ""


def _intervals(facts: Facts) -> str:
    level = facts.results["level"]
    return (
        f"Wilson intervals at {level:.0%} for every rate; policies are compared by McNemar's exact test on shared starts at alpha "
        f"{1 - level:.2f} with Holm's correction; agreement has bootstrap intervals over starts."
    )


def _failures(facts: Facts) -> str:
    agreement = facts.results["agreement"]
    if not agreement or not agreement["paired_episodes"]:
        return ""
    wrong = f"{agreement['false_successes']} false and {agreement['missed']} missed successes"
    return f"{wrong} are listed here, with examples and what the judge said."


def _raw(facts: Facts) -> str:
    return f"{len(facts.outcomes)} episodes, one row each, in trials.csv; results.json with its schema." if facts.outcomes else ""


def _model(facts: Facts) -> str:
    sha = facts.run.identity["world_model"].get("sha256")
    return f"World model sha256 {sha}; sampler {digest_of(facts.run.identity['sampler'])}." if sha else ""


def _fidelity(facts: Facts) -> str:
    loop = facts.results["open_loop"]
    if not loop or not loop["psnr"]:
        return ""
    return (
        f"{loop['episodes']} episodes replayed{_source(loop)}: PSNR {number(loop['psnr'][0], 2)} dB at the first imagined step, copying "
        f"{number(loop['copy_psnr'][0], 2)} dB."
    )


def _source(loop: Mapping[str, Any]) -> str:
    return f" from {loop['data']}" if loop.get("data") else ""


def _drift(facts: Facts) -> str:
    loop = facts.results["open_loop"]
    if not loop or not loop["psnr"]:
        return ""
    return (
        f"PSNR falls from {number(loop['psnr'][0], 2)} to {number(loop['psnr'][-1], 2)} dB over {loop['steps'][-1]} steps "
        f"(copying: to {number(loop['copy_psnr'][-1], 2)} dB)."
    )


def _optimism(facts: Facts) -> str:
    probe = facts.results["probe"]
    if not probe or not probe["optimism"]["scored"]:
        return ""
    found = probe["optimism"]
    return f"{found['successes']} of {found['scored']} called a success, {number(found['success_rate'])} {span(found['interval'])}."


REPLAY = (
    "type worldsim evaluate drift=25 run=RUN with the run's other keys, or worldsim replay data=FOLDER out=RUN, then worldsim score RUN"
)
ITEMS: tuple[tuple[str, str, Callable[[Facts], str] | None, str], ...] = (
    ("rubric", "Success rule with its rubric", None, ""),
    ("judge", "Who or what judged: model, prompt, version", _judge, "evaluate with a judge: worldsim evaluate verifier=NAME"),
    (
        "humans",
        "Agreement of the judge with people on a blind sample",
        _humans,
        "type worldsim label RUN, then worldsim calibrate RUN --against human",
    ),
    ("starts", "Initial conditions and how they were controlled", _starts, "play episodes: worldsim evaluate run=RUN"),
    ("trials", "Trials per policy and task, seeds, exclusions", _trials, "play episodes: worldsim evaluate run=RUN"),
    ("order", "Interleaved and blind order of trials", _order, "play episodes: worldsim evaluate run=RUN"),
    ("selection", "How the checkpoints were chosen", None, ""),
    ("controller", "Controller, rate, horizon, termination rule", _control, ""),
    ("metrics", "Several metrics, not success alone", _metrics, ""),
    ("intervals", "An interval for every rate, named tests, multiplicity", _intervals, ""),
    (
        "failures",
        "Failure modes, described with examples",
        _failures,
        "run the policies in a true world too: worldsim evaluate truth=NAME run=RUN",
    ),
    ("raw", "Raw outcome of every trial in a machine file", _raw, "play episodes: worldsim evaluate run=RUN"),
    (
        "model",
        "Hash of world model and sampler",
        _model,
        "evaluate with a checkpoint, which has a hash: worldsim evaluate world_model=FOLDER",
    ),
    ("fidelity", "Fidelity of replayed actions on held-out real recordings", _fidelity, REPLAY),
    ("drift", "Drift over the horizon", _drift, REPLAY),
    (
        "optimism",
        "False positives on rollouts known to fail",
        _optimism,
        "type worldsim evaluate probe=100 run=RUN with the run's other keys",
    ),
    ("training", "Training data of the world model, and which of these policies it saw", None, ""),
)
