"""The named metrics that need a network, and how the best-known script of each is called. Knows nothing of protocols.

| name | script, as published or as one traces it | called with |
|---|---|---|
| fvd | StyleGAN-V's I3D TorchScript | clips float32 `[N, 3, T, 224, 224]` in [-1, 1], `rescale=False, resize=False, return_features=True` |
| fid | StyleGAN's Inception (2015-12-05) TorchScript | frames uint8 `[N, 3, H, W]`, `return_features=True`; it resizes to 299 itself |
| lpips | `lpips.LPIPS(net=...)` traced with two inputs | two frames float32 `[N, 3, H, W]` in [-1, 1]; returns N distances |
| dreamsim | DreamSim traced with two inputs | two frames float32 `[N, 3, 224, 224]` in [0, 1]; returns N distances |

Others are a matter of options: pytorch-fid's Inception scripted wants `size: 299, range: unit, kwargs: {}`; StyleGAN's VGG16 TorchScript,
as LPIPS, wants `range: byte, reading: squared_difference, kwargs: {resize_images: false, return_lpips: true}`.
"""

from typing import Any

from worldsim.metrics.features import FeatureNetwork, NetworkFile

CALLS: dict[str, dict[str, Any]] = {
    "fvd": {"size": 224, "range": "signed", "kwargs": {"rescale": False, "resize": False, "return_features": True}, "batch": 4},
    "fid": {"range": "byte", "kwargs": {"return_features": True}},
    "lpips": {"range": "signed"},
    "dreamsim": {"size": 224, "range": "unit", "resize": "bicubic"},
}


def well_known(metric: str, path: str, sha256: str = "") -> NetworkFile:
    """`path` called as the best-known script for `metric` is."""
    return NetworkFile(path, sha256, **CALLS[metric])


def network_facts(network: FeatureNetwork) -> dict[str, Any]:
    """What a network is known by in results: its file, hash and call, as JSON."""
    return {**vars(network.file), "kwargs": dict(network.file.kwargs)}
