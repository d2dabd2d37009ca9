"""Steps that the recipes of `worldsim reproduce` share. Each is left out where its result is there, and resumes where it is half-way."""

from pathlib import Path

from worldsim.experiments import train, train_policy, train_verifier
from worldsim.experiments.schema import TrainConfig, TrainPolicyConfig, TrainVerifierConfig


def is_made(folder: Path) -> bool:
    """Whether a checkpoint is there, whole."""
    return (folder / "config.json").exists()


def clone(folder: Path, name: str, data: Path, **options) -> list[str]:
    """A cloning run, its policies kept below `folder`. Returns theirs: one for each of `save_at`, then that of the whole run."""
    if not is_made(folder / name):
        train_policy.run(TrainPolicyConfig(data=str(data), out=str(folder), name=name, **options))
    return [str(folder / f"{name}-{steps}") for steps in options.get("save_at", ())] + [str(folder / name)]


def train_stage(out: Path, stage: str, config, **options) -> None:
    """A stage of the world model below `out`, learned from the data there. What else it is to be is in `options`."""
    folder = out / "world_model"
    if not is_made(folder / stage):
        engine = {"seed": config.seed, "device": config.device, "compile": config.compile}
        train.run(TrainConfig(stage=stage, data=str(out / "data"), out=str(folder), **engine, **options))


def train_judge(out: Path, folder: str, config, **options) -> None:
    """A judge, learned from the data below `out`. The camera stands still: no shifts."""
    if not is_made(out / folder):
        where = {"data": str(out / "data"), "out": str(out / folder), "device": config.device}
        train_verifier.run(TrainVerifierConfig(every=2, shift=0, **where, **options))
