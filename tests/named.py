"""What a configuration names, looked up: registered parts and their options, presets, protocols, reference tables. Loads no checkpoint.

A name with a / or a suffix is a file or folder of the reader's, which need not be there; so is what `made` lists.
"""

from collections.abc import Collection, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import gymnasium as gym

import worldsim.envs  # noqa: F401  its environments are registered
from worldsim.data.recording import RECORDING_FORMATS
from worldsim.data.references import family_names, reference_names
from worldsim.data.splits import OWN
from worldsim.load import KINDS, shipped_names
from worldsim.posttraining.feedback import FEEDBACK
from worldsim.registry import ADAPTERS, POLICIES, TASKS, TRUTHS, VERIFIERS, WORLD_MODELS, Registry

PARTS = {
    "verifier": VERIFIERS,
    "watcher": VERIFIERS,
    "policies": POLICIES,
    "policy": POLICIES,
    "probe_policy": POLICIES,
    "world_model": WORLD_MODELS,
    "task": TASKS,
    "check_task": TASKS,
    "truth": TRUTHS,
    "feedback": FEEDBACK,
}
WORDS = {"truth": ("auto",), "real": ("list",), "encoder": ("tiny",), "labels": ("state", "human", "recorded")}


def unknown_names(verb: str, values: Mapping[str, Any], made: Collection[str] = ()) -> list[str]:
    """What of a configuration names nothing there is, as KEY=VALUE; options of parts raise as in the command itself."""
    if verb == "import":
        options = values["options"] or {}
        RECORDING_FORMATS.config(
            values["source"], {"path": values["path"], "camera": values["camera"], "limit": values["limit"], **options}
        )
    wrong = []
    for key, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            if each is not None and not _is_known(verb, key, each, made):
                wrong.append(f"{key}={each}")
    return wrong


def _is_known(verb: str, key: str, value: Any, made: Collection[str]) -> bool:
    if isinstance(value, Mapping):
        return key not in PARTS or _is_part(PARTS[key], value, made)
    if not isinstance(value, str) or value in made or value in WORDS.get(key, ()):
        return True
    if key == "task" and value in OWN:  # as recordings name it
        return True
    if key == "env":
        return value in gym.registry
    if (key == "real" or (verb, key) == ("compare", "run")) and (":" in value or not _is_path(value)):
        return value in reference_names() or bool(family_names(value))
    if _is_path(value):
        return True
    if (verb, key) == ("train", "world_model") or key == "preset":
        return _is_config("world_models", value)
    if key == "protocol":
        return _is_config("protocols", value)
    return _is_part(PARTS[key], value, made) if key in PARTS else key not in WORDS


def _is_part(registry: Registry, spec: Any, made: Collection[str]) -> bool:
    """Whether a name, or a mapping with `name`, is a part; the parts it is made of and its adapters are looked at too."""
    if not isinstance(spec, Mapping):
        named = spec.partition(":")[0] if registry in (TRUTHS, TASKS) else spec  # gym:ENV_ID
        return named in registry or spec in made or _is_path(spec) or spec in shipped_names(KINDS.get(registry.kind, "none"))
    options = {key: value for key, value in spec.items() if key not in ("name", "as", "adapters")}
    if spec["name"] in registry:
        registry.config(spec["name"], options)  # refuses an option that the part lacks
    of = options.get("of", [])
    members = [(registry, each) for each in (of if isinstance(of, list) else [of])] + [
        (ADAPTERS, each) for each in spec.get("adapters", [])
    ]
    return all(_is_part(kind, each, made) for kind, each in [(registry, spec["name"]), *members])


def _is_config(folder: str, name: str) -> bool:
    return (files("worldsim.experiments.configs") / folder / f"{name}.yaml").is_file()


def _is_path(value: str) -> bool:
    return "/" in value or bool(Path(value).suffix) and not value.startswith(".")
