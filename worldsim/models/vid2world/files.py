"""Weights of others, read from disk without running code: Lightning and DeepSpeed `.ckpt`, `.safetensors`. Knows no network."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from worldsim.errors import DamagedFile, InvalidInput

PICKLES = (".ckpt", ".pt", ".pth", ".bin")
ENGINE_PREFIX = "_forward_module."
ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # first bytes


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by their names in the file. They stay on disk until used, where the format allows it.

    Args:
        path: `.safetensors`, or a torch file (`.ckpt`, `.pt`, `.pth`, `.bin`), of which tensors and plain values alone are accepted.

    Raises:
        InvalidInput: no such file, another format, a pickle that holds code, or no weights inside.
        DamagedFile: a file that breaks off or is not what its name says.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInput(f"{path} is no file, expected a checkpoint: .safetensors, {', '.join(PICKLES)}")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix not in PICKLES:
        raise InvalidInput(f'{path} ends with "{path.suffix}", expected .safetensors, {", ".join(PICKLES)}')
    return unwrapped(_torch_file(path))


def unwrapped(loaded: object) -> dict[str, Tensor]:
    """The tensors in what a training framework saved: under `state_dict` (Lightning), `module` (DeepSpeed) or at the top.

    Raises:
        InvalidInput: anything but tensors there.
    """
    if not isinstance(loaded, Mapping):
        raise InvalidInput(f"a checkpoint holds a {type(loaded).__name__}, expected tensors by name")
    for container in ("state_dict", "module"):
        if isinstance(inner := loaded.get(container), Mapping):
            loaded = inner
            break
    weights = {str(key).removeprefix(ENGINE_PREFIX): value for key, value in loaded.items()}
    odd = [key for key, value in weights.items() if not isinstance(value, Tensor)]
    if odd or not weights:
        found = f"{odd[0]} is a {type(weights[odd[0]]).__name__}" if odd else "there are none"
        raise InvalidInput(f"a checkpoint should hold tensors by name, at the top or under state_dict or module, but {found}")
    return weights


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DamagedFile(f"{path} cannot be read ({_first_line(error)}); get the checkpoint again") from error


def _torch_file(path: Path) -> object:
    zipped = zipfile.is_zipfile(path)
    with path.open("rb") as file:
        start = file.read(4)
    if not zipped and start[:1] != PICKLE:
        found = "breaks off" if start == ZIP else "is not a torch file"
        raise DamagedFile(f"{path} {found}; get the checkpoint again")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise InvalidInput(
            f"{path} holds more than tensors and plain values, and code from files is not run; save its state_dict alone"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise DamagedFile(f"{path} cannot be read ({_first_line(error)}); get the checkpoint again") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
