"""A checkpoint folder of OpenVLA's layout: config, statistics, weights, and its own Python files. Its network is one small linear layer."""

import json
from pathlib import Path

import numpy as np

BRIDGE = {
    "action": {
        "q01": [-0.03, -0.04, -0.02, -0.08, -0.09, -0.2, 0.0],
        "q99": [0.02, 0.04, 0.04, 0.08, 0.07, 0.2, 1.0],
        "mask": [True] * 6 + [False],
    }
}
FRACTAL = {"action": {"q01": [-0.2] * 6 + [0.0], "q99": [0.3] * 6 + [1.0], "mask": [True] * 6 + [False]}}
STATISTICS = {"bridge_orig": BRIDGE, "fractal20220817_data": FRACTAL}

CONFIGURATION = """
from transformers import PretrainedConfig


class SmallConfig(PretrainedConfig):
    model_type = "openvla"

    def __init__(self, norm_stats=None, spoil=None, **options):
        self.norm_stats, self.spoil = norm_stats, spoil
        super().__init__(**options)
"""
PROCESSING = """
import numpy as np
import torch
from transformers import BatchFeature
from transformers.processing_utils import ProcessorMixin


class SmallProcessor(ProcessorMixin):
    attributes = []

    def __init__(self):
        super().__init__()

    def __call__(self, text, images):
        pixels = torch.from_numpy(np.asarray(images).copy()).float().permute(2, 0, 1)[None] / 255
        return BatchFeature({"input_ids": torch.tensor([list(text.encode())]), "pixel_values": pixels})
"""
MODELING = """
import numpy as np
import torch
from transformers import PreTrainedModel
from .configuration_small import SmallConfig
EXTRA_IMPORT


class SmallForActionPrediction(PreTrainedModel):
    config_class = SmallConfig

    def __init__(self, config):
        super().__init__(config)
        self.norm_stats = config.norm_stats
        self.head = torch.nn.Linear(4, 7)
        self.post_init()

    def _init_weights(self, module):
        pass

    def predict_action(self, input_ids=None, unnorm_key=None, pixel_values=None, do_sample=None):
        assert do_sample is False and not torch.is_grad_enabled() and not self.training
        told = input_ids.float().mean()[None] / 255
        normalised = torch.tanh(self.head(torch.cat([pixel_values.mean((0, 2, 3)).float(), told]).to(self.head.weight.dtype)))
        normalised = normalised.float().numpy()
        if self.config.spoil == "raise" and pixel_values.mean() > 0.5:
            raise RuntimeError("too bright\\nfor me")
        if self.config.spoil == "nan" and pixel_values.mean() > 0.5:
            normalised[2] = np.nan
        if self.config.spoil == "shape":
            return normalised[:6]
        if self.config.spoil == "formula":
            return normalised * 10
        stats = self.norm_stats[unnorm_key]["action"]
        low, high = np.array(stats["q01"]), np.array(stats["q99"])
        return np.where(stats["mask"], 0.5 * (normalised + 1) * (high - low) + low, normalised)
"""


def small_openvla(folder: Path, statistics=STATISTICS, extra_import: str = "", **config) -> Path:
    """Write the folder; `config` replaces entries of config.json."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    automatic = {"AutoConfig": "configuration_small.SmallConfig", "AutoModelForVision2Seq": "modeling_small.SmallForActionPrediction"}
    automatic["AutoProcessor"] = "processing_small.SmallProcessor"
    described = {"model_type": "openvla", "architectures": ["SmallForActionPrediction"], "auto_map": automatic, "norm_stats": statistics}
    (folder / "config.json").write_text(json.dumps(described | config))
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "SmallProcessor", "auto_map": automatic}))
    (folder / "configuration_small.py").write_text(CONFIGURATION)
    (folder / "processing_small.py").write_text(PROCESSING)
    (folder / "modeling_small.py").write_text(MODELING.replace("EXTRA_IMPORT", extra_import))
    weights = {"head.weight": torch.from_numpy(head()[0]), "head.bias": torch.from_numpy(head()[1])}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def head() -> tuple[np.ndarray, np.ndarray]:
    """(weight [7, 4], bias [7])."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(7, 4)).astype(np.float32), rng.normal(scale=0.1, size=7).astype(np.float32)


def normalised(frame: np.ndarray, prompt: str) -> np.ndarray:
    """What the network says before its statistics are applied, in numpy."""
    weight, bias = head()
    told = np.mean(list(prompt.encode())) / 255
    return np.tanh(weight @ [*(frame.reshape(-1, 3).mean(0) / 255), told] + bias)
