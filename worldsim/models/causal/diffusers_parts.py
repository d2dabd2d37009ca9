"""What causal surgery does to the video U-Nets of diffusers: who mixes frames in them, and what stands in.

Classes are named, not imported, so that diffusers loads only where such a network exists already.
"""

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn

from worldsim.errors import InvalidInput
from worldsim.models.causal.frame_levels import FrameLevels
from worldsim.models.causal.layers import Positions, Remembers, attend_back
from worldsim.models.causal.surgery import Plan, acts_within_frame, converts, join, refusal

SELF_ATTENTION = ("AttnProcessor", "AttnProcessor2_0", "XFormersAttnProcessor", "SlicedAttnProcessor")
WITHIN_ROWS = (  # processors in which a row of the batch, here a frame, attends to itself and to its context
    *SELF_ATTENTION,
    *("AttnAddedKVProcessor", "AttnAddedKVProcessor2_0", "SlicedAttnAddedKVProcessor", "XFormersAttnAddedKVProcessor"),
    *("FusedAttnProcessor2_0", "AttnProcessorNPU", "XLAFlashAttnProcessor2_0"),
    *("IPAdapterAttnProcessor", "IPAdapterAttnProcessor2_0", "IPAdapterXFormersAttnProcessor"),
)
TIME_AXIS = {"UNetSpatioTemporalConditionModel": 1, "UNet3DConditionModel": 2, "I2VGenXLUNet": 2, "UNetMotionModel": 2}
FRAME_BLOCKS = (
    *("ResnetBlock2D", "SpatioTemporalResBlock", "AlphaBlender", "Downsample2D", "Upsample2D"),
    *("Transformer2DModel", "DualTransformer2DModel", "TransformerSpatioTemporalModel", "BasicTransformerBlock", "Attention"),
    *("FeedForward", "GELU", "GEGLU", "ApproximateGELU", "SwiGLU", "LinearActivation", "FP32SiLU"),
    *("AdaLayerNorm", "FP32LayerNorm", "RMSNorm", "Timesteps", "TimestepEmbedding"),
    *("ImageProjection", "MultiIPAdapterImageProjection", "IPAdapterPlusImageProjection", "IPAdapterPlusImageProjectionBlock"),
    *("DownBlock3D", "CrossAttnDownBlock3D", "UNetMidBlock3DCrossAttn", "UpBlock3D", "CrossAttnUpBlock3D"),
    *("DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal", "UNetMidBlockSpatioTemporal"),
    *("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
    *("DownBlockMotion", "CrossAttnDownBlockMotion", "UNetMidBlockCrossAttnMotion", "UNetMidBlock2DCrossAttn"),
    *("UpBlockMotion", "CrossAttnUpBlockMotion"),
)
acts_within_frame(*(f"diffusers.{name}" for name in (*FRAME_BLOCKS, *TIME_AXIS, *WITHIN_ROWS)))


class CausalAttention(Remembers, nn.Module):
    """An attention processor over time, features `[B * positions, T, C]`: a frame sees itself and at most `window` earlier ones.

    Where a context is given it acts as the processor that it replaces: each frame attends to the context, and to no other frame.
    """

    def __init__(self, across: object, window: int | None) -> None:
        super().__init__()
        self.across, self.window = across, window

    def forward(
        self, attn: nn.Module, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """As diffusers calls a processor; the names are its own."""
        if encoder_hidden_states is not None:
            return self.across(attn, hidden_states, encoder_hidden_states, attention_mask)
        if attention_mask is not None:
            raise InvalidInput(f"{self.name} looks back only and got an attention mask over frames, expected none")
        x = hidden_states
        q, k, v = (to(x).unflatten(-1, (attn.heads, -1)).transpose(1, 2) for to in (attn.to_q, attn.to_k, attn.to_v))  # [N, heads, T, d]
        q, k = (norm(t) if norm is not None else t for norm, t in ((attn.norm_q, q), (attn.norm_k, k)))
        out = attend_back(q, k, v, self, self.window).transpose(1, 2).flatten(2)  # [N, T, C]
        for layer in attn.to_out:
            out = layer(out)
        return (out + x if attn.residual_connection else out) / attn.rescale_output_factor


class FrameNumbers(Positions):
    """Embeds the number of each frame in the clip, `[B * T]`, counting on from the frames before this pass."""

    def __init__(self, waves: nn.Module) -> None:
        super().__init__()
        self.waves = waves

    def forward(self, numbers: Tensor) -> Tensor:
        if self.memory is not None:
            rows = self.memory.rows()
            numbers = numbers.reshape(rows, -1)  # [B, T]
            numbers = (numbers + self.before(rows, numbers.shape[1], numbers.device)[:, None]).flatten()
        return self.waves(numbers)


class PositionTable(Positions):
    """Adds a row of a table `[1, frames, C]` to each frame of `[B * positions, T, C]`, counting on from the frames before this pass."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("pe", table)  # named as in diffusers, so that state dicts fit

    def forward(self, x: Tensor) -> Tensor:
        rows = self.memory.rows() if self.memory is not None else 1
        index = self.before(rows, x.shape[1], x.device)[:, None] + torch.arange(x.shape[1], device=x.device)  # [B, T]
        if (last := int(index.max())) >= self.pe.shape[1]:
            raise InvalidInput(f"frame {last + 1} is past the {self.pe.shape[1]} positions that this network knows; begin a new clip")
        return x + self.pe[0, index].repeat_interleave(len(x) // rows, dim=0)


class FirstFrame(Remembers, nn.Sequential):
    """Features of the clip's first frame, computed in the pass that holds it and remembered in later ones."""

    def forward(self, x: Tensor) -> Tensor:
        cached = self.memory and self.memory.read(self.name)
        features = self.memory.spread(cached[0]).to(x) if cached else super().forward(x)
        if self.memory:
            self.memory.write(self.name, self.memory.history(features))
        return features


@converts(*(f"diffusers.{name}" for name in TIME_AXIS))
def _unet(plan: Plan, path: str, unet: nn.Module) -> None:
    axis = TIME_AXIS[type(unet).__name__]
    plan.change("levels", join(path, "time_embedding"), partial(FrameLevels.install, unet, axis))
    if type(unet).__name__ == "I2VGenXLUNet":
        layers = unet.image_latents_context_embedding
        plan.replace("positions", join(path, "image_latents_context_embedding"), FirstFrame(OrderedDict(layers.named_children())))


@converts("diffusers.TemporalConvLayer", "diffusers.TemporalResnetBlock")
def _temporal_convolutions(plan: Plan, path: str, block: nn.Module) -> None:
    plan.temporal_layers(path, block)


@converts("diffusers.TransformerTemporalModel", "diffusers.AnimateDiffTransformer3D")
def _temporal_transformer(plan: Plan, path: str, transformer: nn.Module) -> None:
    plan.group_norm(join(path, "norm"), transformer.norm)
    for name, layer in transformer.transformer_blocks.named_modules(prefix=join(path, "transformer_blocks"), remove_duplicate=False):
        if _is(layer, "Attention"):
            _attention_over_time(plan, name, layer)
        elif _is(layer, "SinusoidalPositionalEmbedding"):
            plan.replace("positions", name, PositionTable(layer.pe))


@converts("diffusers.TemporalBasicTransformerBlock", "diffusers.I2VGenXLTransformerTemporalEncoder")
def _temporal_block(plan: Plan, path: str, block: nn.Module) -> None:
    _attention_over_time(plan, join(path, "attn1"), block.attn1)


@converts("diffusers.TransformerSpatioTemporalModel")
def _frame_numbers(plan: Plan, path: str, transformer: nn.Module) -> None:
    plan.replace("positions", join(path, "time_proj"), FrameNumbers(transformer.time_proj))


@converts("diffusers.Attention")
def _attention_within_frames(plan: Plan, path: str, attn: nn.Module) -> None:
    if not (_is(attn.processor, *WITHIN_ROWS) or type(attn.processor) in plan.frame_wise):
        raise refusal(join(path, "processor"), attn.processor)


def _attention_over_time(plan: Plan, path: str, attn: nn.Module) -> None:
    if not _is(attn, "Attention"):
        raise refusal(path, attn)
    if not (_is(attn.processor, *SELF_ATTENTION) and attn.scale_qk):
        raise InvalidInput(
            f"{join(path, 'processor')} is a {type(attn.processor).__name__}, expected plain attention over time; "
            "set_processor(AttnProcessor2_0()) first"
        )
    plan.settle(path)
    made = CausalAttention(attn.processor, plan.window).train(attn.training)
    plan.change("attentions", path, partial(attn.set_processor, made))


def _is(part: object, *names: str) -> bool:
    """Whether `part` is of one of these classes of diffusers, and not of one derived from them."""
    return type(part).__name__ in names and type(part).__module__.partition(".")[0] == "diffusers"
