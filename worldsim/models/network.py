"""What training and simulation ask of a video network, whoever made it. Knows no network."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from worldsim.models.cache import HistoryCache, Memory


@runtime_checkable
class VideoNetwork(Protocol):
    """A network that predicts latent frames, each with its own noise level and the action that led into it.

    Attributes:
        kind: the name that `worldsim.models.networks` builds it by.
        latent_shape: `(h, w, C)` of one latent frame.
        action_size: numbers in one action.
        window: how many earlier frames a frame attends to; training clips hold `window + 1` frames.
        causal: True when no frame sees a later one.
        two_streams: True when stream s > 0 of `x` sees the past of stream 0 in the same pass. Otherwise a pass of several streams
            needs a memory, in which all of them read one history.
        starts_known: True when a first frame, into which no action led, is given zeros as if they were an action, rather than a hidden one.
        needs_pixels: whether `context_for` looks at the first frame's pixels.
    """

    kind: str
    latent_shape: tuple[int, int, int]
    action_size: int
    window: int
    causal: bool
    two_streams: bool
    starts_known: bool
    needs_pixels: bool

    def __call__(
        self,
        x: Tensor,
        levels: Tensor,
        actions: Tensor,
        known: Tensor,
        memory: Memory | None = None,
        context: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """One evaluation.

        Args:
            x: noisy latents `[B, S, T, h, w, C]`.
            levels: noise level of each frame in [0, 1], `[B, S, T]`.
            actions: `actions[:, t]` leads *into* frame t, normalised to [-1, 1], `[B, T, A]`, or one for each stream, `[B, S, T, A]`.
            known: 1 where the action is given, 0 where it is hidden, `[B, S, T]`.
            memory: features of earlier frames; without it the T frames are all there is.
            context: what is fixed over an episode, rows per lane `[B, ...]`; None or a missing entry is neutral.

        Returns:
            The prediction for each frame, like `x`.
        """
        ...

    def context_for(self, first_frames: Tensor, first_latents: Tensor) -> dict[str, Tensor]:
        """Conditioning that is fixed over an episode.

        Args:
            first_frames: float `[B, H, W, 3]` in [-1, 1].
            first_latents: their latents `[B, h, w, C]`.

        Returns:
            Tensors with one row per lane; empty for a network that takes no such conditioning.
        """
        ...

    def remember(self, memory: Memory, frames: int) -> HistoryCache:
        """The cache after a pass over `frames` frames that wrote to `memory`."""
        ...

    def save_memory(self) -> None:
        """Compute activations twice in training rather than keep them."""
        ...

    def describe(self) -> dict:
        """The config as plain values."""
        ...


def by_stream(actions: Tensor) -> Tensor:
    """Actions `[B, T, A]` of all streams, or `[B, S, T, A]` of each, as `[B, 1 or S, T, A]`."""
    return actions if actions.ndim == 4 else actions[:, None]


def first_unled(net: VideoNetwork, actions: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Actions `[B, T, A]` and masks `[B, T]` of a clip into whose first frame no action leads, as the network is told that."""
    actions, known = actions.clone(), known.clone()
    actions[:, 0] = 0
    if not net.starts_known:
        known[:, 0] = 0
    return actions, known
