"""What a stage begins with and leaves behind: a network, its autoencoder and what the actions mean, as checkpoint folders."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from worldsim.data.cameras import camera_of
from worldsim.data.files import described_in
from worldsim.errors import InvalidInput
from worldsim.experiments.model_presets import ModelPreset
from worldsim.experiments.schema import TrainConfig, recipe
from worldsim.types import ActionSpec, WorldSpec

FRESH = ("video_unet", "diffusers")  # kinds of network whose encoder of actions can begin anew


@dataclass
class Parts:
    """A world model in the making; `sampler` and `sha256` are those of the checkpoint that it begins at, if any."""

    network: Any
    autoencoder: Any
    action: ActionSpec
    frame_size: tuple[int, int]
    prediction: str
    schedule: str
    sampler: dict[str, Any] = field(default_factory=dict)
    sha256: str | None = None

    def diffusion(self) -> Any:
        """How the network's output is to be read."""
        from worldsim.diffusion.parameterize import check_prediction
        from worldsim.diffusion.schedule import get_schedule
        from worldsim.training.loss import Diffusion

        check_prediction(self.prediction, self.schedule)
        return Diffusion(get_schedule(self.schedule), self.prediction)


def fresh_autoencoder(preset: ModelPreset, size: int) -> Any:
    """A freshly initialised autoencoder for square frames of `size` pixels."""
    from worldsim.models.autoencoder import AutoencoderConfig

    return AutoencoderConfig(latent_channels=preset.latent_channels, width=preset.autoencoder_width, frame_size=size).build()


def first_autoencoder(config: TrainConfig, preset: ModelPreset, size: int) -> Any:
    """The autoencoder that its stage begins with: that of the world model that `init` names, else a fresh one.

    Raises:
        InvalidInput: that one sees frames of another size.
    """
    if config.init is None:
        return fresh_autoencoder(preset, size)
    from worldsim.models.autoencoders import build_autoencoder
    from worldsim.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(_given(config.init), "world_model")
    if (seen := checkpoint.config["spec"]["height"]) != size:
        raise InvalidInput(f"{checkpoint.folder} sees frames of {seen} pixels, the data have {size}; import them with resize={seen}")
    return checkpoint.fill("autoencoder", build_autoencoder(checkpoint.config))


def parts_before(config: TrainConfig, preset: ModelPreset, frame_size: tuple[int, int], action: ActionSpec) -> Parts:
    """Network and autoencoder of the stage before, of `init`, of a pretrained folder, or, where the preset allows it, random ones.

    Raises:
        InvalidInput: the stage before has not been trained yet, or its sizes are not those of the data.
    """
    from worldsim.models.checkpoint import load_checkpoint
    from worldsim.training.stages import BEFORE

    folder = _folder_before(config)
    kind = _kind_at(folder)
    if kind == "autoencoder":
        return _begun(config, preset, frame_size, action, _autoencoder_at(folder))
    if kind == "vid2world":
        return _converted(config, preset, folder, frame_size, action)
    if kind is not None:
        return _continued(config, load_checkpoint(folder, "world_model"), frame_size, action)
    if preset.folder and not config.init:
        return _begun(config, preset, frame_size, action, _given_autoencoder(config))
    if preset.kind == "vid2world":
        raise InvalidInput(
            f"{config.world_model} begins at the authors' weights; type: worldsim weights action=convert source=FILE out=FOLDER "
            f"domain={config.world_model}, then init=FOLDER"
        )
    if preset.pretrained or config.init or config.stage == "distill":
        raise InvalidInput(
            f"{folder} holds no checkpoint, and stage {config.stage} begins there; "
            f"type: worldsim train stage={BEFORE[config.stage][0]} world_model={config.world_model} data={config.data} out={config.out}"
        )
    print(f"{folder} holds no checkpoint; {config.world_model} begins with random weights")
    return _begun(config, preset, frame_size, action, fresh_autoencoder(preset, frame_size[0]))


def with_encoder(network: Any, trunk: str) -> Any:
    """The network with a fresh physics encoder, which changes none of its outputs; `trunk` is "tiny" or a folder.

    Raises:
        InvalidInput, MissingDependency: a network that takes none, or has one; no such trunk.
    """
    from worldsim.models.physics_encoder import PhysicsEncoderConfig

    if network.kind != "video_unet":
        raise InvalidInput(f"encoder={trunk} is for networks of kind video_unet, this is a {network.kind}; leave encoder= out")
    return network.extended(encoder=PhysicsEncoderConfig(trunk=trunk))


