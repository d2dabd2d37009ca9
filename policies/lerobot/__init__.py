"""LeRobot checkpoints, in this process, where the package lerobot can be imported. Importing this loads neither it nor torch.

lerobot pins an older torch than ours and cannot be a dependency. In an environment of one's own that has it, worldsim can be installed too.
Facts are from lerobot 0.6's source (`policies/factory.py`, `policies/pretrained.py`, `configs/policies.py`, `scripts/lerobot_eval.py`);
what is here was tested against that interface, not against the package. Normalisation lies in two pipelines beside the network
(`policy_preprocessor.json`, `policy_postprocessor.json`); checkpoints from before them have to be migrated with lerobot's own script.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput, UnknownName
from worldsim.policies.foreign import fingerprint
from worldsim.policies.lerobot.loading import ELSEWHERE, described, loaded, shape_of
from worldsim.policies.lerobot.policy import Inputs, LeRobotPolicy
from worldsim.registry import POLICIES, did_you_mean
from worldsim.types import ActionSpec

STATE = "observation.state"
UNSEEN = (None, "black", "leave_out")


@POLICIES.register("lerobot")
@dataclass
class LeRobotConfig:
    """A LeRobot checkpoint (act, diffusion, smolvla, pi0, ...), in an environment that has lerobot.

    Attributes:
        path: the checkpoint folder, `pretrained_model` in LeRobot's runs.
        convention: what its actions mean (see `worldsim.data.conventions`); a checkpoint does not say.
        camera: the image that frames go into; may be left out where there is one only.
        unseen: what the other cameras show: "black", or "leave_out" for policies that bear it; None refuses.
        state: the robot's state, constant, as an imagined world has none: a list for observation.state, or lists by name.
        out_of_range: "refuse" an action beyond the convention's bounds, or "clip" it.
        device: "cpu", "cuda" or "cuda:1".
    """

    path: str
    convention: Any = None
    camera: str | None = None
    unseen: str | None = None
    state: Any = None
    out_of_range: str = "refuse"
    device: str = "cpu"

    def build(self, action: ActionSpec | None = None) -> LeRobotPolicy:
        """Load the folder; `action` is the world's and is compared by whoever joins the two.

        Raises:
            MissingDependency: lerobot, or a package that this kind of policy needs, is not installed.
            DamagedFile, InvalidInput, UnknownName: no such checkpoint, or options that do not fit it.
        """
        from worldsim.data.conventions import action_convention

        config = described(self.path)
        if self.convention is None:
            raise InvalidInput(f"what actions of {self.path} mean is not known; give convention: NAME (see worldsim/data/conventions.py)")
        spec = action_convention(self.convention)
        size = shape_of(self.path, config, "output_features", "action")
        if size != (spec.size,):
            raise InvalidInput(f"{self.path} acts with {list(size)} numbers, the convention has {', '.join(spec.names)}")
        inputs = self._inputs(config.get("input_features") or {}, config)
        return LeRobotPolicy(spec, loaded(self.path, self.device), inputs, self.out_of_range)

    def facts(self) -> dict[str, str]:
        """What identifies the checkpoint, wherever it lies. Raises DamagedFile."""
        return {"sha256": fingerprint(self.path)}

    def _inputs(self, features: Mapping[str, Any], config: Mapping[str, Any]) -> Inputs:
        """What to show, or a refusal that names what is missing."""
        kinds = {name: str(feature.get("type", "")).rpartition(".")[2] for name, feature in features.items()}
        cameras = {name: shape_of(self.path, config, "input_features", name)[1:] for name, kind in kinds.items() if kind == "VISUAL"}
        if other := [name for name, kind in kinds.items() if kind not in ("VISUAL", "STATE", "ENV")]:
            raise InvalidInput(f"{self.path} wants {other[0]} ({kinds[other[0]]}), which an imagined world cannot give; {ELSEWHERE}")
        camera = self._camera(sorted(cameras))
        shown = {name: size for name, size in cameras.items() if name == camera or self.unseen == "black"}
        wanted = {name: shape_of(self.path, config, "input_features", name) for name, kind in kinds.items() if kind in ("STATE", "ENV")}
        return Inputs(camera, shown, self._states(wanted))

    def _camera(self, known: list[str]) -> str:
        if self.unseen not in UNSEEN:
            raise UnknownName(f'unseen is "{self.unseen}"; {did_you_mean(str(self.unseen), ["black", "leave_out"])}')
        if self.camera is not None and self.camera not in known:
            raise UnknownName(f'{self.path} has no camera "{self.camera}"; {did_you_mean(self.camera, known)}')
        if not known:
            raise InvalidInput(f"{self.path} looks at no images; a world model shows nothing else")
        if self.camera is None and len(known) > 1:
            raise InvalidInput(f"{self.path} looks at {', '.join(known)}; give camera: the one that the world model shows")
        camera = self.camera or known[0]
        if len(known) > 1 and self.unseen is None:
            others = ", ".join(name for name in known if name != camera)
            raise InvalidInput(f"{self.path} also looks at {others}; give unseen: black, or leave_out where its kind of policy bears it")
        return camera

    def _states(self, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        given = dict(self.state) if isinstance(self.state, Mapping) else {} if self.state is None else {STATE: self.state}
        for name in given:
            if name not in wanted:
                raise UnknownName(f'{self.path} takes no state "{name}"; {did_you_mean(str(name), wanted)}')
        states = {}
        for name, shape in wanted.items():
            if name not in given:
                why = f"{self.path} wants {name}, {list(shape)} numbers, and an imagined world has none"
                raise InvalidInput(f"{why}; give state: {{{name}: [...]}}, constant")
            try:
                states[name] = np.array(given[name], dtype=np.float32)
            except (TypeError, ValueError):
                states[name] = np.zeros(0, np.float32)
            if states[name].shape != shape or not np.isfinite(states[name]).all():
                raise InvalidInput(f"state {name} is {given[name]}, expected {list(shape)} finite numbers")
        return states
