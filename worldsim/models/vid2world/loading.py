"""Official weights into the U-Net: strictly, by one key map, without pickle. A network is returned whole or not at all."""

import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from worldsim.errors import DamagedFile, InvalidInput
from worldsim.models.vid2world.config import Vid2WorldConfig
from worldsim.models.vid2world.keys import OLD_FPS, PREFIX, is_action, official_names
from worldsim.models.vid2world.unet import Vid2WorldUNet

WRAPPER = "_forward_module."  # in front of every name in a file that DeepSpeed wrote


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `.ckpt` (Lightning's or DeepSpeed's container) or `.safetensors` file, by name. Code in a pickle is never run.

    Raises:
        InvalidInput: no such file, or one that holds other things than tensors.
        DamagedFile: it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInput(f"{path} is not a file; give the checkpoint itself, a .ckpt or .safetensors file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise DamagedFile(f"{path} cannot be read ({error}); get it again") from error
    return _unpacked(path, _read_pickle(path))


def _read_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        reason = next((line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "Unsupported" in line), "")
        raise InvalidInput(
            f"{path} holds code or objects besides tensors, which are never loaded {reason}; save its state_dict as .safetensors and give that"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise DamagedFile(f"{path} cannot be read ({str(error).splitlines()[0]}); get it again") from error


def _is_zip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"PK"


def _unpacked(path: Path, held: object) -> dict[str, Tensor]:
    """The state dict inside a container, without DeepSpeed's prefix."""
    for name in ("state_dict", "module"):
        if isinstance(held, Mapping) and isinstance(held.get(name), Mapping):
            held = held[name]
    if not isinstance(held, Mapping) or not held or not all(isinstance(tensor, Tensor) for tensor in held.values()):
        raise InvalidInput(f"{path} holds no state dict, expected tensors by name, alone or under state_dict or module")
    return {name.removeprefix(WRAPPER): tensor for name, tensor in held.items()}


def load_unet(state_dict: Mapping[str, Tensor], config: Vid2WorldConfig) -> Vid2WorldUNet:
    """The U-Net of a Vid2World checkpoint. Its kernels were made causal when it was trained and are never transferred again.

    Args:
        state_dict: official names, with or without `model.diffusion_model.`; a whole checkpoint's other parts are left out.
        config: sizes; `causal` is taken for true.

    Raises:
        DamagedFile: missing, surplus or misshapen tensors, which are named.
    """
    with torch.device("meta"):
        net = replace(config, causal=True).build()
    return _filled(net, state_dict, base=False)


def load_base(state_dict: Mapping[str, Tensor], config: Vid2WorldConfig, transfer: str = "extrapolative") -> Vid2WorldUNet:
    """A Vid2World U-Net that begins at DynamiCrafter's weights: loaded, then made causal. Only the action embedding is drawn anew.

    Raises:
        DamagedFile: missing, surplus or misshapen tensors, which are named.
        UnknownName: unknown transfer.
    """
    with torch.device("meta"):
        net = replace(config, causal=False).build()
    _filled(net, state_dict, base=True)
    net.causalize(transfer=transfer, norm=config.norm)
    return net


def _filled(net: Vid2WorldUNet, state_dict: Mapping[str, Tensor], *, base: bool) -> Vid2WorldUNet:
    """`net`, which holds no values yet, with the weights of `state_dict`."""
    given = _own_part(state_dict)
    wanted = official_names(net.state_dict(), base=base)
    absent = [name for name in wanted if name not in given and not (base and is_action(name))]
    surplus = [name for name in given if name not in wanted]
    if absent or surplus:
        hint = _hint(absent, surplus, base=base)
        raise DamagedFile(f"the weights do not fit: {_some(absent, 'missing')}, {_some(surplus, 'not expected')}; {hint}")
    shapes = {name: tensor.shape for name, tensor in net.state_dict().items()}
    for official, name in wanted.items():
        if official in given and given[official].shape != shapes[name]:
            raise DamagedFile(_misshapen(official, list(given[official].shape), list(shapes[name])))
    weights = {name: given[official] for official, name in wanted.items() if official in given}
    _draw_actions(net, weights)
    net.load_state_dict(weights, assign=True)
    return net.requires_grad_().eval()


def _draw_actions(net: Vid2WorldUNet, weights: dict[str, Tensor]) -> None:
    """Put freshly drawn values for the tensors that a base lacks into `weights`."""
    like = weights["level_mlp.0.weight"]
    for name in ("action_mlp", "action_table"):
        if hasattr(net, name) and not any(key.startswith(f"{name}.") for key in weights):
            fresh = getattr(net, name).to_empty(device="cpu")
            for module in fresh.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
            weights |= {f"{name}.{key}": tensor.to(like.dtype) for key, tensor in fresh.state_dict().items()}


def _own_part(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The U-Net's tensors without prefix, the frame-rate MLP under its newer name."""
    whole = any(name.startswith(PREFIX) for name in state_dict)
    own = {name.removeprefix(PREFIX): tensor for name, tensor in state_dict.items() if not whole or name.startswith(PREFIX)}
    return {f"fps_embedding{name.removeprefix(OLD_FPS)}" if name.startswith(OLD_FPS) else name: tensor for name, tensor in own.items()}


def _some(names: list[str], what: str) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {what} ({shown})" if names else f"none {what}"


def _hint(absent: list[str], surplus: list[str], *, base: bool) -> str:
    if not base and any(".conv3d." in name for name in absent):
        return "a DynamiCrafter base has plain convolutions: load it as one, base=true"
    if base and any(".conv3d." in name for name in surplus):
        return "this is a Vid2World checkpoint: load it as one, base=false"
    if any(is_action(name) for name in absent + surplus):
        return "its actions are of another kind; choose the domain that it was trained on, rt1, csgo or recon"
    return "get the checkpoint again, or choose the sizes that it was trained with"


def _misshapen(name: str, given: list[int], expected: list[int]) -> str:
    if name == "action_emb_proj.0.weight":
        return f"the weights take actions of {given[1]} numbers, the config says {expected[1]}; set action_size={given[1]}"
    return f"{name} has shape {given}, expected {expected}; choose the sizes that the checkpoint was trained with"
