"""A package `lerobot` with the module layout, names and files of lerobot 0.6, and a checkpoint of its only kind of policy, "small".

Only the interface is lerobot's. The policy remembers two observations and plays chunks of three actions, as its diffusion policies do;
the pipelines are read from JSON and safetensors; a step after the network refers to a step before it.
"""

import json
from pathlib import Path

import numpy as np

HISTORY, CHUNK, SIZE, STATES, ACTIONS = 2, 3, 12, 4, 7
CAMERA, WRIST = "observation.images.front", "observation.images.wrist"

FILES = {
    "__init__.py": '__version__ = "0.6.2"\n',
    "configs/__init__.py": "",
    "configs/policies.py": """
import json
from pathlib import Path


class PreTrainedConfig:
    choices = {}

    @classmethod
    def register_subclass(cls, name):
        def add(each):
            cls.choices[name] = each
            each.type = name
            return each
        return add

    @classmethod
    def from_pretrained(cls, pretrained_name_or_path, *, local_files_only=False, **kwargs):
        assert local_files_only and not kwargs
        found = json.loads((Path(pretrained_name_or_path) / "config.json").read_text())
        kind = found.pop("type")
        if kind not in cls.choices:
            raise ValueError(f"Policy type '{kind}' is not registered.\\nAvailable: {list(cls.choices)}")
        config = cls.choices[kind]()
        vars(config).update(found)
        return config

    @property
    def image_features(self):
        return {key: each for key, each in self.input_features.items() if each["type"] == "VISUAL"}
""",
    "policies/__init__.py": "from .small.configuration_small import SmallConfig\n",
    "policies/pretrained.py": """
from pathlib import Path
from safetensors.torch import load_model
from torch import nn


class PreTrainedPolicy(nn.Module):
    @classmethod
    def from_pretrained(cls, pretrained_name_or_path, *, config=None, local_files_only=False, strict=False, **kwargs):
        policy = cls(config, **kwargs)
        load_model(policy, str(Path(pretrained_name_or_path) / "model.safetensors"), strict=strict)
        return policy.to(config.device).eval()
""",
    "policies/small/__init__.py": "",
    "policies/small/configuration_small.py": """
from lerobot.configs.policies import PreTrainedConfig


@PreTrainedConfig.register_subclass("small")
class SmallConfig(PreTrainedConfig):
    noise = 0.0
    spoil = None
""",
    "policies/small/modeling_small.py": """
from collections import deque
import torch
from torch import nn
from ..pretrained import PreTrainedPolicy


class SmallPolicy(PreTrainedPolicy):
    name = "small"

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.head = nn.Linear(2 * (3 * len(config.image_features) + 4 + 1), 7)
        self.reset()

    def reset(self):
        self._queues = {"seen": deque(maxlen=2), "action": deque(maxlen=3)}

    def select_action(self, batch):
        assert not torch.is_grad_enabled() and not self.training
        parts = []
        for key in self.config.image_features:
            image = batch[key]
            assert image.dtype == torch.float32 and image.shape == (1, 3, 12, 12) and 0 <= image.min() and image.max() <= 1
            parts.append(image.mean((2, 3)))
        assert isinstance(batch["task"], list) and len(batch["task"]) == 1
        parts += [batch["observation.state"], torch.tensor([[len(batch["task"][0]) / 100]])]
        seen = torch.cat(parts, 1)
        self._queues["seen"].extend([seen] * (1 if self._queues["seen"] else 2))
        if not self._queues["action"]:
            action = torch.tanh(self.head(torch.cat(list(self._queues["seen"]), 1)))
            noise = torch.randn(3, *action.shape) * self.config.noise
            self._queues["action"].extend((k + 1) / 3 * action + noise[k] for k in range(3))
        if self.config.spoil == "raise" and parts[0].mean() > 0.9:
            raise RuntimeError("too bright\\nfor me")
        action = self._queues["action"].popleft()
        if self.config.spoil == "nan" and parts[0].mean() > 0.9:
            action = action * float("nan")
        return action[:, :5] if self.config.spoil == "shape" else action
""",
    "policies/factory.py": """
from lerobot.processor import PolicyProcessorPipeline, Absolute, Relative


def get_policy_class(name):
    if name == "small":
        from .small.modeling_small import SmallPolicy
        return SmallPolicy
    raise ValueError(f"Policy type '{name}' is not available.")


def make_pre_post_processors(policy_cfg, pretrained_path=None, pretrained_revision=None, **kwargs):
    before = PolicyProcessorPipeline.from_pretrained(
        pretrained_path, "policy_preprocessor.json", kwargs.get("preprocessor_overrides", {}), action=False)
    after = PolicyProcessorPipeline.from_pretrained(
        pretrained_path, "policy_postprocessor.json", kwargs.get("postprocessor_overrides", {}), action=True)
    for step in after.steps:
        if isinstance(step, Absolute):
            step.relative = next(each for each in before.steps if isinstance(each, Relative))
    return before, after
""",
    "processor.py": """
import json
from pathlib import Path
from safetensors.torch import load_file


class Device:
    def __init__(self, device="cuda"):
        if device != "cpu":
            raise AssertionError(f"device_processor was left at {device}")

    def __call__(self, batch):
        return batch


class Normalizer:
    def __call__(self, batch):
        name = "observation.state"
        return batch | {name: (batch[name] - self.state[name + ".mean"]) / self.state[name + ".std"]}


class Unnormalizer:
    def __call__(self, action):
        return action * self.state["action.std"][: action.shape[1]] + self.state["action.mean"][: action.shape[1]]


class Relative:
    seen = None

    def __call__(self, batch):
        self.seen = batch["observation.images.front"].mean()
        return batch

    def reset(self):
        self.seen = None


class Absolute:
    relative = None

    def __call__(self, action):
        return action + self.relative.seen


STEPS = {"device_processor": Device, "normalizer_processor": Normalizer, "unnormalizer_processor": Unnormalizer}
STEPS |= {"relative_actions": Relative, "absolute_actions": Absolute}


class PolicyProcessorPipeline:
    @classmethod
    def from_pretrained(cls, path, name, overrides, action):
        found, pipeline = json.loads((Path(path) / name).read_text()), cls()
        if unknown := set(overrides) - {step["registry_name"] for step in found["steps"]}:
            raise KeyError(f"Override keys {unknown} do not match any step")
        pipeline.steps = []
        for step in found["steps"]:
            made = STEPS[step["registry_name"]](**step.get("config", {}) | overrides.get(step["registry_name"], {}))
            if "state_file" in step:
                made.state = load_file(Path(path) / step["state_file"])
            pipeline.steps.append(made)
        return pipeline

    def __call__(self, given):
        for step in self.steps:
            given = step(given)
        return given

    def reset(self):
        for step in self.steps:
            if hasattr(step, "reset"):
                step.reset()
""",
}


