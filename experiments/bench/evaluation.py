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
    from worldsim.experiments.evaluate import run

    panel = config.policies or shipped_panel()[:1] + shipped_panel()[-1:]
    with redirect_stdout(io.StringIO()):
        path = run(_asked(config, panel, folder / "run"))
    throughput = json.loads((path / "results.json").read_text(encoding="utf-8"))["throughput"]
    total = sum(throughput["seconds"].values())
    shares = {part: seconds / total for part, seconds in throughput["seconds"].items()}
    return throughput | {"shares": shares, "policies": panel, "episodes": config.episodes, "batch": config.evaluation_batch}


def _asked(config: BenchConfig, panel: list[Any], folder: Path) -> EvaluateConfig:
    return EvaluateConfig(
        world_model=config.world_model,
        policies=panel,
        task=config.task,
        verifier=config.verifier,
        episodes=config.episodes,
        batch=config.evaluation_batch,
        device=config.device,
        **{key.name: getattr(config, key.name) for key in fields(EngineKeys)},
        threads=config.threads,
        run=str(folder),
        report=False,
    )
