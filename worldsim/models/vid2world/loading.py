"""Official weights into our U-Net, strictly: Vid2World's as they are, DynamiCrafter's with their kernels made causal."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from worldsim.errors import InvalidInput
from worldsim.models.causal.kernels import check_transfer
from worldsim.models.vid2world.blocks import ActionMLP
from worldsim.models.vid2world.config import Vid2WorldConfig
from worldsim.models.vid2world.files import unwrapped
from worldsim.models.vid2world.keys import ACTION_NAMES, INFIXES, OLD_NAMES, PREFIX, official_names
from worldsim.models.vid2world.surgery import make_causal
from worldsim.models.vid2world.unet import Vid2WorldUNet

SHOWN = 3  # names in one line


def load_unet(
    state_dict: Mapping[str, object], config: Vid2WorldConfig | None = None, *, dtype: torch.dtype = torch.float32
) -> Vid2WorldUNet:
    """The network of a Vid2World checkpoint, or with `causal=False, action_size=0` of a DynamiCrafter one. Kernels are never transformed.

    Args:
        state_dict: official names, with or without `model.diffusion_model.`; with it, other parts of the checkpoint are passed over.
            A Lightning or DeepSpeed container will do. The tensors are copied.
        config: sizes and readings; default RT-1's.
        dtype: of the network's parameters.

    Returns:
        The network in evaluation mode.

    Raises:
        InvalidInput: missing, surplus or misshapen tensors; the line names the first few and what to set.
    """
    config = config or Vid2WorldConfig()
    given, net = _unet_weights(state_dict), _bare(config)
    names = official_names(net.state_dict(), causal=config.causal)
    _check(given, {names[ours]: tensor for ours, tensor in net.state_dict().items()}, config)
    return _filled(net, {ours: given[theirs] for ours, theirs in names.items()}, dtype)


def load_base(
    state_dict: Mapping[str, object],
    config: Vid2WorldConfig | None = None,
    transfer: str = "extrapolative",
    *,
    dtype: torch.dtype = torch.float32,
) -> Vid2WorldUNet:
    """A causal network that begins from the weights of bidirectional DynamiCrafter. The action embedding is new, from torch's generator.

    Args:
        state_dict: as for `load_unet`, with the names of DynamiCrafter. Nothing but the action embedding may be missing.
        config: the causal network that is wanted; default RT-1's. `head="rows"` transfers the last convolution along the height, as the
            released networks had it; `head="symmetric"` leaves it.
        transfer: how the temporal kernels become causal, see `worldsim.models.causal.transfer_kernel`.
        dtype: of the network's parameters.

    Returns:
        The network in evaluation mode.

    Raises:
        InvalidInput: a config that is not causal; missing, surplus or misshapen tensors.
        UnknownName: unknown transfer.
    """
    config = config or Vid2WorldConfig()
    check_transfer(transfer)
    if not config.causal:
        raise InvalidInput("load_base makes a causal network and the config has causal=False; load_unet(state_dict, config) keeps a base")
    given, net = _unet_weights(state_dict), _bare(replace(config, causal=False))
    names = official_names(net.state_dict(), causal=False)
    expected = {names[ours]: tensor for ours, tensor in net.state_dict().items()}
    new = {} if any(key.startswith(ACTION_NAMES) for key in given) else _new_action_weights(config)
    _check(given, {key: tensor for key, tensor in expected.items() if not (new and key.startswith(ACTION_NAMES))}, net.config)
    _filled(net, {ours: new[ours] if ours in new else given[theirs] for ours, theirs in names.items()}, dtype)
    make_causal(net, transfer=transfer, norm=config.norm, window=config.window)
    return net


def official_weights(net: Vid2WorldUNet) -> dict[str, Tensor]:
    """The parameters of `net` under their official names, with `model.diffusion_model.`: what `load_unet` reads."""
    weights = net.state_dict()
    return {PREFIX + theirs: weights[ours] for ours, theirs in official_names(weights, causal=net.config.causal).items()}


def _bare(config: Vid2WorldConfig) -> Vid2WorldUNet:
    with torch.device("meta"):
        return config.build()


def _new_action_weights(config: Vid2WorldConfig) -> dict[str, Tensor]:
    """The action embedding as torch initialises it, under our names."""
    if not config.action_size:
        return {}
    made = ActionMLP(config.action_size, config.model_channels, 4 * config.model_channels, config.action_kind)
    return {f"action_mlp.{name}": tensor for name, tensor in made.state_dict().items()}


def _filled(net: Vid2WorldUNet, weights: dict[str, Tensor], dtype: torch.dtype) -> Vid2WorldUNet:
    copies = {name: tensor.detach().to(dtype, copy=True) for name, tensor in weights.items()}
    net.load_state_dict(copies, assign=True)
    return net.eval()


def _unet_weights(state_dict: Mapping[str, object]) -> dict[str, Tensor]:
    """What belongs to the U-Net, without its prefix, under today's names."""
    given = unwrapped(state_dict)
    if any(key.startswith(PREFIX) for key in given):
        given = {key.removeprefix(PREFIX): tensor for key, tensor in given.items() if key.startswith(PREFIX)}
    for old, new in OLD_NAMES.items():
        if not any(key.startswith(new) for key in given):
            given = {new + key.removeprefix(old) if key.startswith(old) else key: tensor for key, tensor in given.items()}
    return given


