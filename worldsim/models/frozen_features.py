"""A pretrained picture model (DINOv2, CLIP, Depth Anything, ...) from a local folder, never trained; and a small head on the features of
a few frames.

Knows nothing about who asks but what they call the folder.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from worldsim.data.files import digest_of, sha256_of
from worldsim.errors import InvalidInput, MissingDependency, install_extra
from worldsim.models.autoencoder import to_unit

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, where the folder says nothing
PIECE = 64  # pictures per call of the frozen model


@dataclass
class FeatureHeadConfig:
    """`outputs` numbers per clip from the pooled features of its `frames` frames; `hidden` 0 is a linear head.

    `features` is the folder of the frozen model, `sha256` what its files are known by.
    """

    features: str
    sha256: str
    frames: int = 3
    height: int = 64
    width: int = 64
    outputs: int = 1
    hidden: int = 128

    def build(self) -> "FeatureHead":
        """A freshly initialised head on the frozen model.

        Raises:
            InvalidInput: no such folder, or another model than `sha256` says.
            MissingDependency: transformers is not installed.
        """
        if (found := digest_of_model(self.features)) != self.sha256:
            line = f"{self.features} holds another model ({found}) than this judge was trained on ({self.sha256})"
            raise InvalidInput(f"{line}; name that one: features=FOLDER")
        return FeatureHead(self)


class FeatureHead(nn.Module):
    """One hidden layer, or none, over the features of all frames. The frozen model is no part of the module's parameters."""

    def __init__(self, config: FeatureHeadConfig) -> None:
        super().__init__()
        self.config = config
        self._frozen = (Frozen(config.features),)  # in a tuple: not registered, so neither trained nor saved
        size = config.frames * self._frozen[0].size
        layers = [nn.Linear(size, config.hidden), nn.SiLU()] if config.hidden else []
        self.norm = nn.LayerNorm(size)
        self.head = nn.Sequential(*layers, nn.Linear(config.hidden or size, config.outputs))

    def forward(self, clips: Tensor) -> Tensor:
        """uint8 `[N, k, H, W, 3]`, or floats in [-1, 1], to `[N, outputs]`."""
        return self.head(self.norm(self._frozen[0](clips.flatten(0, 1)).unflatten(0, clips.shape[:2]).flatten(1)))

    def describe(self) -> dict:
        """The config as plain values."""
        return asdict(self.config)


class Frozen:
    """A picture model of transformers: pictures to features, resized and scaled as its own preprocessing says.

    Of a Depth Anything model the backbone alone is used. `key` is what errors call the folder.
    """

    def __init__(self, folder: str, key: str = "features") -> None:
        self.model = _loaded(folder, key)
        said = preprocessing(folder)
        self.size, self._side = int(self.model.config.hidden_size), _side(said, self.model.config)
        scale = said.get("image_mean", MEAN), said.get("image_std", STD)
        self._mean, self._std = (torch.tensor(values).view(1, 3, 1, 1) for values in scale)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """uint8 `[M, H, W, 3]`, or floats in [-1, 1], to one pooled feature each, float32 `[M, size]`."""
        return torch.cat([self._pooled(piece) for piece in self._prepared(pictures).split(PIECE)]).float()

    @torch.no_grad()
    def patches(self, pictures: Tensor) -> Tensor:
        """Pictures as above to the features of their patches, float32 `[M, rows, columns, size]`."""
        return torch.cat([self._patches(piece) for piece in self._prepared(pictures).split(PIECE)]).float()

    def _prepared(self, pictures: Tensor) -> Tensor:
        self.model.to(pictures.device)
        x = (to_unit(pictures) if pictures.dtype == torch.uint8 else pictures).float().permute(0, 3, 1, 2)
        x = F.interpolate(x, self._side, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
        return ((x + 1) / 2 - self._mean.to(x.device)) / self._std.to(x.device)

    def _patches(self, pictures: Tensor) -> Tensor:
        found = self.model(pixel_values=pictures)
        last = found.feature_maps[-1] if hasattr(found, "feature_maps") else found.last_hidden_state
        if last.ndim == 4:  # [M, size, rows, columns]
            return last.permute(0, 2, 3, 1)
        rows, columns = (side // int(self.model.config.patch_size) for side in self._side)
        return last[:, -rows * columns :].unflatten(1, (rows, columns))  # what comes before are no patches: class and register tokens

    def _pooled(self, pictures: Tensor) -> Tensor:
        found = self.model(pixel_values=pictures)
        return found.pooler_output if getattr(found, "pooler_output", None) is not None else found.last_hidden_state.mean(1)


def digest_of_model(folder: str, key: str = "features") -> str:
    """What a model folder is known by: its config and its weights.

    Raises:
        InvalidInput: no such files there.
    """
    files = [Path(folder) / "config.json", *sorted(Path(folder).glob("*.safetensors"))]
    if len(files) < 2 or not files[0].is_file():
        raise InvalidInput(f"{key}={folder} is no folder of a transformers model; expected config.json and safetensors weights there")
    return digest_of([sha256_of(file) for file in files])


def _loaded(folder: str, key: str) -> Any:
    """The picture part of the model, in evaluation.

    Raises:
        InvalidInput: not a picture model of transformers, or weights that are not those of its config.
    """
    try:
        from transformers import AutoConfig, AutoModel, AutoModelForDepthEstimation
    except ImportError as error:
        raise MissingDependency(f"{key}=FOLDER needs transformers; type: {install_extra('vlm')}") from error
    try:
        depth = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).model_type == "depth_anything"
        kind = AutoModelForDepthEstimation if depth else AutoModel
        given = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True}
        model, found = kind.from_pretrained(folder, output_loading_info=True, **given)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise InvalidInput(f"{key}={folder} cannot be read by transformers: {str(error).splitlines()[0]}") from error
    if missing := sorted(found["missing_keys"]):
        raise InvalidInput(f"{key}={folder} lacks {len(missing)} of its weights, such as {missing[0]}; get the model again")
    model = model.backbone if depth else getattr(model, "vision_model", model)
    if not hasattr(model.config, "hidden_size") or not hasattr(model.config, "image_size"):
        raise InvalidInput(f"{key}={folder} holds a {type(model).__name__}, expected a picture model such as DINOv2 or CLIP")
    model.requires_grad_(requires_grad=False)
    return model.eval()


def preprocessing(folder: str) -> dict[str, Any]:
    """What `preprocessor_config.json` says; empty where there is none.

    Raises:
        InvalidInput: it is not JSON.
    """
    path = Path(folder) / "preprocessor_config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON ({error}); get the model again") from error


def _side(said: dict[str, Any], config: Any) -> tuple[int, int]:
    """Height and width of the pictures that the model is given: those after its preprocessing's cut, else the config's."""
    wanted = said.get("crop_size") or said.get("size") or config.image_size
    if isinstance(wanted, dict):
        wanted = wanted.get("shortest_edge") or (wanted["height"], wanted["width"])
    return (wanted, wanted) if isinstance(wanted, int) else tuple(wanted)
