"""Imagined episodes and real trials from the same starts: how often one ends like the other. Knows nothing of rates."""

from collections.abc import Mapping, Sequence
from typing import Any

from worldsim.errors import DamagedFile
from worldsim.report.run_folder import RunFolder
from worldsim.statistics import phi

Outcomes = Mapping[str, Mapping[str, Sequence[int | None]]]  # by policy and start, in order; None where unscored


def imagined_outcomes(folder: RunFolder, verifier: str) -> tuple[Outcomes, list[str]]:
    """The imagined episodes of a run by policy and start, ordered by seed, and the ids of those that cannot be read. Moves no file."""
    verdicts, found, damaged = folder.verdicts(verifier), [], []
    for episode in folder.episode_ids():
        try:
            about = folder.about(episode)
        except DamagedFile:
            damaged.append(episode)
            continue
        if about.world == "imagined":
            success = verdicts[episode].success if episode in verdicts else None
            found.append((about.policy, about.start, about.seed, episode, success))
    outcomes: dict[str, dict[str, list[int | None]]] = {}
    for policy, start, _, _, success in sorted(found, key=lambda each: each[:4]):
        outcomes.setdefault(policy, {}).setdefault(start, []).append(None if success is None else int(success))
    return outcomes, damaged


def paired_agreement(imagined: Outcomes, real: Outcomes, names: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Phi and counts over scored pairs of all policies; the n-th episode from a start is paired with the n-th trial from it.

    Args:
        imagined: outcomes of the run.
        real: outcomes of the robot.
        names: (simulated name, real name) of the policies to pair.
    """
    pairs = [
        pair
        for name, twin in names
        for start, trials in real.get(twin, {}).items()
        for pair in zip(imagined.get(name, {}).get(start, ()), trials, strict=False)
        if None not in pair
    ]
    return {
        "phi": phi(*([pair[side] for pair in pairs] for side in (0, 1))),
        "paired_episodes": len(pairs),
        "false_successes": sum(s > r for s, r in pairs),
        "missed": sum(s < r for s, r in pairs),
    }
