"""`worldsim train`: one stage of a world model. Each stage writes a checkpoint folder `out/STAGE` and resumes where it was stopped."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.windows import focus_of
from worldsim.errors import InvalidInput, UnknownName
from worldsim.experiments.model_presets import ModelPreset, model_preset
from worldsim.experiments.recordings import action_spec, read_split, recordings_folder
from worldsim.experiments.schema import TrainConfig, recipe
from worldsim.experiments.setting import use_torch
from worldsim.experiments.stage_parts import Parts, camera_before, distillation, first_autoencoder, parts_before, save_stage, with_encoder
from worldsim.experiments.train_heads import heads_objective
from worldsim.registry import did_you_mean


def run(config: TrainConfig) -> None:
    """Train (or, for causalize without steps, only convert) and write the stage's checkpoint."""
    import torch

    from worldsim.training.processes import is_main_process, take_device

    use_torch(config.threads, config.device)
    take_device(config.device)
    torch.manual_seed(config.seed)
    config = replace(config, out=config.out or str(Path("checkpoints") / Path(config.world_model).stem))
    config = replace(config, camera=config.camera or camera_before(config))
    preset = with_overrides(model_preset(config.world_model), config)
    data = recordings_folder(config.data, preset.episodes)
    _refuse_what_is_not_used(config)
    stage = _train_autoencoder if config.stage == "autoencoder" else _train_network
    stage(config, preset, data)
    if is_main_process():
        print(f"wrote {Path(config.out) / config.stage}")


def _refuse_what_is_not_used(config: TrainConfig) -> None:
    """Stop at a key that the stage would not look at, or that would undo what it goes on with.

    Raises:
        InvalidInput: see there.
    """
    if config.focus and config.stage in ("autoencoder", "causalize"):
        raise InvalidInput(f"stage {config.stage} draws no clips around states; drop focus=")
    if config.fresh_actions and (config.init is None or config.stage in ("autoencoder", "distill", "heads")):
        raise InvalidInput(
            f"fresh_actions=true gives the network of init= an untrained encoder of actions, and stage {config.stage} "
            + ("does not train one; drop it" if config.init else "was given none; type init=NAME")
        )


def with_overrides(preset: ModelPreset, config: TrainConfig) -> ModelPreset:
    """The preset with what the command line says put over it."""
    given = {name: getattr(config, name) for name in ("prediction", "schedule", "objective", "clip", "action_dropout", "average")}
    return replace(preset, **{name: value for name, value in given.items() if value is not None})


def _numbers(config: TrainConfig, preset: ModelPreset) -> Any:
    """Steps, batch and learning rate: the command line's, else the preset's, else the stage's own."""
    from worldsim.training.stages import STAGES

    own = {"clip": preset.clip, "batch": preset.batch, "learning_rate": preset.learning_rate} if config.stage != "autoencoder" else {}
    given = {name: getattr(config, name) for name in ("steps", "batch", "learning_rate")}
    chosen = {name: value for values in (own, given) for name, value in values.items() if value is not None}
    return replace(STAGES[config.stage], **chosen)


