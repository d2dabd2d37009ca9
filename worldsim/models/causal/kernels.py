"""What a causal kernel must be to do what a centred one did (Vid2World, arXiv 2505.14357, section 4.1 and appendix A). Knows no network."""

import torch
from torch import Tensor

from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

METHODS = ("shift", "masked", "extrapolative", "mixed")


def check_transfer(method: str) -> str:
    """`method`, if it is a known transfer.

    Raises:
        UnknownName: with the closest known name.
    """
    if method not in METHODS:
        raise UnknownName(f'unknown transfer "{method}"; {did_you_mean(method, METHODS)}')
    return method


def transfer_kernel(weight: Tensor, method: str, order: int = 2, axis: int = -3) -> Tensor:
    """Weights of a causal kernel that does what a centred one did.

    Args:
        weight: K = 2m + 1 taps along `axis`, K odd, taps -m..m around the present frame; the default axis is that of `[..., K, 1, 1]`.
        method: "shift" keeps the taps, so the output lags m frames; "masked" drops the future taps; "extrapolative" replaces each future
            frame by the least-squares line through the last `order` frames (exact on signals linear in time); "mixed" is "masked" with
            the m oldest taps set to the mean of all taps (the first version of the paper).
        order: number of frames the line is fitted to, at least 2.
        axis: the axis of time.

    Returns:
        Like `weight`, taps -2m..0. The bias stays what it was.

    Raises:
        InvalidInput: an even kernel, or an order that the kernel's reach or a line does not allow.
        UnknownName: unknown method.
    """
    check_transfer(method)
    taps = weight.movedim(axis, -1)  # [..., K]
    count, reach = taps.shape[-1], taps.shape[-1] // 2
    if count % 2 == 0:
        raise InvalidInput(f"a kernel of {count} taps has no centre, expected an odd number")
    if method == "shift" or reach == 0:
        return weight.clone()
    causal = torch.zeros_like(taps)
    causal[..., reach:] = taps[..., : reach + 1]
    if method == "mixed":
        causal[..., :reach] = taps.mean(-1, keepdim=True)
    if method == "extrapolative":
        if not 2 <= order <= count:
            raise InvalidInput(f"order is {order}, expected 2 to {count} for a kernel of {count} taps")
        line = line_coefficients(reach, order).to(weight)  # [m, order]
        causal[..., count - order :] += (taps[..., reach + 1 :] @ line).flip(-1)
    return causal.movedim(-1, axis).contiguous()


def line_coefficients(reach: int, order: int) -> Tensor:
    """`[reach, order]`: weight of the feature j frames back in the extrapolation k = 1..reach frames ahead (ordinary least squares)."""
    back = -torch.arange(order, dtype=torch.float64)
    centred = back - back.mean()
    ahead = torch.arange(1, reach + 1, dtype=torch.float64) - back.mean()
    return 1 / order + ahead[:, None] * centred[None] / centred.square().sum()


def extrapolation_bound(weight: Tensor, smoothness: float, order: int = 2, axis: int = -3) -> Tensor:
    """Largest error that extrapolation can make on a signal whose second difference in time is at most `smoothness`.

    `(L / 2) * sum_i |w_i| (i^2 + 6 p^2 i / (p + 1) + (p - 1)(p - 2) / 6)` over the future taps i = 1..m (appendix A.3).

    Returns:
        `weight` without `axis`, the bound for each pair of channels.
    """
    taps = weight.movedim(axis, -1)
    reach = taps.shape[-1] // 2
    i, p = torch.arange(1, reach + 1).to(weight), order
    factor = i.square() + 6 * p**2 * i / (p + 1) + (p - 1) * (p - 2) / 6
    return smoothness / 2 * (taps[..., reach + 1 :].abs() * factor).sum(-1)