def camera_before(config: TrainConfig) -> str | None:
    """The camera that the checkpoint was trained on which this stage begins at; None where there is none or it does not say."""
    if config.stage == "autoencoder":
        return None
    return camera_of(described_in(_folder_before(config)) or {})


def _folder_before(config: TrainConfig) -> Path:
    """The folder that this stage begins at, whether there is a checkpoint in it or not."""
    from worldsim.training.stages import BEFORE

    folders = [_given(config.init)] if config.init else [Path(config.out) / stage for stage in BEFORE[config.stage]]
    return next((folder for folder in folders if _kind_at(folder) is not None), folders[0])


def _given(init: str) -> Path:
    """The folder of a world model given by the name that it ships under, or by path."""
    from worldsim.load import shipped_folder

    return shipped_folder("world_models", init) or Path(init)


def _kind_at(folder: Path) -> str | None:
    """What the checkpoint in `folder` is; None where there is none."""
    described = described_in(folder)
    return None if described is None else described.get("kind", "")


def _begun(config: TrainConfig, preset: ModelPreset, frame_size: tuple[int, int], action: ActionSpec, autoencoder: Any) -> Parts:
    """A network that no stage has trained yet."""
    import torch

    autoencoder.eval()
    with torch.no_grad():
        shape = tuple(autoencoder.encode(torch.zeros(1, *frame_size, 3)).shape[1:])  # (h, w, C)
    network = _fresh_network(preset, shape, action.size)
    return Parts(network.to(config.device), autoencoder.to(config.device), action, frame_size, preset.prediction, preset.schedule)


def _fresh_network(preset: ModelPreset, latent_shape: tuple[int, int, int], action_size: int) -> Any:
    from worldsim.models.networks import build_network

    height, width, channels = latent_shape
    if preset.kind == "diffusers":
        from worldsim.models.diffusers_unet import from_folder

        sizes = {"action_size": action_size, "latent_height": height, "latent_width": width, "window": preset.clip - 1}
        return from_folder(preset.folder, causal=False, **sizes)
    if height != width:
        raise InvalidInput(f"latents are {height} x {width}, and this network takes square ones; import with resize=64 or another square")
    sizes = {"latent_channels": channels, "latent_size": height, "action_size": action_size}
    return build_network({"network_kind": preset.kind, "network": preset.network | sizes})


def _converted(config: TrainConfig, preset: ModelPreset, folder: Path, frame_size: tuple[int, int], action: ActionSpec) -> Parts:
    """The authors' network, converted.

    Raises:
        InvalidInput: another number of actions, or frames of another size, than the data or the preset have.
    """
    from worldsim.models.vid2world.network import opened
    from worldsim.simulator import read_world_model, stored_sampler

    spec, network, autoencoder = opened(folder)
    asked = preset.network.get("action_size", action.size)
    if not spec.action.size == asked == action.size:
        raise InvalidInput(
            f"{folder} takes actions of {spec.action.size} numbers, {config.world_model} of {asked}, the data have {action.size}; "
            "choose the world_model= and the data of one domain"
        )
    if (spec.height, spec.width) != frame_size:
        raise InvalidInput(f"{folder} sees {spec.height} x {spec.width} frames, the data have {frame_size[0]} x {frame_size[1]}")
    network, autoencoder, stored = network.to(config.device), autoencoder.to(config.device), read_world_model(folder)
    sampler = stored_sampler(stored)
    return Parts(network, autoencoder, spec.action, frame_size, preset.prediction, preset.schedule, sampler, stored.get("sha256"))


def _continued(config: TrainConfig, checkpoint: Any, frame_size: tuple[int, int], action: ActionSpec) -> Parts:
    """The network that another stage has trained; actions mean what they meant there, whatever bounds these data would suggest."""
    from worldsim.models.autoencoders import build_autoencoder
    from worldsim.models.networks import build_network, kind_of

    facts = checkpoint.config
    size = (facts["spec"]["height"], facts["spec"]["width"])
    others = facts["spec"]["action"]["names"] != list(action.names) and not config.fresh_actions
    advice = "; type fresh_actions=true" if size == frame_size and kind_of(facts) in FRESH else ""
    if size != frame_size or others:
        names = ", ".join(facts["spec"]["action"]["names"])
        raise InvalidInput(
            f"{checkpoint.folder} was trained on {size[0]} x {size[1]} frames and actions {names}; "
            f"the data have {frame_size[0]} x {frame_size[1]} and {', '.join(action.names)}{advice}"
        )
    for key in ("prediction", "schedule"):
        if getattr(config, key) not in (None, facts["sampler"][key]):
            raise InvalidInput(
                f"{checkpoint.folder} was trained with {key}={facts['sampler'][key]}, not {getattr(config, key)}; leave {key}= out"
            )
    if config.fresh_actions:
        network = _with_fresh_actions(checkpoint, action.size).to(config.device)
    else:
        network, action = checkpoint.fill("network", build_network(facts)).to(config.device), ActionSpec(**facts["spec"]["action"])
    kept = _given_autoencoder(config) if config.autoencoder else checkpoint.fill("autoencoder", build_autoencoder(facts))
    autoencoder = kept.to(config.device).eval()
    sampler = dict(facts["sampler"])
    return Parts(network, autoencoder, action, frame_size, sampler["prediction"], sampler["schedule"], sampler, checkpoint.sha256)


