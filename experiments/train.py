"""`worldsim train`: one stage of a world model. Each stage writes a checkpoint folder `out/STAGE` and resumes where it was stopped."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.experiments.schema import recipe

FOCUS = "opening"  # the state around whose movement clips are drawn more often, where recordings have it


def run(config) -> None:
    """Train (or, for causalize, convert) and write the stage's checkpoint."""
    import torch

    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads or torch.get_num_threads())
    {"autoencoder": _train_autoencoder, "causalize": _causalize}.get(config.stage, _train_network)(config)
    print(f"wrote {_folder(config, config.stage)}")


def _folder(config, stage: str) -> Path:
    return Path(config.out) / stage


def _defaults(config):
    """The stage's numbers with the user's put over them."""
    from worldsim.training.stages import STAGES

    given = {name: getattr(config, name) for name in ("iterations", "batch", "learning_rate")}
    return replace(STAGES[config.stage], **{name: value for name, value in given.items() if value is not None})


def _train_autoencoder(config) -> None:
    from worldsim.metrics import psnr
    from worldsim.models.autoencoder import AutoencoderConfig
    from worldsim.models.checkpoint import save_checkpoint
    from worldsim.training.autoencoding import Reconstruction, reconstruct

    numbers = _defaults(config)
    frames = np.concatenate([trajectory.frames[::3] for trajectory in _episodes(config, "train")])
    model = AutoencoderConfig(frame_size=frames.shape[1]).build().to(config.device)
    _loop(config, numbers, Reconstruction(model, frames, numbers.batch))
    held_out = np.concatenate([trajectory.frames[::8] for trajectory in _episodes(config, "validation")])
    parts = np.array_split(held_out, 1 + len(held_out) // 64)
    decibels = float(np.concatenate([psnr(part, reconstruct(model, part)) for part in parts]).mean())
    print(f"held-out PSNR {decibels:.2f} dB")
    facts = {"autoencoder": model.describe(), "held_out_psnr": decibels, "training": recipe(config)}
    save_checkpoint(_folder(config, "autoencoder"), "autoencoder", {"autoencoder": model}, facts)


def _train_network(config) -> None:
    from worldsim.training.latents import encode_trajectories
    from worldsim.training.stages import VideoObjective

    numbers, spec = _defaults(config), _action_spec(config)
    autoencoder, network, before = _previous(config)
    trajectories = _episodes(config, "train")
    clip = min(numbers.clip, min(len(trajectory.frames) for trajectory in trajectories))
    clips = encode_trajectories(autoencoder, trajectories, spec, clip, focus=FOCUS, keep=Path(config.out))
    share = 0.5 if config.stage == "self-context" else 0.0
    objective = VideoObjective(
        network, autoencoder, clips, _diffusion(before["prediction"]), batch=numbers.batch, dropout=config.action_dropout, self_share=share
    )
    if config.compile:
        objective.compile()
    _loop(config, numbers, objective)
    _save(config, network, autoencoder, before)


def _causalize(config) -> None:
    from worldsim.models.causal import causalize

    autoencoder, network, before = _previous(config)
    report = causalize(network, transfer="extrapolative", norm="frame")
    print(f"converted {len(report.convolutions)} temporal convolutions and {len(report.attentions)} temporal attentions")
    _save(config, network, autoencoder, before)


def _loop(config, numbers, objective) -> None:
    """Run the training loop under a progress bar."""
    from tqdm import tqdm

    from worldsim.training.loop import LoopConfig, train

    loop = LoopConfig(
        out=_folder(config, config.stage) / "training",
        iterations=numbers.iterations,
        seconds=config.seconds,
        learning_rate=numbers.learning_rate,
        seed=config.seed,
        precision=config.precision,
        device=config.device,
        recipe={name: getattr(config, name) for name in ("stage", "trunk", "prediction", "action_dropout", "batch")},
    )
    with tqdm(total=None if config.seconds else numbers.iterations, desc=f"train {config.stage}", unit="step", mininterval=1.0) as bar:

        def watch(progress) -> None:
            bar.set_postfix(loss=f"{progress.loss:.4f}", seconds=f"{progress.seconds:.0f}", refresh=False)
            bar.update(progress.iteration - bar.n)

        train(objective, loop, watch)


def _episodes(config, split: str) -> list:
    """The recorded episodes of a split; recordings of real robots that have no such folder give all they have.

    Raises:
        InvalidInput: seeds of another split in this folder.
    """
    from worldsim.data.splits import require_split
    from worldsim.data.trajectory_file import read_trajectory, trajectory_paths

    folder = Path(config.data) / split
    names = {"validation": "val"}
    if not folder.is_dir() and (Path(config.data) / names.get(split, split)).is_dir():
        folder = Path(config.data) / names[split]
    trajectories = [read_trajectory(path) for path in trajectory_paths(folder)]
    for trajectory in trajectories:
        if trajectory.task_id == "drawer":
            require_split(trajectory.seed, split)
    return trajectories


def _action_spec(config):
    """What the recorded actions mean: the drawer's own, or what `worldsim import` found."""
    import json

    from worldsim.envs.drawer.physics import ACTION
    from worldsim.types import ActionSpec

    summary = Path(config.data) / "summary.json"
    if not summary.exists():
        return ACTION
    return ActionSpec(**json.loads(summary.read_text(encoding="utf-8"))["action"])


def _diffusion(prediction: str):
    from worldsim.diffusion.schedule import get_schedule
    from worldsim.training.loss import Diffusion

    return Diffusion(get_schedule("linear"), prediction)


def _previous(config):
    """Autoencoder, network and the facts that the stage before left in `out` (or `init`).

    Raises:
        InvalidInput: that stage has not been trained yet.
    """
    from worldsim.models.autoencoder import AutoencoderConfig
    from worldsim.models.checkpoint import load_checkpoint
    from worldsim.models.video_unet import VideoUNetConfig, trunk_config
    from worldsim.training.stages import BEFORE

    stage = BEFORE[config.stage]
    folder = Path(config.init) if config.init else _folder(config, stage)
    if not (folder / "config.json").exists():
        raise InvalidInput(
            f"{folder} holds no checkpoint, and stage {config.stage} begins there; type: worldsim train stage={stage} out={config.out}"
        )
    checkpoint = load_checkpoint(folder, "autoencoder" if stage == "autoencoder" else "world_model")
    autoencoder = checkpoint.fill("autoencoder", AutoencoderConfig(**checkpoint.config["autoencoder"]).build()).to(config.device)
    if stage != "autoencoder":
        network = checkpoint.fill("network", VideoUNetConfig(**checkpoint.config["network"]).build()).to(config.device)
        return autoencoder, network, {"prediction": checkpoint.config["sampler"]["prediction"]}
    latent = autoencoder.config
    sizes = {"latent_channels": latent.latent_channels, "latent_size": latent.frame_size // 8, "action_size": _action_spec(config).size}
    return autoencoder, trunk_config(config.trunk, **sizes).build().to(config.device), {"prediction": config.prediction}


def _save(config, network, autoencoder, before) -> None:
    """Write the stage as a world model folder, with what the leak probe found."""
    from worldsim.models.causal import causality_leak
    from worldsim.simulator import Sampler, save_world_model

    spec = _action_spec(config)
    facts = {"leak": causality_leak(network.cpu()) if network.config.causal else None, "stage": config.stage, "training": recipe(config)}
    save_world_model(_folder(config, config.stage), _world_spec(autoencoder, network, spec), network, autoencoder, Sampler(**before), facts)


def _world_spec(autoencoder, network, action):
    from worldsim.types import WorldSpec

    size = autoencoder.config.frame_size
    return WorldSpec(size, size, action, network.config.window, action.rate_hz)
