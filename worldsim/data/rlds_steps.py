"""The steps of one RLDS episode as a Trajectory. Knows numpy values, no files and no tensorflow.

An RLDS episode has T steps, each with an observation and the action taken from it. `frames[t] --actions[t]--> frames[t + 1]`
leaves T - 1 actions between T frames: nothing shows what the last action did, so it is dropped. `is_last`, `is_terminal` and
`has_image_*` are not looked at: real data sets fill them in wrongly.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.data.rlds_actions import Convention, known_action, meaning_of, unknown_action
from worldsim.errors import InvalidInput
from worldsim.types import Trajectory


@dataclass(frozen=True)
class Layout:
    """What is read of every episode of a split: names of data set and split, camera of the frames, other cameras, what actions mean."""

    dataset: str
    split: str
    camera: str
    others: tuple[str, ...] = ()
    convention: Convention | None = None


@dataclass(frozen=True)
class Unreadable:
    """In the place of a picture: why it cannot be decoded."""

    reason: str


def trajectory_of(steps: Iterable[Mapping[str, Any]], layout: Layout) -> Trajectory:
    """The steps of one episode, as numpy values, by the rules on top of this file.

    Raises:
        InvalidInput: they make no episode, or a picture of the frames' camera cannot be decoded.
    """
    steps = list(steps)
    actions, names = _actions(steps, layout.convention)
    filler = int(bool(layout.convention and layout.convention.filler and actions and not actions[0].any()))
    steps, actions = steps[filler:], actions[filler:-1]
    if not actions:
        raise InvalidInput(f"episode has {len(steps)} usable steps, expected at least 2")
    if len({action.shape for action in actions}) > 1:
        raise InvalidInput("episode changes its number of actions on the way")
    frames, problem = _pictures(steps, layout.camera)
    if frames is None:
        raise InvalidInput(f'camera "{layout.camera}": {problem}')
    views = {name: _pictures(steps, name) for name in layout.others}
    meaning = meaning_of(layout.convention, names)
    return Trajectory(
        task_id="import",
        frames=frames,
        actions=np.stack(actions),  # [T - 1, A]
        views={name: pictures for name, (pictures, _) in views.items() if pictures is not None},
        metadata={
            "source": "rlds",
            "dataset": layout.dataset,
            "split": layout.split,
            "camera": layout.camera,
            "cameras": [layout.camera, *layout.others],
            "views_left_out": {name: problem for name, (pictures, problem) in views.items() if pictures is None},
            "instruction": next(filter(None, map(_instruction, steps)), ""),
            **_language(steps[0]),
            "fps": meaning["rate_hz"],
            "fps_assumed": layout.convention is None,
            "action": meaning,
            "action_unknown": layout.convention is None,
        },
    )


def _actions(steps: Sequence[Mapping[str, Any]], convention: Convention | None) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """(one float32 `[A]` per step, names where no convention gives them)."""
    if convention is not None:
        return [known_action(step, convention) for step in steps], ()
    found = [unknown_action(step) for step in steps]
    return [action for action, _ in found], found[0][1] if found else ()


def _pictures(steps: Sequence[Mapping[str, Any]], camera: str) -> tuple[np.ndarray | None, str]:
    """(uint8 `[T, H, W, 3]`, ""), or (None, why there are none)."""
    found = [step["observation"][camera] for step in steps]
    broken = next((each for each in found if isinstance(each, Unreadable)), None)
    if broken:
        return None, broken.reason
    if len({picture.shape for picture in found}) > 1:
        return None, "its pictures change their size on the way"
    return np.stack(found), ""


def _instruction(step: Mapping[str, Any]) -> str:
    found = step.get("language_instruction", step["observation"].get("natural_language_instruction", b""))
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else ""


def _language(step: Mapping[str, Any]) -> dict[str, list[float]]:
    """The instruction as a vector (512 numbers of the Universal Sentence Encoder), where the recordings bring it."""
    found = step.get("language_embedding", step["observation"].get("natural_language_embedding"))
    if found is None:
        return {}
    vector = np.asarray(found, dtype=np.float32).ravel()
    if not np.isfinite(vector).all():
        raise InvalidInput("the language vector is not finite")
    return {"language_embedding": [float(str(value)) for value in vector]}  # the shortest text that gives the same float32 again
