"""Sizes and readings of the Vid2World / DynamiCrafter U-Net. Knows no tensor."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

if TYPE_CHECKING:
    from worldsim.models.vid2world.unet import Vid2WorldUNet

GROUPS = 32  # of every GroupNorm
CHOICES = {
    "action_kind": ("continuous", "multi_hot"),
    "norm": ("clip", "frame", "cumulative"),
    "head": ("rows", "symmetric"),
    "image_tokens": ("official", "per_frame"),
}


@dataclass(frozen=True)
class Vid2WorldConfig:
    """The defaults are the released RT-1 network. CS:GO has `action_size=51, action_kind="multi_hot"`, RECON `action_size=3, window=20`.

    Attributes:
        model_channels, channel_mult, num_res_blocks: widths of the levels and blocks in each.
        attention_at: downsampling factors of the levels that have transformers; the middle always has them.
        head_channels: width of one attention head.
        context_dim: width of a context token.
        in_channels: noisy latent and first frame's latent; `out_channels`: one latent.
        action_size: numbers in an action; 0 for a network without action input (DynamiCrafter).
        action_kind: "continuous" (an MLP) or "multi_hot" (a row of a table for each entry, then an MLP).
        text_tokens, tokens_per_frame, frames: the context is `text_tokens + tokens_per_frame * frames` tokens long; `frames` is also
            the trained length, at which "official" image tokens switch.
        window: most frames in one pass: the length of the attention mask, so a frame sees itself and `window - 1` earlier ones.
        norm: frames that norms over time take their statistics from, once causal: "clip" (as released; leaks), "frame", "cumulative".
        head: "rows": output row h sees rows h-2..h (as released); "symmetric": an ordinary convolution. Until causal always ordinary.
        image_tokens: "official": a pass of exactly `frames` frames shows each its own tokens, any other pass shows all of them to every
            frame; "per_frame": frame t of a pass, or of kept history, always has the tokens of group t, later frames the last group.
        latent_height, latent_width: of one latent frame, for whoever asks; the network takes any multiple of its downsampling.
        dropout: in residual blocks and temporal convolutions while training.
        causal: False for the bidirectional network before surgery.
        gradient_checkpointing: compute each block again in the backward pass instead of keeping its features.
    """

    model_channels: int = 320
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attention_at: tuple[int, ...] = (1, 2, 4)
    head_channels: int = 64
    context_dim: int = 1024
    in_channels: int = 8
    out_channels: int = 4
    action_size: int = 13
    action_kind: str = "continuous"
    text_tokens: int = 77
    tokens_per_frame: int = 16
    frames: int = 16
    window: int = 16
    norm: str = "clip"
    head: str = "rows"
    image_tokens: str = "official"
    latent_height: int = 40
    latent_width: int = 64
    dropout: float = 0.1
    causal: bool = True
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        for field in ("channel_mult", "attention_at"):
            object.__setattr__(self, field, tuple(getattr(self, field)))  # JSON brings lists
        for field, known in CHOICES.items():
            if (given := getattr(self, field)) not in known:
                raise UnknownName(f'unknown {field} "{given}"; {did_you_mean(given, known)}')
        if self.model_channels % GROUPS or self.model_channels % self.head_channels:
            raise InvalidInput(
                f"model_channels is {self.model_channels}, expected a multiple of {GROUPS} and of head_channels={self.head_channels}"
            )
        if self.window < 2 or self.frames < 1 or self.action_size < 0:
            raise InvalidInput(
                f"window={self.window}, frames={self.frames}, action_size={self.action_size}, expected at least 2, 1 and 0 of them"
            )

    @property
    def shrink(self) -> int:
        """How often the deepest level is smaller than the latents, per side."""
        return 2 ** (len(self.channel_mult) - 1)

    @property
    def context_tokens(self) -> int:
        """Length of the context."""
        return self.text_tokens + self.tokens_per_frame * self.frames

    def build(self) -> "Vid2WorldUNet":
        """A freshly initialised network; under `torch.device("meta")` one without weights."""
        from worldsim.models.vid2world.unet import Vid2WorldUNet

        return Vid2WorldUNet(self)
