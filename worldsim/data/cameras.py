"""An episode as one of its cameras saw it. Knows nothing of files."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from worldsim.errors import UnknownName
from worldsim.registry import did_you_mean
from worldsim.types import Trajectory


def seen_from(trajectory: Trajectory, camera: str | None) -> Trajectory:
    """The same episode with the pictures of `camera` as frames, and those that were its frames among the views.

    Args:
        trajectory: an episode; its metadata says which `camera` its frames are of.
        camera: one of its views; None, or the camera of the frames, gives the very same trajectory.

    Raises:
        UnknownName: the episode has no pictures of that camera.
    """
    own = trajectory.metadata.get("camera")
    if camera is None or camera == own:
        return trajectory
    if camera not in trajectory.views:
        known = [*trajectory.views, *([own] if own else [])]
        why = trajectory.metadata.get("views_left_out", {}).get(camera)
        about = f"it was left out: {why}" if why else did_you_mean(camera, known)
        raise UnknownName(f'episode {trajectory.metadata.get("episode", trajectory.start_id)} has no camera "{camera}"; {about}')
    views = {name: view for name, view in trajectory.views.items() if name != camera}
    views[own or "frames"] = trajectory.frames
    return replace(trajectory, frames=trajectory.views[camera], views=views, metadata={**trajectory.metadata, "camera": camera})


def camera_of(config: Any) -> str | None:
    """The camera that a checkpoint was trained on, as its config says; None for whichever the frames are of."""
    training = config.get("training") if isinstance(config, Mapping) else None
    return training.get("camera") if isinstance(training, Mapping) else None


def flat(frames: np.ndarray) -> bool:
    """Whether pictures show one colour throughout: a camera that was not connected."""
    return bool((frames == frames[:1, :1, :1]).all())
