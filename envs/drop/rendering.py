"""What a fixed camera of a MuJoCo scene sees, fast: colour, depth and which geom each pixel shows. Knows nothing about balls.

Pixel (row i, column j) has its centre at (u, v) = (j + 0.5, i + 0.5). Camera axes are x right, y down, z forward.
"""

import os
import weakref

import numpy as np

from worldsim.envs.drawer.rendering import import_mujoco
from worldsim.errors import MissingDependency

NOTHING = 255  # segmentation of a pixel that shows no geom


class DepthCamera:
    """A fixed camera of square frames, one render pass each for colour, depth and segmentation, all on the same pixels."""

    def __init__(self, model, name: str, size: int) -> None:
        mujoco = import_mujoco()
        try:
            self._renderer = mujoco.Renderer(model, size, size)
        except Exception as error:  # each backend raises its own kind
            raise MissingDependency(
                f"OpenGL ({os.environ['MUJOCO_GL']}) cannot render here: {error}; type: apt-get install -y libosmesa6"
            ) from error
        self._name, self._size, self._model = name, size, model
        self.close = weakref.finalize(self, self._renderer.close)

    def render(self, data) -> np.ndarray:
        """The scene as uint8 `[size, size, 3]`."""
        self._renderer.update_scene(data, camera=self._name)
        return self._renderer.render().copy()

    def measure(self, data) -> dict[str, np.ndarray]:
        """Exact `depth` float32 `[size, size]` in metres along the optical axis, and `segmentation` uint8 `[size, size]`, geom ids."""
        self._renderer.update_scene(data, camera=self._name)
        self._renderer.enable_depth_rendering()
        depth = self._renderer.render().copy()
        self._renderer.disable_depth_rendering()
        self._renderer.enable_segmentation_rendering()
        geoms = self._renderer.render()[..., 0]
        self._renderer.disable_segmentation_rendering()
        return {"depth": depth.astype(np.float32), "segmentation": np.where(geoms < 0, NOTHING, geoms).astype(np.uint8)}

    def lens(self, data) -> dict[str, np.ndarray]:
        """`intrinsics` float64 `[3, 3]` in pixels, and `camera_pose` float64 `[4, 4]`, from camera axes to world axes, in metres."""
        camera = self._model.camera(self._name).id
        focal = self._size / 2 / np.tan(np.deg2rad(self._model.cam_fovy[camera]) / 2)
        pose = np.eye(4)
        pose[:3, :3] = data.cam_xmat[camera].reshape(3, 3) * [1, -1, -1]  # OpenGL's y up, z backward to y down, z forward
        pose[:3, 3] = data.cam_xpos[camera]
        middle = self._size / 2
        return {"intrinsics": np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]]), "camera_pose": pose}
