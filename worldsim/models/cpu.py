"""What this processor is good at. Knows nothing about models."""

from pathlib import Path

import torch


def bf16_is_fast() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8") if info.exists() else ""
    return "AVX512" in torch.backends.cpu.get_cpu_capability() and ("avx512_bf16" in flags or "amx_bf16" in flags)


def choose_precision(name: str, device: str) -> str:
    """The precision to compute in: "auto" becomes bf16 where the device has it, fp32 elsewhere."""
    if name != "auto":
        return name
    kind = torch.device(device).type
    fast = bf16_is_fast() if kind == "cpu" else kind != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if fast else "fp32"
