"""Rollouts per hour of a whole evaluation and where the time goes, from a real short one in a folder that is thrown away."""

import io
import json
import tempfile
from contextlib import redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Any

from worldsim.errors import WorldsimError
from worldsim.experiments.schema import BenchConfig, EvaluateConfig
from worldsim.load import shipped_panel
from worldsim.options import EngineKeys


def measure_evaluation(config: BenchConfig) -> dict[str, Any]:
    """`evaluation`, or `evaluation_skipped` with the reason: no policies, task or judge that fit the world model."""
    try:
        with tempfile.TemporaryDirectory(prefix="worldsim-bench-") as folder:
            return {"evaluation": _evaluated(config, Path(folder))}
    except WorldsimError as error:
        return {"evaluation_skipped": str(error)}


def _evaluated(config: BenchConfig, folder: Path) -> dict[str, Any]:
    panel = config.policies or shipped_panel()[:1] + shipped_panel()[-1:]
    throughput = evaluated(config, panel, folder / "run", batch=config.evaluation_batch, threads=config.threads)
    total = sum(throughput["seconds"].values())
    shares = {part: seconds / total for part, seconds in throughput["seconds"].items()}
    return throughput | {"shares": shares, "policies": panel, "episodes": config.episodes, "batch": config.evaluation_batch}


def evaluated(config: BenchConfig, panel: list[Any], folder: Path, **keys: Any) -> dict[str, Any]:
    """The throughput of an evaluation of `panel` in `folder`, with further keys of evaluate."""
    from worldsim.experiments.evaluate import run

    with redirect_stdout(io.StringIO()):
        path = run(_asked(config, panel, folder, keys))
    return json.loads((path / "results.json").read_text(encoding="utf-8"))["throughput"]


def _asked(config: BenchConfig, panel: list[Any], folder: Path, keys: dict[str, Any]) -> EvaluateConfig:
    return EvaluateConfig(
        world_model=config.world_model,
        policies=panel,
        task=config.task,
        verifier=config.verifier,
        episodes=config.episodes,
        device=config.device,
        **{key.name: getattr(config, key.name) for key in fields(EngineKeys)},
        run=str(folder),
        report=False,
        **keys,
    )
