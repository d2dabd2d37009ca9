"""`worldsim ablate`: what the weight transfer and the action guidance are worth, measured on the drawer (Vid2World, Table 2, small).

One bidirectional, action-free model is pretrained. From it each transfer, and a fresh network beside them, is trained for the same number
of steps with the same batches, with action dropout (to be guided) and without, once per seed. Finished variants are kept, so the same
command again goes on where it was stopped.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.files import write_json, written_whole
from worldsim.errors import RunMismatch
from worldsim.experiments.schema import AblateConfig, recipe

SCRATCH = "scratch"
HELD_OUT_CLIPS = 64


@dataclass(frozen=True)
class Variant:
    """One trained network: where its weights come from, and whether actions were hidden from it now and then."""

    transfer: str
    guided: bool
    seed: int

    @property
    def name(self) -> str:
        """As a folder's name."""
        return f"{self.transfer}-{'guided' if self.guided else 'plain'}-{self.seed}"


def run(config: AblateConfig) -> dict[str, Any]:
    """Pretrain, train and measure every variant, and write table, numbers and figure to `config.out`. Returns the numbers."""
    from worldsim.experiments.ablation_report import summarise, write_report
    from worldsim.experiments.setting import use_torch

    use_torch(config.threads, config.device)
    _remember(Path(config.out) / "recipe.json", config)
    bench, results = _Bench(config), []
    for variant in variants(config):
        path = Path(config.out) / "variants" / f"{variant.name}.json"
        if not path.exists():
            write_json(path, bench.measure(variant))
        results.append(json.loads(path.read_text(encoding="utf-8")))
    numbers = {"recipe": recipe(config), **summarise(results)}
    print(write_report(Path(config.out), numbers))
    return numbers


def _remember(path: Path, config: AblateConfig) -> None:
    """Keep what the variants are made with, and refuse to go on with something else; more seeds and transfers may come."""
    made = {key: value for key, value in recipe(config).items() if key not in ("seeds", "transfers")}
    if path.exists() and (before := json.loads(path.read_text(encoding="utf-8"))) != made:
        changed = ", ".join(f"{key}={before.get(key)}, now {value}" for key, value in made.items() if before.get(key) != value)
        raise RunMismatch(f"{path.parent} was made with {changed}; choose another out=")
    write_json(path, made)


def variants(config: AblateConfig) -> Iterator[Variant]:
    """Every seed of every variant; all variants of one seed before the next seed. A fresh network is trained to be guided only."""
    for seed in range(config.seeds):
        for transfer in config.transfers:
            yield from (Variant(transfer, guided, seed) for guided in (True, False))
        yield Variant(SCRATCH, guided=True, seed=seed)


