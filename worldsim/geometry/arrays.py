"""What numpy and torch name differently, so that geometry is written once for both. Knows no geometry, and loads no torch."""

import sys
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", np.ndarray, "Tensor")


def is_tensor(array: Any) -> bool:
    """Whether it is a torch tensor; where torch is not loaded, nothing is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def together(*arrays: Any) -> tuple[Any, list[Any]]:
    """The module (numpy, or torch if one of them is a tensor) and all as its arrays, of one float type, on the first tensor's device."""
    first = next((each for each in arrays if is_tensor(each)), None)
    if first is None:
        dtype = np.result_type(np.float32, *(np.asarray(each).dtype for each in arrays))
        return np, [np.asarray(each, dtype) for each in arrays]
    import torch

    tensors = [torch.as_tensor(each, device=first.device) for each in arrays]
    dtype = reduce(torch.promote_types, (each.dtype for each in tensors), torch.float32)
    return torch, [each.to(dtype) for each in tensors]


def whole(array: Array) -> Array:
    """As int64, cut off."""
    return array.long() if is_tensor(array) else array.astype(np.int64)


def typed(array: Array, like: Array) -> Array:
    """In the type of numbers that `like` has."""
    return array.to(like.dtype) if is_tensor(array) else array.astype(like.dtype)


def counted(count: int, like: Array) -> Array:
    """0 to count - 1 as int64, where `like` is."""
    if not is_tensor(like):
        return np.arange(count)
    import torch

    return torch.arange(count, device=like.device)


def least(count: int, index: Array, values: Array, start: float) -> Array:
    """Of each number below `count` the smallest of the values `[N]` whose index `[N]` it is, or `start`; `[count]`."""
    if is_tensor(values):
        return values.new_full((count,), start).scatter_reduce(0, index, values.detach(), "amin")
    found = np.full(count, start, values.dtype)
    np.minimum.at(found, index, values)
    return found
