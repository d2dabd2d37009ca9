"""PhysMaster's encoder: what the reset frame says about how its things will move, as a few tokens fixed over the episode.

A trunk looks at the picture, a head turns its features into tokens that begin at zero, and zero tokens change nothing: a network with a
fresh encoder is bit for bit the one without. Knows nothing about the network that reads the tokens, and no file but the trunk's folder.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldsim.errors import InvalidInput
from worldsim.models.frozen_features import Frozen, digest_of_model

TINY = "tiny"


@dataclass(frozen=True)
class PhysicsEncoderConfig:
    """What looks at the reset frame (PhysMaster, arXiv 2510.13809, section 3.1).

    Attributes:
        trunk: "tiny", a small convolutional one that is trained with the rest; or the folder of a picture model of transformers (DINOv2,
            Depth Anything), which is never trained and not saved.
        sha256: what the files of that folder are known by; None takes what is there, see `pinned`.
        grid: the picture is told in grid x grid tokens, besides one for all of it; 0 for that one alone.
        width: channels of the tiny trunk.
        hidden: of the head.
    """

    trunk: str = TINY
    sha256: str | None = None
    grid: int = 4
    width: int = 32
    hidden: int = 128

    def __post_init__(self) -> None:
        if self.grid < 0 or self.width < 1 or self.hidden < 1:
            raise InvalidInput(f"grid={self.grid}, width={self.width} and hidden={self.hidden}, expected a grid from 0 and sizes from 1")

    def pinned(self) -> "PhysicsEncoderConfig":
        """With the digest of the trunk's files in it, which a checkpoint keeps.

        Raises:
            InvalidInput: no model there, or another than `sha256` says.
        """
        if self.trunk == TINY:
            return self
        if self.sha256 not in (None, found := digest_of_model(self.trunk, "trunk")):
            line = f"trunk={self.trunk} holds another model ({found}) than this encoder was trained on ({self.sha256})"
            raise InvalidInput(f"{line}; put that one there")
        return replace(self, sha256=found)

    def build(self, embedding: int) -> "PhysicsEncoder":
        """An encoder to tokens of size `embedding`, which are zero until its head is trained.

        Raises:
            InvalidInput, MissingDependency: the trunk's folder cannot be read.
        """
        trunk = TinyTrunk(self.width) if self.trunk == TINY else PretrainedTrunk(self.trunk)
        return PhysicsEncoder(trunk, token_head(trunk.size, self.hidden, embedding), self.grid)


class TinyTrunk(nn.Module):
    """Three convolutions of stride 2 that also see where they are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.size = 2 * width
        widths = (5, width, width, self.size)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in zip(widths, widths[1:], strict=False))

    def forward(self, pictures: Tensor) -> Tensor:
        """Floats in [-1, 1] `[B, H, W, 3]` to features `[B, H/8, W/8, size]`, rounded up."""
        x = pictures.permute(0, 3, 1, 2)
        lines = [torch.linspace(-1, 1, size, device=x.device, dtype=x.dtype) for size in x.shape[-2:]]
        place = torch.stack(torch.meshgrid(*lines, indexing="ij")).expand(len(x), -1, -1, -1)
        x = torch.cat([x, place], dim=1)
        for convolution in self.convolutions:
            x = F.silu(convolution(x))
        return x.permute(0, 2, 3, 1)


class PretrainedTrunk(nn.Module):
    """A picture model of transformers in a local folder. It is no part of the parameters: neither trained nor saved."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._frozen = (Frozen(folder, "trunk"),)  # in a tuple: not registered
        self.size = self._frozen[0].size

    def forward(self, pictures: Tensor) -> Tensor:
        """Floats in [-1, 1] `[B, H, W, 3]` to features `[B, rows, columns, size]`."""
        return self._frozen[0].patches(pictures).to(pictures)


def token_head(size: int, hidden: int, embedding: int) -> nn.Sequential:
    """Features to tokens; its last layer begins at zero."""
    last = nn.Linear(hidden, embedding)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.LayerNorm(size), nn.Linear(size, hidden), nn.SiLU(), last)


class PhysicsEncoder(nn.Module):
    """Pictures to tokens: the first is of the whole picture, `grid` x `grid` more of its parts.

    `head` is what PhysMaster's third stage trains alone.
    """

    def __init__(self, trunk: nn.Module, head: nn.Module, grid: int) -> None:
        super().__init__()
        self.trunk, self.head, self.grid = trunk, head, grid

    def forward(self, pictures: Tensor) -> Tensor:
        """Floats in [-1, 1] `[B, H, W, 3]` to tokens `[B, 1 + grid * grid, E]`."""
        features = self.trunk(pictures).permute(0, 3, 1, 2)  # [B, size, h, w]
        return self.head(torch.cat([part.flatten(2).transpose(1, 2) for part in self._parts(features)], dim=1))

    def _parts(self, features: Tensor) -> Iterator[Tensor]:
        yield F.adaptive_avg_pool2d(features, 1)
        if self.grid:
            yield F.adaptive_avg_pool2d(features, self.grid)


class TokenAttention(nn.Module):
    """Every position of every frame looks at the episode's tokens. No layer has a bias, so tokens of zero add exactly nothing."""

    def __init__(self, channels: int, embedding: int, head: int = 32) -> None:
        super().__init__()
        self.head = head
        self.query = nn.Linear(channels, channels, bias=False)
        self.keys_values = nn.Linear(embedding, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Features `[B, S, T, H, W, C]` and tokens `[B, N, E]` to what is to be added to the features."""
        q = self.query(F.layer_norm(x, x.shape[-1:])).flatten(1, 4).unflatten(-1, (-1, self.head)).transpose(1, 2)  # [B, heads, S*T*H*W, d]
        k, v = self.keys_values(tokens).unflatten(-1, (2, -1, self.head)).permute(2, 0, 3, 1, 4)  # [B, heads, N, d] each
        h = F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype)).transpose(1, 2).reshape(x.shape)
        return self.out(h)
