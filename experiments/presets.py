"""Named sets of values: `configs/GROUPs/NAME.yaml`, or a YAML file of one's own, read into a typed dataclass. Knows no command."""

from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

Preset = TypeVar("Preset")


def preset_names(group: str) -> list[str]:
    """Names of the presets that come with worldsim, sorted."""
    return sorted(path.name.removesuffix(".yaml") for path in _folder(group).iterdir() if path.name.endswith(".yaml"))


def load_preset(group: str, name: str, kind: type[Preset]) -> Preset:
    """The preset `name` of `group`, or the YAML file `name`, as a `kind`; keys that it leaves out keep their defaults.

    Raises:
        UnknownName: no such preset and no such file.
        InvalidInput: a key that `kind` lacks, a value of another type, or one that is missing.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path = Path(name) if name.endswith((".yaml", ".yml")) else Path(str(_folder(group) / f"{name}.yaml"))
    if not path.is_file():
        raise UnknownName(f'unknown {group.replace("_", " ")} "{name}"; {did_you_mean(name, preset_names(group))}')
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), OmegaConf.load(path)))
    except (OmegaConfBaseException, YAMLError) as error:
        raise InvalidInput(f"{path} does not describe a {group.replace('_', ' ')}: {str(error).splitlines()[0]}") from error


def _folder(group: str) -> Any:
    return files("worldsim.experiments") / "configs" / f"{group}s"  # Hydra would take configs/GROUP for one of its own groups
