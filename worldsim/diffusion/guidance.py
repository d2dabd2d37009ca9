"""Causal action guidance: push a prediction away from what the model expects without knowing the latest action (Vid2World, Algorithm 2)."""

from collections.abc import Sequence

from torch import Tensor


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """`unconditional + scale * (conditional - unconditional)`; scale 1 is no guidance.

    The paper prints `(1 + lambda) conditional - lambda unconditional`, so scale is 1 + lambda. Its value 2.5 is the scale, not lambda:
    its Algorithm 2 skips guidance at 1, and its code uses 2.5 as the scale.
    """
    return unconditional + scale * (conditional - unconditional)


def rescale(guided: Tensor, conditional: Tensor, share: float, axes: Sequence[int]) -> Tensor:
    """A guided prediction partly brought back to the spread that it had before guidance (Lin et al. 2024, section 3.4).

    `share * guided * std(conditional) / std(guided) + (1 - share) * guided`; share 0 changes nothing. Unlike `guide`, this does not
    commute with the step to a clean sample: apply it to what the network predicts, before `to_clean`.

    Args:
        guided: the output of `guide`, of any shape.
        conditional: the prediction with the action, of the same shape.
        share: 0 to 1; Vid2World uses 0.7.
        axes: the axes that one standard deviation is taken over; all others keep one each. Vid2World pools over channel, time, height
            and width, history included. Without the time axis each frame, and so the newest one, has its own.
    """
    before, after = (each.std(dim=tuple(axes), keepdim=True, correction=0) for each in (conditional, guided))
    return guided * (share * before / after.clamp(min=1e-8) + (1 - share))
