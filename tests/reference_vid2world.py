"""The Vid2World U-Net once more, from official weights with torch's primitives and plain loops; and tiny networks to hold against it.

Nothing here uses a layer of ours. Features are `[B, C, T, H, W]` throughout.
"""

import math
from copy import deepcopy
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.models.vid2world import Vid2WorldConfig, Vid2WorldUNet, official_weights

PREFIX = "model.diffusion_model."
GROUPS = 32
SIZES = {"model_channels": 32, "channel_mult": (1, 2), "num_res_blocks": 1, "attention_at": (1,), "head_channels": 16, "context_dim": 24}
SIZES |= {"action_size": 3, "text_tokens": 3, "tokens_per_frame": 2, "frames": 4, "window": 5, "latent_height": 4, "latent_width": 6}
STRICT = {"norm": "frame", "image_tokens": "per_frame"}


def tiny(**changes: object) -> Vid2WorldConfig:
    """A network of two levels: 4 groups of image tokens, at most 5 frames, 4 x 6 latents."""
    return Vid2WorldConfig(**(SIZES | changes))


def network(seed: int = 0, **changes: object) -> Vid2WorldUNet:
    """A tiny network in float64 for evaluation, to be changed at will; every weight is random, also those that begin at zero."""
    return deepcopy(_network(seed, **changes))


