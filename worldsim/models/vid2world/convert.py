"""Official checkpoints to `Vid2WorldParts`: what a file is, which part lies under which prefix, and what to give for one that is missing.

Knows the layout of Vid2World's and DynamiCrafter's files; the parts themselves are built elsewhere.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from worldsim.data.files import sha256_of
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.models.vid2world.buffers import schedule_differences, schedule_line
from worldsim.models.vid2world.config import Vid2WorldConfig
from worldsim.models.vid2world.domains import DOMAINS
from worldsim.models.vid2world.files import read_weights
from worldsim.models.vid2world.loading import load_base, load_unet
from worldsim.models.vid2world.pretrained import Vid2WorldParts
from worldsim.models.vid2world.resampler import Resampler, ResamplerConfig
from worldsim.models.vid2world.towers import build_autoencoder, build_image_encoder, empty_text_of, filled

PREFIXES = {
    "U-Net": "model.diffusion_model.",
    "image projector": "image_proj_model.",
    "autoencoder": "first_stage_model.",
    "image tower": "embedder.model.visual.",
    "text tower": "cond_stage_model.model.",
}
TRAINED = ("U-Net", "image projector")  # of these another checkpoint's are no replacement
ACTION_SIZES = {domain: spec.size for domain, spec in DOMAINS.items()}
TEXT_LENGTH = 77
ACTION_SEED = 0

Weights = Mapping[str, Tensor]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Choices:
    """How a checkpoint is read.

    Attributes:
        domain: "rt1", "csgo" or "recon": what the actions are.
        base: the file is DynamiCrafter and is made causal; a Vid2World checkpoint is never changed.
        transfer: weight transfer of the temporal kernels, done for a base and noted for a Vid2World checkpoint.
        norm: "clip" as released or "frame", strictly causal.
        head: "rows" as released or "symmetric".
        image_tokens: "official" or "per_frame".
    """

    domain: str
    base: bool = False
    transfer: str = "extrapolative"
    norm: str = "clip"
    head: str = "rows"
    image_tokens: str = "official"


def part(weights: Weights, name: str) -> dict[str, Tensor]:
    """The tensors of one part, `U-Net` to `text tower`, without its prefix."""
    prefix = PREFIXES[name]
    return {key[len(prefix) :]: tensor for key, tensor in weights.items() if key.startswith(prefix)}


def action_size(weights: Weights) -> int | None:
    """Numbers per action of the file's U-Net; None where it knows no actions."""
    unet = PREFIXES["U-Net"]
    table, linear = weights.get(f"{unet}action_emb_preprocess.weight"), weights.get(f"{unet}action_emb_proj.0.weight")
    if table is not None:
        return table.shape[0]
    return None if linear is None else linear.shape[1]


def kind_of(weights: Weights) -> str | None:
    """What the file is in words, judged by its keys; None for something that is neither Vid2World nor DynamiCrafter."""
    if not part(weights, "U-Net"):
        return None
    size = action_size(weights)
    if size is None:
        return "DynamiCrafter"
    domains = {known: domain for domain, known in ACTION_SIZES.items()}
    return f"Vid2World {domains.get(size, 'of an unknown domain')} (actions of {size} numbers)"


def check_kind(path: str | Path, weights: Weights, choices: Choices) -> None:
    """Refuse a file that is not what `choices` says.

    Raises:
        InvalidInput: no U-Net at all, base and Vid2World mixed up, or another domain.
    """
    kind, size = kind_of(weights), action_size(weights)
    if kind is None:
        raise InvalidInput(f"{path} holds no U-Net ({PREFIXES['U-Net']}...), expected a checkpoint of Vid2World or DynamiCrafter")
    if choices.base and size is not None:
        raise InvalidInput(f"{path} is {kind}, which is causal already and never transformed again; type base=false")
    if not choices.base and size is None:
        raise InvalidInput(f"{path} is {kind}: its U-Net knows no actions; type base=true to make it causal")
    if size not in (None, ACTION_SIZES[choices.domain]):
        fitting = [domain for domain, known in ACTION_SIZES.items() if known == size]
        advice = f"type domain={fitting[0]}" if fitting else "no domain of worldsim has such actions"
        raise InvalidInput(f"{path} takes actions of {size} numbers, {choices.domain} has {ACTION_SIZES[choices.domain]}; {advice}")


