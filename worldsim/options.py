"""One key of a command or an environment: its default, its meaning and what it accepts; and the keys that say how frames are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


def option(default: Any, meaning: str, *, choices: Sequence[str] = (), least: float | None = None) -> Any:
    """A field with its line of help, and the words or the smallest number that it accepts (for a list: each element)."""
    metadata = {"meaning": meaning, "choices": tuple(choices), "least": least}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class SamplerKeys:
    """How frames are drawn, for all that draws them; null (None) takes what the checkpoint was saved with."""

    steps: int | None = option(None, "denoising steps per frame; null takes the checkpoint's", least=1)
    guidance: float | None = option(None, "action guidance; 1 is none, null takes the checkpoint's", least=0)
    history: str | None = option(
        None, "how the past is kept; null takes the checkpoint's", choices=("stream", "block", "window", "recompute")
    )
    history_level: float | None = option(None, "noise level that past frames are held at; null takes the checkpoint's", least=0)
    window: int | None = option(None, "frames that a new one may see, itself included; not for stream", least=2)
    anchor: str | None = option(None, "first frame that the network is told of, where it is", choices=("episode", "window"))
    rescale: float | None = option(None, "share of the spread from before guidance that is restored", least=0)
    rescale_over: str | None = option(None, "frames whose spread that is: the newest, or all in the window", choices=("frame", "clip"))
    eta: float | None = option(None, "0 is deterministic, 1 is ancestral sampling", least=0)
