"""`worldsim evaluate-video`: how good predicted video is, by a protocol whose numbers can be set beside published ones.

Recorded clips begin with real frames and go on under their recorded actions in the world model. Frames are scored as they come out of the
model, never through a video file.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from worldsim.data.cameras import camera_of
from worldsim.data.splits import split_folder
from worldsim.errors import InvalidInput
from worldsim.experiments.continuations import continue_jointly, continue_stepwise
from worldsim.experiments.counterfactual import Counterfactual
from worldsim.experiments.presets import load_preset
from worldsim.experiments.published_clips import published_clips
from worldsim.experiments.schema import EvaluateVideoConfig
from worldsim.experiments.setting import open_model, sampler_facts, use_torch, world_model_facts
from worldsim.experiments.surprise import Surprise
from worldsim.experiments.video_clips import ClipList, choose_clips, read_batch, read_clips, write_clips
from worldsim.experiments.video_protocol import Protocol
from worldsim.types import Trajectory, WorldModel

SHOWN = 4  # clips in the film strip


@dataclass(frozen=True)
class Outcome:
    """What was measured on all clips, and the first few of them: pairs of recorded and imagined frames uint8 `[T, H, W, 3]`."""

    metrics: dict[str, Any]
    physics: dict[str, Any] = field(default_factory=dict)
    physics_left_out: dict[str, str] = field(default_factory=dict)
    shown: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)


class Predicted(NamedTuple):
    """A batch of recorded clips and their frames; what the model makes of them; and, where asked for, of other actions.

    Frames are uint8 `[B, T, H, W, 3]` and begin with the given ones. `otherwise` is the other actions, float32 `[B, T - 1, A]`, and the
    model's frames under them.
    """

    recorded: list[Trajectory]
    truth: np.ndarray
    made: np.ndarray
    otherwise: tuple[np.ndarray, np.ndarray] | None = None


def run(config: EvaluateVideoConfig) -> dict[str, Any]:
    """Predict the protocol's clips, print the metrics, and write numbers, clip list and pictures to `config.out`. Returns the numbers.

    Raises:
        InvalidInput: no recordings that fit, a network file that is not the one asked for, a model that cannot do what is asked.
        UnknownName: no such world model, protocol or metric.
    """
    from rich.console import Console

    from worldsim.experiments.video_results import physics_table, quality_table, remarks, write_quality

    if config.shuffle_actions and config.counterfactual:
        raise InvalidInput("shuffle_actions=true and counterfactual=true are two questions; ask one at a time")
    use_torch(config.threads, config.device)
    facts, model_config = world_model_facts(config.world_model)
    protocol = chosen_protocol(config)
    networks, left_out = open_networks(config, protocol)
    folder, clips = split_folder(config.data, "validation"), chosen_clips(config, protocol)
    outcome = _measure(config, protocol, networks, clips)
    numbers = {
        "protocol": {"name": Path(config.protocol).stem, **asdict(protocol)},
        "metrics": outcome.metrics,
        "physics": outcome.physics,
        "left_out": left_out,
        "physics_left_out": outcome.physics_left_out,
        "clips": len(clips.clips),
        "clips_wanted": protocol.clips,
        "clips_digest": clips.digest,
        "too_short": clips.too_short,
        "shuffled_actions": config.shuffle_actions,
        "world_model": facts,
        "sampler": sampler_facts(model_config, config),
        "data": str(folder),
        "seed": config.seed,
    }
    console = Console(highlight=False)
    console.print(quality_table(numbers))
    console.print(physics_table(numbers))
    for line in remarks(numbers):
        console.print(line, markup=False, soft_wrap=True)
    if config.out:
        write_clips(Path(config.out) / "clips.json", clips)
        write_quality(Path(config.out), numbers, outcome.shown)
        console.print(f"numbers, clip list, film strip and curves: {config.out}", markup=False, soft_wrap=True)
    return numbers


def chosen_protocol(config: EvaluateVideoConfig) -> Protocol:
    """The protocol asked for, with the mode and the crop that the user gave instead.

    Raises:
        UnknownName, InvalidInput: no such protocol, or not a sound one.
    """
    protocol = load_preset("protocol", config.protocol, Protocol)
    return replace(protocol, mode=config.mode or protocol.mode, crop=list(config.crop) or protocol.crop)


def open_networks(config: EvaluateVideoConfig, protocol: Protocol) -> tuple[dict[str, Any], dict[str, str]]:
    """The feature networks that the user gave, by metric, and why each other metric of the protocol that needs one is left out.

    Raises:
        InvalidInput, DamagedFile: a file that is not there or not the one asked for; a network that the protocol has no use for.
    """
    from worldsim.metrics import CALLS, FeatureNetwork

    given = {metric: getattr(config, metric) for metric in CALLS}
    for metric, text in given.items():
        if text and metric not in protocol.metrics:
            raise InvalidInput(f'protocol "{config.protocol}" does not measure {metric} ({", ".join(protocol.metrics)}); drop {metric}=')
    opened = {metric: FeatureNetwork(network_file(metric, text), config.device) for metric, text in given.items() if text}
    missing = [metric for metric in protocol.metrics if metric in given and not given[metric]]
    return opened, {metric: f"no network given; type {metric}=FILE, a TorchScript file" for metric in missing}


def network_file(metric: str, text: str) -> Any:
    """FILE, or FILE#SHA256, called as the best-known script for the metric; or the YAML file of a `worldsim.metrics.NetworkFile`.

    Raises:
        InvalidInput: a YAML file that does not describe one.
    """
    from worldsim.metrics import NetworkFile, well_known

    if text.endswith((".yaml", ".yml")):
        return load_preset("network", text, NetworkFile)
    path, _, sha256 = text.partition("#")
    return well_known(metric, path, sha256)


def chosen_clips(config: EvaluateVideoConfig, protocol: Protocol) -> ClipList:
    """The clips in the user's list, else the published ones, else those that the protocol chooses; at most `limit` of them."""
    folder, count = split_folder(config.data, "validation"), min(config.limit or protocol.clips, protocol.clips)
    if config.clips:
        return read_clips(config.clips, protocol.length).first(config.limit or protocol.clips)
    found = published_clips(folder, protocol.published, protocol.length) if protocol.published else None
    return found.first(count) if found else choose_clips(folder, protocol.length, count, protocol.seed)


