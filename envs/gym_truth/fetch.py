"""Who can do the tasks of gymnasium-robotics' Fetch arm: functions of a frame's states to an action, float64 `[4]`, for `{name: function}`.

Places in metres in the world. The first three numbers of an action move the hand by 5 cm times them in each
of the environment's steps; the last is the gripper's, held shut.
"""

from collections.abc import Mapping

import numpy as np

OVER, LOW = 0.50, 0.425  # heights of the hand: above the block, and where it pushes
BEHIND, TOUCH = 0.075, 0.045  # distances of the hand from the block's centre: before and while it pushes
GAIN = 10.0  # of an action, per metre left to go
WRONG = np.array([0.07, 0.07, 0.0])  # by which `push_beside` misses

States = Mapping[str, np.ndarray]


def reach(states: States) -> np.ndarray:
    """Bring the hand to the goal."""
    return _towards(states["observation.achieved_goal"], states["observation.desired_goal"])


def push(states: States) -> np.ndarray:
    """Come behind the block as seen from the goal, lower the hand and push."""
    return _push(states, states["observation.desired_goal"])


def push_beside(states: States) -> np.ndarray:
    """The right motion at the wrong place: push the block ten centimetres beside the goal."""
    return _push(states, states["observation.desired_goal"] + WRONG)


def push_slow(states: States) -> np.ndarray:
    """As `push`, at a third of the speed: most episodes end before the goal."""
    return push(states) * [0.33, 0.33, 0.33, 1.0]


def _push(states: States, goal: np.ndarray) -> np.ndarray:
    hand, block = states["observation.observation"][:3], states["observation.observation"][3:6]
    way = (goal - block)[:2]
    left = np.linalg.norm(way)
    if left < 0.02:
        return _towards(hand, np.r_[hand[:2], OVER])
    way = way / left
    off = hand[:2] - block[:2]
    along = off @ way
    if along < -0.03 and np.linalg.norm(off - along * way) < 0.03 and hand[2] < 0.455:
        return _towards(hand, np.r_[block[:2] + (min(left, 0.08) - TOUCH) * way, LOW])
    behind = block[:2] - BEHIND * way
    height = LOW + (OVER - LOW) * np.clip((np.linalg.norm(hand[:2] - behind) - 0.01) / 0.04, 0, 1)  # lower the nearer it comes
    climbing = hand[2] < height - 0.03 and np.linalg.norm(off) < 0.11  # the way there may lead across the block
    return _towards(hand, np.r_[hand[:2] if climbing else behind, height])


def _towards(hand: np.ndarray, place: np.ndarray) -> np.ndarray:
    return np.r_[np.clip(GAIN * (place - hand), -1, 1), 0.0]
