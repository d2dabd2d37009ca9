"""Parts by name or path: registered parts, shipped checkpoints (worldsim/weights), or folders of one's own; and what identifies them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from worldsim.data.files import digest_of
from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import ADAPTERS, POLICIES, TASKS, TRUTHS, VERIFIERS, WORLD_MODELS, Registry, did_you_mean
from worldsim.types import ActionSpec, Task

KINDS = {"world model": "world_models", "policy": "policies", "verifier": "verifiers"}
LIFTING = ("chunk", "ensemble")  # the adapters that make a planner act
CONVENTION = ("frame", "rotation", "gripper", "rate_hz", "choice", "names")
CONVERTERS = {  # which adapter makes an attribute of an action the world's
    "names": "{name: components, rename: {WORLD'S: POLICY'S}}",
    "rate_hz": "{name: rate, actions: delta}",
    "rotation": "{name: rotation, to: WORLD'S}",
    "gripper": "gripper",
}
SLACK = 1e-6  # by which a policy may leave the world's bounds: float32 rounding
READERS = {"policy": "cloned", "verifier": "classifier"}  # the registered part that a checkpoint folder of a kind is read by


def shipped_folder(kind: str, name: str) -> Path | None:
    """The folder of a checkpoint that comes with worldsim, or None. `kind` is world_models, policies or verifiers."""
    folder = Path(str(files("worldsim"))) / "weights" / kind / name
    return folder if "/" not in name and (folder / "config.json").exists() else None


def shipped_names(kind: str) -> list[str]:
    """Names of the shipped checkpoints of a kind, sorted."""
    return sorted(path.parent.name for path in (Path(str(files("worldsim"))) / "weights" / kind).glob("*/config.json"))


def shipped_panel(task: str = "drawer") -> list[str]:
    """Names of the shipped policies of a task, where there are none of the drawer, in the order in which they were trained, then by name.

    A policy's config says so under "training", by "steps" and, if it is not for the drawer, "task".
    """
    steps: dict[str, dict[str, int]] = {}
    for name in shipped_names("policies"):
        training = json.loads((shipped_folder("policies", name) / "config.json").read_text(encoding="utf-8")).get("training", {})
        steps.setdefault(training.get("task") or "drawer", {})[name] = training.get("steps", 0)
    panel = steps.get(task) or steps.get("drawer", {})
    return sorted(panel, key=lambda name: (panel[name], name))


def find_checkpoint(kind: str, name: str | Path, registered: list[str]) -> Path:
    """The folder that `name` stands for: shipped under that name, or a path.

    Raises:
        UnknownName: neither; with did-you-mean over shipped and registered names.
    """
    if found := shipped_folder(KINDS[kind], str(name)):
        return found
    if Path(name).is_dir():
        return Path(name)
    known = shipped_names(KINDS[kind]) + registered
    raise UnknownName(f'unknown {kind} "{name}" (no such name, no such folder); {did_you_mean(str(name), known)}')


def load_world_model(name: Any = "drawer", device: str = "cpu", **options: Any) -> Any:
    """A world model by name or path. Options that are not None replace the checkpoint's own: those of `worldsim.options.ModelKeys`.

    With precision "bf16", or "auto" on a device that has it, weights of products are held in bfloat16: for sampling, not for training on.

    A registered world model is built with the options that are not None, and with `device` where it is not the CPU.

    Raises:
        UnknownName, InvalidInput, DamagedFile: no such checkpoint, or not a sound one.
    """
    if str(name) in WORLD_MODELS:
        given = {**options, "device": None if device == "cpu" else device}
        return WORLD_MODELS.config(str(name), {key: value for key, value in given.items() if value is not None}).build()
    from worldsim.simulator import open_world_model

    return open_world_model(find_checkpoint("world model", name, WORLD_MODELS.names()), device=device, **options)


def load_policy(spec: Any, action: ActionSpec | None = None) -> Any:
    """A policy by name, path, mapping with `name`, config or object; `action` is what the world takes.

    A mapping may also have `adapters`, a list of names or mappings with `name`: what stands between the policy and the world, nearest to
    the policy first. A policy that plans several actions ahead plays its plans to the end unless the first adapter says otherwise.

    Raises:
        UnknownName: no such policy, or no such adapter.
        InvalidInput: the policy's actions mean something else than the world's, or leave its bounds.
    """
    policy = _part(POLICIES, spec, action)
    adapters = _adapters(spec)
    if not hasattr(policy, "act") and (not adapters or part_name(adapters[0]) not in LIFTING):
        adapters = ["chunk", *adapters]
    for adapter in adapters:
        name, options = _resolve(ADAPTERS, adapter)
        policy = ADAPTERS.config(name, options).build(policy, action)
    if action is not None:
        _refuse_other_actions(part_name(spec), policy.action, action)
    return policy


def _adapters(spec: Any) -> list[Any]:
    """The adapters that a policy is given with.

    Raises:
        InvalidInput: no list of them.
    """
    found = spec.get("adapters") or [] if isinstance(spec, Mapping) else []
    if isinstance(found, str | Mapping) or not isinstance(found, Sequence):
        raise InvalidInput(f"adapters are {found}, expected a list; type adapters: [clip, {{name: rotation, to: rpy}}]")
    return list(found)


def _refuse_other_actions(name: str, policy: ActionSpec, world: ActionSpec) -> None:
    """Stop where an action of the policy would mean something else in the world, or may leave its bounds."""
    different = policy.differences(world)
    for key in CONVENTION:  # names last: a turn written otherwise has other names too
        if key in different:
            mine, theirs = (_said(getattr(spec, key)) for spec in (policy, world))
            advice = (
                f"put a converter between them: {_with_adapter(name, CONVERTERS[key])}" if key in CONVERTERS else "no adapter changes that"
            )
            raise InvalidInput(f'policy "{name}" acts with {key} {mine}, the world takes {theirs}; {advice}')
    for component, low, high, least, most in zip(world.names, policy.low, policy.high, world.low, world.high, strict=True):
        if low < least - SLACK or high > most + SLACK:
            cut = f"to have it cut, type {_with_adapter(name, 'clip')}"
            raise InvalidInput(f'policy "{name}" gives {component} in [{low:g}, {high:g}], the world takes [{least:g}, {most:g}]; {cut}')


def _with_adapter(name: str, adapter: str) -> str:
    return f"policies='[{{name: {name}, adapters: [{adapter}]}}]'"


def _said(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def load_verifier(spec: Any = "classifier", run: str | Path | None = None) -> Any:
    """A verifier by name, path, mapping with `name`, config or object. One whose config has `in_run` is told the run folder that it judges.

    Raises:
        UnknownName: no such verifier.
    """
    if run is not None and isinstance(spec, str | Path | Mapping):
        spec = VERIFIERS.config(*_resolve(VERIFIERS, spec))
        spec = spec.in_run(run) if hasattr(spec, "in_run") else spec
    return _part(VERIFIERS, spec)


def load_truth(spec: Any = "drawer") -> Any:
    """A true world by name or mapping."""
    return _part(TRUTHS, spec)


def load_task(name: Any = "drawer", camera: str | None = None) -> Task:
    """A task by name or mapping, from a file of starts, or the folder of recorded episodes whose first frames (of `camera`) it starts from.

    Raises:
        UnknownName: none of them, or episodes without that camera.
        DamagedFile: a file that holds no starts.
    """
    if isinstance(name, Task):
        return name
    if isinstance(name, Mapping) or _resolve(TASKS, name)[0] in TASKS:
        return _part(TASKS, name)
    from worldsim.data.tasks import read_starts, recorded_task

    if Path(name).is_dir():
        return recorded_task(name, camera)
    if Path(name).is_file():
        return read_starts(Path(name))
    raise UnknownName(f'unknown task "{name}" (no such name, no such folder); {did_you_mean(str(name), TASKS.names())}')


def part_name(spec: Any) -> str:
    """What a part is called in tables: its name, or the last part of its path; in a mapping, `as` comes first."""
    if isinstance(spec, Mapping):
        return str(spec.get("as") or Path(str(spec.get("path", spec.get("name")))).name)
    return Path(str(spec)).name if isinstance(spec, str | Path) else type(spec).__name__


def part_config(registry: Registry, spec: Any) -> Any:
    """The config of a part given by name, path or mapping, filled with its options. Raises UnknownName, InvalidInput."""
    name, options = _resolve(registry, spec)
    return registry.config(name, options)


def part_checkpoint(registry: Registry, spec: Any) -> dict[str, Any] | None:
    """The `config.json` of the checkpoint that a part given by name, path or mapping is read from; None where it reads none.

    Raises:
        UnknownName, InvalidInput: no such part, or a mapping that does not describe one.
        DamagedFile: `config.json` is not JSON.
    """
    config = part_config(registry, spec)
    if hasattr(config, "facts"):  # somebody else's checkpoint, whose config.json says other things
        return None
    path = asdict(config).get("path")
    folder = path and (shipped_folder(KINDS[registry.kind], path) or Path(path))
    if not folder or not (folder / "config.json").is_file():
        return None
    from worldsim.models.checkpoint import read_config

    return read_config(folder, registry.kind.replace(" ", "_"))


def part_facts(registry: Registry, spec: Any) -> dict[str, Any]:
    """What a part given by name, path or mapping depends on, as JSON: its registered name, its options, the hash of its checkpoint.

    A part that reads a checkpoint of another project says itself what identifies it: its config has `facts() -> dict`, in which `sha256`
    stands for `path`, and other values for the options of the same name. Options that change no episode are listed in its `incidental`,
    keys of its checkpoint's config that matter besides the weights in `identified_by`.

    Raises:
        UnknownName, InvalidInput, DamagedFile: as `part_checkpoint`.
    """
    name, options = _resolve(registry, spec)
    checkpoint, config = part_checkpoint(registry, spec), registry.config(name, options)
    found = config.facts() if hasattr(config, "facts") else {"sha256": checkpoint["sha256"]} if checkpoint else {}
    if checkpoint and (keys := getattr(config, "identified_by", ())):
        found |= {"config": digest_of({key: checkpoint.get(key) for key in keys})}
    ignored = {"device", *(["path"] if found else []), *getattr(config, "incidental", ())}  # where a checkpoint lies does not change it
    facts = {"name": name, **{key: value for key, value in options.items() if key not in ignored}}
    adapters = {"adapters": given} if registry is POLICIES and (given := _adapters(spec)) else {}
    return facts | adapters | found


def part_tree(registry: Registry, spec: Any) -> Iterator[Any]:
    """A part given by name, path or mapping, then the parts that it is made of (`of`), and theirs."""
    yield spec
    for member in _made_of(registry, spec):
        yield from part_tree(registry, member)


def part_members(registry: Registry, spec: Any) -> list[Any]:
    """Of a part and those that it is made of, the ones that are made of none."""
    return [part for part in part_tree(registry, spec) if not _made_of(registry, part)]


def _made_of(registry: Registry, spec: Any) -> list[Any]:
    members = getattr(part_config(registry, spec), "of", None) or []
    return [members] if isinstance(members, str | Mapping) else list(members)


def _part(registry: Registry, spec: Any, *arguments: Any) -> Any:
    if isinstance(spec, str | Path | Mapping):
        return part_config(registry, spec).build(*arguments)
    if is_dataclass(spec) and hasattr(spec, "build"):
        return spec.build(*arguments)
    return spec


def _shorthand(registry: Registry, name: str) -> tuple[str, dict[str, Any]]:
    """A name and its options; of truths and tasks, `NAME:ID` is one that is told an id, such as `gym:Pendulum-v1`."""
    part, colon, id = name.partition(":")
    return (part, {"id": id}) if colon and registry in (TRUTHS, TASKS) and part in registry else (name, {})


def _resolve(registry: Registry, spec: str | Path | Mapping) -> tuple[str, dict[str, Any]]:
    """A name, path or mapping as the name of a registered part and its options."""
    if isinstance(spec, Mapping):
        if "name" not in spec:
            raise InvalidInput(f"a {registry.kind} given as a mapping needs a name, got {dict(spec)}; type {{name: NAME, ...}}")
        name, options = _shorthand(registry, str(spec["name"]))
        options |= {str(key): value for key, value in spec.items() if key not in ("name", "as", "adapters")}
    else:
        name, options = _shorthand(registry, str(spec))
    if name in registry or registry.kind not in READERS:
        found = shipped_folder(KINDS[registry.kind], str(options["path"])) if "path" in options and registry.kind in KINDS else None
        return name, options | ({"path": str(found)} if found else {})
    return READERS[registry.kind], {"path": str(find_checkpoint(registry.kind, name, registry.names())), **options}