def _with_fresh_actions(checkpoint: Any, size: int) -> Any:
    """The network of a checkpoint for actions of `size` numbers: its encoder of them is new and says nothing yet, as if all were hidden.

    Raises:
        InvalidInput: a kind of network whose encoder is another.
    """
    import torch

    from worldsim.models.networks import build_network, kind_of

    facts = checkpoint.config
    if (kind := kind_of(facts)) not in FRESH:
        raise InvalidInput(f"fresh_actions=true is for networks of kind {' or '.join(FRESH)}, {checkpoint.folder} is a {kind}; drop it")
    network = build_network(facts | {"network": facts["network"] | {"action_size": size}})
    torch.nn.init.zeros_(network.action_mlp.layers[-1].weight)
    torch.nn.init.zeros_(network.action_mlp.layers[-1].bias)
    untrained = {f"action_mlp.{name}": tensor for name, tensor in network.action_mlp.state_dict().items()}
    return replace(checkpoint, tensors=checkpoint.tensors | {"network": checkpoint.tensors["network"] | untrained}).fill("network", network)


def _autoencoder_at(folder: Path) -> Any:
    from worldsim.models.autoencoders import build_autoencoder
    from worldsim.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(folder, "autoencoder")
    return checkpoint.fill("autoencoder", build_autoencoder(checkpoint.config))


def _given_autoencoder(config: TrainConfig) -> Any:
    from worldsim.models.autoencoders import autoencoder_from

    if config.autoencoder is None:
        raise InvalidInput(
            "a pretrained U-Net needs the autoencoder of its latents; type autoencoder=FOLDER, the vae folder of the same pipeline"
        )
    folder = Path(config.autoencoder)
    if "_class_name" not in (described_in(folder) or {"_class_name": None}):
        return _autoencoder_at(folder)
    return autoencoder_from(folder)


def distillation(config: TrainConfig, parts: Parts) -> Any:
    """What the student is to match.

    Raises:
        InvalidInput: a network that looks at the future, or steps that do not go into one another.
    """
    from worldsim.training.distill import Distillation

    if not parts.network.causal:
        raise InvalidInput("this network still looks at the future; causalize it first: worldsim train stage=causalize")
    guidance = parts.sampler.get("guidance", 1.0) if config.guidance is None else config.guidance
    return Distillation(config.teacher_steps, config.student_steps, guidance, parts.sampler.get("rescale", 0.0))


def save_stage(config: TrainConfig, preset: ModelPreset, parts: Parts, folder: Path) -> None:
    """Write the stage as a world model folder, with what the leak probe found."""
    from worldsim.models.causal import causality_leak
    from worldsim.simulator import Sampler, save_world_model

    height, width = parts.frame_size
    network = parts.network.cpu()
    spec = WorldSpec(height, width, parts.action, network.window, parts.action.rate_hz)
    options = {"prediction": parts.prediction, "schedule": parts.schedule} | dict(preset.sampler)
    if config.stage == "distill":  # as before, in fewer steps, whose guidance and noise the weights have taken in
        taken_in = {"guidance": 1.0, "rescale": 0.0, "rescale_over": "frame", "eta": 0.0, "ending": "clean", "history_shrink": True}
        options |= parts.sampler | {"steps": config.student_steps} | taken_in
    if config.stage == "heads":
        options |= parts.sampler
    sampler = Sampler(**options)
    teacher = {"teacher": parts.sha256} if config.stage == "distill" else {}
    facts = {"leak": causality_leak(network) if network.causal else None, "stage": config.stage, "training": recipe(config) | teacher}
    save_world_model(folder, spec, network, parts.autoencoder, sampler, facts)
