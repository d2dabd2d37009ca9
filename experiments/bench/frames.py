"""The cost of a new frame in the model alone, for each way to keep the past and each number of denoising steps."""

from typing import Any

import torch

from worldsim.experiments.bench.memory import cache_facts, forget_peak, peak_mib
from worldsim.experiments.bench.subject import Subject, cycle, running
from worldsim.experiments.bench.timing import Cost, Job, alternate, flops_per_frame
from worldsim.experiments.schema import BenchConfig

Table = dict[str, dict[str, float]]  # history -> steps -> value


def measure_frames(subject: Subject, config: BenchConfig) -> dict[str, Any]:
    """Milliseconds per frame and lane, on the same weights; the ways of keeping the past take turns.

    `composed` holds what was not run: a frame is a fixed part and N equal evaluations, so two measured step counts give any other.
    """
    forget_peak(subject.device)
    found: dict[str, dict[str, Cost]] = {history: {} for history in config.histories}
    flops: Table = {history: {} for history in config.histories}
    for steps in config.steps:
        jobs = {history: _job(subject, config, history, steps) for history in config.histories}
        for history, job in jobs.items():
            flops[history][str(steps)] = flops_per_frame(job)
        warm = config.compile == "none"  # counting has run each job once, but not as compiled
        for history, cost in alternate(jobs, config.repeats, subject.device, warm=warm).items():
            found[history][str(steps)] = cost
    cpu = {history: {steps: cost.cpu_ms for steps, cost in by_steps.items()} for history, by_steps in found.items()}
    wall = {history: {steps: cost.wall_ms for steps, cost in by_steps.items()} for history, by_steps in found.items()}
    own = wall if torch.device(subject.device).type == "cuda" else cpu
    made = {"composed_ms": composed(own, config.composed), "composed_from": sorted(config.steps)[:: max(1, len(config.steps) - 1)]}
    rates = _rates(flops, wall, config.peak_tflops)
    return {
        "frames_model": subject.facts,
        "frames_precision": subject.precision,
        "frames_peak_mib": peak_mib(subject.device),
        "frames_cache": cache_facts(subject),
        "batch": config.batch,
        "frames_in_window": subject.network.window + 1,
        "guidance": subject.sampler.guidance if config.guidance is None else config.guidance,
        "repeats": config.repeats,
        "frame_ms": own,
        "frame_cpu_ms": cpu,
        "frame_wall_ms": wall,
        "fps": {history: {steps: 1000 / each for steps, each in by_steps.items()} for history, by_steps in wall.items()},
        "speedup": _ratios(own),
        **(made | {"composed_speedup": _ratios(made["composed_ms"])} if made["composed_ms"] else {}),
        **rates,
    }


def _job(subject: Subject, config: BenchConfig, history: str, steps: int) -> Job:
    model = subject.world(history=history, steps=steps, guidance=config.guidance)
    return running(model, config.batch, config.frames or cycle(subject, history))


def composed(measured: Table, steps: list[int]) -> Table:
    """What a frame of `steps` denoising steps costs by the fewest and the most steps that were measured; empty where only one was."""
    found: Table = {}
    for history, by_steps in measured.items():
        least, most = min(by_steps, key=int), max(by_steps, key=int)
        if steps and least != most:
            each = (by_steps[most] - by_steps[least]) / (int(most) - int(least))
            found[history] = {str(count): by_steps[most] + each * (count - int(most)) for count in steps}
    return found


def _ratios(measured: Table) -> Table:
    """How many times as fast as recomputing each way is; empty where that was not measured."""
    if "recompute" not in measured:
        return {}
    slow = measured["recompute"]
    return {
        history: {steps: slow[steps] / each for steps, each in by_steps.items()}
        for history, by_steps in measured.items()
        if history != "recompute"
    }


def _rates(flops: Table, wall_ms: Table, peak: float | None) -> dict[str, Any]:
    """Operations per frame, and those done in a second of the clock, beside the machine's peak where it is given."""
    tflops = {
        history: {steps: each / wall_ms[history][steps] / 1e9 for steps, each in by_steps.items()} for history, by_steps in flops.items()
    }
    return {"frame_gflop": _scaled(flops, 1e-9), "tflops": tflops} | (
        {"peak_tflops": peak, "share_of_peak": _scaled(tflops, 1 / peak)} if peak else {}
    )


def _scaled(table: Table, factor: float) -> Table:
    return {history: {steps: factor * value for steps, value in by_steps.items()} for history, by_steps in table.items()}
