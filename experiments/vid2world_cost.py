"""What training the 1.44 B model costs: one step of 16 frames, on random weights. Not a verb; see experiments/gpu.

python -m worldsim.experiments.vid2world_cost out=FILE [device=cuda] [size=full|tiny] [batch=1]

What its frames cost says `worldsim bench preset=rt1`.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

FULL = {"config": {}, "frames": 16}
TINY = {
    "config": {
        "model_channels": 32,
        "channel_mult": (1, 2),
        "num_res_blocks": 1,
        "attention_at": (1,),
        "head_channels": 16,
        "context_dim": 8,
        "tokens_per_frame": 1,
        "frames": 4,
        "text_tokens": 2,
        "latent_height": 4,
        "latent_width": 4,
        "window": 4,
    },
    "frames": 4,
}
STRICT = {"norm": "frame", "head": "symmetric", "image_tokens": "per_frame", "gradient_checkpointing": True}


def measure(*, device: str = "cuda", size: str = "full", batch: int = 1) -> dict[str, Any]:
    """Seconds and peak memory in GiB (on CUDA) of a training step, in bfloat16 products over float32 weights."""
    import torch

    from worldsim.models.vid2world import Vid2WorldConfig
    from worldsim.models.vid2world.network import Vid2WorldNetwork

    chosen = FULL if size == "full" else TINY
    with torch.device(device):
        unet = Vid2WorldConfig(**chosen["config"], **STRICT).build()
    network = Vid2WorldNetwork(unet, None, (1.0,) * unet.config.action_size)
    context = {
        name: value.to(device).expand(batch, *value.shape[1:]) for name, value in network.neutral_context(network.latent_shape).items()
    }
    found = {"training_step": _training_step(network, context, chosen["frames"], device)}
    machine = torch.cuda.get_device_name() if torch.device(device).type == "cuda" else "cpu"
    sizes = {"batch": batch, "frames": chosen["frames"], "latent": list(network.latent_shape)}
    return {"machine": machine, "parameters": sum(p.numel() for p in unet.parameters()), **sizes, **found}


def _training_step(network: Any, context: dict[str, Any], frames: int, device: str) -> dict[str, Any]:
    """Diffusion forcing on one batch of random clips, with AdamW."""
    import torch

    from worldsim.diffusion.schedule import get_schedule
    from worldsim.training.loss import Diffusion, forcing_loss

    generator, batch = torch.Generator().manual_seed(0), len(context["first"])
    clean = torch.randn(batch, frames, *network.latent_shape, generator=generator).to(device)
    actions = torch.rand(batch, frames, network.action_size, generator=generator).to(device)
    diffusion, optimizer = Diffusion(get_schedule("zero_snr_rescaled"), "v"), torch.optim.AdamW(network.parameters(), 1e-5)

    def step() -> None:
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            loss = forcing_loss(network, clean, actions, diffusion, generator, dropout=0.2, context=context)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return _timed(step, device, repeats=3)


def _timed(work: Callable[[], None], device: str, *, repeats: int) -> dict[str, Any]:
    """Seconds of each run after one that is thrown away, and the peak memory."""
    import torch

    on_gpu, seconds = torch.device(device).type == "cuda", []
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        work()
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds[1:], "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None}


def main(words: list[str]) -> None:
    """Measure and write the JSON."""
    from worldsim.data.files import write_json

    given = dict(word.split("=", 1) for word in words)
    out, batch = given.pop("out"), int(given.pop("batch", 1))
    write_json(out, measure(**given, batch=batch))
    print(f"wrote {out}")


if __name__ == "__main__":
    main(sys.argv[1:])
