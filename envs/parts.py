"""The keywords of the world environments, turned into a world model, a task and a verifier. Knows nothing of episodes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from worldsim.data.cameras import camera_of
from worldsim.data.files import described_in
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.options import MODEL_KEYS, ModelKeys, check_choices, model_options
from worldsim.registry import did_you_mean
from worldsim.types import Task, Verifier, WorldModel, WorldSpec

RENDER_MODES = ("rgb_array",)
DETERMINISM = ("fast", "strict")


@dataclass(frozen=True)
class Parts:
    """What an environment is made of, all of it loaded and checked against one another."""

    world_model: WorldModel
    task: Task
    verifier: Verifier | None
    horizon: int
    strict: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.horizon, (int, np.integer)) or self.horizon < 1:
            raise InvalidInput(f"horizon is {self.horizon!r}, expected a whole number of steps, 1 or more")
        for start in self.task.starts:
            try:
                self.world_model.spec.check_frames(np.asarray(start.frames)[None])
            except InvalidInput as error:
                raise InvalidInput(f'start "{start.id}" of task "{self.task.id}" does not fit the world model: {error}') from error


@dataclass(frozen=True)
class Keywords:
    """The keywords shared by `WorldEnv`, `WorldVectorEnv` and `WorldVecEnv`, beside `worldsim.options.ModelKeys`.

    Attributes:
        world_model: name, path, or a `WorldModel`.
        task: name or `Task`; by default the one named in the world model's folder, else "drawer".
        verifier: name, path, or a `Verifier`; None gives reward 0 and no success.
        horizon: steps until truncation; None is the task's.
        device: where a loaded world model runs.
        determinism: "strict" computes each lane by itself, with one torch thread and deterministic kernels, so that a lane is bit for bit
            the same in every batch; "fast" computes all lanes together, and a batch of another size may round another way.
        model: how a loaded world model draws frames (steps, guidance, history, window, ...; what is None is the model's own) and is run
            (precision, compile, channels_last, decoder).
    """

    world_model: Any = "drawer"
    task: Any = None
    verifier: Any = None
    horizon: int | None = None
    device: str = "cpu"
    determinism: str = "fast"
    model: ModelKeys = field(default_factory=ModelKeys)

    def build(self) -> Parts:
        """Load what was given by name or path; objects pass through untouched.

        Raises:
            WorldsimError: an unknown name or word, a horizon below 1, a task whose frames the world model cannot take, or a
                keyword that says how to load a world model beside one that is built already.
        """
        check_choices(self.model)
        if self.determinism not in DETERMINISM:
            raise UnknownName(f'unknown determinism "{self.determinism}"; {did_you_mean(str(self.determinism), DETERMINISM)}')
        task = self._task()
        horizon = task.horizon if self.horizon is None else self.horizon
        return Parts(self._world_model(), task, self._verifier(), horizon, self.determinism == "strict")

    def _world_model(self) -> WorldModel:
        options = model_options(self.model)
        if isinstance(self.world_model, (str, Path)):
            from worldsim.load import load_world_model

            return load_world_model(self.world_model, device=self.device, **options)
        for name, value in (options | ({} if self.device == "cpu" else {"device": self.device})).items():
            raise InvalidInput(f"{name}={value!r} is for a world model given by name or path; this one is built already, set it there")
        return self.world_model

    def _task(self) -> Task:
        name = named_task(self.world_model) if self.task is None else self.task
        if isinstance(name, (str, Path)):
            from worldsim.load import load_task

            folder = self.world_model if isinstance(self.world_model, (str, Path)) else None
            return load_task(name, camera_of((folder and described_in(folder)) or {}))
        return name

    def _verifier(self) -> Verifier | None:
        if isinstance(self.verifier, (str, Path)):
            from worldsim.load import load_verifier

            return load_verifier(self.verifier)
        return self.verifier


def named_task(world_model: Any) -> str:
    """The task that a world model's folder names in its `config.json` under "task"; "drawer" where there is no such folder or key.

    Raises:
        DamagedFile: the file is there and is not a JSON object.
    """
    config = Path(world_model) / "config.json" if isinstance(world_model, (str, Path)) else None
    if config is None or not config.is_file():
        return "drawer"
    try:
        return json.loads(config.read_text(encoding="utf-8")).get("task", "drawer")
    except (ValueError, AttributeError) as error:
        raise DamagedFile(f"{config} is not the JSON object of a world model ({error}); copy the folder again or pass task=NAME") from error


def build_parts(keywords: Mapping[str, Any]) -> Parts:
    """The parts that environment keywords ask for.

    Raises:
        UnknownName: a keyword that no world environment has.
        WorldsimError: whatever loading a part says.
    """
    known = {*MODEL_KEYS, *(each.name for each in fields(Keywords))} - {"model"}
    for name in keywords:
        if name not in known:
            raise UnknownName(f'a world environment has no keyword "{name}"; {did_you_mean(name, known)}')
    model = ModelKeys(**{name: value for name, value in keywords.items() if name in MODEL_KEYS})
    return Keywords(**{name: value for name, value in keywords.items() if name not in MODEL_KEYS}, model=model).build()


def spaces_of(spec: WorldSpec) -> tuple[Box, Box]:
    """Observation and action space of one lane: uint8 `[H, W, 3]` and float32 `[A]` between the action's bounds."""
    low, high = np.array(spec.action.low, dtype=np.float32), np.array(spec.action.high, dtype=np.float32)
    return Box(0, 255, (spec.height, spec.width, 3), np.uint8), Box(low, high, dtype=np.float32)


def check_render_mode(mode: str | None) -> str | None:
    """`mode`, if it is one of ours or None.

    Raises:
        UnknownName: any other.
    """
    if mode is not None and mode not in RENDER_MODES:
        raise UnknownName(f'unknown render_mode "{mode}"; {did_you_mean(mode, RENDER_MODES)}')
    return mode
