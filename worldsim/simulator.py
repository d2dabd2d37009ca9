"""The learned world: a causal video network, its autoencoder and a sampler behind the `WorldModel` protocol.

Frames become latents once; each step writes the newest frame into the feature cache (`history="stream"`) and denoises one
new frame from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldsim.data.actions import normalise
from worldsim.diffusion.guidance import guide
from worldsim.diffusion.noise import keyed_noise
from worldsim.diffusion.parameterize import check_prediction, to_clean
from worldsim.diffusion.samplers import level_steps, sample_ddim
from worldsim.diffusion.schedule import get_schedule
from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.autoencoder import Autoencoder, AutoencoderConfig, to_pixels, to_unit
from worldsim.models.cache import HistoryCache, Memory
from worldsim.models.checkpoint import Checkpoint, load_checkpoint, parameter_count, save_checkpoint, use_precision
from worldsim.models.cpu import choose_precision
from worldsim.models.video_unet import VideoUNet, VideoUNetConfig
from worldsim.registry import did_you_mean
from worldsim.types import ActionSpec, WorldSpec

HISTORY_MODES = ("stream",)
HISTORY_STEP = 1_000_000  # the "step" under which a history frame's noise is drawn


@dataclass(frozen=True)
class Sampler:
    """How a frame is drawn: denoising steps, guidance scale (1 is none), history mode, and the level and noise that history is held at."""

    steps: int = 1
    guidance: float = 1.0
    history: str = "stream"
    history_level: float = 0.02
    prediction: str = "clean"
    schedule: str = "linear"

    def __post_init__(self) -> None:
        check_prediction(self.prediction)
        if self.history not in HISTORY_MODES:
            raise UnknownName(f'unknown history mode "{self.history}"; {did_you_mean(self.history, HISTORY_MODES)}')
        if self.steps < 1:
            raise InvalidInput(f"steps is {self.steps}, expected 1 or more")
        if not 0 <= self.guidance < float("inf"):
            raise InvalidInput(f"guidance is {self.guidance}, expected a number from 0 (1 is none)")
        if not 0 <= self.history_level < 1:
            raise InvalidInput(f"history_level is {self.history_level}, expected a level in [0, 1)")


@dataclass(frozen=True)
class LatentState:
    """Lanes of imagined worlds: the newest frame as a latent, the action that led into it, and the features of all frames before it."""

    cache: HistoryCache | None
    latest: Tensor  # [B, h, w, C]
    action: Tensor  # [B, A], normalised
    known: Tensor  # [B], 0 where no action led into the newest frame
    frame: Tensor  # [B], index of the newest frame
    seeds: tuple[int, ...]

    def select(self, lanes: Sequence[int]) -> "LatentState":
        """Some lanes, in the given order."""
        index = torch.as_tensor(lanes)
        rows = {name: getattr(self, name)[index] for name in ("latest", "action", "known", "frame")}
        return LatentState(cache=self.cache.select(lanes), seeds=tuple(self.seeds[i] for i in lanes), **rows)

    def merge(self, lanes: Sequence[int], other: "LatentState") -> "LatentState":
        """This state with `lanes` replaced by the lanes of `other`."""
        index, rows = torch.as_tensor(lanes), {}
        for name in ("latest", "action", "known", "frame"):
            rows[name] = getattr(self, name).clone()
            rows[name][index] = getattr(other, name)
        seeds = list(self.seeds)
        for lane, seed in zip(lanes, other.seeds, strict=True):
            seeds[lane] = seed
        return LatentState(cache=self.cache.merge(lanes, other.cache), seeds=tuple(seeds), **rows)


class VideoWorldModel:
    """A world model (`worldsim.types.WorldModel`) sampled from a causal video diffusion network."""

    def __init__(self, spec: WorldSpec, network: VideoUNet, autoencoder: Autoencoder, sampler: Sampler, *, precision: str = "fp32") -> None:
        if not network.config.causal:
            raise InvalidInput("this network still looks at the future; causalize it first: worldsim train stage=causalize")
        self.spec, self.sampler, self.precision = spec, sampler, precision
        self.network, self.autoencoder = network.eval(), autoencoder.eval()
        self.schedule = get_schedule(sampler.schedule)
        self.device = str(next(network.parameters()).device)
        self.card: dict = {}

    @property
    def parameters(self) -> int:
        """Number of trained values in the network and the autoencoder."""
        return parameter_count(self.network, self.autoencoder)

    @torch.no_grad()
    def start(self, frames: np.ndarray, seeds: np.ndarray) -> LatentState:
        """Frames uint8 `[B, T0, H, W, 3]` and seeds `[B]` to the state whose newest frame is the last one given.

        Raises:
            InvalidInput: frames of another size or type, or not one seed per lane.
        """
        frames = self.spec.check_frames(frames)
        if len(seeds) != len(frames):
            raise InvalidInput(f"{len(frames)} lanes need as many seeds, got {len(seeds)}")
        lanes, given = frames.shape[:2]
        with use_precision(self.precision, self.device):
            latents = self.autoencoder.encode(to_unit(torch.from_numpy(np.ascontiguousarray(frames))).flatten(0, 1).to(self.device))
        latents = latents.float().unflatten(0, (lanes, given))
        nothing = torch.zeros(lanes, self.spec.action.size, device=self.device)
        zero = torch.zeros(lanes, device=self.device)
        state = LatentState(self._empty_cache(lanes), latents[:, 0], nothing, zero, zero.long(), tuple(int(seed) for seed in seeds))
        for i in range(1, given):
            state = replace(state, cache=self._write(state), latest=latents[:, i], frame=state.frame + 1)
        return state

    @torch.no_grad()
    def step(self, state: LatentState, actions: np.ndarray) -> tuple[LatentState, np.ndarray]:
        """Actions float32 `[B, A]` to the next state and frames uint8 `[B, H, W, 3]`.

        Raises:
            InvalidInput: actions of another shape, out of bounds or not finite.
        """
        normal = normalise(self.spec.action.check(actions), self.spec.action)
        if len(normal) != len(state.seeds):
            raise InvalidInput(f"{len(state.seeds)} lanes need as many actions, got {len(normal)}")
        action = torch.from_numpy(normal).to(self.device)
        cache = self._write(state)
        latest = self._denoise(state, cache, action)
        state = LatentState(cache, latest, action, torch.ones_like(state.known), state.frame + 1, state.seeds)
        with use_precision(self.precision, self.device):
            decoded = self.autoencoder.decode(latest)
        return state, to_pixels(decoded).cpu().numpy()

    def _empty_cache(self, lanes: int) -> HistoryCache:
        """A cache of no frames: one pass over a blank frame gives the shapes."""
        config = self.network.config
        blank = torch.zeros(lanes, 1, 1, config.latent_size, config.latent_size, config.latent_channels, device=self.device)
        nothing = torch.zeros(lanes, 1, 1, device=self.device)
        cache = self._evaluate(blank, nothing, torch.zeros(lanes, 1, config.action_size, device=self.device), nothing, None)[1]
        layers = {name: tuple(torch.zeros_like(tensor) for tensor in tensors) for name, tensors in cache.layers.items()}
        return HistoryCache(torch.zeros_like(cache.length), layers)

    def _evaluate(
        self, x: Tensor, levels: Tensor, actions: Tensor, known: Tensor, cache: HistoryCache | None
    ) -> tuple[Tensor, HistoryCache]:
        memory = Memory(cache)
        with use_precision(self.precision, self.device):
            output = self.network(x, levels, actions, known, memory)
        return output.float(), self.network.remember(memory, 1)

    def _history(self, state: LatentState) -> Tensor:
        """The newest frame as history holds it: at the history level, with noise drawn once for this frame."""
        noise = self._noise(state.seeds, state.frame, HISTORY_STEP)
        return self.schedule.add_noise(state.latest, noise, torch.full_like(state.known, self.sampler.history_level))

    def _write(self, state: LatentState) -> HistoryCache:
        """The features of all frames up to the newest."""
        level = torch.full_like(state.known, self.sampler.history_level)[:, None, None]
        return self._evaluate(self._history(state)[:, None, None], level, state.action[:, None], state.known[:, None, None], state.cache)[1]

    def _denoise(self, state: LatentState, cache: HistoryCache, action: Tensor) -> Tensor:
        """The frame after the newest, as a latent `[B, h, w, C]`."""
        base = (1 - self.sampler.history_level) * self._history(state)
        hidden = 1 if self.sampler.guidance == 1 else 2  # the second branch does not know the latest action
        known = torch.ones(len(action), hidden, 1, device=self.device)
        known[:, 1:] = 0

        def denoise(x: Tensor, level: float) -> Tensor:
            levels = torch.full_like(known, level)
            output = self._evaluate(x[:, None, None].expand(-1, hidden, -1, -1, -1, -1), levels, action[:, None], known, cache)[0][:, :, 0]
            clean = to_clean(self.sampler.prediction, output, x[:, None], levels[:, :, 0], base[:, None], self.schedule)
            return clean[:, 0] if hidden == 1 else guide(clean[:, 0], clean[:, 1], self.sampler.guidance)

        return sample_ddim(denoise, self._noise(state.seeds, state.frame + 1, 0), level_steps(self.sampler.steps), self.schedule)

    def _noise(self, seeds: Sequence[int], frames: Tensor, step: int) -> Tensor:
        config = self.network.config
        shape = (config.latent_size, config.latent_size, config.latent_channels)
        return keyed_noise(seeds, frames.tolist(), step, shape).to(self.device)


def save_world_model(
    folder: str | Path, spec: WorldSpec, network: VideoUNet, autoencoder: Autoencoder, sampler: Sampler, facts: dict
) -> str:
    """Write a world model as a checkpoint folder; `facts` (leak, training) go into its config. Returns the hash of the weights."""
    config = {
        "spec": {"height": spec.height, "width": spec.width, "context": spec.context, "fps": spec.fps, "action": vars(spec.action)},
        "network": network.describe(),
        "autoencoder": autoencoder.describe(),
        "sampler": vars(sampler),
        "parameters": parameter_count(network, autoencoder),
    }
    return save_checkpoint(folder, "world_model", {"network": network, "autoencoder": autoencoder}, config | facts)


def open_world_model(folder: str | Path, *, device: str = "cpu", precision: str = "auto", **sampler: object) -> VideoWorldModel:
    """Load a world model folder; `sampler` options that are not None replace its own (steps, guidance, history).

    Raises:
        InvalidInput, DamagedFile: see `worldsim.models.checkpoint.load_checkpoint`.
    """
    checkpoint = load_checkpoint(folder, "world_model")
    config = checkpoint.config
    options = config["sampler"] | {name: value for name, value in sampler.items() if value is not None}
    spec = WorldSpec(**(config["spec"] | {"action": ActionSpec(**config["spec"]["action"])}))
    network = _network(checkpoint).to(device)
    autoencoder = checkpoint.fill("autoencoder", AutoencoderConfig(**config["autoencoder"]).build()).to(device)
    model = VideoWorldModel(spec, network, autoencoder, Sampler(**options), precision=choose_precision(precision, device))
    model.card = config
    return model


def _network(checkpoint: Checkpoint) -> VideoUNet:
    return checkpoint.fill("network", VideoUNetConfig(**checkpoint.config["network"]).build())
