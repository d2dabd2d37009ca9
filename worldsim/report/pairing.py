"""Imagined episodes and real trials from the same starts: how often one ends like the other, and what is left over. Knows no rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from worldsim.errors import DamagedFile
from worldsim.report.run_folder import WORLDS, RunFolder
from worldsim.report.sides import Outcomes
from worldsim.statistics import phi

Episodes = Mapping[str, Mapping[str, Sequence[str]]]  # ids by policy and start, in the order of the outcomes


@dataclass(frozen=True)
class RunTrials:
    """The episodes of a run as outcomes by world, policy and start, ordered by seed, with their ids and what could not be read."""

    outcomes: Mapping[str, Outcomes]
    episodes: Mapping[str, Episodes]
    damaged: tuple[str, ...]
    rate_hz: float | None


class Paired(NamedTuple):
    """Outcomes 0/1 of one policy: imagined and real of its pairs `[n]`, and imagined ones without a twin `[N]`."""

    simulated: list[int]
    real: list[int]
    extra: list[int]


def read_trials(folder: RunFolder, verifier: str) -> RunTrials:
    """Every episode of a run: judged by `verifier` in imagination, by the state in truth. Moves no file."""
    verdicts = {"imagined": folder.verdicts(verifier), "truth": folder.verdicts("state")}
    found, damaged, rates = {world: [] for world in WORLDS}, [], set()
    for episode in folder.episode_ids():
        try:
            about = folder.about(episode)
        except DamagedFile:
            damaged.append(episode)
            continue
        success = verdicts[about.world][episode].success if episode in verdicts[about.world] else None
        rates.add(about.rate_hz)
        outcome = None if success is None else int(success)
        found[about.world].append((about.policy, about.start, about.seed, episode, outcome))
    ordered = {world: sorted(each, key=lambda row: row[:4]) for world, each in found.items()}
    outcomes = {world: _by_start((row[0], row[1], row[4]) for row in rows) for world, rows in ordered.items()}
    episodes = {world: _by_start((row[0], row[1], row[3]) for row in rows) for world, rows in ordered.items()}
    return RunTrials(outcomes, episodes, tuple(damaged), rates.pop() if len(rates) == 1 else None)


def _by_start(rows: Any) -> dict[str, dict[str, list[Any]]]:
    found: dict[str, dict[str, list[Any]]] = {}
    for policy, start, value in rows:
        found.setdefault(policy, {}).setdefault(start, []).append(value)
    return found


def paired_outcomes(imagined: Mapping[str, Sequence[int | None]], real: Mapping[str, Sequence[int | None]]) -> Paired:
    """One policy's scored pairs, by start; the n-th episode from a start is paired with the n-th trial from it."""
    pairs = [pair for start, trials in real.items() for pair in zip(imagined.get(start, ()), trials, strict=False) if None not in pair]
    extra = [each for start, episodes in imagined.items() for each in episodes[len(real.get(start, ())) :] if each is not None]
    return Paired([pair[0] for pair in pairs], [pair[1] for pair in pairs], extra)


def paired_agreement(pairs: Sequence[Paired]) -> dict[str, Any]:
    """Phi and counts over the scored pairs of all policies."""
    simulated, real = ([outcome for each in pairs for outcome in getattr(each, side)] for side in ("simulated", "real"))
    return {
        "phi": phi(simulated, real),
        "paired_episodes": len(real),
        "false_successes": sum(s > r for s, r in zip(simulated, real, strict=True)),
        "missed": sum(s < r for s, r in zip(simulated, real, strict=True)),
    }
