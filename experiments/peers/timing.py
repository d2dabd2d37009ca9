"""Processor time of several ways to do one job, in turn, so that a busy machine is busy for all of them. Knows no model."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Contender:
    """A job: calling `work` makes `frames` frames, counted over all lanes."""

    work: Callable[[], None]
    frames: int


def alternate(contenders: Mapping[str, Contender], repeats: int) -> dict[str, float]:
    """CPU milliseconds per frame of each, the least of `repeats` runs after one that is thrown away; A, B, A, B, ..."""
    for contender in contenders.values():
        contender.work()
    runs = [{name: _milliseconds(contender) for name, contender in contenders.items()} for _ in range(repeats)]
    return {name: min(run[name] for run in runs) for name in contenders}


def _milliseconds(contender: Contender) -> float:
    begin = time.process_time()
    contender.work()
    return 1000 * (time.process_time() - begin) / contender.frames


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch computes on one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
