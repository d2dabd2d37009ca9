"""Which parameters of a network are trained, and the network as it was: a filter by name, or adapters on top of it. Knows no objective.

`all`, `encoder_head` and every other entry of `FILTERS` train the parameters that they name, against a frozen copy; `lora` trains
low-rank adapters (peft) on the linear layers and 2-D convolutions, and the reference is the same network with the adapters off.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from worldsim.errors import InvalidInput, MissingDependency, UnknownName, install_extra
from worldsim.models.network import VideoNetwork
from worldsim.registry import did_you_mean

ADAPTED = (nn.Linear, nn.Conv2d)
BESIDE = ("encoder.", "heads.")  # what stands beside the layers that predict frames, and takes no adapters
FILTERS: dict[str, Callable[[str], bool]] = {
    "all": lambda name: True,
    "encoder_head": lambda name: name.startswith("encoder.head."),
}
TRAINABLE = ("lora", *FILTERS)


class Reference:
    """A network as it was before training; called without a gradient. Attributes are the network's own."""

    def __init__(self, network: VideoNetwork, *, adapters: bool) -> None:
        self._network, self._adapters = network, adapters

    @torch.no_grad()
    def __call__(self, *arguments: Any) -> Tensor:
        """Evaluate."""
        with self._as_before():
            return self._network(*arguments)

    @torch.no_grad()
    def context_for(self, first_frames: Tensor, first_latents: Tensor) -> dict[str, Tensor]:
        """What it is told of the first frames, see `VideoNetwork`."""
        with self._as_before():
            return self._network.context_for(first_frames, first_latents)

    def _as_before(self) -> AbstractContextManager[None]:
        return adapters_off(self._network) if self._adapters else nullcontext()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


def make_trainable(network: VideoNetwork, trainable: str, *, rank: int = 16, seed: int = 0) -> Reference:
    """Leave gradients to what is to be trained, in place; adapters begin at zero, so nothing else changes. Returns the reference.

    Raises:
        UnknownName: no such filter.
        InvalidInput: the network has no such parameters.
        MissingDependency: adapters without peft.
    """
    if trainable not in TRAINABLE:
        raise UnknownName(f'unknown trainable "{trainable}"; {did_you_mean(trainable, TRAINABLE)}')
    if trainable == "lora":
        add_adapters(network, rank, seed)
        return Reference(network, adapters=True)
    chosen = [name for name, _ in network.named_parameters() if FILTERS[trainable](name)]
    if not chosen:
        raise InvalidInput(f"this network has no parameters for trainable={trainable}; type trainable=all or trainable=lora")
    reference = deepcopy(network).requires_grad_(requires_grad=False).eval()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(requires_grad=name in chosen)
    return Reference(reference, adapters=False)


def add_adapters(network: nn.Module, rank: int, seed: int) -> None:
    """Low-rank adapters (LoRA, arXiv 2106.09685) on every linear layer and 2-D convolution of what predicts frames; all else is frozen."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingDependency(f"trainable=lora needs peft; type: {install_extra('posttrain')}, or trainable=all") from error
    names = [name for name, module in network.named_modules() if isinstance(module, ADAPTED) and not name.startswith(BESIDE)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=names), network)


def _adapted(network: nn.Module) -> list[tuple[str, Any]]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [(name, module) for name, module in network.named_modules() if isinstance(module, BaseTunerLayer)]


@contextmanager
def adapters_off(network: nn.Module) -> Iterator[None]:
    """The network as if it had no adapters."""
    layers = [module for _, module in _adapted(network)]
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


def merge_adapters(network: nn.Module) -> nn.Module:
    """Fold adapters into the weights, in place: an ordinary network again, every parameter of which may be trained."""
    if any("lora_" in name for name, _ in network.named_parameters()):
        for name, layer in _adapted(network):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, layer.get_base_layer())
    return network.requires_grad_(requires_grad=True)
