"""What a scripted hand does in the three tasks, from the true state, and what it does who has another plan. Knows no episode."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from worldsim.envs.behaviours import State
from worldsim.envs.drawer.behaviours import expert_action as close_action
from worldsim.envs.drawer.behaviours import toward
from worldsim.envs.drawer.physics import CLOSED
from worldsim.envs.table.physics import BLOCK, GAP_Y, HANDLE_Y, LOW

HOOK_Z, OVER_Z = 0.105, 0.185  # heights of the hand while it pulls, and while it comes over the handle
PULLED = 0.15  # the opening that the expert leaves behind
REACH_X = BLOCK + 0.0365  # how far the hand's centre is behind the block's while it pushes


@dataclass(frozen=True)
class Plan:
    """How a hand goes about a task; as it stands here, it is the expert's way.

    Attributes:
        offset: metres by which it aims beside what it ought to touch, (x, y, z).
        speed: share of the fastest.
        short: metres by which it stops before the goal; below 0, beyond.
    """

    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    speed: float = 1.0
    short: float = 0.0


EXPERT = Plan()


def close(state: State, plan: Plan = EXPERT) -> np.ndarray:
    """Come in front of the handle, then push until the drawer is shut."""
    if plan.short > 0 and state["opening"] <= plan.short:
        return np.zeros(3)
    return close_action(state, np.array(plan.offset), plan.speed, HANDLE_Y)


def open_(state: State, plan: Plan = EXPERT) -> np.ndarray:
    """Come over the handle, lower the fingers behind it, and pull."""
    hand, opening = state["target"], float(state["opening"])
    if opening >= PULLED - plan.short:
        return np.zeros(3)
    aim = np.array([float(state["cabinet_x"]), GAP_Y - opening, HOOK_Z]) + plan.offset
    beside = hand - aim
    if abs(beside[0]) < 0.03 and -0.06 < beside[1] < 0.02 and beside[2] < 0.02:  # hooked
        return toward(state, [aim[0], hand[1] - 0.05, aim[2]], plan.speed)
    if abs(beside[0]) < 0.015 and abs(beside[1]) < 0.01:
        return toward(state, aim, plan.speed)
    if hand[2] < 0.16 and hand[1] > HANDLE_Y - opening - 0.07:  # too low to come over the handle
        return toward(state, [hand[0], hand[1] - 0.01, OVER_Z], plan.speed)
    return toward(state, [aim[0], aim[1], OVER_Z], plan.speed)


def push(state: State, plan: Plan = EXPERT) -> np.ndarray:
    """Come down on the left of the block, push it into the zone, and lift the hand off it."""
    hand, block = state["target"], state["block"]
    goal = float(state["zone"][0]) - plan.short
    if block[0] > goal - 0.006:
        return toward(state, [hand[0] - 0.03, hand[1], 0.14], plan.speed)
    low, across = 0.04 + plan.offset[2], block[1] + plan.offset[1]
    behind = block[0] - REACH_X - 0.015 + min(plan.offset[0], 0.0)
    level = abs(hand[1] - across) < 0.014
    if level and hand[2] < low + 0.012 and hand[0] < block[0] - 0.045:
        return toward(state, [goal - REACH_X, across, low], plan.speed)
    if level and hand[0] < behind + 0.012:
        return toward(state, [behind, across, low], plan.speed)
    if hand[2] < 0.085:  # beside the block: lift before coming over it
        return toward(state, [hand[0], hand[1], 0.13], plan.speed)
    return toward(state, [behind, across, 0.105], plan.speed)


def close_push(state: State, plan: Plan = EXPERT) -> np.ndarray:
    """Close the drawer, then push the block into the zone."""
    return EXPERTS[_turn(state)](state, plan)


def _turn(state: State) -> str:
    return "close" if state["opening"] > CLOSED / 2 else "push"


EXPERTS: dict[str, Callable[..., np.ndarray]] = {"close": close, "open": open_, "push": push, "close-push": close_push}
MIDDLE = {  # what a wandering hand comes near to
    "close": lambda state: np.array([float(state["cabinet_x"]), HANDLE_Y - float(state["opening"]), HOOK_Z]),
    "open": lambda state: np.array([float(state["cabinet_x"]), GAP_Y - float(state["opening"]), HOOK_Z]),
    "push": lambda state: np.array([state["block"][0] - REACH_X, state["block"][1], LOW + 0.01]),
    "close-push": lambda state: MIDDLE[_turn(state)](state),
}
