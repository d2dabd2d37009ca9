"""Checkpoints: a folder with `config.json` and `model.safetensors`, tied together by a hash, loaded strictly. No pickle anywhere.

Weights are stored as float16 and computed with in float32 or bfloat16.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from worldsim.data.files import described_in, sha256_of, write_json, written_whole
from worldsim.errors import DamagedFile, InvalidInput

FORMAT = "worldsim-checkpoint/1"


@dataclass(frozen=True)
class Checkpoint:
    """A loaded folder: what it is, its values, its tensors by module, and the hash of its weights."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]
    sha256: str

    def fill(self, name: str, module: nn.Module) -> nn.Module:
        """Load the tensors of `name` into `module`, strictly, and set it to evaluation.

        Raises:
            DamagedFile: missing, surplus or misshapen tensors.
        """
        try:
            module.load_state_dict({key: t.float() if t.is_floating_point() else t for key, t in self.tensors[name].items()})
        except (KeyError, RuntimeError) as error:
            raise DamagedFile(
                f"{self.folder} does not hold a {name} of this shape: {str(error).splitlines()[0]}; get the checkpoint again"
            ) from error
        return module.eval()


def save_checkpoint(folder: str | Path, kind: str, modules: Mapping[str, nn.Module], config: Mapping[str, Any]) -> str:
    """Write `modules` and `config` to `folder`; return the hash of the weights. `config.json` comes last: no checkpoint without it."""
    folder = Path(folder)
    tensors = {f"{name}/{key}": _stored(tensor) for name, module in modules.items() for key, tensor in module.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").unlink(missing_ok=True)
    with written_whole(folder / "model.safetensors") as aside:
        save_file(tensors, aside)
    sha256 = sha256_of(folder / "model.safetensors")
    write_json(folder / "config.json", {"format": FORMAT, "kind": kind, "sha256": sha256, **config})
    return sha256


def _stored(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if tensor.is_floating_point() else tensor.clone()


def read_config(folder: str | Path, *kinds: str) -> dict[str, Any]:
    """The values of a checkpoint of one of these kinds without its weights.

    Raises:
        InvalidInput: no such checkpoint, or one of another kind.
        DamagedFile: `config.json` is not JSON.
    """
    config = described_in(folder)
    if config is None:
        raise InvalidInput(f"{folder} holds no checkpoint (no config.json); expected a {kinds[0]} folder, see: worldsim doctor")
    if config.get("kind") not in kinds:
        raise InvalidInput(f"{folder} holds a {config.get('kind')}, expected a {' or '.join(kinds)}")
    return config


def load_checkpoint(folder: str | Path, kind: str) -> Checkpoint:
    """Read a checkpoint and check its hash.

    Raises:
        InvalidInput: no such checkpoint, or one of another kind.
        DamagedFile: the weights are missing, torn, or not those that `config.json` names.
    """
    config, path = read_config(folder, kind), Path(folder) / "model.safetensors"
    if not path.exists():
        raise DamagedFile(f"{path} is missing; get the checkpoint again")
    if (found := sha256_of(path)) != config["sha256"]:
        raise DamagedFile(f"{path} has hash {found[:12]}, expected {config['sha256'][:12]}: damaged or replaced; get the checkpoint again")
    try:
        flat = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DamagedFile(f"{path} cannot be read ({error}); get the checkpoint again") from error
    tensors: dict[str, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        name, rest = key.split("/", 1)
        tensors.setdefault(name, {})[rest] = tensor
    return Checkpoint(Path(folder), config, tensors, config["sha256"])


def parameter_count(*modules: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def use_precision(precision: str, device: str) -> torch.autocast:
    """The context in which networks are evaluated: bfloat16 products for "bf16", plain float32 for "fp32"."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")
