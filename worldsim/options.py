"""One key of a command or an environment: its default, its meaning and what it accepts; and the keys by which a world model is loaded."""

from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any

from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean


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


@dataclass
class EngineKeys:
    """How networks are run, for all that runs them: `worldsim.models.engine.Engine`, and the decoder."""

    precision: str = option("auto", "number format of the network; auto is bf16 where the device has it", choices=("auto", "fp32", "bf16"))
    compile: str = option(
        "none", "torch.compile, which takes a minute or more at first; cudagraphs for a GPU", choices=("none", "default", "cudagraphs")
    )
    channels_last: bool | None = option(None, "hold the weights of 2-D convolutions with channels last; null does so in our own networks")
    decoder: str | None = option(None, "folder of a small decoder (diffusers' AutoencoderTiny) in place of the world model's own")


@dataclass
class ModelKeys(SamplerKeys, EngineKeys):
    """All that a world model may be loaded with."""


MODEL_KEYS = tuple(each.name for each in fields(ModelKeys))


def model_options(keys: Any) -> dict[str, Any]:
    """Of an object that has the `ModelKeys` among its attributes, those that were set: options of `load_world_model`."""
    return {each.name: getattr(keys, each.name) for each in fields(ModelKeys) if getattr(keys, each.name) != each.default}


def check_choices(keys: Any) -> None:
    """Refuse a word that a key does not accept.

    Raises:
        UnknownName: with the closest word that it does.
    """
    for each in fields(keys):
        if each.metadata["choices"]:
            check_value(each, getattr(keys, each.name))


def check_value(key: Field, value: Any) -> None:
    """Refuse a word that is not among those that `key` accepts, and a number below its least; None passes.

    Raises:
        UnknownName, InvalidInput: with what is accepted.
    """
    choices, least = key.metadata["choices"], key.metadata["least"]
    if value is None:
        return
    if choices and value not in choices:
        raise UnknownName(f'unknown {key.name} "{value}"; {did_you_mean(str(value), choices)}')
    if least is not None and not value >= least:  # NaN is refused too
        raise InvalidInput(f"{key.name} is {value}, expected at least {least:g}")
