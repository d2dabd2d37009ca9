"""What each option of the engine is worth: the same frames of the same world by the plainest way to run it and by each other one."""

from dataclasses import replace
from typing import Any

import torch

from worldsim.experiments.bench.subject import cycle, running, world_model_of
from worldsim.experiments.bench.timing import Job, alternate
from worldsim.experiments.schema import BenchConfig

WAYS: dict[str, dict[str, Any]] = {
    "fp32 channels_last=false": {"precision": "fp32", "channels_last": False},
    "fp32": {"precision": "fp32"},
    "bf16 channels_last=false": {"precision": "bf16", "channels_last": False},
    "bf16": {"precision": "bf16"},
    "bf16 compile": {"precision": "bf16", "compile": "default"},
    "bf16 cudagraphs": {"precision": "bf16", "compile": "cudagraphs"},
}
DECODED = (40, 64)  # latents of a 320 x 512 frame


def measure_engine(config: BenchConfig) -> dict[str, Any]:
    """`engine_ms[way][lanes]`, milliseconds per frame and lane as the world model is sampled, and each way's gain over the first."""
    on_gpu = torch.device(config.device).type == "cuda"
    ways = {name: options for name, options in WAYS.items() if on_gpu or options.get("compile") != "cudagraphs"}
    subjects = {name: world_model_of(replace(config, **options)) for name, options in ways.items()}
    found: dict[str, dict[str, float]] = {name: {} for name in ways}
    for lanes in config.lanes:
        jobs = {
            name: running(subject.world(), lanes, config.frames or cycle(subject, subject.sampler.history))
            for name, subject in subjects.items()
        }
        for name, cost in alternate(jobs, config.repeats, config.device).items():
            found[name][str(lanes)] = cost.wall_ms if on_gpu else cost.cpu_ms
    first = found[next(iter(found))]
    speedup = {name: {lanes: first[lanes] / each for lanes, each in by_lanes.items()} for name, by_lanes in found.items()}
    return {"engine_ms": found, "engine_speedup": speedup}


@torch.no_grad()
def measure_decoder(config: BenchConfig) -> dict[str, Any]:
    """`decoder_ms`: one 320 x 512 frame by the decoder of Stable Diffusion's autoencoder and by a tiny one, both with random weights."""
    from diffusers import AutoencoderKL, AutoencoderTiny

    from worldsim.models.autoencoders import FrameAutoencoder, TinyDecoded
    from worldsim.models.checkpoint import parameter_count

    widths, levels = (128, 256, 512, 512), 4
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
    full = FrameAutoencoder(AutoencoderKL(block_out_channels=widths, layers_per_block=2, **blocks)).to(config.device).eval()
    tiny = TinyDecoded(full, AutoencoderTiny().to(config.device).eval())
    latents = torch.randn(1, *DECODED, 4, device=config.device)
    jobs = {name: Job(lambda coder=coder: coder.decode(latents), 1) for name, coder in (("full", full), ("tiny", tiny))}
    costs = alternate(jobs, min(config.repeats, 3), config.device)
    on_gpu = torch.device(config.device).type == "cuda"
    milliseconds = {name: cost.wall_ms if on_gpu else cost.cpu_ms for name, cost in costs.items()}
    return {
        "decoder_ms": milliseconds,
        "decoder_parameters": {"full": parameter_count(full.decoder), "tiny": parameter_count(tiny.decoder)},
    }
