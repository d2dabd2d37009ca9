"""LeRobot's checkpoint folders: what can be said of them without lerobot, and the parts that lerobot loads. Knows no lanes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldsim.errors import DamagedFile, InvalidInput, MissingDependency
from worldsim.policies.foreign import first_line

PIPELINES = ("policy_preprocessor.json", "policy_postprocessor.json")
MIGRATE = "migrate it with lerobot's processor/migrate_policy_normalization.py"
ELSEWHERE = "serve the policy from lerobot's environment (vla-evaluation-harness serves LeRobot policies) and use the policy vla-eval"


def described(path: str | Path) -> dict[str, Any]:
    """The `config.json` of a LeRobot checkpoint folder that can be loaded.

    Raises:
        DamagedFile: there is none, or it is not JSON.
        InvalidInput: it is no policy of LeRobot's, an adapter, or one from before the pipelines.
    """
    from worldsim.data.files import described_in

    config = described_in(path)
    if config is None:
        raise DamagedFile(f"{path} is no checkpoint folder (no config.json in it); give a folder, downloaded before")
    if not isinstance(config, dict) or not isinstance(config.get("type"), str) or not isinstance(config.get("output_features"), dict):
        raise InvalidInput(f"config.json in {path} has no type and output_features; give a policy that LeRobot trained")
    if config.get("use_peft"):
        raise InvalidInput(f"{path} holds an adapter only; merge it into its base policy first")
    if missing := [name for name in PIPELINES if not (Path(path) / name).is_file()]:
        raise InvalidInput(f"{path} has no {missing[0]}, so nobody knows how its numbers are normalised; {MIGRATE}")
    return config


def loaded(path: str | Path, device: str) -> tuple[Any, Any, Any]:
    """(network, preprocessor, postprocessor) on a device, by lerobot.

    Raises:
        MissingDependency: lerobot, or a package that this kind of policy needs, is not installed.
        InvalidInput: lerobot cannot load it.
    """
    moved = _moved(path, device)
    try:
        import lerobot
    except ImportError as error:
        raise MissingDependency(f"LeRobot's checkpoints need lerobot in this environment; install it, or {ELSEWHERE}") from error
    try:
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors

        config = PreTrainedConfig.from_pretrained(str(path), local_files_only=True)
        config.device = device
        network = get_policy_class(config.type).from_pretrained(str(path), config=config, local_files_only=True)
        before, after = make_pre_post_processors(config, pretrained_path=str(path), preprocessor_overrides=moved)
    except ImportError as error:
        raise MissingDependency(f"lerobot cannot load {path} ({first_line(error)}); install what it names, or {ELSEWHERE}") from error
    except Exception as error:  # somebody else's code
        reason = f"lerobot {getattr(lerobot, '__version__', '?')} cannot load {path} ({first_line(error)})"
        raise InvalidInput(f"{reason}; use the lerobot that trained it") from error
    return network.to(device).eval(), before, after


def _moved(path: str | Path, device: str) -> dict[str, Any]:
    """What makes a preprocessor put its tensors on `device`, where it has a step for that."""
    try:
        steps = json.loads((Path(path) / PIPELINES[0]).read_text(encoding="utf-8"))["steps"]
        named = {step.get("registry_name") for step in steps}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFile(f"{Path(path) / PIPELINES[0]} is no list of steps ({type(error).__name__}); get the checkpoint again") from error
    return {"device_processor": {"device": device}} if "device_processor" in named else {}


def shape_of(path: str | Path, config: Mapping[str, Any], group: str, name: str) -> tuple[int, ...]:
    """The shape of a feature.

    Raises:
        InvalidInput: the config has no such feature.
    """
    try:
        return tuple(int(side) for side in config[group][name]["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"config.json in {path} states no shape of {name} in {group}; get the checkpoint again") from error
