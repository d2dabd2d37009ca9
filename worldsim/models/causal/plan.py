"""What a causal surgery is made of: who knows which class of layer, what is to be changed, and what was. Knows no network."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from worldsim.errors import InvalidInput
from worldsim.models.causal.kernels import transfer_kernel
from worldsim.models.causal.layers import CausalConv3d, CumulativeGroupNorm, FrameGroupNorm, Remembers

NORMS = {"frame": FrameGroupNorm, "cumulative": CumulativeGroupNorm, "clip": None}
CONVERTERS: dict[str, Callable[["Plan", str, Any], None]] = {}
WITHIN_ONE_FRAME: set[str] = set()


@dataclass(frozen=True)
class CausalReport:
    """What the surgery did.

    Attributes:
        convolutions, attentions, norms, positions: names of the layers that mixed frames and now look back only, or count frames.
        levels: names of the time embeddings that now take one noise level per frame.
        transfer: how kernels were transferred.
        norm: which frames group norms take their statistics from; "clip" leaks.
        window: how many earlier frames attention sees, None for all.
    """

    convolutions: tuple[str, ...] = ()
    attentions: tuple[str, ...] = ()
    norms: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    transfer: str = "extrapolative"
    norm: str = "frame"
    window: int | None = None

    def summary(self) -> str:
        """One line."""
        sight = "all earlier frames" if self.window is None else f"{self.window} earlier frames"
        return (
            f"{len(self.convolutions)} convolutions ({self.transfer}), {len(self.attentions)} attentions ({sight}), "
            f"{len(self.norms)} norms ({self.norm}), {len(self.positions)} positions, {len(self.levels)} level inputs"
        )


def converts(*kinds: type | str) -> Callable[[Callable], Callable]:
    """Decorator: `convert(plan, path, module)` says in `plan` what becomes of a module of these classes, whose name is `path`.

    It must not change the module. Children that it does not settle are walked like any others.

    Args:
        kinds: classes, or their names: "diffusers.Attention", "mypackage.mymodule.MyLayer".

    Raises:
        InvalidInput: a class that has a converter already.
    """

    def add(convert: Callable) -> Callable:
        for kind in map(kind_of, kinds):
            if kind in CONVERTERS:
                raise InvalidInput(f"{kind} has two converters: {CONVERTERS[kind].__name__} and {convert.__name__}")
            CONVERTERS[kind] = convert
        return convert

    return add


def acts_within_frame(*kinds: type | str) -> type | str:
    """Say that modules of these classes act on each frame by itself, but for what their children do. Also decorates a class.

    A GroupNorm that such a module holds is taken to see one frame at a time.
    """
    WITHIN_ONE_FRAME.update(map(kind_of, kinds))
    return kinds[0]


def kind_of(kind: type | str) -> str:
    """What a class is known as: with its package alone for torch and diffusers, whose files move, and in full otherwise."""
    if isinstance(kind, str):
        return kind
    package = kind.__module__.partition(".")[0]
    return f"{package}.{kind.__name__}" if package in ("torch", "diffusers") else f"{kind.__module__}.{kind.__qualname__}"


def refusal(path: str, part: object) -> InvalidInput:
    """The error for something that nobody has said acts within one frame."""
    name, place = type(part).__qualname__, path or "the network"
    return InvalidInput(
        f"{place} is a {type(part).__module__}.{name}, which may mix frames; "
        f"if it acts within one frame, causalize(net, frame_wise=({name},))"
    )


def join(path: str, name: str) -> str:
    """The name of a child in the network."""
    return f"{path}.{name}" if path else name


def acts_on_one_frame(module: nn.Module) -> bool:
    """Whether this is a 3-D convolution of one tap in time."""
    if type(module) is not nn.Conv3d:
        return False
    padding = 0 if isinstance(module.padding, str) else module.padding[0]  # "same" adds nothing to one tap
    return (module.kernel_size[0], module.stride[0], padding) == (1, 1, 0)


class Plan:
    """What `causalize` is about to change. Converters fill it; nothing is changed before the whole network has been looked at.

    Attributes:
        root: the network.
        transfer, norm, window, order, frame_wise: as given to `causalize`.
    """

    def __init__(self, root: nn.Module, *, transfer: str, norm: str, window: int | None, order: int, frame_wise: tuple[type, ...]) -> None:
        self.root, self.transfer, self.norm, self.window, self.order = root, transfer, norm, window, order
        self.frame_wise = frame_wise
        self._changes: list[tuple[str | None, str, Callable[[], object]]] = []
        self._settled: dict[str, int] = {}

    def change(self, part: str | None, path: str, action: Callable[[], object]) -> None:
        """Do `action` once all is checked, and report `path` under `part` (a field of `CausalReport`; None for a side effect)."""
        self._changes.append((part, path, action))

    def settle(self, path: str) -> None:
        """Say that a converter has taken care of this module; its children are still walked.

        Raises:
            InvalidInput: the same module was settled under another name.
        """
        module = self.root.get_submodule(path)
        for other, known in self._settled.items():
            if known == id(module) and other != path:
                raise InvalidInput(f"{other} and {path} are one shared layer, expected a layer each; copy.deepcopy one of them")
        self._settled[path] = id(module)

    def is_settled(self, path: str) -> bool:
        """Whether a converter has taken care of this module."""
        return path in self._settled

    def replace(self, part: str, path: str, made: nn.Module) -> None:
        """Put `made`, which shares the parameters of the module at `path`, in its place."""
        self.settle(path)
        made.train(self.root.get_submodule(path).training)
        self.change(part, path, partial(self.root.set_submodule, path, made))

    def convolution(self, path: str, conv: nn.Conv3d) -> None:
        """A convolution that is centred in time becomes causal.

        Raises:
            InvalidInput: a convolution that is not centred: other padding, a stride in time, an even kernel.
        """
        taps = conv.kernel_size[0]
        centred = taps % 2 and conv.stride[0] == 1 and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
        if not centred or 2 * conv.padding[0] != conv.dilation[0] * (taps - 1):
            raise InvalidInput(f"{path} is {conv}, expected an odd kernel, stride 1 and as many zeros on either side in time")
        self.kernel(path, conv)
        self.replace("convolutions", path, CausalConv3d.of(conv))

    def kernel(self, path: str, layer: nn.Module) -> None:
        """Transfer the weight `[out, in, K, h, w]` of `layer` in place; unreported.

        Raises:
            InvalidInput: the order does not fit the kernel.
        """
        self.settle(path)
        transfer_kernel(layer.weight[:1, :1].detach(), self.transfer, self.order)
        self.change(None, path, partial(self._transfer, layer))

    @torch.no_grad()
    def _transfer(self, layer: nn.Module) -> None:
        layer.weight.copy_(transfer_kernel(layer.weight, self.transfer, self.order))

    def group_norm(self, path: str, norm: nn.GroupNorm) -> None:
        """A norm over `[B, C, T, H, W]` takes its statistics from the frames that `norm=` says.

        Raises:
            InvalidInput: a cumulative norm without weights.
        """
        made = NORMS[self.norm]
        if made is None:
            return self.settle(path)
        if not norm.affine and self.norm == "cumulative":
            raise InvalidInput(f'{path} has no weights and cannot be cumulative; causalize(net, norm="frame")')
        layer = made(norm.num_groups, norm.num_channels, norm.eps, norm.affine, device="meta")
        layer.weight, layer.bias = norm.weight, norm.bias
        return self.replace("norms", path, layer)

    def temporal_layers(self, path: str, module: nn.Module) -> None:
        """Every convolution over time and every GroupNorm below `module`, whose features are `[B, C, T, H, W]`."""
        for name, layer in module.named_modules(prefix=path, remove_duplicate=False):
            if type(layer) is nn.Conv3d and not acts_on_one_frame(layer):
                self.convolution(name, layer)
            elif type(layer) is nn.GroupNorm:
                self.group_norm(name, layer)

    def carry_out(self) -> CausalReport:
        """Change the network."""
        done: dict[str, list[str]] = {}
        for part, path, action in self._changes:
            action()
            if part is not None:
                done.setdefault(part, []).append(path)
        for path, layer in self.root.named_modules():
            if isinstance(layer, Remembers):
                layer.name = path
        names = {part: tuple(paths) for part, paths in done.items()}
        return CausalReport(**names, transfer=self.transfer, norm=self.norm, window=self.window)