def _train_autoencoder(config: TrainConfig, preset: ModelPreset, data: Path) -> None:
    from worldsim.metrics.images import psnr
    from worldsim.models.checkpoint import save_checkpoint
    from worldsim.training.autoencoding import Reconstruction, reconstruct
    from worldsim.training.processes import is_main_process

    numbers = _numbers(config, preset)
    frames = np.concatenate([trajectory.frames[::3] for trajectory in read_split(data, "train", config.camera)])
    model = first_autoencoder(config, preset, frames.shape[1]).to(config.device)
    _loop(config, preset, numbers, Reconstruction(model, frames, numbers.batch), {})
    if not is_main_process():
        return
    held_out = np.concatenate([trajectory.frames[::8] for trajectory in read_split(data, "validation", config.camera)])
    parts = np.array_split(held_out, 1 + len(held_out) // 64)
    decibels = float(np.concatenate([psnr(part, reconstruct(model, part)) for part in parts]).mean())
    print(f"held-out PSNR {decibels:.2f} dB")
    facts = {"autoencoder": model.describe(), "held_out_psnr": decibels, "training": recipe(config)}
    save_checkpoint(Path(config.out) / "autoencoder", "autoencoder", {"autoencoder": model}, facts)


def _train_network(config: TrainConfig, preset: ModelPreset, data: Path) -> None:
    from worldsim.training.processes import is_main_process

    if config.fsdp and config.stage in ("self-context", "distill", "heads"):
        raise InvalidInput(f"fsdp=true needs every process to evaluate equally often, which {config.stage} does not; drop fsdp=true")
    if preset.objective == "forcing" and config.stage == "self-context":
        raise InvalidInput("self-context needs two streams, forcing has one; type objective=two-stream, or stop at stage=posttrain")
    numbers = _numbers(config, preset)
    trajectories = read_split(data, "train", config.camera)
    height, width = trajectories[0].frames.shape[1:3]
    parts = parts_before(config, preset, (height, width), action_spec(data))
    if config.encoder:
        parts.network = with_encoder(parts.network, config.encoder)
    if config.fsdp and getattr(parts.network, "encoder", None) is not None:
        raise InvalidInput("fsdp=true shards what is called, and the encoder of the first frame is asked apart; drop fsdp=true")
    parts.action.check(np.concatenate([trajectory.actions for trajectory in trajectories]))
    if config.stage == "causalize":
        _causalize(config, parts)
    if numbers.steps:
        own = {name: getattr(config, name) for name in ("teacher_steps", "student_steps", "guidance")} | {"teacher": parts.sha256}
        objective = _objective(config, preset, numbers, parts, trajectories)
        taught = {name: getattr(config, name) for name in ("weights", "moving", "depth", "flow")}
        _loop(config, preset, numbers, objective, {"distill": own, "heads": taught}.get(config.stage, {}))
    if is_main_process():
        save_stage(config, preset, parts, Path(config.out) / config.stage)


def _causalize(config: TrainConfig, parts: Parts) -> None:
    from worldsim.models.causal import causalize

    if parts.network.kind == "diffusers":
        report = parts.network.causalize(transfer=config.transfer, norm=config.norm)
    else:
        report = causalize(parts.network, transfer=config.transfer, norm=config.norm)
    print(report.summary())


def _objective(config: TrainConfig, preset: ModelPreset, numbers: Any, parts: Parts, trajectories: list) -> Any:
    from worldsim.training.latents import encode_trajectories
    from worldsim.training.stages import VideoOptions

    clip = min(numbers.clip, min(len(trajectory.frames) for trajectory in trajectories))
    drawn = {"focus": _focus(config, trajectories), "keep": Path(config.out)}
    clips = encode_trajectories(parts.autoencoder, trajectories, parts.action, clip, **drawn)
    options = VideoOptions(
        batch=numbers.batch,
        dropout=preset.action_dropout,
        objective=preset.objective,
        self_share=0.5 if config.stage in ("self-context", "distill") else 0.0,
        image_dropout=preset.image_dropout,
    )
    kind = _objective_class(config, parts, trajectories)  # gives the network its heads, where they are what is trained
    objective = kind(parts.network, parts.autoencoder, clips, parts.diffusion(), options)
    if config.compile:
        objective.compile()
    return objective


def _focus(config: TrainConfig, trajectories: list) -> tuple[str, ...]:
    """The states around whose changes more clips are drawn.

    Raises:
        UnknownName, InvalidInput: not all recordings hold one that was named, or it is no number nor a row of them.
    """
    known = set.intersection(*(set(trajectory.states) for trajectory in trajectories))
    for name in config.focus:
        if name not in known:
            raise UnknownName(f'the recordings hold no state "{name}"; {did_you_mean(name, known)}')
        values = [trajectory.states[name] for trajectory in trajectories]
        shapes = sorted({value.shape[1:] for value in values})
        if len(shapes) > 1 or len(shapes[0]) > 1 or not all(value.dtype.kind in "fiub" and np.isfinite(value).all() for value in values):
            said = " and ".join(str(list(shape)) for shape in shapes)
            raise InvalidInput(f"focus names {name}, which is {said} per frame, expected a finite number or a row of them; name another")
    return tuple(config.focus) or focus_of(trajectories)


def _objective_class(config: TrainConfig, parts: Parts, trajectories: list) -> Callable[..., Any]:
    from worldsim.training.stages import VideoObjective

    if config.stage == "heads":
        return heads_objective(config, parts, trajectories)
    if config.stage != "distill":
        return VideoObjective
    from worldsim.training.distill import DistillObjective

    return partial(DistillObjective, distillation(config, parts))


def _loop(config: TrainConfig, preset: ModelPreset, numbers: Any, objective: Any, own: dict[str, Any]) -> None:
    """Run the training loop under a progress bar; `own` is what a resumed run of this stage must also agree with."""
    from tqdm import tqdm

    from worldsim.training.loop import LoopConfig, train
    from worldsim.training.processes import is_main_process

    loop = LoopConfig(
        out=Path(config.out) / config.stage / "training",
        iterations=numbers.steps,
        seconds=config.seconds,
        learning_rate=numbers.learning_rate,
        average=preset.average,
        clip_norm=preset.clip_norm,
        schedule="constant" if preset.constant_rate else "warm-and-cool",
        accumulate=config.accumulate,
        checkpointing=config.checkpointing,
        fsdp=config.fsdp,
        seed=config.seed,
        precision=config.precision,
        device=config.device,
        save_seconds=config.save_seconds,
        recipe={name: getattr(config, name) for name in ("stage", "world_model", "transfer", "norm")}
        | own
        | {name: getattr(preset, name) for name in ("prediction", "schedule", "objective", "action_dropout", "image_dropout", "clip")}
        | {"batch": numbers.batch}
        | {name: getattr(config, name) for name in ("camera", "encoder", "focus", "fresh_actions") if getattr(config, name)},
    )
    shown = {"desc": f"train {config.stage}", "unit": "step", "mininterval": 1.0, "disable": not is_main_process()}
    with tqdm(total=None if config.seconds else numbers.steps, **shown) as bar:

        def watch(progress: Any) -> None:
            bar.set_postfix(loss=f"{progress.loss:.4f}", seconds=f"{progress.seconds:.0f}", refresh=False)
            bar.update(progress.iteration - bar.n)

        train(objective, loop, watch)
