"""Networks that metrics are measured with, from TorchScript files of the user's: opened, identified by their hash, and called.

Nothing is downloaded and nothing random stands in for a missing file. How a script wants to be called is a `NetworkFile`. Knows nothing
of what is done with the features.
"""

import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worldsim.data.files import sha256_of
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.registry import did_you_mean

RANGES = ("byte", "unit", "signed")
LAYOUTS = ("channels_first", "time_first", "channels_last")
READINGS = ("output", "squared_difference")


@dataclass(frozen=True)
class NetworkFile:
    """A TorchScript file and how its forward is called: one tensor of frames (two for a distance of pairs), then `kwargs`.

    Attributes:
        path: the file.
        sha256: what the file's hash must be; empty accepts any. The hash is reported either way.
        size: side in pixels that frames are resized to, whatever their shape was; 0 hands them over as they are.
        resize: "bilinear" (no smoothing) or "bicubic" (smoothed, as image libraries do).
        range: "byte" is uint8 in [0, 255], "unit" float32 in [0, 1], "signed" float32 in [-1, 1].
        layout: frames are `[N, 3, H, W]` and clips `[N, 3, T, H, W]` (channels_first), clips `[N, T, 3, H, W]` (time_first), or
            `[N, H, W, 3]` and `[N, T, H, W, 3]` (channels_last).
        kwargs: keyword arguments of the script, such as `{rescale: false}`.
        reading: for pairs: "output", the script takes both and returns their distance; "squared_difference", it takes one and the distance
            is the summed squared difference of its outputs.
        batch: frames or clips per call.
    """

    path: str
    sha256: str = ""
    size: int = 0
    resize: str = "bilinear"
    range: str = "unit"
    layout: str = "channels_first"
    kwargs: dict[str, Any] = field(default_factory=dict)
    reading: str = "output"
    batch: int = 16

    def __post_init__(self) -> None:
        known = {"range": RANGES, "layout": LAYOUTS, "resize": ("bilinear", "bicubic"), "reading": READINGS}
        for key, words in known.items():
            if getattr(self, key) not in words:
                raise UnknownName(f'unknown {key} "{getattr(self, key)}" of {self.path}; {did_you_mean(getattr(self, key), words)}')
        if self.batch < 1 or self.size < 0:
            raise InvalidInput(f"{self.path} has batch {self.batch} and size {self.size}, expected a batch from 1 and a size from 0")


class FeatureNetwork:
    """An opened `NetworkFile`; `sha256` is the hash of the file that was opened."""

    def __init__(self, file: NetworkFile, device: str = "cpu") -> None:
        """Open it.

        Raises:
            InvalidInput: no such file, or another hash than the one given.
            DamagedFile: not TorchScript.
        """
        if not Path(file.path).is_file():
            raise InvalidInput(f"no network file {file.path}; give a TorchScript file that lies on this machine")
        self.sha256 = sha256_of(file.path)
        if file.sha256 and file.sha256.lower() != self.sha256:
            raise InvalidInput(
                f"{file.path} has sha256 {self.sha256}, expected {file.sha256}; it is another network than the one asked for"
            )
        self.file, self.device = replace(file, sha256=self.sha256), device
        self._script = load_script(file.path, device)

    def features(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 `[N, H, W, 3]` or clips uint8 `[N, T, H, W, 3]` to features float64 `[N, D]`.

        The script may return `[N, D]`, `[N, D, 1, 1]` or a list of one such tensor.

        Raises:
            InvalidInput: the script fails on this input, or does not return one vector for each.
        """
        return np.concatenate([self._call(part) for part in self._parts(frames)])

    def distances(self, frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Frames uint8 `[N, H, W, 3]` and as many others to the distance float64 `[N]` of each pair.

        Raises:
            InvalidInput: as `features`, or not one number for each pair.
        """
        if self.file.reading == "squared_difference":
            return np.square(self.features(frames) - self.features(truth)).sum(axis=1)
        pairs = zip(self._parts(frames), self._parts(truth), strict=True)
        found = np.concatenate([self._call(ours, theirs) for ours, theirs in pairs])  # [N, D]
        if found.shape[1] != 1:
            raise InvalidInput(
                f"{self.file.path} returned {found.shape[1]} numbers for a pair, expected one; try reading: squared_difference"
            )
        return found[:, 0]

    def _parts(self, frames: np.ndarray) -> list[np.ndarray]:
        return [frames[i : i + self.file.batch] for i in range(0, len(frames), self.file.batch)]

    @torch.no_grad()
    def _call(self, *inputs: np.ndarray) -> np.ndarray:
        """The script's answer, float64 `[N, D]`."""
        tensors = [prepared(each, self.file).to(self.device) for each in inputs]
        try:
            output = self._script(*tensors, **self.file.kwargs)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InvalidInput(
                f"{self.file.path} cannot be called with {list(tensors[0].shape)} and {self.file.kwargs}: {reason}"
            ) from error
        output = output[0] if isinstance(output, list | tuple) else output
        if not isinstance(output, Tensor) or output.numel() % len(inputs[0]) or (output.ndim and len(output) != len(inputs[0])):
            raise InvalidInput(f"{self.file.path} did not return one vector for each of {len(inputs[0])} inputs; check its kwargs")
        return output.reshape(len(inputs[0]), -1).double().cpu().numpy()


def prepared(frames: np.ndarray, file: NetworkFile) -> Tensor:
    """Frames uint8 `[N, H, W, 3]`, or clips uint8 `[N, T, H, W, 3]`, as the script of `file` wants them."""
    lead = frames.shape[:-3]
    planes = torch.from_numpy(np.ascontiguousarray(frames)).flatten(0, -4).movedim(-1, -3)  # [N T, 3, H, W]
    if file.size and tuple(planes.shape[-2:]) != (file.size, file.size):
        options = {"mode": file.resize, "align_corners": False, "antialias": file.resize == "bicubic"}
        planes = functional.interpolate(planes.float(), size=(file.size, file.size), **options).clamp(0, 255)
    planes = _scaled(planes, file.range).unflatten(0, lead)  # [N, (T,) 3, H, W]
    if file.layout == "channels_last":
        return planes.movedim(-3, -1).contiguous()
    return planes.movedim(-3, 1).contiguous() if file.layout == "channels_first" else planes.contiguous()


def _scaled(planes: Tensor, kind: str) -> Tensor:
    if kind == "byte":
        return planes if planes.dtype == torch.uint8 else planes.round().byte()
    unit = planes.float() / 255
    return unit if kind == "unit" else 2 * unit - 1


def load_script(path: str, device: str) -> torch.jit.ScriptModule:
    """A network in a TorchScript file, in evaluation.

    Raises:
        DamagedFile: it is none.
    """
    with warnings.catch_warnings():  # the files are published as TorchScript, whatever torch would rather have
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is deprecated", category=DeprecationWarning)
        try:
            return torch.jit.load(path, map_location=device).eval()
        except RuntimeError as error:
            raise DamagedFile(f"{path} is not a TorchScript file; save one with torch.jit.script(network).save(FILE)") from error
