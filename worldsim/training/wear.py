"""What generated video looks like, done to true clips: blur, lost detail, blocks, shifted light and noise. Labels are never touched.

Every strength is drawn per clip, from nothing on, and is the same for all frames of a clip; noise is drawn per pixel.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 8  # pixels, as in JPEG


def worn(clips: Tensor, generator: torch.Generator, shift: int = 0) -> Tensor:
    """Clips `[N, k, H, W, 3]` in [-1, 1], worn; half of each kind of wear leaves a clip as it is.

    Args:
        clips: floats.
        generator: a CPU generator that everything is drawn from.
        shift: largest displacement in pixels, across and along.
    """
    lanes, frames = clips.shape[:2]
    x = clips.permute(0, 1, 4, 2, 3).flatten(1, 2).contiguous()  # [N, 3k, H, W]
    x = shifted(x, generator, shift)
    for wear, most in ((blurred, 1.2), (coarse, 1.0), (blocky, 0.15)):
        strength = most * (2 * torch.rand((lanes, 1, 1, 1), generator=generator) - 1)
        some = strength.flatten() > 0
        x[some] = wear(x[some], strength[some])
    x = lit(x.unflatten(1, (frames, 3)), generator)
    noise = 0.06 * torch.rand((lanes, 1, 1, 1, 1), generator=generator)
    x = x + noise * torch.randn(x.shape, generator=generator)
    return x.permute(0, 1, 3, 4, 2)


def shifted(x: Tensor, generator: torch.Generator, most: int) -> Tensor:
    """Each clip of `[N, C, H, W]` moved by up to `most` pixels, its border repeated."""
    if most == 0:
        return x.clone()
    moves = torch.randint(-most, most + 1, (len(x), 2), generator=generator).tolist()
    padded, (height, width) = F.pad(x, (most,) * 4, mode="replicate"), x.shape[-2:]
    return torch.stack(
        [lane[:, most + dy : most + dy + height, most + dx : most + dx + width] for lane, (dy, dx) in zip(padded, moves, strict=True)]
    )


def blurred(x: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of `[N, C, H, W]` with a standard deviation of `sigma` pixels per clip, `[N, 1, 1, 1]`; 0 leaves it."""
    reach = torch.arange(-3.0, 4.0)
    kernel = torch.exp(-(reach**2) / (2 * sigma.view(-1, 1).clamp(min=1e-3) ** 2))
    kernel = kernel / kernel.sum(1, keepdim=True)
    for dim in (2, 3):
        padded = F.pad(x, (0, 0, 3, 3) if dim == 2 else (3, 3, 0, 0), mode="replicate")
        x = sum(kernel[:, tap].view(-1, 1, 1, 1) * padded.narrow(dim, tap, x.shape[dim]) for tap in range(7))
    return x


def coarse(x: Tensor, amount: Tensor) -> Tensor:
    """Share `amount` of `[N, C, H, W]` replaced by itself at half the size and back."""
    size = x.shape[-2:]
    half = F.interpolate(x, [max(1, side // 2) for side in size], mode="area")
    return torch.lerp(x, F.interpolate(half, size, mode="bilinear", align_corners=False), amount)


def blocky(x: Tensor, step: Tensor) -> Tensor:
    """Cosine coefficients of 8 x 8 blocks rounded to multiples of `step`, the finer the coarser, as JPEG does."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (0, -width % BLOCK, 0, -height % BLOCK), mode="replicate")
    blocks = padded.unflatten(-1, (-1, BLOCK)).unflatten(-3, (-1, BLOCK))  # [N, C, rows, 8, columns, 8]
    basis = cosines()
    found = torch.einsum("fi,gj,ncrisj->ncrfsg", basis, basis, blocks)
    order = torch.arange(BLOCK)
    steps = step.view(-1, 1, 1, 1, 1, 1).clamp(min=1e-6) * (1 + order[:, None, None] + order)
    rounded = (found / steps).round() * steps
    return torch.einsum("fi,gj,ncrfsg->ncrisj", basis, basis, rounded).flatten(4).flatten(2, 3)[..., :height, :width]


def cosines() -> Tensor:
    """The orthonormal cosine basis of 8 points, `[frequency, point]`."""
    points = torch.arange(BLOCK)
    basis = torch.cos(math.pi / BLOCK * (points + 0.5) * points[:, None]) * math.sqrt(2 / BLOCK)
    basis[0] /= math.sqrt(2)
    return basis


def lit(x: Tensor, generator: torch.Generator) -> Tensor:
    """Clips `[N, k, 3, H, W]` with another contrast (a tenth), light and colour (a twentieth of the range each)."""
    lanes = len(x)
    contrast = 1 + 0.1 * (2 * torch.rand((lanes, 1, 1, 1, 1), generator=generator) - 1)
    light = 0.05 * (2 * torch.rand((lanes, 1, 1, 1, 1), generator=generator) - 1)
    colour = 0.05 * (2 * torch.rand((lanes, 1, 3, 1, 1), generator=generator) - 1)
    return x * contrast + light + colour
