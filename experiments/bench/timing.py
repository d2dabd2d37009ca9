"""Time of several jobs in turn, so that a busy machine is busy for all of them, and the operations they do. Knows no model."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """Calling `work` makes `frames` frames, counted over all lanes."""

    work: Callable[[], object]
    frames: int


@dataclass(frozen=True)
class Cost:
    """What a frame of one lane costs: processor time over all threads, and time on the clock, both in milliseconds."""

    cpu_ms: float
    wall_ms: float


def alternate(jobs: Mapping[str, Job], repeats: int, device: str = "cpu", *, warm: bool = False) -> dict[str, Cost]:
    """The cost of a frame of each job, the least of `repeats` runs after one that is thrown away unless they are `warm`; A, B, A, B, ...

    On a GPU the clock is read once all work is done there, and the processor's time says little.
    """
    for job in jobs.values() if not warm else ():
        _spent(job, device)
    runs = [{name: _spent(job, device) for name, job in jobs.items()} for _ in range(repeats)]
    return {name: Cost(min(run[name].cpu_ms for run in runs), min(run[name].wall_ms for run in runs)) for name in jobs}


def _spent(job: Job, device: str) -> Cost:
    synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    job.work()
    synchronize(device)
    return Cost(1000 * (time.process_time() - cpu) / job.frames, 1000 * (time.perf_counter() - wall) / job.frames)


def synchronize(device: str) -> None:
    """Wait until the GPU has done what it was told."""
    import torch

    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def flops_per_frame(job: Job) -> float:
    """Floating-point operations of one frame of one lane, a product and its sum counted as two, compiled code left aside."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        job.work()
    return counter.get_total_flops() / job.frames