def as_it_is(weights: Weights, choices: Choices) -> Choices:
    """`choices` with base and domain as the file's own action embedding says."""
    size = action_size(weights)
    domains = [domain for domain, known in ACTION_SIZES.items() if known == size]
    return replace(choices, base=size is None, domain=domains[0] if domains else choices.domain)


def check_part(name: str, weights: Weights, choices: Choices) -> None:
    """Build one part of a file to see that it fits.

    Raises:
        DamagedFile, InvalidInput: it does not; the line names the first tensor.
    """
    builders = {
        "U-Net": lambda found: build_unet(found, choices),
        "image projector": build_resampler,
        "autoencoder": build_autoencoder,
        "image tower": build_image_encoder,
        "text tower": empty_text_of,
    }
    builders[name](part(weights, name))


def unet_config(choices: Choices) -> Vid2WorldConfig:
    """The official U-Net's sizes for these choices."""
    return Vid2WorldConfig(
        action_size=ACTION_SIZES[choices.domain],
        action_kind="multi_hot" if choices.domain == "csgo" else "continuous",
        window=20 if choices.domain == "recon" else 16,
        norm=choices.norm,
        head=choices.head,
        image_tokens=choices.image_tokens,
    )


def build_unet(weights: Weights, choices: Choices) -> nn.Module:
    """The causal U-Net of a part's tensors, in their precision; a base is transferred, its action embedding drawn the same every time.

    Raises:
        InvalidInput: missing, surplus or misshapen tensors.
    """
    dtype = Counter(tensor.dtype for tensor in weights.values()).most_common(1)[0][0]
    if not choices.base:
        return load_unet(weights, unet_config(choices), dtype=dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(ACTION_SEED)
        return load_base(weights, unet_config(choices), choices.transfer, dtype=dtype)


def _notes(choices: Choices) -> list[str]:
    """What has to be trained before these choices are of use."""
    notes = ["the action embedding of a base is drawn at random: train before use"] if choices.base else []
    if choices.norm == "frame":
        notes.append("norm=frame: the weights were trained with norms over the whole clip, train before use")
    if choices.head == "symmetric" and not choices.base:
        notes.append("head=symmetric: the last kernel was trained to see the rows above, train before use or type head=rows")
    return notes


def convert(
    source: str | Path, choices: Choices, *, towers: str | Path | None = None, empty_text: str | Path | None = None, say: Say = print
) -> Vid2WorldParts:
    """Everything that `source` holds, read strictly.

    Args:
        source: a Vid2World or DynamiCrafter checkpoint, .ckpt or .safetensors.
        choices: how to read it.
        towers: another checkpoint, for the frozen parts that `source` lacks.
        empty_text: a .npy or .safetensors file with the one tensor `[77, 1024]`; None computes it with the text tower.
        say: told about each step.

    Raises:
        InvalidInput: the file is not what `choices` says, or a part is missing; the line says what to give instead.
        DamagedFile: tensors are missing, surplus or misshapen.
    """
    say(f"reading {source}")
    weights = read_weights(source)
    check_kind(source, weights, choices)
    differences = schedule_differences(weights)
    say(f"schedule: {schedule_line(weights, differences)}")
    found = _collect(source, weights, towers, [name for name in PREFIXES if name != "text tower" or not empty_text])
    for name, tensors in found.items():
        say(f"{name}: {counted(tensors)}")
    for note in _notes(choices):
        say(f"note: {note}")
    resampler = build_resampler(found["image projector"])
    text = read_empty_text(empty_text) if empty_text else empty_text_of(found["text tower"])
    if text.shape[-1] != resampler.config.context_width:
        raise InvalidInput(f"the empty text is {list(text.shape)}, expected [77, {resampler.config.context_width}] as the image tokens")
    say(f"hashing {source}")
    tokens, config = resampler.config.tokens, unet_config(choices)
    if tokens != config.tokens_per_frame * config.frames:
        expected = f"{config.tokens_per_frame} for each of {config.frames} frames"
        raise InvalidInput(
            f"the image projector of {source} makes {tokens} tokens, expected {expected}; choose the domain that it was trained on"
        )
    return Vid2WorldParts(
        unet=build_unet(found["U-Net"], choices),
        resampler=resampler,
        image_encoder=build_image_encoder(found["image tower"]),
        autoencoder=build_autoencoder(found["autoencoder"]),
        empty_text=text.to(resampler.latents.dtype),
        facts=_facts(source, choices, differences),
    )


def _collect(source: str | Path, weights: Weights, towers: str | Path | None, names: list[str]) -> dict[str, dict[str, Tensor]]:
    """The tensors of the named parts, those that `source` lacks from `towers`."""
    found = {name: part(weights, name) for name in names}
    lacking = [name for name, tensors in found.items() if not tensors]
    if towers and lacking:
        spare = read_weights(towers)
        found |= {name: part(spare, name) for name in lacking if name not in TRAINED}
    for name, tensors in found.items():
        if not tensors:
            raise InvalidInput(_missing(name, source, towers))
    return found


def _missing(name: str, source: str | Path, towers: str | Path | None) -> str:
    files = f"{source} and {towers} lack" if towers and name not in TRAINED else f"{source} lacks"
    lack = f"{files} the {name} ({PREFIXES[name]}...)"
    if name in TRAINED:
        return f"{lack}, which no other file can replace; get the whole checkpoint"
    text = ", or empty_text=FILE with its [77, 1024] tensor" if name == "text tower" else ""
    return f"{lack}; type towers=FILE, a checkpoint that has it such as DynamiCrafter's model.ckpt{text}"


def build_resampler(weights: Weights) -> Resampler:
    """The image projector around `weights`, its sizes read off their shapes."""
    try:
        config = ResamplerConfig.of(weights)
    except KeyError as error:
        raise DamagedFile(f"image projector: {error.args[0]} is missing; get the checkpoint again") from error
    return filled(config.build, weights, "image projector")


def read_empty_text(path: str | Path) -> Tensor:
    """The one tensor `[77, width]` of a .npy or .safetensors file.

    Raises:
        InvalidInput: another kind of file, or another shape.
    """
    try:
        found = {"": torch.from_numpy(np.load(path))} if str(path).endswith(".npy") else load_file(path)
    except (OSError, ValueError, SyntaxError, EOFError, TokenError, SafetensorError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}); expected a .npy or .safetensors file with one tensor [77, 1024]") from error
    shapes = [list(tensor.shape) for tensor in found.values()]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][0] != TEXT_LENGTH:
        raise InvalidInput(f"{path} holds {shapes or 'nothing'}, expected one tensor [{TEXT_LENGTH}, 1024]")
    return next(iter(found.values())).float()


def _facts(source: str | Path, choices: Choices, differences: Mapping[str, float | None]) -> dict[str, Any]:
    return {
        **asdict(choices),
        "action_size": ACTION_SIZES[choices.domain],
        "source": {"name": Path(source).name, "sha256": sha256_of(source)},
        "schedule_difference": dict(differences),
        "leak": None,
    }


def counted(weights: Weights) -> str:
    """Tensors and values in words."""
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in weights.values()})
    return f"{len(weights)} tensors, {sum(tensor.numel() for tensor in weights.values()):,} values, {' and '.join(dtypes)}"
