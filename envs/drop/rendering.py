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
    """A fixed camera of square frames: one pass for colour, and one for depth and segmentation, all on the same pixels."""

    def __init__(self, model, name: str, size: int) -> None:
        mujoco = self._mujoco = import_mujoco()
        try:
            self._screen = mujoco.GLContext(size, size)
            self._screen.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as error:  # each backend raises its own kind
            raise MissingDependency(
                f"OpenGL ({os.environ['MUJOCO_GL']}) cannot render here: {error}; type: apt-get install -y libosmesa6"
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene, self._option = mujoco.MjvScene(model, 2 * model.ngeom), mujoco.MjvOption()
        self._view, self._area = mujoco.MjvCamera(), mujoco.MjrRect(0, 0, size, size)
        self._view.type, self._view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, model.camera(name).id
        self._name, self._size, self._model = name, size, model
        self.close = weakref.finalize(self, _release, self._context, self._screen)

    def render(self, data) -> np.ndarray:
        """The scene as uint8 `[size, size, 3]`."""
        return self._drawn(data, numbers=False)[0]

    def measure(self, data) -> dict[str, np.ndarray]:
        """Exact `depth` float32 `[size, size]` in metres along the optical axis, and `segmentation` uint8 `[size, size]`, geom ids."""
        colours, nearness = self._drawn(data, numbers=True)
        near, far = (self._model.stat.extent * each for each in (self._model.vis.map.znear, self._model.vis.map.zfar))
        shown = colours.astype(np.int32) @ (1, 256, 65536)  # one more than the place in the scene's list
        geoms = np.array([NOTHING] + [geom.objid for geom in self._scene.geoms[: self._scene.ngeom]], np.uint8)
        return {"depth": (near * far / (near + nearness * (far - near))).astype(np.float32), "segmentation": geoms[shown]}

    def _drawn(self, data, *, numbers: bool) -> tuple[np.ndarray, np.ndarray]:
        """Colours, true ones or those that number what is seen, and nearness from 0 (far) to 1; the first row is the upper one."""
        mujoco, flags = self._mujoco, self._scene.flags
        mujoco.mjv_updateScene(self._model, data, self._option, None, self._view, mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = numbers
        colours, nearness = np.empty((self._size, self._size, 3), np.uint8), np.empty((self._size, self._size), np.float32)
        self._screen.make_current()
        mujoco.mjr_render(self._area, self._scene, self._context)
        mujoco.mjr_readPixels(colours, nearness, self._area, self._context)
        return colours[::-1].copy(), nearness[::-1].astype(np.float64)

    def lens(self, data) -> dict[str, np.ndarray]:
        """`intrinsics` float64 `[3, 3]` in pixels, and `camera_pose` float64 `[4, 4]`, from camera axes to world axes, in metres."""
        camera = self._model.camera(self._name).id
        focal = self._size / 2 / np.tan(np.deg2rad(self._model.cam_fovy[camera]) / 2)
        pose = np.eye(4)
        pose[:3, :3] = data.cam_xmat[camera].reshape(3, 3) * [1, -1, -1]  # OpenGL's y up, z backward to y down, z forward
        pose[:3, 3] = data.cam_xpos[camera]
        middle = self._size / 2
        return {"intrinsics": np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]]), "camera_pose": pose}


def _release(context, screen) -> None:
    screen.make_current()
    context.free()
    screen.free()