def _check(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], config: Vid2WorldConfig) -> None:
    """Raise unless names, shapes and kinds of numbers agree."""
    missing = [key for key in expected if key not in given]
    surplus = [key for key in given if key not in expected]
    both = [key for key in expected if key in given]
    shapes = [
        f"{key} has shape {list(given[key].shape)}, expected {list(expected[key].shape)}"
        for key in both
        if given[key].shape != expected[key].shape
    ]
    kinds = [f"{key} is {given[key].dtype}, expected floating point" for key in both if not given[key].is_floating_point()]
    faults = [
        *([f"{len(missing)} of {len(expected)} tensors are missing: {_few(missing)}"] if missing else []),
        *([f"{len(surplus)} tensors are surplus: {_few(surplus)}"] if surplus else []),
        *([f"{len(shapes)} tensors are misshapen: {_few(shapes)}"] if shapes else []),
        *kinds[:1],
    ]
    if faults:
        raise InvalidInput(f"these weights do not fit the network: {'; '.join(faults)}; {_advice(given, config)}")


def _few(items: list[str]) -> str:
    return ", ".join(items[:SHOWN]) + (f" and {len(items) - SHOWN} more" if len(items) > SHOWN else "")


def _advice(given: Mapping[str, Tensor], config: Vid2WorldConfig) -> str:
    """What to type, as far as the weights tell."""
    causal = any(infix in key for key in given for infix in INFIXES)
    if config.causal and not causal and "out.2.weight" in given:
        return "these are the names of a DynamiCrafter base, use load_base(state_dict, config)"
    if causal and not config.causal:
        return "these are the names of a Vid2World checkpoint, use load_unet(state_dict, config) with causal=True"
    kind, size = _actions_of(given)
    if size and (kind, size) != (config.action_kind, config.action_size):
        ours = f'action_size={config.action_size}, action_kind="{config.action_kind}"'
        return f'its actions have {size} numbers and the config says {ours}: set action_size={size}, action_kind="{kind}"'
    return "compare the sizes in Vid2WorldConfig with those of the checkpoint, or get the checkpoint again"


def _actions_of(given: Mapping[str, Tensor]) -> tuple[str, int]:
    """Kind and size of the actions that weights were made for; size 0 for none."""
    table, first = given.get("action_emb_preprocess.weight"), given.get("action_emb_proj.0.weight")
    if table is not None and table.ndim == 2:
        return "multi_hot", table.shape[0]
    return "continuous", first.shape[1] if first is not None and first.ndim == 2 else 0
