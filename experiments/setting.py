"""The parts of an evaluation: loaded, checked against one another, and identified. Everything that can be refused is refused here."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from worldsim.data.cameras import camera_of
from worldsim.data.files import digest_of, sha256_of
from worldsim.data.splits import CHAINS
from worldsim.data.tasks import digest_of_starts
from worldsim.errors import InvalidInput
from worldsim.evaluate import Cast, Episode, Genuine, Imagined, plan
from worldsim.experiments.fitting import check_fit, open_truth
from worldsim.experiments.schema import EvaluateConfig
from worldsim.load import (
    find_checkpoint,
    load_policy,
    load_task,
    load_verifier,
    load_world_model,
    part_checkpoint,
    part_config,
    part_facts,
    part_members,
    part_name,
    part_tree,
    shipped_names,
    shipped_panel,
)
from worldsim.options import SamplerKeys, model_options
from worldsim.registry import POLICIES, TASKS, TRUTHS, VERIFIERS, WORLD_MODELS
from worldsim.report.run_folder import PEOPLE
from worldsim.types import Task, Verifier, WorldModel, WorldSpec

RESERVED = ("state", "human")  # names of verdicts that only their own judges may write
SAMPLER_KEYS = tuple(field.name for field in fields(SamplerKeys))  # of a checkpoint's sampler, what a command may replace


@dataclass(frozen=True)
class Setting:
    """What is run: worlds by name, the policies, the task, the judge, the planned episodes, and what a run folder is known by.

    `world` is what the world model takes and gives; `world_facts` and `facts` are what episodes depend on, by world and by policy;
    `specs` and `judge` are what policies and the verifier are loaded from.
    """

    worlds: dict[str, Imagined | Genuine]
    world: WorldSpec
    world_facts: dict[str, Any]
    cast: Cast
    specs: dict[str, Any]
    facts: dict[str, dict[str, Any]]
    task: Task
    verifier: Verifier
    judge: Any
    identity: dict[str, Any]
    planned: list[Episode]


def prepare(config: EvaluateConfig) -> Setting:
    """Load and check every part of an evaluation.

    Raises:
        WorldsimError: an unknown name, a damaged checkpoint, parts that do not fit one another, more episodes than starts.
    """
    strict, device = config.determinism == "strict", _device_here(config)
    use_torch(config.threads, device, strict=strict)
    world_facts, model_config = world_model_facts(config.world_model)
    task = _task(config, camera_of(model_config))
    specs = policy_specs(config.policies, task.id)
    facts = {name: part_facts(POLICIES, spec) for name, spec in specs.items()}
    judge = chosen_verifier(config.verifier, model_config, task.id)
    judge_facts = verifier_facts(judge)
    pinned = _pinned(config)
    sampler = sampler_facts(model_config, config) | pinned | (_engine(config) if pinned else {})
    worlds = {"imagined": [world_facts, sampler]} | ({"truth": [part_facts(TRUTHS, config.truth), pinned]} if config.truth else {})
    planned = plan(task, facts, worlds, config.episodes, config.seed)
    model = open_model(replace(config, device=device))
    check_verifier_frames(judge, model.spec)
    check_gates(judge, world_facts, sampler)
    built = {"imagined": Imagined(model, strict=strict)}
    built |= {"truth": Genuine(open_truth(config.truth, task, model.spec))} if config.truth else {}
    policies = {name: load_policy(spec, model.spec.action) for name, spec in specs.items()}
    check_fit(policies, task, model.spec)
    identity = {
        "world_model": world_facts,
        "verifier": judge_facts,
        "task": {"id": task.id, "instruction": task.instruction, "horizon": task.horizon, "starts": digest_of_starts(task)},
        "sampler": sampler,
        "seed": config.seed,
    }
    cast = Cast(policies, one_by_one=strict)
    return Setting(built, model.spec, worlds, cast, specs, facts, task, load_verifier(judge), judge, identity, planned)


def _device_here(config: EvaluateConfig) -> str:
    """Where this process holds the world model: a command whose workers have the GPUs may itself have none."""
    import torch

    elsewhere = config.executor == "ray" and config.device == "cuda" and not torch.cuda.is_available()
    return "cpu" if elsewhere else config.device


def use_torch(threads: int, device: str, *, strict: bool = False) -> None:
    """Set torch's threads (0 leaves them) and, for `strict`, one thread unless told otherwise and deterministic kernels only.

    Raises:
        InvalidInput: a device that torch does not know or that this machine lacks.
    """
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise InvalidInput(f'unknown device "{device}"; type device=cpu, device=cuda or device=cuda:1') from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise InvalidInput(f'device "{device}" is not there: torch sees no GPU on this machine; type device=cpu')
    if threads:
        torch.set_num_threads(threads)
    if strict:
        from worldsim.models.strict import be_strict

        be_strict(threads or 1)


def policy_specs(given: Iterable[Any], task: str = "drawer") -> dict[str, Any]:
    """What to load each policy from, by the name it goes by; without any, the shipped panel of the task.

    Raises:
        InvalidInput: neither text nor mapping, two policies of one name, or none to be had.
    """
    given = list(given)
    if not given and task in CHAINS:
        raise InvalidInput(f"no policies ship for {task}; name some, as suite=table_horizon does: policies='[{{name: relay, of: [A, B]}}]'")
    given = given or shipped_panel(task)
    if not given:
        raise InvalidInput("no policies are shipped with this copy of worldsim; name some: policies='[random,PATH]'")
    specs: dict[str, Any] = {}
    for spec in given:
        if not (isinstance(spec, str) or (isinstance(spec, dict) and "name" in spec)):
            raise InvalidInput(f"a policy is a name, a path or a mapping with a name, got {spec}; type policies='[random,{{name: NAME}}]'")
        name = part_name(spec)
        if name in specs:
            raise InvalidInput(f"two policies are called \"{name}\"; drop one, or rename it: policies='[{{name: {name}, as: OTHER}}]'")
        specs[name] = spec
    return specs


def world_model_facts(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a world model is known by in results.json, and the whole config of its checkpoint (empty for a registered one)."""
    if name in WORLD_MODELS:
        return {"name": name, "sha256": None, "parameters": None, "leak": None}, {}
    from worldsim.simulator import read_world_model

    config = read_world_model(find_checkpoint("world model", name, WORLD_MODELS.names()))
    facts = {"name": part_name(name)} | {key: config.get(key) for key in ("sha256", "parameters", "leak")}
    if isinstance(facts["parameters"], dict):  # of several networks
        facts["parameters"] = sum(facts["parameters"].values())
    return facts, config


