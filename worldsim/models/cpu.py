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
    return "bf16" if device != "cpu" or bf16_is_fast() else "fp32"
