"""The models that the proofs compare, each trained once and kept in its folder: the same command again goes on where it was stopped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.envs.drop.truth import HORIZON
from worldsim.experiments.proofs import tracks
from worldsim.experiments.schema import PosttrainConfig
from worldsim.types import Trajectory

BALL = 6  # the ball's number in the segmentation of the drop world
FOCUS = ("miss",)  # the state that says that the ball moves sideways


@dataclass(frozen=True)
class Scale:
    """How much is trained and measured.

    Attributes:
        world_model: preset of the network.
        episodes, held_out: recorded for training, and to measure on.
        autoencoder, sft, heads, preferences: optimizer steps of each.
        contexts: of which pairs are made.
        starts: from which policies are ranked.
        batch: clips per step.
        beta: of the preference loss.
    """

    world_model: str
    episodes: int
    held_out: int
    autoencoder: int
    sft: int
    heads: int
    preferences: int
    contexts: int
    starts: int
    batch: int
    beta: float = 500.0


SCALES = {
    "ci": Scale("drop", 6, 4, 20, 10, 3, 2, 6, 3, 4),
    "small": Scale("drop", 400, 128, 1200, 2000, 300, 80, 128, 50, 8),
}


class Models:
    """The models of one seed below `out`; recordings and autoencoder are those of all seeds."""

    def __init__(self, out: Path, scale: Scale, seed: int, threads: int) -> None:
        self.out, self.scale, self.seed, self.threads = out, scale, seed, threads
        self.data, self.own = out / "data", out / f"seed-{seed}"

    def recorded(self, split: str) -> list[Trajectory]:
        """Episodes of the true world, recorded at first use."""
        from worldsim.experiments.recordings import read_split

        count = self.scale.episodes if split == "train" else self.scale.held_out
        if not (self.data / split).is_dir():
            from worldsim.experiments import collect
            from worldsim.experiments.schema import CollectConfig

            collect.run(CollectConfig(out=str(self.data), truth="drop", split=split, episodes=count))
        return read_split(self.data, split, limit=count)

    def untrained(self) -> Path:
        """A causal network with random weights, on the trained autoencoder."""
        self._stage("autoencoder", self.out / "shared", steps=self.scale.autoencoder, batch=16, seed=0)
        return self._stage("causalize", self.own, init=str(self.out / "shared" / "autoencoder"), steps=0)

    def sft(self) -> Path:
        """That network with an encoder, both trained on recordings: PhysMaster's first stage."""
        self.untrained()
        return self._stage("posttrain", self.own, encoder="tiny", steps=self.scale.sft, batch=self.scale.batch)

    def _stage(self, stage: str, out: Path, **options: Any) -> Path:
        from worldsim.experiments import train
        from worldsim.experiments.schema import TrainConfig

        folder = out / stage
        if not (folder / "config.json").exists():
            shared = {"world_model": self.scale.world_model, "data": str(self.data), "threads": self.threads, "precision": "fp32"}
            self.recorded("train")
            self.recorded("validation")
            train.run(TrainConfig(stage=stage, out=str(out), **shared | {"seed": self.seed} | options))
        return folder

    def preferred(self, name: str, before: Path, trainable: str) -> Path:
        """The model of `before` after preference optimisation of some of its parameters, on pairs that it made itself.

        Of two rollouts of one start under the same actions the one whose ball is nearer to the true one wins.
        """
        from worldsim.posttraining.objective import PostOptions, PostTraining
        from worldsim.posttraining.trainable import make_trainable, merge_adapters

        def objective(model: Any) -> Any:
            reference, clips = make_trainable(model.network, trainable, rank=8), tracks.pairs(model, self._contexts(), self.seed)
            options = PostOptions("dpo", self.scale.batch, clip=clips.mask.shape[1], beta=self.scale.beta)
            return PostTraining(model.network, reference, model.autoencoder, clips, _diffusion(model), options)

        return self._trained(name, before, objective, self.scale.preferences, 3e-4, merge_adapters)

    def posttrained(self, name: str, before: Path, way: Mapping[str, Any]) -> Path:
        """The model of `before` after `worldsim posttrain` in one way; every way has the same contexts and as many steps."""
        from worldsim.experiments import posttrain

        folder = self.own / name
        if not (folder / "config.json").exists():
            posttrain.run(self.post_config(name, before, way))
        return folder

    def post_config(self, name: str, before: Path, way: Mapping[str, Any]) -> PosttrainConfig:
        """What `worldsim posttrain` is told: whole episodes from their first frame on."""
        shared = {"world_model": str(before), "data": str(self.data), "seed": self.seed, "threads": self.threads}
        rollouts = {"contexts": self.scale.contexts, "num_generations": 4, "given": 1, "horizon": HORIZON}
        training = {
            "steps": self.scale.preferences,
            "batch": self.scale.batch,
            "learning_rate": 1e-4,
            "average": 0.9,
            "beta": self.scale.beta,
        }
        return PosttrainConfig(out=str(self.own / name), **shared | rollouts | training | dict(way))

    def _contexts(self) -> list[Trajectory]:
        return self.recorded("train")[: self.scale.contexts]

    def with_heads(self, name: str, before: Path, weights: Any) -> Path:
        """The model of `before` with depth and motion heads, trained as `weights` say; the rest is frozen where video does not count."""
        from worldsim.experiments.train_heads import units
        from worldsim.training.geometry import GeometryObjective
        from worldsim.training.latents import encode_trajectories
        from worldsim.training.scene_truth import recorded_scene
        from worldsim.training.stages import VideoOptions

        def objective(model: Any) -> Any:
            episodes = self.recorded("train")
            truth, spec = recorded_scene(episodes, {BALL: "ball"}), model.spec
            if model.network.heads is None:
                model.network = model.network.extended(heads=units(truth, model.network, spec.height))
            model.network.requires_grad_(requires_grad=weights.diffusion > 0)
            model.network.heads.requires_grad_(requires_grad=True)
            length = min(model.network.window + 1, len(episodes[0].frames))
            clips = encode_trajectories(model.autoencoder, episodes, spec.action, length, focus=FOCUS)
            options = VideoOptions(self.scale.batch, 0.1)
            return GeometryObjective(truth, weights, model.network, model.autoencoder, clips, _diffusion(model), options)

        return self._trained(name, before, objective, self.scale.heads, 1e-3, lambda network: network)

    def _trained(
        self, name: str, before: Path, objective: Callable[[Any], Any], steps: int, rate: float, finish: Callable[[Any], Any]
    ) -> Path:
        """A model in a folder of its own, trained from that of `before` unless it is there."""
        import torch

        from worldsim.load import load_world_model
        from worldsim.simulator import save_world_model
        from worldsim.training.loop import LoopConfig, train

        folder = self.own / name
        if (folder / "config.json").exists():
            return folder
        torch.manual_seed(self.seed)
        model = load_world_model(before, precision="fp32")
        made = objective(model)
        loop = LoopConfig(folder / "training", iterations=steps, learning_rate=rate, average=0.9, seed=self.seed, recipe={"name": name})
        network = finish(train(made, loop))
        save_world_model(folder, model.spec, network, model.autoencoder, model.sampler, {"stage": name, "leak": model.card.get("leak")})
        return folder


def _diffusion(model: Any) -> Any:
    from worldsim.diffusion.schedule import get_schedule
    from worldsim.training.loss import Diffusion

    return Diffusion(get_schedule(model.sampler.schedule), model.sampler.prediction)


def sampled(folder: Path, **options: Any) -> Any:
    """A model, ready to imagine."""
    from worldsim.load import load_world_model

    return load_world_model(folder, precision="fp32", **options)
