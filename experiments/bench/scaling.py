"""Rollouts per hour of one evaluation by one process and by several workers of Ray, each on one thread, in folders that are thrown away.

The time is that of playing, judging and keeping: what it takes to begin Ray and to load the parts is left out, as it does not grow.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from worldsim.errors import WorldsimError
from worldsim.experiments.bench.evaluation import evaluated
from worldsim.experiments.schema import BenchConfig
from worldsim.load import shipped_panel

ALONE = "local"  # this process, without Ray
EACH = 2  # rounds for each of the most workers, at least


def measure_scaling(config: BenchConfig) -> dict[str, Any]:
    """`scaling`: the most of `repeats` runs in turn, by workers; or `scaling_skipped` with the reason."""
    panel = config.policies or shipped_panel()[:1] + shipped_panel()[-1:]
    batch = min(config.evaluation_batch, -(-len(panel) * config.episodes // (EACH * max(config.workers))))
    ways = {ALONE: {}} | {str(count): {"executor": "ray", "workers": count} for count in config.workers}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    loads = []
    try:
        for way, keys in list(ways.items()) * config.repeats:
            with tempfile.TemporaryDirectory(prefix="worldsim-bench-") as folder:
                found = evaluated(config, panel, Path(folder, "run"), batch=batch, threads=1, **keys)
            rates[way].append(found["rollouts_per_hour"])
            loads.append(os.getloadavg()[0])
    except WorldsimError as error:
        return {"scaling_skipped": str(error), "scaling_runs": rates}
    best = {way: max(each) for way, each in rates.items()}
    speedup = {way: rate / best[str(config.workers[0])] for way, rate in best.items()}
    about = {"cores": os.cpu_count(), "load": [min(loads), max(loads)], "rollouts": len(panel) * config.episodes, "batch": batch}
    return {"scaling": {"rollouts_per_hour": best, "speedup": speedup, "runs": rates} | about}
