"""What training inside a world model gained in the true world: each trained policy against the one it began from, start by start.

Usage: python -m worldsim.experiments.inside.gain RUN BASE POLICY [POLICY ...]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from worldsim.errors import InvalidInput, WorldsimError
from worldsim.report.outcomes import outcome_matrix, read_outcomes, select
from worldsim.report.run_folder import RunFolder
from worldsim.statistics import paired_bootstrap
from worldsim.statistics.shared_starts import Difference


def true_scores(run: RunFolder, names: Sequence[str]) -> dict[str, np.ndarray]:
    """True success 0/1 of each policy by start, `[n]`, NaN where unscored; starts in one order.

    Raises:
        InvalidInput: a policy without true episodes, or with others' starts; or no start that is scored for all.
    """
    outcomes = [each for each in read_outcomes(run) if each.world == "truth"]
    starts = {name: [row.start for row in select(outcomes, name, "truth")] for name in names}
    first = starts[names[0]]
    for name, each in starts.items():
        if not each or each != first:
            raise InvalidInput(f'policy "{name}" has {len(each)} true episodes in {run.path}, expected those of {names[0]}, {len(first)}')
    scores = outcome_matrix(outcomes, names, "truth")
    if not np.isfinite(scores).all(axis=0).any():
        raise InvalidInput(f"no start of {run.path} is scored for all of {', '.join(names)}, so nothing can be compared")
    return dict(zip(names, scores, strict=True))


def gain_of_all(base: np.ndarray, trained: Sequence[np.ndarray], draws: int = 4000, seed: int = 0) -> Difference:
    """Mean gain over trainings, its 95 % percentile interval resampling both: trainings and starts, each as a whole.

    Args:
        base: scores by start, `[n]`.
        trained: those of each training, `[n]` each.
        draws: resamples.
        seed: of the resampling.
    """
    gains = np.stack(trained) - base  # [S, n]
    gains = gains[:, np.isfinite(gains).all(axis=0)]
    rng = np.random.default_rng(seed)
    seeds = rng.integers(0, len(gains), (draws, len(gains)))
    starts = rng.integers(0, gains.shape[1], (draws, gains.shape[1]))
    drawn = [gains[row][:, columns].mean() for row, columns in zip(seeds, starts, strict=True)]
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    return Difference(float(gains.mean()), low, high, gains.shape[1])


def main(words: list[str]) -> int:
    """Print a line per policy and one for all."""
    if len(words) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    path, base, *trained = words
    try:
        scores = true_scores(RunFolder(Path(path)), [base, *trained])
    except WorldsimError as error:
        print(f"worldsim: {error}", file=sys.stderr)
        return 2
    print(f"{base}: {np.nanmean(scores[base]):.3f} of {len(scores[base])} true episodes")
    for name in trained:
        print(f"{name}: {np.nanmean(scores[name]):.3f}, gain {_said(paired_bootstrap(scores[name], scores[base]))}")
    print(f"all {len(trained)}: gain {_said(gain_of_all(scores[base], [scores[name] for name in trained]))}")
    return 0


def _said(gain: Difference) -> str:
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] over {gain.starts} starts"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
