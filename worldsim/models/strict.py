"""Torch as `determinism=strict` wants it: a fixed number of threads and deterministic kernels only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def be_strict(threads: int = 1) -> None:
    """Hold torch to `threads` threads and to kernels that give the same bits every time, from now on."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)


@contextmanager
def strict_torch(threads: int = 1) -> Iterator[None]:
    """The same within the block; afterwards torch is as it was."""
    threads_before = torch.get_num_threads()
    mode, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    be_strict(threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(mode=mode, warn_only=warns)