@cache
def _network(seed: int, **changes: object) -> Vid2WorldUNet:
    torch.manual_seed(seed)
    net = tiny(**changes).build().double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def inputs(config: Vid2WorldConfig, frames: int, rows: int = 1, seed: int = 1) -> dict[str, Tensor]:
    """Random arguments of a pass; no action is hidden whole."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return {
        "x": draw(rows, frames, config.in_channels, 4, 6),
        "timesteps": torch.randint(0, 1000, (rows, frames), generator=generator),
        "actions": draw(rows, frames, config.action_size),
        "known": 0.1 + 0.9 * torch.rand(rows, frames, generator=generator, dtype=torch.float64),
        "context": draw(rows, config.context_tokens, config.context_dim),
        "fps": torch.full((rows,), 3.0, dtype=torch.float64),
    }


def part(given: dict[str, Tensor], frames: slice) -> dict[str, Tensor]:
    """Some frames of a pass; what belongs to the clip stays."""
    return {name: value if name in ("context", "fps") else value[:, frames] for name, value in given.items()}


def weights_of(net: Vid2WorldUNet) -> dict[str, Tensor]:
    """The weights under their official names, without prefix."""
    return {name.removeprefix(PREFIX): value.detach().clone() for name, value in official_weights(net).items()}


class Reference:
    """The network as its specification has it.

    Attributes:
        weights: by official name without prefix; a base's convolutions under either name.
        config: readings and sizes.
    """

    def __init__(self, weights: dict[str, Tensor], config: Vid2WorldConfig) -> None:
        self.weights = {name.replace(".conv3d", "").replace(".conv2d", ""): value for name, value in weights.items()}
        self.config = config

    def __call__(self, x: Tensor, timesteps: Tensor, actions: Tensor, known: Tensor, context: Tensor, fps: Tensor) -> Tensor:
        frames = x.shape[1]
        emb = self.embedding(timesteps, actions, known, fps)
        text, image = context[:, : self.config.text_tokens], context[:, self.config.text_tokens :]
        shown = [self.tokens(image, t, frames) for t in range(frames)]
        h, skips = x.transpose(1, 2), []
        for i in range(self.count("input_blocks")):
            h = self.block(f"input_blocks.{i}", h, emb, text, shown)
            if i == 0:
                h = self.temporal("init_attn.0", h)
            skips.append(h)
        h = self.block("middle_block", h, emb, text, shown)
        for i in range(self.count("output_blocks")):
            h = self.block(f"output_blocks.{i}", torch.cat([h, skips.pop()], dim=1), emb, text, shown)
        return self.head(F.silu(self.norm("out.0", h, 1e-5))).transpose(1, 2)

    def count(self, place: str) -> int:
        return 1 + max(int(name.split(".")[1]) for name in self.weights if name.startswith(f"{place}."))

    def has(self, name: str) -> bool:
        return f"{name}.weight" in self.weights

    def linear(self, name: str, x: Tensor) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        weight = weight[..., 0] if weight.ndim == 3 else weight
        return x @ weight.T + self.weights.get(f"{name}.bias", torch.zeros(len(weight), dtype=x.dtype))

    def mlp(self, name: str, x: Tensor) -> Tensor:
        layers = [at for at in (0, 2, 4) if self.has(f"{name}.{at}")]
        for at in layers:
            x = self.linear(f"{name}.{at}", F.silu(x) if at else x)
        return x

    def waves(self, values: Tensor) -> Tensor:
        half = self.config.model_channels // 2
        angles = [values.double() * math.exp(-math.log(10000.0) * i / half) for i in range(half)]
        return torch.stack([angle.cos() for angle in angles] + [angle.sin() for angle in angles], dim=-1)

    def embedding(self, timesteps: Tensor, actions: Tensor, known: Tensor, fps: Tensor) -> Tensor:
        emb = self.mlp("time_embed", self.waves(timesteps)) + self.mlp("fps_embedding", self.waves(fps))[:, None]
        if not self.has("action_emb_proj.0"):
            return emb
        if self.has("action_emb_preprocess"):
            actions = actions @ self.weights["action_emb_preprocess.weight"]
        return emb + known[..., None] * self.mlp("action_emb_proj", actions)

    def tokens(self, image: Tensor, t: int, frames: int) -> Tensor:
        size, groups = self.config.tokens_per_frame, self.config.frames
        own = image[:, size * min(t, groups - 1) : size * (min(t, groups - 1) + 1)]
        return image if self.config.image_tokens == "official" and frames != groups else own

    def conv(self, name: str, h: Tensor, **how: int) -> Tensor:
        frames = [F.conv2d(frame, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], **how) for frame in h.unbind(2)]
        return torch.stack(frames, dim=2)

    def norm(self, name: str, h: Tensor, eps: float, scope: str = "frame") -> Tensor:
        done = []
        for t in range(h.shape[2]):
            seen = {"frame": h[:, :, t : t + 1], "clip": h, "cumulative": h[:, :, : t + 1]}[scope].reshape(len(h), GROUPS, -1)
            mean, variance = seen.mean(-1, keepdim=True), seen.var(-1, keepdim=True, unbiased=False)
            normal = ((h[:, :, t].reshape(len(h), GROUPS, -1) - mean) / (variance + eps).sqrt()).reshape(h[:, :, t].shape)
            done.append(normal * self.weights[f"{name}.weight"][:, None, None] + self.weights[f"{name}.bias"][:, None, None])
        return torch.stack(done, dim=2)

    @property
    def scope(self) -> str:
        return self.config.norm if self.config.causal else "clip"

    def block(self, name: str, h: Tensor, emb: Tensor, text: Tensor, shown: list[Tensor]) -> Tensor:
        at = 0
        while any(key.startswith(f"{name}.{at}.") for key in self.weights):
            here = f"{name}.{at}"
            if self.has(f"{here}.in_layers.0"):
                h = self.residual(here, h, emb)
            elif self.has(f"{here}.transformer_blocks.0.attn2.to_k_ip"):
                h = self.spatial(here, h, text, shown)
            elif self.has(f"{here}.norm"):
                h = self.temporal(here, h)
            elif self.has(f"{here}.op"):
                h = self.conv(f"{here}.op", h, stride=2, padding=1)
            elif self.has(f"{here}.conv"):
                h = self.conv(f"{here}.conv", h.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4), padding=1)
            else:
                h = self.conv(here, h, padding=1)
            at += 1
        return h

    def residual(self, name: str, h: Tensor, emb: Tensor) -> Tensor:
        x = self.conv(f"{name}.in_layers.2", F.silu(self.norm(f"{name}.in_layers.0", h, 1e-5)), padding=1)
        x = x + self.linear(f"{name}.emb_layers.1", F.silu(emb)).transpose(1, 2)[..., None, None]
        x = self.conv(f"{name}.out_layers.3", F.silu(self.norm(f"{name}.out_layers.0", x, 1e-5)), padding=1)
        h = x + (self.conv(f"{name}.skip_connection", h) if self.has(f"{name}.skip_connection") else h)
        x = h
        for stage in ("conv1.0", "conv1.2", "conv2.0", "conv2.3", "conv3.0", "conv3.3", "conv4.0", "conv4.3"):
            here = f"{name}.temopral_conv.{stage}"
            x = F.silu(self.norm(here, x, 1e-5, self.scope)) if stage.endswith(".0") else self.over_time(here, x)
        return h + x

    def over_time(self, name: str, x: Tensor) -> Tensor:
        """Three taps in a loop: t-2..t once causal, t-1..t+1 before."""
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        first, frames, done = -2 if self.config.causal else -1, x.shape[2], []
        for t in range(frames):
            y = bias[None, :, None, None].expand(len(x), -1, *x.shape[3:])
            for tap in range(3):
                if 0 <= t + first + tap < frames:
                    y = y + torch.einsum("oi,bihw->bohw", weight[:, :, tap, 0, 0], x[:, :, t + first + tap])
            done.append(y)
        return torch.stack(done, dim=2)

    def attention(self, name: str, x: Tensor, tokens: Tensor, kind: str = "", seen: Tensor | None = None) -> Tensor:
        """Before the output projection: `[..., L, C]` attend to `[..., N, C']`."""
        whole = self.linear(f"{name}.to_q", x), self.linear(f"{name}.to_k{kind}", tokens), self.linear(f"{name}.to_v{kind}", tokens)
        answers = []
        for q, k, v in zip(*(each.split(self.config.head_channels, dim=-1) for each in whole), strict=True):  # one head at a time
            scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
            scores = scores if seen is None else scores.masked_fill(~seen, -math.inf)
            answers.append(scores.softmax(-1) @ v)
        return torch.cat(answers, dim=-1)

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def gated(self, name: str, x: Tensor) -> Tensor:
        inner = self.linear(f"{name}.net.0.proj", x)
        half = inner.shape[-1] // 2
        return self.linear(f"{name}.net.2", inner[..., :half] * F.gelu(inner[..., half:]))

    def spatial(self, name: str, h: Tensor, text: Tensor, shown: list[Tensor]) -> Tensor:
        normal, inside, done = self.norm(f"{name}.norm", h, 1e-6), f"{name}.transformer_blocks.0", []
        for t in range(h.shape[2]):
            x = self.linear(f"{name}.proj_in", normal[:, :, t].flatten(2).transpose(1, 2))  # [B, H*W, C]
            y = self.layer_norm(f"{inside}.norm1", x)
            x = x + self.linear(f"{inside}.attn1.to_out.0", self.attention(f"{inside}.attn1", y, y))
            y = self.layer_norm(f"{inside}.norm2", x)
            answer = self.attention(f"{inside}.attn2", y, text) + self.attention(f"{inside}.attn2", y, shown[t], "_ip")
            x = x + self.linear(f"{inside}.attn2.to_out.0", answer)
            x = x + self.gated(f"{inside}.ff", self.layer_norm(f"{inside}.norm3", x))
            done.append(self.linear(f"{name}.proj_out", x).transpose(1, 2).reshape(h[:, :, t].shape))
        return h + torch.stack(done, dim=2)

    def temporal(self, name: str, h: Tensor) -> Tensor:
        frames, inside = h.shape[2], f"{name}.transformer_blocks.0"
        age = torch.arange(frames)[:, None] - torch.arange(frames)
        seen = (age >= 0) & (age < self.config.window) if self.config.causal else None
        x = self.linear(f"{name}.proj_in", self.norm(f"{name}.norm", h, 1e-6, self.scope).permute(0, 3, 4, 2, 1))  # [B, H, W, T, C]
        for at in (1, 2):
            y = self.layer_norm(f"{inside}.norm{at}", x)
            x = x + self.linear(f"{inside}.attn{at}.to_out.0", self.attention(f"{inside}.attn{at}", y, y, seen=seen))
        x = x + self.gated(f"{inside}.ff", self.layer_norm(f"{inside}.norm3", x))
        return h + self.linear(f"{name}.proj_out", x).permute(0, 4, 3, 1, 2)

    def head(self, h: Tensor) -> Tensor:
        """Row by row: rows h-2..h as released, h-1..h+1 otherwise."""
        weight, bias = self.weights["out.2.weight"], self.weights["out.2.bias"]
        first = -2 if self.config.causal and self.config.head == "rows" else -1
        padded, rows = F.pad(h, (1, 1)), []
        for row in range(h.shape[3]):
            y = bias[None, :, None, None].expand(len(h), -1, h.shape[2], h.shape[4])
            for i in range(3):
                if 0 <= row + first + i < h.shape[3]:
                    for j in range(3):
                        y = y + torch.einsum("oi,bitw->botw", weight[:, :, i, j], padded[:, :, :, row + first + i, j : j + h.shape[4]])
            rows.append(y)
        return torch.stack(rows, dim=3)
