"""The learned world: a causal video network, its autoencoder and a sampler behind the `WorldModel` protocol.

Frames become latents once; each step denoises one new frame. With `history="stream"` the frame before is first written into the feature
cache, with `history="recompute"` every evaluation passes over the last frames.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from worldsim.data.actions import normalise
from worldsim.errors import InvalidInput, WorldsimError
from worldsim.models.autoencoder import FrameCoder, to_pixels, to_unit
from worldsim.models.cache import HistoryCache
from worldsim.models.checkpoint import parameter_count, use_precision
from worldsim.models.geometry_heads import Geometry
from worldsim.models.network import VideoNetwork
from worldsim.simulator.denoising import HISTORY_STEP, Denoiser
from worldsim.simulator.sampler import Sampler
from worldsim.simulator.state import LatentState
from worldsim.types import WorldSpec

NOT_NUMBERS = "the network made frames that are not numbers"


class VideoWorldModel:
    """A world model (`worldsim.types.WorldModel`) sampled from a causal video diffusion network."""

    def __init__(
        self, spec: WorldSpec, network: VideoNetwork, autoencoder: FrameCoder, sampler: Sampler, *, precision: str = "fp32"
    ) -> None:
        if not network.causal:
            raise InvalidInput("this network still looks at the future; causalize it first: worldsim train stage=causalize")
        if network.action_size != spec.action.size:
            raise InvalidInput(f"the network takes actions of {network.action_size} numbers, the world's have {spec.action.size}")
        self.spec, self.sampler, self.precision = spec, sampler, precision
        self.network, self.autoencoder = network.eval(), autoencoder.eval()
        self.device = str(next(network.parameters()).device)
        self.denoiser = Denoiser(network, sampler, precision)
        self.slots = 1 if sampler.history == "stream" else (sampler.window or network.window + 1) - 1
        if self.slots > network.window:
            raise InvalidInput(f"window is {sampler.window}, this network sees at most {network.window + 1} frames; type a smaller window=")
        self.card: dict = {}

    @property
    def parameters(self) -> int:
        """Number of trained values in the network and the autoencoder."""
        return parameter_count(self.network, self.autoencoder)

    @torch.no_grad()
    def start(self, frames: np.ndarray, seeds: np.ndarray, actions: np.ndarray | None = None) -> LatentState:
        """Frames uint8 `[B, T0, H, W, 3]` and seeds `[B]` to the state whose newest frame is the last one given.

        Args:
            frames: the given frames.
            seeds: one per lane.
            actions: `[B, T0 - 1, A]` between the given frames; None hides them from the network.

        Raises:
            InvalidInput: frames of another size or type, or not one seed per lane.
        """
        frames = self.spec.check_frames(frames)
        if len(seeds) != len(frames):
            raise InvalidInput(f"{len(frames)} lanes need as many seeds, got {len(seeds)}")
        lanes, given = frames.shape[:2]
        latents = self.latents(frames)
        with use_precision(self.precision, self.device):
            context = self.network.context_for(self._unit(frames[:, 0]), latents[:, 0])
        state = self._blank(latents[:, 0], context, tuple(int(seed) for seed in seeds))
        led = latents.new_zeros(lanes, given, self.network.action_size)
        known = latents.new_zeros(lanes, given)
        if actions is not None:
            led[:, 1:], known[:, 1:] = self._between(actions, lanes, given), 1
        known[:, 0] = float(self.network.starts_known)
        for i in range(given):
            state = self._push(state, latents[:, i], led[:, i], known[:, i], cache=self._kept(state) if i else state.cache)
        return state

    @torch.no_grad()
    def latents(self, frames: np.ndarray) -> Tensor:
        """Frames uint8 `[B, T, H, W, 3]` as latents `[B, T, h, w, C]`."""
        with use_precision(self.precision, self.device):
            latents = self.autoencoder.encode(self._unit(frames).flatten(0, 1)).to(self.denoiser.dtype)
        return latents.unflatten(0, frames.shape[:2])

    def _unit(self, frames: np.ndarray) -> Tensor:
        """Frames uint8 as pixels in [-1, 1]."""
        return to_unit(torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)).to(self.denoiser.dtype)

    def _between(self, actions: np.ndarray, lanes: int, given: int) -> Tensor:
        """Actions between given frames, `[B, T0 - 1, A]`, checked and normalised."""
        if actions.shape[:2] != (lanes, given - 1):
            raise InvalidInput(f"{given} given frames of {lanes} lanes take actions [{lanes}, {given - 1}, ...], got {list(actions.shape)}")
        return self._normal_sequence(actions, lanes) if given > 1 else torch.zeros(lanes, 0, self.network.action_size)

    @torch.no_grad()
    def step(self, state: LatentState, actions: np.ndarray) -> tuple[LatentState, np.ndarray]:
        """Actions float32 `[B, A]` to the next state and frames uint8 `[B, H, W, 3]`.

        A lane of which the network makes something that is not a number keeps its last sound frame and gets a line in the state's
        `faults`; the other lanes do not notice.

        Raises:
            InvalidInput: actions of another shape, out of bounds or not finite.
        """
        action = self._normal(actions, len(state.seeds))
        state = replace(state, context=self._context(state))
        with use_precision(self.precision, self.device):  # weights are cast once per frame
            latest, cache = self._next(state, action)
        broken = _not_numbers(latest)
        latest = torch.where(broken[:, None, None, None], state.latest, latest)
        frames, unseen = self.pixels(latest)
        state = self._push(state, latest, action, torch.ones_like(state.known[:, 0]), cache=cache)
        return state.faulted(broken | unseen, NOT_NUMBERS), frames

    @torch.no_grad()
    def observed(self, state: LatentState, actions: np.ndarray, frames: np.ndarray) -> LatentState:
        """The state after these frames followed these actions, whoever made them: the one that `start` gives with all frames up to here.

        Args:
            state: B lanes.
            actions: float32 `[B, A]`.
            frames: uint8 `[B, H, W, 3]`.

        Raises:
            InvalidInput: actions or frames that `step` and `start` refuse.
        """
        action = self._normal(actions, len(state.seeds))
        latent = self.latents(self.spec.check_frames(frames[:, None]))[:, 0]
        return self._push(state, latent, action, torch.ones_like(state.known[:, 0]), cache=self._kept(state))

    def _next(self, state: LatentState, action: Tensor) -> tuple[Tensor, HistoryCache | None]:
        """The next latents `[B, h, w, C]`, and the features of all frames before them where those are kept from frame to frame."""
        if self.sampler.history == "recompute":
            return self._recomputed(state, action), None
        if self.sampler.history == "stream":
            return self.denoiser.write_and_next(state, action)
        cache = self._kept(state)
        return self.denoiser.next_frame(state, action, self._slid(state) if cache is None else cache), cache

    @torch.no_grad()
    def geometry(self, state: LatentState) -> Geometry:
        """Depth and motion of each lane's newest frame by the network's heads: float32 arrays `[B, H, W]` and `[B, H, W, 2]`.

        Motion is that from the frame before; of a first frame, which has none, it is NaN. It costs one pass of the network, and nothing
        where nobody asks.

        Raises:
            InvalidInput: a network without such heads.
        """
        if getattr(self.network, "heads", None) is None:
            raise InvalidInput("this world model has no depth and motion heads; add them: worldsim train stage=heads")
        state = replace(state, context=self._context(state))
        groups = [list(range(len(state.seeds)))] if state.cache is not None else [lanes for _, lanes in _by_length(state)]
        parts = [self.denoiser.geometry(state.select(lanes) if len(groups) > 1 else state) for lanes in groups]
        order = np.argsort(np.concatenate(groups))
        depth, *motion = (torch.cat(kind).cpu().numpy()[order] for kind in zip(*parts, strict=True))
        for each in motion:
            each[(state.frame == 0).cpu().numpy()] = np.nan
        return Geometry(depth, *motion)

    @torch.no_grad()
    def pixels(self, latents: Tensor) -> tuple[np.ndarray, Tensor]:
        """Latents `[B, h, w, C]` to frames uint8 `[B, H, W, 3]`, and the lanes where they were no numbers, bool `[B]`."""
        with use_precision(self.precision, self.device):
            pixels = self.autoencoder.decode(latents)
        return to_pixels(pixels.float().nan_to_num()).cpu().numpy(), _not_numbers(pixels)

    def resampled(self, **changes: object) -> "VideoWorldModel":
        """The same networks sampled another way: `changes` are fields of `Sampler`. States fit both while `history` is the same.

        Raises:
            InvalidInput, UnknownName: no such way, see `Sampler`.
        """
        sampler = replace(self.sampler, **changes)
        model = VideoWorldModel(self.spec, self.network, self.autoencoder, sampler, precision=self.precision)
        model.card = self.card
        return model

    @torch.no_grad()
    def imagine_jointly(self, frames: np.ndarray, actions: np.ndarray, seeds: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
        """All frames at once, at one noise level (Vid2World's non-autoregressive mode); a frame may then know the actions after it.

        The given frames are held as history, which the released code does not do: it lets the first one be denoised with the others.

        Args:
            frames: uint8 `[B, T0, H, W, 3]`.
            actions: float32 `[B, T, A]`, the first acts on the last given frame.
            seeds: `[B]`.
            before: `[B, T0 - 1, A]`, the actions between the given frames; None hides them.

        Returns:
            uint8 `[B, T, H, W, 3]`.

        Raises:
            InvalidInput: with history=stream, or more frames than the window holds.
            WorldsimError: the network made something that is not a number.
        """
        if self.sampler.history != "recompute":
            raise InvalidInput("frames are imagined jointly with history=recompute only; type history=recompute")
        if frames.shape[1] + actions.shape[1] > self.slots + 1:
            raise InvalidInput(
                f"{frames.shape[1]} given and {actions.shape[1]} new frames, expected at most {self.slots + 1} in all; type window=N"
            )
        state = self.start(frames, seeds, before)
        latents = self.denoiser.frames_ahead(state, self._normal_sequence(actions, len(state.seeds)))
        frames, broken = zip(*(self.pixels(latents[:, i]) for i in range(latents.shape[1])), strict=True)
        if torch.stack(broken).any():
            raise WorldsimError(f"{NOT_NUMBERS}; try precision=fp32, or another checkpoint")
        return np.stack(frames, axis=1)

    def _normal(self, actions: np.ndarray, lanes: int) -> Tensor:
        """Actions `[B, A]`, checked and normalised."""
        normal = normalise(self.spec.action.check(actions), self.spec.action)
        if len(normal) != lanes:
            raise InvalidInput(f"{lanes} lanes need as many actions, got {len(normal)}")
        return torch.from_numpy(normal).to(self.device, self.denoiser.dtype)

    def _normal_sequence(self, actions: np.ndarray, lanes: int) -> Tensor:
        """Actions `[B, N, A]`, checked and normalised."""
        return torch.stack([self._normal(each, lanes) for each in actions.swapaxes(0, 1)], dim=1)

    def _blank(self, like: Tensor, context: Mapping[str, Tensor], seeds: tuple[int, ...]) -> LatentState:
        """Lanes without a frame."""
        lanes = len(like)
        empty = like.new_zeros(lanes, self.slots, *like.shape[1:])
        actions = like.new_zeros(lanes, self.slots, self.network.action_size)
        none = torch.zeros(lanes, dtype=torch.int64, device=like.device)
        cache = self.denoiser.empty_cache(lanes, context) if self.sampler.history in ("stream", "block") else None
        return LatentState(empty, empty, actions, actions[..., 0], none, none - 1, context, cache, seeds, ("",) * lanes)

    def _push(self, state: LatentState, latent: Tensor, action: Tensor, known: Tensor, *, cache: HistoryCache | None) -> LatentState:
        """The state with one more finished frame, whose noise as history is drawn here, once."""
        noise = self.denoiser.noise(state.seeds, state.frame + 1, HISTORY_STEP)
        level = torch.full_like(known, self.sampler.history_level)
        held = self.denoiser.schedule.add_noise(latent, noise, level, shrink=self.sampler.history_shrink)
        return state.pushed(latent, held, action, known, cache=cache)

    def _kept(self, state: LatentState) -> HistoryCache | None:
        """The features of all frames up to the newest; None where none are kept from frame to frame."""
        if state.cache is None:
            return None
        cache = self.denoiser.write(state)
        full = (state.cache.length >= self.slots).nonzero().flatten().tolist() if self.sampler.history == "block" else []
        return cache.merge(full, self.denoiser.prefill(state.select(full), max(1, (self.slots + 1) // 2))) if full else cache

    def _slid(self, state: LatentState) -> HistoryCache:
        """The features of the frames in each lane's window, computed anew."""
        groups = list(_by_length(state))
        if len(groups) == 1:  # as a rule: lanes that began together
            return self.denoiser.prefill(state, groups[0][0])
        cache = self.denoiser.empty_cache(len(state.seeds), state.context)
        for length, lanes in groups:
            cache = cache.merge(lanes, self.denoiser.prefill(state.select(lanes), length))
        return cache

    def _context(self, state: LatentState) -> Mapping[str, Tensor]:
        """What the network is told about the first frame, of the episode or of the window."""
        if self.sampler.anchor == "episode" or not state.context:
            return state.context
        oldest = (state.latents.shape[1] - state.length).clamp(min=0)
        first = state.latents[torch.arange(len(oldest), device=oldest.device), oldest]
        with use_precision(self.precision, self.device):
            return self.network.context_for(self.autoencoder.decode(first).float().clamp(-1, 1), first)

    def _recomputed(self, state: LatentState, action: Tensor) -> Tensor:
        """The next latents `[B, h, w, C]` of lanes whose history may be of different length; those of one length are evaluated together."""
        latest = torch.empty_like(state.latest)
        for _, lanes in _by_length(state):
            latest[lanes] = self.denoiser.frames_ahead(state.select(lanes), action[lanes, None])[:, 0]
        return latest


def _not_numbers(x: Tensor) -> Tensor:
    """Rows `[B, ...]` that hold something that is not a finite number, bool `[B]`."""
    return ~x.isfinite().flatten(1).all(dim=1)


def _by_length(state: LatentState) -> Iterator[tuple[int, list[int]]]:
    """Lanes by the length of their history."""
    for length in state.length.unique().tolist():
        yield length, (state.length == length).nonzero().flatten().tolist()
