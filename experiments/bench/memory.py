"""What lanes take of memory: the most that the process or the GPU held, and the kept features beside what their formula says."""

import resource
import sys
from typing import Any

import torch
from torch import nn

from worldsim.experiments.bench.subject import Subject, noise_frames, running
from worldsim.experiments.schema import BenchConfig
from worldsim.models.cache import HistoryCache
from worldsim.models.video_unet import VideoUNet


def measure_memory(subject: Subject, config: BenchConfig) -> dict[str, Any]:
    """Peak memory in MiB by the number of lanes, from few to many, and bytes of kept features per lane in `stream`."""
    model, peaks = subject.world(history="stream"), {}
    for lanes in sorted(config.lanes):
        forget_peak(subject.device)
        running(model, lanes, 2).work()
        peaks[str(lanes)] = peak_mib(subject.device)
    return {
        "world_model": subject.facts,
        "peak_mib": peaks,
        "peak_of": "GPU memory" if "cuda" in subject.device else "resident memory of the process, so far",
        "cache": cache_facts(subject),
    }


def cache_facts(subject: Subject) -> dict[str, Any]:
    """What the kept features of one lane take in `stream`, and the formula."""
    state = subject.world(history="stream").start(noise_frames(subject.spec, 1, 2), [0])
    formula = cache_formula(subject.network)
    return {
        "bytes_per_lane": state.cache.bytes_per_lane,
        "values_per_lane": kept_values(state.cache),
        "values_formula": formula,
    } | ({} if formula else {"formula_reason": f"none is written for a network of kind {subject.network.kind}"})


def forget_peak(device: str) -> None:
    """Let the GPU's peak begin anew; a process cannot forget its own."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_mib(device: str) -> float:
    """The most MiB that were in use on the GPU, or by this process."""
    return (torch.cuda.max_memory_allocated(device) if torch.device(device).type == "cuda" else _resident()) / 2**20


def _resident() -> int:
    """The most bytes that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def kept_values(cache: HistoryCache) -> int:
    """Numbers that a lane's kept features are, spare slots of the tapes included; in bfloat16 some of them are twice as wide as others."""
    return sum(tensor[:1].numel() for tensor in cache.buffers)


def cache_formula(network: nn.Module) -> int | None:
    """Numbers that one lane's kept features should be; None for a network that is not our own U-Net.

    A temporal attention keeps keys and values of its window and half as many spare slots, a temporal convolution its newest input and
    the sum of what its earlier taps add.
    """
    if not isinstance(network, VideoUNet):
        return None
    config, values = network.config, 0
    slots = config.window + max(1, config.window // 2)
    per_layer = {"time": 2 * slots, "conv": 2}
    places = [*range(len(config.channels)), len(config.channels) - 1, *range(len(config.channels))]  # down, middle, up
    for level in places:
        positions = (config.latent_size // config.patch // 2**level) ** 2
        values += sum(per_layer.get(kind, 0) for kind in config.levels[level]) * positions * config.channels[level]
    return values