def _measure(config: EvaluateVideoConfig, protocol: Protocol, networks: dict[str, Any], clips: ClipList) -> Outcome:
    from tqdm import tqdm

    from worldsim.experiments.video_physics import PhysicsScores
    from worldsim.experiments.video_scores import VideoScores

    scores, shown, model = VideoScores(protocol, networks, config.device), [], open_model(config)
    physics = PhysicsScores(protocol.physics, protocol.given, model.spec.fps, _look(config, model))
    surprise = Surprise(model) if config.surprise else None
    gap = Counterfactual(protocol.physics.truth, protocol.given) if config.counterfactual else None
    with tqdm(total=len(clips.clips), desc="evaluate-video", unit="clip") as bar:
        for batch in _predictions(config, protocol, model, clips):
            scores.add(batch.truth, batch.made)
            physics.add(batch.recorded, batch.truth, batch.made)
            if gap and batch.otherwise:
                gap.add(batch.recorded, batch.made, *batch.otherwise)
            if surprise:
                surprise.add(batch.recorded)
            shown += list(zip(batch.truth, batch.made, strict=True))[: SHOWN - len(shown)]
            bar.update(len(batch.truth))
    moved = physics.summary(config.seed)
    for asked in filter(None, (gap, surprise)):
        moved |= asked.summary(config.seed)
    return Outcome(scores.summary(config.seed), moved, physics.left_out, shown)


def _look(config: EvaluateVideoConfig, model: WorldModel) -> Any:
    """How depth and flow are seen in predicted frames: by estimators in files, else by the model's heads, else not at all.

    Raises:
        InvalidInput: one file without the other.
    """
    from worldsim.experiments.video_scenes import by_files, by_heads

    if bool(config.depth) != bool(config.flow):
        raise InvalidInput("depth and flow are estimated together; give both: depth=FILE flow=FILE")
    if config.depth and config.flow:
        return by_files(config.depth, config.flow)
    return by_heads(model) if getattr(getattr(model, "network", None), "heads", None) is not None else None


def _predictions(config: EvaluateVideoConfig, protocol: Protocol, model: WorldModel, clips: ClipList) -> Iterator[Predicted]:
    """What is scored, batch by batch. Another clip's actions are those of the one after it, from where prediction begins."""
    folder, given = split_folder(config.data, "validation"), protocol.given
    camera = camera_of(world_model_facts(config.world_model)[1])
    proceed = {"ar": continue_stepwise, "nar": continue_jointly}[protocol.mode]
    for begin in range(0, len(clips.clips), config.batch):
        chosen = clips.clips[begin : begin + config.batch]
        recorded = read_batch(folder, chosen, protocol.length, camera)
        truth, actions = np.stack([each.frames for each in recorded]), _actions(recorded)
        seeds = [clip.draw_seed(config.seed) for clip in chosen]

        def made(under: np.ndarray, truth: np.ndarray = truth, seeds: list[int] = seeds) -> np.ndarray:
            frames = proceed(model, truth[:, :given], under[:, given - 1 :], seeds, under[:, : given - 1])
            return np.concatenate([truth[:, :given], frames], axis=1)

        others = None
        if config.shuffle_actions or config.counterfactual:
            others = _actions(read_batch(folder, _next_ones(clips, begin, len(chosen)), protocol.length, camera))
            others = np.concatenate([actions[:, : given - 1], others[:, given - 1 :]], axis=1)
        if config.shuffle_actions:
            yield Predicted(recorded, truth, made(others))
        else:
            yield Predicted(recorded, truth, made(actions), None if others is None else (others, made(others)))


def _actions(clips: list[Trajectory]) -> np.ndarray:
    return np.stack([clip.actions for clip in clips])  # [B, T - 1, A]


def _next_ones(clips: ClipList, begin: int, count: int) -> list[Any]:
    """For each of `count` clips from `begin` the one after it, the first after the last.

    Raises:
        InvalidInput: there is only one clip.
    """
    if len(clips.clips) < 2:
        raise InvalidInput("another clip's actions take at least two clips; give a larger limit=, or a folder with more episodes")
    return [clips.clips[(place + 1) % len(clips.clips)] for place in range(begin, begin + count)]