class _Bench:
    """What all variants share: the clips, the pretrained network, the held-out clips and episodes."""

    def __init__(self, config: AblateConfig) -> None:
        from worldsim.diffusion.schedule import get_schedule
        from worldsim.experiments.replay import read_recordings
        from worldsim.load import load_world_model
        from worldsim.training.loss import Diffusion

        self.config, self.out = config, Path(config.out)
        self.world = load_world_model(config.world_model, device=config.device, precision="fp32")  # weights that training can use
        self.diffusion = Diffusion(get_schedule(self.world.sampler.schedule), self.world.sampler.prediction)
        self.recorded = read_recordings(config.data, config.episodes)
        self.clips = self._clips("train")
        self.held_out = self._clips("validation")
        self.pretrained = self._pretrain()

    def _clips(self, split: str) -> Any:
        from worldsim.data.trajectory_file import read_trajectory, trajectory_paths
        from worldsim.training.latents import encode_trajectories

        trajectories = [read_trajectory(path) for path in trajectory_paths(Path(self.config.data) / split)]
        return encode_trajectories(self.world.autoencoder, trajectories, self.world.spec.action, self.config.clip, keep=self.out)

    def _fresh(self, seed: int, *, causal: bool) -> Any:
        from dataclasses import replace

        import torch

        torch.manual_seed(seed)
        network = replace(self.world.network.config, causal=False).build()
        network.set_causal(causal=causal)
        return network.to(self.config.device)

    def _pretrain(self) -> dict[str, Any]:
        """Weights of the bidirectional, action-free model."""
        from safetensors.torch import load_file, save_file

        path = self.out / "pretrained.safetensors"
        if not path.exists():
            network = self._fresh(self.config.seed, causal=False)
            self._train(network, "pretrain", self.config.pretrain_steps, self.config.seed, dropout=0.0)
            with written_whole(path) as aside:
                save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, aside)
        return load_file(path)

    def measure(self, variant: Variant) -> dict[str, Any]:
        """Train one variant and say how it does on held-out episodes, with every guidance scale it was trained for."""
        from worldsim.models.causal import causalize

        network = self._fresh(1000 + variant.seed, causal=variant.transfer == SCRATCH)
        if variant.transfer != SCRATCH:
            network.load_state_dict(self.pretrained)
            causalize(network, transfer=variant.transfer)
        losses = {0: self.held_out_loss(network)}
        marks = {round(self.config.steps * share) for share in (1 / 8, 1 / 4, 1 / 2)}

        def watch(progress: Any) -> None:
            if progress.iteration in marks:
                losses[progress.iteration] = self.held_out_loss(network)

        dropout = self.config.action_dropout if variant.guided else 0.0
        self._train(network, variant.name, self.config.steps, variant.seed, dropout=dropout, watch=watch)
        losses[self.config.steps] = self.held_out_loss(network)
        scales = [1.0, *self.config.scales] if variant.guided else [1.0]
        rollouts = {f"{scale:g}": self.rollout(network, scale) for scale in scales}
        return {**vars(variant), "held_out_loss": losses, "rollouts": rollouts}

    def _train(self, network: Any, name: str, steps: int, seed: int, *, dropout: float, watch: Any = None) -> None:
        from tqdm import tqdm

        from worldsim.training.loop import LoopConfig, train
        from worldsim.training.stages import VideoObjective, VideoOptions

        config, folder = self.config, self.out / "training" / name
        objective = VideoObjective(network, self.world.autoencoder, self.clips, self.diffusion, VideoOptions(config.batch, dropout))
        loop = LoopConfig(folder, steps, learning_rate=config.learning_rate, seed=seed, device=config.device, average=config.average)
        with tqdm(total=steps, desc=name, unit="step", mininterval=2.0) as bar:

            def each(progress: Any) -> None:
                bar.set_postfix(loss=f"{progress.loss:.4f}", refresh=False)
                bar.update(progress.iteration - bar.n)
                if watch:
                    watch(progress)

            train(objective, loop, each)
        shutil.rmtree(folder)

    def held_out_loss(self, network: Any) -> float:
        """Mean squared error on clips that no variant was trained on, the same clips, levels and noise for all."""
        import torch

        from worldsim.training.loss import causal_loss

        generator = torch.Generator().manual_seed(self.config.seed)
        clean, actions = self.held_out.draw(HELD_OUT_CLIPS, generator)
        with torch.no_grad():
            return causal_loss(network, clean, actions, self.diffusion, generator, dropout=0.0).item()

    def rollout(self, network: Any, scale: float) -> dict[str, Any]:
        """Recorded actions replayed from the first frame alone: PSNR and SSIM of each held-out episode, step by step."""
        from worldsim.experiments.open_loop import predict
        from worldsim.metrics.images import psnr, ssim
        from worldsim.models.cpu import choose_precision
        from worldsim.simulator import Sampler, VideoWorldModel

        config, world = self.config, self.world
        sampler = Sampler(steps=config.sampling_steps, guidance=scale, prediction=world.sampler.prediction, schedule=world.sampler.schedule)
        precision = choose_precision("auto", config.device)
        model = VideoWorldModel(world.spec, network, world.autoencoder, sampler, precision=precision)
        actions = [trajectory.actions for trajectory in self.recorded]
        predictions = list(predict(model, self.recorded, actions, seed=config.seed, batch=25))
        measures = {"psnr": psnr, "ssim": partial(ssim, border=True)}
        return {name: _by_episode_and_step(measure, predictions) for name, measure in measures.items()}


def _by_episode_and_step(measure: Any, predictions: Sequence[Any]) -> dict[str, list[float]]:
    """A measure averaged over the predicted frames of each episode, and over the episodes at each step. All episodes are of one length."""
    values = np.stack([measure(each.frames[1:], each.recorded.frames[1:]) for each in predictions])  # [episodes, steps]
    return {"episodes": values.mean(1).round(5).tolist(), "steps": values.mean(0).round(5).tolist()}
