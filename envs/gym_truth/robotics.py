"""gymnasium-robotics beside MuJoCo 4. Knows nothing of options."""

import sys
from types import SimpleNamespace


def mend_robotics() -> None:
    """Let its robots find their joints.

    gymnasium-robotics 1.4.2 asks `kind in (mjJNT_HINGE, mjJNT_SLIDE)`. Since MuJoCo 4 such an item, standing on the left as in a search
    through a tuple, is no longer equal to the number that a model holds. The one module that asks so is shown the kinds as numbers.
    """
    if "gymnasium_robotics" not in sys.modules:
        return
    from gymnasium_robotics.utils import mujoco_utils

    if not isinstance(mujoco_utils.mujoco, _NumberedJoints):
        mujoco_utils.mujoco = _NumberedJoints(mujoco_utils.mujoco)


class _NumberedJoints:
    """MuJoCo's module, its kinds of joints being whole numbers."""

    def __init__(self, mujoco) -> None:
        self._mujoco = mujoco
        kinds = [name for name in dir(mujoco.mjtJoint) if name.startswith("mjJNT")]
        self.mjtJoint = SimpleNamespace(**{name: int(getattr(mujoco.mjtJoint, name)) for name in kinds})

    def __getattr__(self, name: str):
        return getattr(self._mujoco, name)
