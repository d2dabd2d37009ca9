"""A video U-Net of diffusers as a network of ours: one noise level and one action per frame, a memory, our order of axes.

Knows nothing about training, schedules or the autoencoder.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from worldsim.errors import DamagedFile, InvalidInput
from worldsim.models.actions import ActionEmbedding
from worldsim.models.cache import HistoryCache, Memory
from worldsim.models.causal.layers import remembering
from worldsim.models.causal.surgery import CausalReport, causalize
from worldsim.models.diffusers_families import build_unet, call, config_values, family_named, neutral_context, smallest_latents
from worldsim.models.network import by_stream

WEIGHTS = "diffusion_pytorch_model"  # the name that save_pretrained gives


@dataclass
class DiffusersUNetConfig:
    """All it takes to build the network again. Plain values only, so that JSON keeps it.

    Attributes:
        class_name: of the U-Net in diffusers.
        unet: the U-Net's own config.
        action_size: numbers in one action.
        latent_height, latent_width: of one latent frame.
        transfer, norm: how it was, or is to be, causalized.
        window: how many earlier frames a frame attends to.
        causal: whether it has been causalized. Set by `causalize` and not by hand.
    """

    class_name: str
    unet: dict[str, Any] = field(default_factory=dict)
    action_size: int = 7
    latent_height: int = 40
    latent_width: int = 64
    transfer: str = "extrapolative"
    norm: str = "frame"
    window: int = 16
    causal: bool = False

    def build(self) -> "DiffusersUNet":
        """A freshly initialised network, causalized if the config says so."""
        return DiffusersUNet(self)


class DiffusersUNet(nn.Module):
    """A `VideoNetwork` around a U-Net of diffusers.

    Before `causalize` it is the pretrained network: it sees both ways, takes one level per clip and no actions. After it, each frame
    has its own level and action, and frames see their past only.
    """

    kind = "diffusers"
    starts_known = False
    needs_pixels = False
    two_streams = False

    def __init__(self, config: DiffusersUNetConfig) -> None:
        super().__init__()
        self.config = replace(config, causal=False)
        self.unet = build_unet(config.class_name, config.unet)
        self.config.unet = config_values(self.unet)
        self.action_mlp = ActionEmbedding(config.action_size, self.unet.time_embedding.linear_2.out_features)
        nn.init.zeros_(self.action_mlp.layers[-1].weight)
        nn.init.zeros_(self.action_mlp.layers[-1].bias)
        if config.causal:
            self.causalize(config.transfer, config.norm, config.window)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """`(h, w, C)` of one latent frame."""
        return self.config.latent_height, self.config.latent_width, self.unet.config["out_channels"]

    @property
    def smallest_latents(self) -> tuple[int, int, int]:
        """The smallest `(h, w, C)` that the network takes: it has no weight that belongs to a place."""
        return smallest_latents(self.unet)

    @property
    def action_size(self) -> int:
        """Numbers in one action."""
        return self.config.action_size

    @property
    def window(self) -> int:
        """How many earlier frames a frame attends to."""
        return self.config.window

    @property
    def causal(self) -> bool:
        """Whether no frame sees a later one."""
        return self.config.causal

    @property
    def per_frame(self) -> bool:
        """Whether each frame has its own level and action; before causalization a clip has one level and no actions."""
        return self.config.causal

    def causalize(self, transfer: str | None = None, norm: str | None = None, window: int | None = None) -> CausalReport:
        """Operate on the U-Net in place; what is not given is as the config says.

        Raises:
            InvalidInput: causal already, or a norm that the U-Net cannot have.
            UnknownName: unknown transfer.
        """
        if self.causal:
            raise InvalidInput("this network is causal already; causalize a pretrained one (worldsim train stage=pretrain)")
        new = replace(self.config, causal=True)
        new.transfer, new.norm, new.window = transfer or new.transfer, norm or new.norm, new.window if window is None else window
        report = causalize(self.unet, transfer=new.transfer, norm=new.norm, window=new.window)
        self.config = new
        return report

    def forward(
        self,
        x: Tensor,
        levels: Tensor,
        actions: Tensor,
        known: Tensor,
        memory: Memory | None = None,
        context: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """One evaluation; arguments and result as for `VideoNetwork`. Before causalization actions are not looked at.

        Raises:
            InvalidInput: several streams without a memory of as many branches, or, before causalization, a memory or a clip with
                different levels.
            UnknownName: a context entry that the U-Net does not take.
        """
        streams = x.shape[1]
        if memory is None and streams > 1:
            raise InvalidInput(
                f"{streams} streams without a memory, expected 1: streams of a {self.config.class_name} meet in a memory only"
            )
        if memory is not None and (not self.causal or memory.branches != streams):
            raise InvalidInput(f"a memory of {memory.branches} branches for {streams} streams of a network with causal={self.causal}")
        latents = x.flatten(0, 1).permute(0, 1, 4, 2, 3)  # [B * S, T, C, h, w]
        timesteps = self._timesteps(levels)
        context = {name: value.repeat_interleave(streams, dim=0) for name, value in (context or {}).items()}
        if not self.causal:
            output = call(self.unet, latents, timesteps, context)
        else:
            output = self._evaluate(latents, timesteps, self.action_mlp(by_stream(actions), known).flatten(0, 1), memory, context)
        return output.permute(0, 1, 3, 4, 2).reshape(x.shape)

    def _evaluate(
        self, latents: Tensor, timesteps: Tensor, embedding: Tensor, memory: Memory | None, context: Mapping[str, Tensor]
    ) -> Tensor:
        self.unet.frame_levels.extra = embedding  # [B * S, T, E]
        try:
            with remembering(self.unet, memory):
                return call(self.unet, latents, timesteps, context)
        finally:
            self.unet.frame_levels.extra = None

    def _timesteps(self, levels: Tensor) -> Tensor:
        """Levels `[B, S, T]` to steps of 1000, `[B * S, T]`, or `[B]` before causalization."""
        steps = (1000 * levels.flatten(0, 1)).round().sub(1).clamp(min=0).long()
        if self.causal:
            return steps
        if (steps != steps[:, :1]).any():
            raise InvalidInput(
                "frames of one clip have different levels; a network takes those after causalize, before it one level per clip"
            )
        return steps[:, 0]

    def context_for(self, first_frames: Tensor, first_latents: Tensor) -> dict[str, Tensor]:
        """The first frame's latent where the U-Net takes it, and neutral values for its other inputs, which a caller may replace.

        Args:
            first_frames: float `[B, H, W, 3]`; not looked at, as no image encoder belongs to a U-Net's folder.
            first_latents: `[B, h, w, C]`.
        """
        return neutral_context(self.unet, first_latents)

    def save_memory(self) -> None:
        """Compute activations twice in training rather than keep them.

        Raises:
            InvalidInput: a class that diffusers does not offer this for.
        """
        if not self.unet._supports_gradient_checkpointing:
            raise InvalidInput(f"diffusers' {self.config.class_name} cannot compute activations twice; drop checkpointing=true")
        self.unet.enable_gradient_checkpointing()

    def remember(self, memory: Memory, frames: int) -> HistoryCache:
        """The cache after a pass over `frames` frames of history, which is one stream.

        Raises:
            InvalidInput: the pass had several branches.
        """
        if self.config.norm == "clip":
            raise InvalidInput(
                "norms over the whole clip leave nothing to be remembered; type history=recompute, or causalize with norm=frame"
            )
        return memory.after(frames, self.window)

    def describe(self) -> dict:
        """The config as plain values."""
        return asdict(self.config)


def from_folder(folder: str | Path, *, causal: bool = True, **options: Any) -> DiffusersUNet:
    """A network from a folder that diffusers' `save_pretrained` wrote (for a pipeline: its subfolder `unet`).

    Args:
        folder: holds `config.json` and safetensors weights, in one file or in shards. Nothing is downloaded and no pickle is read.
        causal: causalize after loading; False gives the pretrained network for more pretraining.
        **options: fields of `DiffusersUNetConfig`: action_size, latent_height, latent_width, transfer, norm, window.

    Raises:
        InvalidInput: no such folder, or an option that is none.
        UnknownName: a class that is none of the four, or a config entry that the class does not have.
        DamagedFile: unreadable config or weights, or weights of another shape.
    """
    values = _read_json(Path(folder) / "config.json")
    class_name = values.get("_class_name", "none")
    family_named(class_name)
    allowed = {each.name for each in fields(DiffusersUNetConfig)} - {"class_name", "unet", "causal"}
    if unknown := sorted(set(options) - allowed):
        raise InvalidInput(f"from_folder has no option {', '.join(unknown)}; expected {', '.join(sorted(allowed))}")
    net = DiffusersUNetConfig(class_name, values, **options).build()
    try:
        net.unet.load_state_dict(_weights(Path(folder)))
    except RuntimeError as error:
        raise DamagedFile(f"{folder} does not hold a {class_name} of its own config: {' '.join(str(error).split())[:300]}") from error
    if causal:
        net.causalize()
    return net.eval()


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InvalidInput(
            f"{path.parent} has no {path.name}; expected a folder written by save_pretrained, for a pipeline its subfolder unet"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedFile(f"{path} is not JSON ({error}); get the folder again") from error


def _weights(folder: Path) -> dict[str, Tensor]:
    """All tensors in float32, from the shards that the index names or from one file (float32 before float16)."""
    index = folder / f"{WEIGHTS}.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_read_json(index)["weight_map"].values()))
    else:
        names = [name for name in (f"{WEIGHTS}.safetensors", f"{WEIGHTS}.fp16.safetensors") if (folder / name).is_file()][:1]
    if not names:
        raise DamagedFile(f"{folder} has no {WEIGHTS}.safetensors; save it with save_pretrained(..., safe_serialization=True)")
    tensors: dict[str, Tensor] = {}
    for name in names:
        try:
            tensors |= load_file(folder / Path(name).name)
        except (SafetensorError, OSError) as error:
            raise DamagedFile(f"{folder / name} cannot be read ({error}); get the folder again") from error
    return {name: tensor.to(torch.float32) for name, tensor in tensors.items()}