def sampler_facts(model_config: dict[str, Any], config: Any) -> dict[str, Any]:
    """How frames are drawn: the checkpoint's sampler with what `config` replaces, the precision that "auto" means here, the decoder."""
    from worldsim.models.cpu import choose_precision
    from worldsim.simulator import stored_sampler

    replaced = {key: value for key, value in model_options(config).items() if key in SAMPLER_KEYS}
    stored = stored_sampler(model_config) if model_config else {}
    decoder = {"decoder": _decoder_hash(config.decoder)} if config.decoder else {}
    return stored | replaced | {"precision": choose_precision(config.precision, config.device)} | decoder


def _decoder_hash(folder: str) -> str:
    """What a decoder is known by: the hash of its config and weights.

    Raises:
        InvalidInput: they are not there.
    """
    files = [Path(folder) / name for name in ("config.json", "diffusion_pytorch_model.safetensors")]
    if missing := [file.name for file in files if not file.is_file()]:
        raise InvalidInput(f"decoder {folder} has no {missing[0]}, expected an AutoencoderTiny folder of diffusers' save_pretrained")
    return digest_of([sha256_of(file) for file in files])


def open_model(config: Any) -> WorldModel:
    """The world model that `config` asks for, drawn and run as it says."""
    return load_world_model(config.world_model, device=config.device, **model_options(config))


