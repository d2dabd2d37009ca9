"""Causal action guidance: push a prediction away from what the model expects without knowing the latest action (Vid2World, Algorithm 2)."""

from torch import Tensor


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """`unconditional + scale * (conditional - unconditional)`; scale 1 is no guidance."""
    return unconditional + scale * (conditional - unconditional)
