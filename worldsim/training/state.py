"""A training run on disk: weights, averaged weights, optimizer and progress in one safetensors file, written whole. No pickle.

A model that is sharded over processes is saved as if it were not: every tensor is gathered whole, and each process takes its share back.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from worldsim.data.files import written_whole
from worldsim.errors import DamagedFile, RunMismatch


@dataclass
class Progress:
    """How far a run is: iterations and seconds of training, and the running mean of the loss."""

    iteration: int = 0
    seconds: float = 0.0
    loss: float = 0.0


@dataclass
class Training:
    """All that changes while a run trains. `average` is empty where nothing is averaged, `scaler` is fp16's and None without it."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    scaler: Any = None
    progress: Progress = field(default_factory=Progress)


def whole(tensor: Tensor) -> Tensor:
    """The full tensor, gathered from all processes where it is sharded; every process must ask."""
    return tensor.detach().full_tensor() if isinstance(tensor, DTensor) else tensor.detach()


def local(tensor: Tensor) -> Tensor:
    """This process's share of a tensor, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def tensors_of(training: Training, *, keep: bool) -> dict[str, Tensor]:
    """Everything that is saved, by name, whole; every process must ask, and those that do not `keep` get an empty dict."""
    named = {f"model/{name}": tensor for name, tensor in training.model.state_dict().items()}
    named |= {f"average/{name}": tensor for name, tensor in training.average.items()}
    for index, slots in training.optimizer.state_dict()["state"].items():
        named |= {f"optimizer/{index}/{name}": torch.as_tensor(value) for name, value in slots.items()}
    kept = {}
    for name, tensor in named.items():
        full = whole(tensor)
        if keep:
            kept[name] = full.to("cpu", copy=True).contiguous()
    return kept


def save_state(path: Path, training: Training, tensors: dict[str, Tensor], recipe: dict, settings: dict) -> None:
    """Write everything that continuing needs: `tensors` (of `tensors_of`), progress, and what the run was asked for."""
    scaler = training.scaler.state_dict() if training.scaler else None
    facts = {"progress": asdict(training.progress), "recipe": recipe, "settings": settings, "scaler": scaler}
    with written_whole(path) as aside:
        save_file(tensors, aside, metadata={name: json.dumps(value) for name, value in facts.items()})


def load_state(path: Path, training: Training, recipe: dict, settings: dict) -> None:
    """Put a saved run back into `training`.

    Raises:
        DamagedFile: the file is not a whole safetensors file.
        RunMismatch: the run was made by another recipe, other settings or another number of processes.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = {name: json.loads(text) for name, text in file.metadata().items()}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DamagedFile(f"{path} cannot be read ({error}); delete it to train from the beginning") from error
    refuse_other_recipe(path, facts["recipe"], recipe)
    if "settings" in facts:  # version 0.1 wrote none
        refuse_other_recipe(path, facts["settings"], settings)
    targets = training.model.state_dict()
    training.model.load_state_dict({name: _share(targets[name], tensor) for name, tensor in _below("model/", tensors).items()})
    for name, tensor in training.average.items():
        local(tensor).copy_(local(_share(tensor, tensors[f"average/{name}"])))
    _restore(training.optimizer, _below("optimizer/", tensors))
    if training.scaler and facts.get("scaler"):
        training.scaler.load_state_dict(facts["scaler"])
    training.progress = Progress(**facts["progress"])


def refuse_other_recipe(path: Path, before: dict, asked: dict) -> None:
    """Stop where what lies at `path` was trained otherwise than is asked now.

    Raises:
        RunMismatch: with the first key that differs.
    """
    asked = json.loads(json.dumps(asked))  # a tuple comes back from JSON as a list
    for key in sorted(before.keys() | asked.keys()):
        if before.get(key) != asked.get(key):
            raise RunMismatch(f"{path} was trained with {key}={before.get(key)}, now asked for {asked.get(key)}; choose another out=")


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _share(target: Tensor, full: Tensor) -> Tensor:
    """`full` as `target` is: itself, or this process's share of it."""
    if not isinstance(target, DTensor):
        return full
    return distribute_tensor(full.to(target.device), target.device_mesh, target.placements, src_data_rank=None)


def _restore(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, slot = name.split("/")
        target = parameters[int(index)]
        state.setdefault(int(index), {})[slot] = _share(target, tensor) if tensor.shape == target.shape else tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