def chosen_verifier(given: Any, model_config: dict[str, Any], task: str = "") -> Any:
    """The judge asked for, else the one that the world model's own config names, else that shipped for the task, else the classifier.

    Raises:
        InvalidInput: neither text nor a mapping with a name.
    """
    spec = given or model_config.get("verifier") or (task if task in shipped_names("verifiers") else None)
    if spec is None and task in CHAINS:
        raise InvalidInput(f"no judge ships for {task}; name those of its parts: verifier='{{name: vote, rule: all, of: [NAME, NAME]}}'")
    spec = spec or "classifier"
    if not (isinstance(spec, str) or (isinstance(spec, dict) and "name" in spec)):
        raise InvalidInput(f"a verifier is a name, a path or a mapping with a name, got {spec}; type verifier='{{name: NAME, as: CALLED}}'")
    return spec


def verifier_facts(spec: Any) -> dict[str, Any]:
    """What a judge is known by: the name it goes by, its options, and the hash of its checkpoint if it has one.

    One that goes by a name of the user's choice (`as`) also says what it is.

    Raises:
        InvalidInput: a name of the user's choice that other verdicts have.
    """
    facts, name = part_facts(VERIFIERS, spec), part_name(spec)
    renamed = isinstance(spec, dict) and spec.get("as")
    if renamed and (name in RESERVED or name.startswith(PEOPLE)):
        raise InvalidInput(f'a judge cannot go by "{name}": verdicts of that name are those of the state or of people; choose another as:')
    return facts | {"name": part_name(spec)} | ({"kind": facts["name"]} if renamed else {})


def check_verifier_frames(spec: Any, world: WorldSpec) -> None:
    """Refuse a judge whose checkpoint, or that of one of its members, was trained on frames of another size.

    Raises:
        InvalidInput: with both sizes.
    """
    for member in part_members(VERIFIERS, spec):
        seen = (part_checkpoint(VERIFIERS, member) or {}).get("network", {})
        height, width = seen.get("height", world.height), seen.get("width", world.width)
        if (height, width) != (world.height, world.width):
            raise InvalidInput(
                f'verifier "{part_name(member)}" judges frames of {height} x {width}, expected {world.height} x {world.width}; '
                "train one on them"
            )


def check_gates(spec: Any, world_model: dict[str, Any], sampler: dict[str, Any]) -> None:
    """Refuse a judge behind a gate of another world model, be it a member of a vote.

    Raises:
        InvalidInput: see `worldsim.trust.Gate.refuse_other_world`.
    """
    for part in part_tree(VERIFIERS, spec):
        config = part_config(VERIFIERS, part)
        if hasattr(config, "refuse_other_world"):
            config.refuse_other_world(world_model, sampler)


def _pinned(config: EvaluateConfig) -> dict[str, Any]:
    """What strict episodes also depend on."""
    return {"determinism": "strict", "threads": config.threads or 1} if config.determinism == "strict" else {}


def _engine(config: EvaluateConfig) -> dict[str, Any]:
    """What the bits of imagined ones depend on besides."""
    return {key: getattr(config, key) for key in ("device", "compile", "channels_last")}


def asked_task(config: EvaluateConfig) -> Any:
    """The task that was named, else that of the truth where it has one, else the drawer; a name, path or mapping."""
    if config.task is not None:
        return config.task
    return config.truth if config.truth and part_facts(TRUTHS, config.truth)["name"] in TASKS else "drawer"


def _task(config: EvaluateConfig, camera: str | None) -> Task:
    """The task asked for; recordings are seen from the camera that the world model was trained on."""
    task = load_task(asked_task(config), camera)
    return task if config.horizon is None else replace(task, horizon=config.horizon)