def fake_lerobot(site: Path) -> Path:
    """Write the package below `site`."""
    for name, text in FILES.items():
        path = site / "lerobot" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return site


def numbers(cameras: int = 1) -> dict[str, np.ndarray]:
    """Weights and statistics."""
    rng = np.random.default_rng(0)
    return {
        "head.weight": rng.normal(size=(ACTIONS, HISTORY * (3 * cameras + STATES + 1))).astype(np.float32),
        "head.bias": rng.normal(scale=0.1, size=ACTIONS).astype(np.float32),
        "observation.state.mean": rng.normal(size=STATES).astype(np.float32),
        "observation.state.std": rng.uniform(0.5, 2, STATES).astype(np.float32),
        "action.mean": rng.normal(scale=0.1, size=ACTIONS).astype(np.float32),
        "action.std": rng.uniform(0.1, 0.5, ACTIONS).astype(np.float32),
    }


def checkpoint(folder: Path, cameras: tuple[str, ...] = (CAMERA,), **config) -> Path:
    """Write a checkpoint folder; `config` replaces entries of config.json."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    features = {name: {"type": "VISUAL", "shape": [3, SIZE, SIZE]} for name in cameras}
    features["observation.state"] = {"type": "STATE", "shape": [STATES]}
    described = {"type": "small", "device": "cuda", "input_features": features}
    described["output_features"] = {"action": {"type": "ACTION", "shape": [ACTIONS]}}
    (folder / "config.json").write_text(json.dumps(described | config))
    found = numbers(len(cameras))
    save_file({name: found[name] for name in ("head.weight", "head.bias")}, folder / "model.safetensors", metadata={"format": "pt"})
    save_file({name: value for name, value in found.items() if name.startswith("observation")}, folder / "before.safetensors")
    save_file({name: value for name, value in found.items() if name.startswith("action")}, folder / "after.safetensors")
    device = {"registry_name": "device_processor", "config": {"device": "cuda"}}
    normalise = {"registry_name": "normalizer_processor", "state_file": "before.safetensors"}
    before = [{"registry_name": "relative_actions"}, device, normalise]
    after = [{"registry_name": "unnormalizer_processor", "state_file": "after.safetensors"}, {"registry_name": "absolute_actions"}]
    (folder / "policy_preprocessor.json").write_text(json.dumps({"name": "policy_preprocessor", "steps": before}))
    (folder / "policy_postprocessor.json").write_text(json.dumps({"name": "policy_postprocessor", "steps": after}))
    return folder


def expected(frames: np.ndarray, instruction: str, state: list[float]) -> np.ndarray:
    """The actions `[T, 7]` of one episode of one camera whose frames `[T, 12, 12, 3]` have the right size, in numpy, without noise."""
    found, seen, actions = numbers(), [], []
    normalised = (np.array(state) - found["observation.state.mean"]) / found["observation.state.std"]
    for t, frame in enumerate(frames):
        seen.append(np.concatenate([frame.reshape(-1, 3).mean(0) / 255, normalised, [len(instruction) / 100]]))
        if t % CHUNK == 0:
            chunk = np.tanh(found["head.weight"] @ np.concatenate([seen[max(t - 1, 0)], seen[t]]) + found["head.bias"])
        actions.append((t % CHUNK + 1) / CHUNK * chunk * found["action.std"] + found["action.mean"] + frame.mean() / 255)
    return np.array(actions)
