"""How a true drawer world may differ from the one that world models and policies have seen. Knows no episode and no policy."""

import colorsys
from dataclasses import dataclass, fields

import numpy as np

from worldsim.errors import InvalidInput

CENTRE = np.array([0.0, 0.0])  # m, what the camera is turned around
PAINTED = ("front", "handle", "cab")  # the drawer's materials, and the cabinet's
LIMITS = {  # values that still are the same task, lowest and highest
    "camera": (-180.0, 180.0),
    "light": (0.05, 3.0),
    "hue": (-180.0, 180.0),
    "distractor": (0.0, 0.06),
    "friction": (0.0, 20.0),
    "damping": (0.0, 100.0),
    "beyond": (0.0, 0.08),
}


@dataclass(frozen=True)
class Shift:
    """One true world beside the known one; as it stands here it is the known one.

    Attributes:
        camera: degrees by which the camera is turned around the scene, about the vertical.
        light: factor on all lights.
        hue: degrees by which the cabinet's colours are turned.
        distractor: half the edge, m, of a green cube on the table, 0 for none; nothing touches it.
        friction: factor on the friction of all surfaces.
        damping: factor on the drawer's damping and dry friction.
        beyond: metres by which the cabinet may stand outside the range that it was seen in, on either side; 0 stays inside.
    """

    camera: float = 0.0
    light: float = 1.0
    hue: float = 0.0
    distractor: float = 0.0
    friction: float = 1.0
    damping: float = 1.0
    beyond: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(Shift):
            value, (low, high) = getattr(self, field.name), LIMITS[field.name]
            if not low <= value <= high:
                raise InvalidInput(f"{field.name} of the drawer world is {value}, expected {low:g} to {high:g}")


def add_distractor(spec, edge: float) -> None:
    """Put the cube on the table of a `mujoco.MjSpec`, beside the arm's way; no thing collides with it."""
    if edge:
        spec.worldbody.add_geom(
            name="distractor", type=6, size=[edge] * 3, pos=[0.22, -0.20, edge], rgba=[0.2, 0.65, 0.25, 1], contype=0, conaffinity=0
        )


def apply(model, shift: Shift) -> None:
    """Change a compiled `mujoco.MjModel` in place. The known world is left bit for bit as it is."""
    if shift.camera:
        _turn_camera(model, np.radians(shift.camera))
    if shift.light != 1:
        model.light_diffuse[:] *= shift.light
        for name in ("ambient", "diffuse"):
            getattr(model.vis.headlight, name)[:] *= shift.light
    if shift.hue:
        for name in PAINTED:
            model.mat_rgba[model.material(name).id, :3] = _turned(model.mat_rgba[model.material(name).id, :3], shift.hue / 360)
    model.geom_friction[:, 0] *= shift.friction
    drawer = model.joint("drawer").dofadr[0]
    model.dof_damping[drawer] *= shift.damping
    model.dof_frictionloss[drawer] *= shift.damping


def _turn_camera(model, angle: float) -> None:
    """Turn place and view of the camera about the vertical through the scene's centre."""
    import mujoco

    camera, turn = model.camera("main").id, np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)])
    cos, sin = np.cos(angle), np.sin(angle)
    model.cam_pos[camera, :2] = CENTRE + np.array([[cos, -sin], [sin, cos]]) @ (model.cam_pos[camera, :2] - CENTRE)
    mujoco.mju_mulQuat(model.cam_quat[camera], turn, model.cam_quat[camera].copy())


def _turned(colour: np.ndarray, share: float) -> tuple[float, float, float]:
    hue, saturation, value = colorsys.rgb_to_hsv(*colour.tolist())
    return colorsys.hsv_to_rgb((hue + share) % 1, saturation, value)
