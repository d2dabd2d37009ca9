"""A world of 16 x 16 pixels for tests: a dot that is driven to the right wall, by a Box or a Discrete action, and its broken kin."""

import multiprocessing

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete

GOAL = 0.5  # how far right counts as there


class Dot(gymnasium.Env):
    """A bright square on a dark field, which moves along x. `flag` is the name in info under which success is told; None tells nothing."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, render_mode=None, *, discrete=False, flag="is_success", lasts=None):
        self.render_mode, self._flag, self._lasts = render_mode, flag, lasts
        self.action_space = Discrete(3, start=-1) if discrete else Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space = Box(-1.0, 1.0, (1,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.array([self.np_random.uniform(-1.0, 0.0)])
        self._steps = 0
        return self.state.copy(), self._info()

    def step(self, action):
        self.state = np.clip(self.state + 0.25 * np.ravel(action), -1.0, 1.0)
        self._steps += 1
        return self.state.copy(), float(self.state[0]), self._lasts == self._steps, False, self._info()

    def render(self):
        frame = np.full((16, 16, 3), 30, np.uint8)
        left = round(float(self.state[0] + 1.0) * 6)
        frame[6:10, left : left + 4] = (240, 200, 40)
        return frame

    def _info(self):
        return {self._flag: bool(self.state[0] > GOAL)} if self._flag else {}


class Growing(Dot):
    """Its picture changes size."""

    def render(self):
        return np.zeros((16 + getattr(self, "_steps", 0), 16, 3), np.uint8)


class Blind(Dot):
    """It renders nothing."""

    metadata = {"render_modes": ["human"], "render_fps": 10}


class Older(Dot):
    """Its steps give four values, as they once did."""

    def step(self, action):
        return super().step(action)[:4]


class Several(Dot):
    """It says of several things at once whether they are done."""

    def _info(self):
        return {"is_success": np.array([True, False])}


class Strict(Dot):
    """It knows no such map."""

    def __init__(self, render_mode=None, *, chart="small"):
        super().__init__(render_mode)
        {"small": 1}[chart]


class Empty(Dot):
    """It says that it renders, and does not."""

    def render(self):
        return None


class Handed(Dot):
    """Its actions are a mapping."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        self.action_space = Dict({"left": Discrete(2), "right": Discrete(2)})


class Boundless(Dot):
    """Its actions have no bounds."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        self.action_space = Box(-np.inf, np.inf, (1,), np.float32)


class Hasty(Dot):
    """It names no rate."""

    metadata = {"render_modes": ["rgb_array"]}


class Forgetful(Dot):
    """A seed does not say where it begins."""

    _count = 0

    def reset(self, *, seed=None, options=None):
        type(self)._count += 1
        return super().reset(seed=type(self)._count)


class Breaking(Dot):
    """Its own code fails in `call`, which is reset, step or render, at once or in the second step of odd seeds, until `mended`."""

    mended = False

    def __init__(self, render_mode=None, *, call="step"):
        super().__init__(render_mode)
        self._call, self._odd, self._steps = call, False, 0

    def reset(self, *, seed=None, options=None):
        self._odd = seed % 2
        self._break("reset", 0)
        return super().reset(seed=seed)

    def step(self, action):
        self._break("step", 1)
        return super().step(action)

    def render(self):
        self._break("render", 2)
        return super().render()

    def _break(self, call, steps):
        if self._odd and call == self._call and steps in (0, self._steps) and not self.mended:
            raise RuntimeError("the arm\nis stuck")

    def close(self):
        raise OSError("nothing to close")


class Single(Dot):
    """It cannot be made in a process that another one has begun."""

    def __init__(self, render_mode=None):
        super().__init__(render_mode)
        if multiprocessing.parent_process():
            raise RuntimeError("the port is taken")


class Diverging(Dot):
    """In its third step the reward is `reward`."""

    def __init__(self, render_mode=None, *, reward=float("nan")):
        super().__init__(render_mode)
        self._third = reward

    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, self._third if self._steps == 3 else reward, *rest


class Crowded(Dot):
    """It observes one number more with every step."""

    def step(self, action):
        observation, *rest = super().step(action)
        return observation.repeat(self._steps), *rest


class Fading(Dot):
    """Its picture is no picture from the second step on."""

    def render(self):
        frame = super().render()
        return frame if self._steps < 2 else frame / 255


class Hungry(Dot):
    """It needs a package that nobody has."""

    def render(self):
        raise gymnasium.error.DependencyNotInstalled("pygame is not installed, run `pip install gymnasium[classic_control]`")


for kind in (Dot, *Dot.__subclasses__()):
    gymnasium.register(f"tests/{kind.__name__}-v0", entry_point=kind, max_episode_steps=8)
gymnasium.register("tests/Endless-v0", entry_point=Dot)
