"""From history and actions to new latent frames: guidance, rescale and the sampler around one network. Knows no pixels.

Randomness is keyed by (lane's seed, frame, step), so a lane's video depends neither on its batch-mates nor on resume or order.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from worldsim.diffusion.guidance import guide, rescale
from worldsim.diffusion.noise import keyed_noise
from worldsim.diffusion.parameterize import previous, to_clean
from worldsim.diffusion.samplers import level_steps, sample_ddim
from worldsim.diffusion.schedule import get_schedule, level_of
from worldsim.models.cache import HistoryCache, Memory
from worldsim.models.checkpoint import use_precision
from worldsim.models.geometry_heads import Geometry
from worldsim.models.network import VideoNetwork, first_unled
from worldsim.simulator.sampler import Sampler
from worldsim.simulator.state import LatentState

HISTORY_STEP = 1_000_000  # the "step" under which a history frame's noise is drawn; 0 begins a frame, 1, 2, ... are ancestral
Evaluate = Callable[[Tensor, float], Tensor]
Seen = Callable[[Tensor, Tensor], None]


class Denoiser:
    """Draws frames from a network. Branch 0 knows the new actions; with guidance, branch 1 does not.

    `seen`, if given, is told of each denoising step: the sample before it and the clean prediction made of it, both `[B, T, h, w, C]`.
    """

    def __init__(self, network: VideoNetwork, sampler: Sampler, precision: str, seen: Seen | None = None) -> None:
        self.network, self.sampler, self.precision, self._seen = network, sampler, precision, seen
        self.schedule = get_schedule(sampler.schedule)
        parameter = next(network.parameters())
        self.device = str(parameter.device)
        self.dtype = torch.promote_types(parameter.dtype, torch.float32)  # of latents and noise
        self.branches = 1 if sampler.guidance == 1 else 2

    def empty_cache(self, lanes: int, context: Mapping[str, Tensor]) -> HistoryCache:
        """A cache of no frames: one pass over a blank frame gives the shapes."""
        blank = torch.zeros(lanes, 1, 1, *self.network.latent_shape, device=self.device, dtype=self.dtype)
        nothing = blank.new_zeros(lanes, 1, 1)
        memory = Memory(lanes=lanes)
        self._evaluate(blank, nothing, blank.new_zeros(lanes, 1, self.network.action_size), nothing, memory, context)
        return self.network.remember(memory, 1).empty()

    def write(self, state: LatentState) -> HistoryCache:
        """The features of all frames up to the newest, which enters them at the history level."""
        memory, known = Memory(state.cache), state.known[:, None, -1:]
        level = torch.full_like(known, self.sampler.history_level)
        self._evaluate(state.held[:, None, -1:], level, state.actions[:, -1:], known, memory, state.context)
        return self.network.remember(memory, 1)

    def prefill(self, state: LatentState, frames: int) -> HistoryCache:
        """The features of the last `frames` frames, which all lanes have, as if there had been none before; one pass."""
        actions, known = first_unled(self.network, state.actions[:, -frames:], state.known[:, -frames:])
        memory, known = Memory(lanes=len(state.seeds)), known[:, None]
        level = torch.full_like(known, self.sampler.history_level)
        self._evaluate(state.held[:, None, -frames:], level, actions, known, memory, state.context)
        return self.network.remember(memory, frames)

    def geometry(self, state: LatentState) -> Geometry:
        """What the heads say of the newest frame, `[B, H, W, ...]`; one pass more, which is not remembered.

        Where no features are kept it passes over all frames of the state, and all lanes have a history of one length.
        """
        frames = int(state.length[0]) if state.cache is None else 1
        actions, known = state.actions[:, -frames:], state.known[:, -frames:]
        if state.cache is None:
            actions, known = first_unled(self.network, actions, known)
        memory, level = Memory(state.cache, keeps=False), torch.full_like(known, self.sampler.history_level)
        inputs = (state.held[:, None, -frames:], level[:, None], actions, known[:, None], memory, state.context)
        with use_precision(self.precision, self.device):
            _, found = self.network(*inputs, geometry=True)
        return Geometry(*(each[:, 0, -1].float() for each in found))

    def next_frame(self, state: LatentState, action: Tensor, cache: HistoryCache) -> Tensor:
        """The frame after the newest, `[B, h, w, C]`, from the features of all frames before it."""
        return self._sample(lambda x, level: self._branches(state, action, cache, x, level), state, frames=1)[:, 0]

    def write_and_next(self, state: LatentState, action: Tensor) -> tuple[Tensor, HistoryCache]:
        """`next_frame`, and the features that `write` gives: the newest frame is written by the pass that evaluates the first level."""
        written: list[HistoryCache] = []

        def evaluate(x: Tensor, level: float) -> Tensor:
            if written:
                return self._branches(state, action, written[0], x, level)
            output, cache = self._write_ahead(state, action, x, level)
            written.append(cache)
            return output

        return self._sample(evaluate, state, frames=1)[:, 0], written[0]

    def _branches(self, state: LatentState, action: Tensor, cache: HistoryCache, x: Tensor, level: float) -> Tensor:
        """Both branches of the new frame `x` `[B, 1, h, w, C]` at one level, `[B, S, 1, h, w, C]`."""
        streams, known = x[:, None].expand(-1, self.branches, -1, -1, -1, -1), self._known_ahead(len(x), 1)
        memory = Memory(cache, branches=self.branches, keeps=False)
        return self._evaluate(streams, torch.full_like(known, level), action[:, None], known, memory, state.context)

    def _write_ahead(self, state: LatentState, action: Tensor, x: Tensor, level: float) -> tuple[Tensor, HistoryCache]:
        """`write` and `_branches` in one pass: stream 0 is the newest frame, the others are the one after it and see it."""
        streams = torch.cat([state.held[:, None, -1:], x[:, None].expand(-1, self.branches, -1, -1, -1, -1)], dim=1)
        known = torch.cat([state.known[:, None, -1:], self._known_ahead(len(x), 1)], dim=1)  # [B, 1 + S, 1]
        levels = torch.full_like(known, level)
        levels[:, 0] = self.sampler.history_level
        actions = torch.cat([state.actions[:, None, -1:], action[:, None, None].expand(-1, self.branches, -1, -1)], dim=1)
        memory = Memory(state.cache, branches=1 + self.branches, ahead=True)
        output = self._evaluate(streams, levels, actions, known, memory, state.context)
        return output[:, 1:], self.network.remember(memory, 1)

    def frames_ahead(self, state: LatentState, actions: Tensor) -> Tensor:
        """The frames that follow under `actions` `[B, N, A]`, `[B, N, h, w, C]`, all at one level; each evaluation passes over history too.

        All lanes have a history of one length.
        """
        past, ahead = int(state.length[0]), actions.shape[1]
        led, known = first_unled(self.network, state.actions[:, -past:], state.known[:, -past:])
        known = torch.cat([_branched(known, self.branches), self._known_ahead(len(actions), ahead).flatten(0, 1)], dim=1)
        led = _branched(torch.cat([led, actions], dim=1), self.branches)
        held = _branched(state.held[:, -past:], self.branches)
        context = {name: _branched(tensor, self.branches) for name, tensor in state.context.items()}

        def evaluate(x: Tensor, level: float) -> Tensor:
            clip = torch.cat([held, _branched(x, self.branches)], dim=1)[:, None]  # [B * S, 1, T, h, w, C]
            levels = torch.full_like(known, level)
            levels[:, :past] = self.sampler.history_level
            output = self._evaluate(clip, levels[:, None], led, known[:, None], None, context)
            return output[:, 0].unflatten(0, (-1, self.branches))

        return self._sample(evaluate, state, frames=ahead)

    def _known_ahead(self, lanes: int, frames: int) -> Tensor:
        """Action masks `[B, S, N]` of new frames."""
        known = torch.ones(lanes, self.branches, frames, device=self.device, dtype=self.dtype)
        known[:, 1:] = 0
        return known

    def _evaluate(
        self, x: Tensor, levels: Tensor, actions: Tensor, known: Tensor, memory: Memory | None, context: Mapping[str, Tensor]
    ) -> Tensor:
        with use_precision(self.precision, self.device):
            return self.network(x, levels, actions, known, memory, context).to(self.dtype)

    def _sample(self, evaluate: Evaluate, state: LatentState, frames: int) -> Tensor:
        """Denoise the next `frames` frames; `evaluate(x, level)` gives `[B, S, T, h, w, C]`, of which they are the last."""
        sampler = self.sampler

        def denoise(x: Tensor, level: float) -> Tensor:
            clean = self._clean(evaluate, state, x, level)
            if self._seen:
                self._seen(x, clean)
            return clean

        def draw(step: int) -> Tensor:
            ahead = range(1, frames + 1)
            return torch.stack([self.noise(state.seeds, state.frame + i, step) for i in ahead], dim=1)

        released = sampler.ending == "released"
        levels = level_steps(sampler.steps, last=level_of(0) if released else 0.0)
        return sample_ddim(denoise, draw(0), levels, self.schedule, eta=sampler.eta, draw=lambda step: draw(step + 1), keep_scale=released)

    def _clean(self, evaluate: Evaluate, state: LatentState, x: Tensor, level: float) -> Tensor:
        """The clean frames that one evaluation makes of the frames `x` `[B, T, h, w, C]` after the newest, all at one level."""
        sampler, frames = self.sampler, x.shape[1]
        history_level = torch.full_like(state.known[:, -1:], sampler.history_level)  # [B, 1]
        output = self._combined(evaluate(x, level))[:, -frames:]
        levels = history_level.new_full((len(x), frames), level)
        base = previous(torch.cat([state.held[:, -1:], x], dim=1), torch.cat([history_level, levels], dim=1))[:, 1:]
        return to_clean(sampler.prediction, output, x, levels, base, self.schedule)

    def _combined(self, outputs: Tensor) -> Tensor:
        """The branches' outputs `[B, S, T, h, w, C]` as one, `[B, T, h, w, C]`."""
        if self.branches == 1:
            return outputs[:, 0]
        guided = guide(outputs[:, 0], outputs[:, 1], self.sampler.guidance)
        axes = (2, 3, 4) if self.sampler.rescale_over == "frame" else (1, 2, 3, 4)
        return rescale(guided, outputs[:, 0], self.sampler.rescale, axes) if self.sampler.rescale else guided

    def noise(self, seeds: Sequence[int], frames: Tensor, step: int) -> Tensor:
        """Standard normal `[B, h, w, C]`."""
        return keyed_noise(seeds, frames.tolist(), step, self.network.latent_shape).to(self.device, self.dtype)


def _branched(x: Tensor, branches: int) -> Tensor:
    """Rows `[B, ...]` once per branch, `[B * S, ...]`."""
    return x.repeat_interleave(branches, dim=0)
