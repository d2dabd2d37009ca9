"""OpenVLA and its fine-tuned kin, in this process, from a checkpoint folder with its own code. Importing this loads no torch.

OpenVLA ships its network and its processor as Python files beside the weights. They run only with `trust_code: true`, and only under the
libraries they were written for: the released ones under transformers 4.40.1 with timm 0.9, where their network was tried through this
file (random weights, a stand-in for timm). transformers 5.23 refuses them while the network is built: it asks for `_supports_sdpa` before
there is a language model that could answer. Where that is so, serve the checkpoint from an environment of its own with OpenVLA's
`vla-scripts/deploy.py`, and act through the policy `openvla-rest`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.errors import DamagedFile, InvalidInput, MissingDependency, install_extra
from worldsim.policies.foreign import ForeignPolicy, fingerprint, first_line
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec, Task

PROMPT = "In: What action should the robot take to {instruction}?\nOut:"  # OpenVLA's; the instruction in lower case
AUTO = ("AutoModelForVision2Seq", "AutoModelForImageTextToText")  # transformers 4 has the first, 5 only the second
DTYPES = ("bfloat16", "float16", "float32")
SLACK = 1e-3  # by which rounding may take an action beyond its statistics, in parts of their range
ELSEWHERE = "serve it from an environment of its own (OpenVLA's vla-scripts/deploy.py) and use the policy openvla-rest"


class OpenVLAPolicy(ForeignPolicy):
    """One call of `predict_action` per lane and step; it remembers nothing but the instruction.

    The checkpoint's code undoes its actions by its statistics. Their quantiles are the bounds of `spec`, and an action beyond them is a
    fault: its code and its statistics disagree. The gripper, which no statistics undo, is cut to [closed, open].

    Args:
        spec: what an action means.
        undone: which of its numbers the statistics undo, bool `[A]`.
        predict: from a frame uint8 `[H, W, 3]` and a prompt to what the checkpoint's code returns.
        prompt: text with the place {instruction}.
        out_of_range: "refuse" an action beyond the bounds, or "clip" it.
    """

    def __init__(
        self,
        spec: ActionSpec,
        undone: np.ndarray,
        predict: Callable[[np.ndarray, str], Any],
        prompt: str = PROMPT,
        out_of_range: str = "refuse",
    ) -> None:
        super().__init__(spec, out_of_range)
        self._undone, self._predict, self._prompt = undone, predict, prompt
        self._prompts: dict[int, str] = {}

    def begin(self, lane: int, task: Task, seed: int) -> None:
        """Tell the lane what to do."""
        self._prompts[lane] = self._prompt.replace("{instruction}", task.instruction.lower())

    def ask(self, frame: np.ndarray, lane: int) -> np.ndarray:
        """An action `[A]`."""
        action = np.asarray(self._predict(frame, self._prompts[lane]), dtype=float)
        if action.shape != self._undone.shape:
            return action
        low, high = np.array(self.action.low), np.array(self.action.high)
        near = np.clip(action, low, high)
        return np.where(~self._undone | (np.abs(action - near) <= SLACK * (high - low)), near, action)


@POLICIES.register("openvla")
@dataclass
class OpenVLAConfig:
    """An OpenVLA checkpoint, run by its own code.

    Attributes:
        path: the checkpoint folder.
        trust_code: run the Python files in that folder, which may do anything.
        unnorm_key: the data set whose statistics undo the actions; may be left out where there is one only.
        convention: what the actions mean (see `worldsim.data.conventions`); known for bridge_orig and fractal20220817_data.
        prompt: text with the place {instruction}.
        out_of_range: "refuse" an action beyond the statistics, or "clip" it.
        dtype: of the weights: bfloat16, float16 or float32.
        device: "cpu", "cuda" or "cuda:1".
    """

    path: str
    trust_code: bool = False
    unnorm_key: str | None = None
    convention: Any = None
    prompt: str = PROMPT
    out_of_range: str = "refuse"
    dtype: str = "bfloat16"
    device: str = "cpu"

    def build(self, action: ActionSpec | None = None) -> OpenVLAPolicy:
        """Load the folder; `action` is the world's and is compared by whoever joins the two.

        Raises:
            MissingDependency: transformers, or a package that the checkpoint's code imports, is not installed.
            DamagedFile, InvalidInput, UnknownName: no such checkpoint, or options that do not fit it.
        """
        from worldsim.data.conventions import action_convention
        from worldsim.policies.openvla.statistics import bounded, chosen_statistics, mask_of, read_statistics
        from worldsim.policies.remote.rest import UNNORM_CONVENTIONS

        config = self._checked()
        found = read_statistics(self.path, config)
        key, statistics = chosen_statistics(found, self.unnorm_key)
        convention = self.convention or UNNORM_CONVENTIONS.get(key)
        if convention is None:
            raise InvalidInput(f'what actions of "{key}" mean is not known; give convention: NAME (see worldsim/data/conventions.py)')
        spec = bounded(action_convention(convention), statistics)
        return OpenVLAPolicy(spec, mask_of(statistics), self._predictor(found, key), self.prompt, self.out_of_range)

    def facts(self) -> dict[str, str]:
        """What identifies the checkpoint, wherever it lies. Raises DamagedFile."""
        return {"sha256": fingerprint(self.path)}

    def _checked(self) -> dict[str, Any]:
        """What `config.json` says, after the checks that need no code."""
        from worldsim.data.files import described_in

        config = described_in(self.path)
        if not isinstance(config, dict):
            raise DamagedFile(f"{self.path} is no checkpoint folder (no config.json in it); give a folder, downloaded before")
        if "{instruction}" not in self.prompt or self.dtype not in DTYPES:
            expected = f"expected a text with {{instruction}}, and one of {', '.join(DTYPES)}"
            raise InvalidInput(f"prompt is {self.prompt!r} and dtype {self.dtype}; {expected}")
        if self.trust_code is not True:
            raise InvalidInput(f"{self.path} runs Python files of its own; read them, then give trust_code: true, or {ELSEWHERE}")
        return config

    def _predictor(self, statistics: Mapping[str, Any], key: str) -> Callable[[np.ndarray, str], Any]:
        """From a frame and a prompt to an action, through the checkpoint's processor and network."""
        transformers = _transformers()
        import torch
        from PIL import Image

        dtype = getattr(torch, self.dtype)
        try:
            processor = transformers.AutoProcessor.from_pretrained(self.path, trust_remote_code=True, local_files_only=True)
            network = self._network(transformers, dtype).to(self.device).eval()
        except ImportError as error:
            reason = f"the code of {self.path} needs more packages ({first_line(error)})"
            raise MissingDependency(f"{reason}; install them, or {ELSEWHERE}") from error
        except Exception as error:  # somebody else's code
            reason = f"does not run under transformers {transformers.__version__} ({first_line(error)})"
            raise InvalidInput(f"the code of {self.path} {reason}; {ELSEWHERE}") from error
        if not hasattr(network, "predict_action"):
            raise InvalidInput(f"{self.path} is a {type(network).__name__} without predict_action; give an OpenVLA")
        network.norm_stats = statistics

        def predict(frame: np.ndarray, prompt: str) -> Any:
            inputs = processor(prompt, Image.fromarray(frame)).to(self.device, dtype=dtype)
            with torch.inference_mode():
                return network.predict_action(**inputs, unnorm_key=key, do_sample=False)

        return predict

    def _network(self, transformers: Any, dtype: Any) -> Any:
        """The network, by the class that its config names for either of the automatic classes, through the one that is there."""
        options = {"trust_remote_code": True, "local_files_only": True}
        config = transformers.AutoConfig.from_pretrained(self.path, **options)
        classes = dict(getattr(config, "auto_map", None) or {})
        named = next((classes[name] for name in AUTO if name in classes), None)
        if named is None:
            raise ValueError(f"auto_map in config.json names no {' or '.join(AUTO)}")
        automatic = next(name for name in AUTO if hasattr(transformers, name))
        config.auto_map = classes | {automatic: named}
        options["dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"] = dtype
        return getattr(transformers, automatic).from_pretrained(self.path, config=config, **options)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        advice = f"type: {install_extra('vid2world')}"
        raise MissingDependency(f"OpenVLA needs transformers; {advice}, or {ELSEWHERE}") from error
    return transformers
