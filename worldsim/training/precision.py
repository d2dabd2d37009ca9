"""The number formats that training computes in, under the names that accelerate knows them by. Knows nothing about models."""

from worldsim.errors import InvalidInput, UnknownName
from worldsim.models.cpu import choose_precision
from worldsim.registry import did_you_mean

MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def mixed_precision(name: str, device: str) -> str:
    """What accelerate is told for `name`: "no", "bf16", or "fp16", whose losses are scaled so that small gradients do not vanish.

    Raises:
        UnknownName: not auto, fp32, bf16 or fp16.
        InvalidInput: fp16 on a CPU, which has no scaled training.
    """
    chosen = choose_precision(name, device)
    if chosen not in MIXED:
        raise UnknownName(f'unknown precision "{name}"; {did_you_mean(name, ["auto", *MIXED])}')
    if chosen == "fp16" and device == "cpu":
        raise InvalidInput("precision=fp16 trains on a GPU only, and device is cpu; type precision=bf16, or device=cuda where there is one")
    return MIXED[chosen]
