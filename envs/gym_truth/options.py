"""What a Gymnasium environment is told to be a true world. Values only; it makes no environment."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from worldsim.data.resizing import resize_with_pad
from worldsim.data.video import parse_size, resize_frames
from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

SUCCESS = ("auto", "info", "reward", "return", "none")
SCORES = ("reward", "return")  # what a threshold is laid against


@dataclass
class GymOptions:
    """An environment by its id, and how it is seen, driven and judged.

    Attributes:
        id: as `gymnasium.make` takes it; `module:ID` imports a module first.
        size: of frames: 64 is a centred square, 64x96 is cut to that, 64x96:pad keeps the whole picture inside black borders, none is as
            rendered.
        frame_skip: steps of the environment for each action.
        rate_hz: actions a second; null is the environment's `render_fps` over `frame_skip`.
        horizon: steps of an episode; null is the environment's `max_episode_steps` over `frame_skip`, less `before`.
        before: actions played before the first frame, for an arm that hides what it is to touch, or a picture that zooms in.
        before_action: the action in them, one number for each component; null is the one nearest to zero.
        success: where it is known from: info (`is_success` or `success`), reward (of the latest action), return (rewards added up), none
            (nowhere); auto takes info where it is there, and refuses the environment where it is not.
        threshold: what reward or return must reach.
        camera: which one MuJoCo renders: its name, its number, or a mapping as `default_camera_config` takes it.
        instruction: what is asked; null is the environment's name.
        make: further keywords of the environment.
    """

    id: str
    size: int | str = 64
    frame_skip: int = 1
    rate_hz: float | None = None
    horizon: int | None = None
    before: int = 0
    before_action: list[float] | None = None
    success: str = "auto"
    threshold: float | None = None
    camera: str | int | dict[str, Any] | None = None
    instruction: str | None = None
    make: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The environment's name without its module, fit for a file."""
        return self.id.rpartition(":")[2].replace("/", "-")

    @property
    def keywords(self) -> dict[str, Any]:
        """What the environment is made with, beside how it renders."""
        key = {str: "camera_name", int: "camera_id", dict: "default_camera_config"}.get(type(self.camera))
        return self.make | ({key: self.camera} if key else {})

    def checked(self) -> "GymOptions":
        """Itself.

        Raises:
            UnknownName, InvalidInput: a value that can be refused without the environment.
        """
        if self.success not in SUCCESS:
            raise UnknownName(f'{self.id}: success is "{self.success}"; {did_you_mean(self.success, SUCCESS)}')
        if (self.success in SCORES) != (self.threshold is not None):
            raise InvalidInput(
                f"{self.id}: success is {self.success} and threshold {self.threshold}, expected both or neither; "
                f"type {self.typed('success: reward, threshold: NUMBER')}"
            )
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InvalidInput(f"{self.id}: threshold is {self.threshold}, expected a number such as 1.0")
        for key in ("frame_skip", "horizon", "rate_hz"):
            value = getattr(self, key)
            if value is not None and not 0 < value < math.inf:
                raise InvalidInput(f"{self.id}: {key} is {value}, expected a number above 0; type {self.typed(f'{key}: 1')}")
        if self.before < 0:
            raise InvalidInput(f"{self.id}: before is {self.before}, expected a number of actions; type {self.typed('before: 4')}")
        if self.before_action is not None and not self.before:
            raise InvalidInput(f"{self.id}: before_action is given without before; say how often, as in {self.typed('before: 4')}")
        self.resizing()
        return self

    def resizing(self) -> Callable[[np.ndarray], np.ndarray]:
        """From frames uint8 `[T, H, W, 3]` as rendered to frames of the size asked for.

        Raises:
            InvalidInput: no such size.
        """
        size, colon, fit = str(self.size).partition(":")
        try:
            wanted = parse_size(size if fit == "pad" * bool(colon) else str(self.size))
        except InvalidInput as error:
            raise InvalidInput(f'{self.id}: size is "{self.size}", expected 64, 64x96, 64x96:pad or none') from error
        if wanted is None:
            return lambda frames: frames
        return partial(resize_with_pad if colon else resize_frames, height=wanted[0], width=wanted[1])

    def typed(self, options: str) -> str:
        """How this truth is given with further options, for the end of an error line."""
        return f"truth='{{name: gym, id: {self.id}, {options}}}'"
