"""How far one frame is from another: PSNR and SSIM, and the view of a frame that is scored. Knows nothing of who made the frames."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worldsim.errors import InvalidInput

BEST = 60.0  # dB that identical frames count as
WINDOW, SIGMA = 11, 1.5  # of SSIM's Gaussian
CHUNK = 16  # frames that SSIM takes at once


def psnr(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of each frame: 10 log10(255^2 / MSE), at most 60.

    Args:
        frames: uint8 `[T, H, W, 3]`.
        truth: uint8, the same shape, or one frame for all.

    Returns:
        float64 `[T]`.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio

    ours, theirs = (_planes(each).double() for each in np.broadcast_arrays(frames, truth))
    found = peak_signal_noise_ratio(ours, theirs, data_range=255.0, reduction="none", dim=(1, 2, 3))
    return found.clamp(max=BEST).numpy()


def ssim(frames: np.ndarray, truth: np.ndarray, *, border: bool = False, device: str = "cpu") -> np.ndarray:
    """Structural similarity of each frame (Wang et al. 2004): 11 x 11 Gaussian window of sigma 1.5, K1 0.01, K2 0.03, colours averaged.

    Args:
        frames: uint8 `[T, H, W, 3]`, H and W at least 11.
        truth: uint8, the same shape, or one frame for all.
        border: count windows that reach over the edge as well, filled by reflection, as torchmetrics does; otherwise only whole windows
            count, as in the paper and in piqa.
        device: where it is computed; on one CPU core 16 frames of 320 x 512 take some three seconds.

    Returns:
        float64 `[T]`, 1 for identical frames.

    Raises:
        InvalidInput: frames smaller than the window.
    """
    if min(frames.shape[1:3]) < WINDOW:
        raise InvalidInput(f"frames of {frames.shape[1]} x {frames.shape[2]} are too small for SSIM, expected at least {WINDOW} x {WINDOW}")
    ours, theirs = np.broadcast_arrays(frames, truth)
    parts = [_ssim(ours[i : i + CHUNK], theirs[i : i + CHUNK], border=border, device=device) for i in range(0, len(ours), CHUNK)]
    return np.concatenate(parts)


def _ssim(frames: np.ndarray, truth: np.ndarray, *, border: bool, device: str) -> np.ndarray:
    from torchmetrics.functional.image import structural_similarity_index_measure

    options = {"sigma": SIGMA, "kernel_size": WINDOW, "data_range": 255.0, "reduction": "none", "return_full_image": True}
    ours, theirs = (_planes(each).to(device).float() for each in (frames, truth))
    _, similarity = structural_similarity_index_measure(ours, theirs, **options)  # [T, 3, H, W]
    edge = 0 if border else WINDOW // 2
    height, width = similarity.shape[2:]
    return similarity[..., edge : height - edge, edge : width - edge].double().mean(dim=(1, 2, 3)).cpu().numpy()


def scored_view(frames: np.ndarray, crop: tuple[int, int] | None, size: tuple[int, int] | None) -> np.ndarray:
    """The part of each frame that is scored: cut from the centre, then resized bilinearly without smoothing.

    Args:
        frames: uint8 `[..., H, W, 3]`.
        crop: height and width to cut out; None keeps the whole frame. Of an odd rest the larger half is cut at the end.
        size: height and width to resize to; None keeps the size.

    Returns:
        uint8 `[..., H', W', 3]`, rounded to whole levels.

    Raises:
        InvalidInput: a crop larger than the frames.
    """
    height, width = frames.shape[-3:-1]
    tall, wide = crop or (height, width)
    if tall > height or wide > width:
        raise InvalidInput(f"cannot cut {tall} x {wide} out of frames of {height} x {width}; type crop=[{height},{width}] or less")
    top, left = (height - tall) // 2, (width - wide) // 2
    cut = frames[..., top : top + tall, left : left + wide, :]
    if not size or tuple(size) == cut.shape[-3:-1]:
        return cut
    flat = _planes(cut.reshape(-1, *cut.shape[-3:])).float()  # [N, 3, tall, wide]
    small = functional.interpolate(flat, size=tuple(size), mode="bilinear", align_corners=False).round().byte()
    return small.permute(0, 2, 3, 1).numpy().reshape(*frames.shape[:-3], *size, 3)


def _planes(frames: np.ndarray) -> Tensor:
    """uint8 `[T, H, W, 3]` to uint8 `[T, 3, H, W]`."""
    return torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)
