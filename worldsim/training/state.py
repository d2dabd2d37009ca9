"""A training run on disk: weights, averaged weights, optimizer and progress in one safetensors file, written whole. No pickle."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from worldsim.data.files import written_whole
from worldsim.errors import DamagedFile, RunMismatch


@dataclass
class Progress:
    """How far a run is: iterations and seconds of training, and the running mean of the loss."""

    iteration: int = 0
    seconds: float = 0.0
    loss: float = 0.0


def save_state(
    path: Path, model: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer, progress: Progress, recipe: dict
) -> None:
    """Write everything that continuing needs."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"average/{name}": tensor for name, tensor in average.items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in slots.items()}
    about = {"progress": json.dumps(asdict(progress)), "recipe": json.dumps(recipe)}
    with written_whole(path) as aside:
        save_file({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, aside, metadata=about)


def load_state(path: Path, model: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer, recipe: dict) -> Progress:
    """Put a saved run back into `model`, `average` and `optimizer`.

    Raises:
        DamagedFile: the file is not a whole safetensors file.
        RunMismatch: the run was made by another recipe.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DamagedFile(f"{path} cannot be read ({error}); delete it to train from the beginning") from error
    before, recipe = json.loads(about["recipe"]), json.loads(json.dumps(recipe))  # a tuple comes back from JSON as a list
    for key in sorted(before.keys() | recipe.keys()):
        if before.get(key) != recipe.get(key):
            raise RunMismatch(f"{path} was trained with {key}={before.get(key)}, now asked for {recipe.get(key)}; choose another out=")
    model.load_state_dict({name.removeprefix("model/"): tensor for name, tensor in tensors.items() if name.startswith("model/")})
    for name, tensor in average.items():
        tensor.copy_(tensors[f"average/{name}"])
    _restore(optimizer, tensors)
    return Progress(**json.loads(about["progress"]))


def _restore(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, index, slot = name.split("/")
            state.setdefault(int(index), {})[slot] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
