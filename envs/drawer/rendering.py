"""Pictures of a MuJoCo scene without a screen. Knows nothing about drawers."""

import os
import weakref
from ctypes.util import find_library
from pathlib import Path

import numpy as np

from worldsim.errors import MissingDependency, install_extra


def choose_gl() -> str:
    """Pick the off-screen OpenGL before mujoco is first imported: a user's MUJOCO_GL, else EGL on a GPU, else OSMesa, else EGL.

    Raises:
        MissingDependency: the machine has neither library; the message names the Debian package.
    """
    if chosen := os.environ.get("MUJOCO_GL"):
        return chosen
    found = {"egl": find_library("EGL"), "osmesa": find_library("OSMesa")}
    order = ("egl", "osmesa") if Path("/dev/nvidia0").exists() else ("osmesa", "egl")
    for name in order:
        if found[name]:
            os.environ["MUJOCO_GL"] = name
            return name
    raise MissingDependency(
        "no OpenGL to render with (neither OSMesa nor EGL); type: apt-get install -y --no-install-recommends libosmesa6"
    )


def import_mujoco():
    """The mujoco package with its OpenGL chosen.

    Raises:
        MissingDependency: the package or the OpenGL library is not installed.
    """
    choose_gl()
    try:
        import mujoco
    except ImportError as error:
        raise MissingDependency(f"the true drawer world needs mujoco; type: {install_extra('mujoco')}") from error
    return mujoco


class Camera:
    """A fixed camera: renders at twice the size and averages 2 x 2 pixels, which is smoother and faster than multisampling on a CPU."""

    def __init__(self, model, name: str, size: int) -> None:
        mujoco = import_mujoco()
        try:
            self._renderer = mujoco.Renderer(model, 2 * size, 2 * size)
        except Exception as error:  # each backend raises its own kind
            raise MissingDependency(
                f"OpenGL ({os.environ['MUJOCO_GL']}) cannot render here: {error}; type: apt-get install -y libosmesa6"
            ) from error
        self._name, self._size = name, size
        self.close = weakref.finalize(self, self._renderer.close)  # also at exit, while OpenGL is still there

    def render(self, data) -> np.ndarray:
        """The scene as uint8 `[size, size, 3]`."""
        self._renderer.update_scene(data, camera=self._name)
        large = self._renderer.render().astype(np.uint16)
        small = large.reshape(self._size, 2, self._size, 2, 3).sum(axis=(1, 3))  # [2S, 2S, 3] -> [S, S, 3]
        return ((small + 2) // 4).astype(np.uint8)
