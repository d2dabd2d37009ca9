"""`determinism=strict`: a lane of a batch is the single environment bit for bit, on a small world model; `fast`: to a grey level."""

import numpy as np
import pytest
import stirred
import torch
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode

from worldsim.envs.world_env import WorldEnv
from worldsim.envs.world_vector_env import WorldVectorEnv
from worldsim.models.strict import strict_torch
from worldsim.types import Start, Task, Verdict

TOLERANCE = 1  # grey levels, in `fast`
STEPS = 9
TASK = Task("drawn", "do something", 4, tuple(Start(str(i), frames, i) for i, frames in enumerate(stirred.pictures(3, frames=2))))


class Mean:
    """A judge whose score hangs on every pixel and on how many it is shown at once, and who says success now and then."""

    def judge(self, trajectories):
        frames = torch.from_numpy(np.stack([each.frames[-1] for each in trajectories])).float().flatten(1)
        scores = (frames @ torch.linspace(-1, 1, frames.shape[1])[:, None])[:, 0].sin().abs() / 1.5
        return [Verdict(float(score), "by a product") for score in scores]


@pytest.fixture(scope="module", params=["stream", "window"])
def model(request):
    return stirred.world_model(history=request.param, guidance=1.5)


def keywords(model, **more) -> dict:
    return {"world_model": model, "task": TASK, "verifier": Mean()} | more


def moves(lanes: int) -> np.ndarray:
    return np.random.default_rng(4).uniform(-1, 1, (STEPS, lanes, 3)).astype(np.float32)


def told(lane: int, frames, rewards, terminations, truncations, infos) -> list:
    """What one lane of a batch says."""
    score = infos["verifier"]["score"][lane] if infos.get("_verifier", np.zeros(9))[lane] else None
    return [frames[lane], rewards[lane], terminations[lane], truncations[lane], infos["frame_index"][lane], infos["seed"][lane], score]


def singles(model, lane_seed: int, actions: np.ndarray, mode: AutoresetMode) -> list:
    """What a single environment says over the same actions, reset as the mode would."""
    env, said = WorldEnv(**keywords(model, determinism="strict")), []
    frame, info = env.reset(seed=lane_seed)
    said.append([frame, 0.0, False, False, 0, info["seed"], None])
    over = False
    for action in actions:
        if over and mode is AutoresetMode.NEXT_STEP:
            frame, info = env.reset()
            said.append([frame, 0.0, False, False, 0, info["seed"], None])
            over = False
            continue
        frame, reward, terminated, truncated, info = env.step(action)
        over, score = terminated or truncated, info["verifier"]["score"]
        if over and mode is not AutoresetMode.NEXT_STEP:
            frame, info = env.reset()
            score = None
        said.append([frame, reward, terminated, truncated, info["frame_index"], info["seed"], score])
    return said


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_a_strict_lane_is_the_single_env_bit_by_bit(model, mode, lanes):
    env, actions = WorldVectorEnv(lanes, autoreset_mode=mode, **keywords(model, determinism="strict")), moves(lanes)
    frames, infos = env.reset(seed=30)
    said = [[told(lane, frames, np.zeros(lanes), *[np.zeros(lanes, dtype=bool)] * 2, infos) for lane in range(lanes)]]
    for action in actions:
        frames, rewards, terminations, truncations, infos = env.step(action)
        over = terminations | truncations
        if mode is AutoresetMode.DISABLED and over.any():
            before = infos
            frames, infos = env.reset(options={"reset_mask": over})
            for key in ("frame_index", "seed"):
                infos[key] = np.where(over, infos[key], before[key])
            infos |= {"verifier": before["verifier"], "_verifier": before["_verifier"] & ~over}
        said.append([told(lane, frames, rewards, terminations, truncations, infos) for lane in range(lanes)])
    ended = 0
    for lane in range(lanes):
        alone = singles(model, 30 + lane, actions[:, lane], mode)
        for step, (mine, reference) in enumerate(zip((row[lane] for row in said), alone, strict=True)):
            assert data_equivalence(
                [mine[0], *map(float_or_none, mine[1:])], [reference[0], *map(float_or_none, reference[1:])], exact=True
            ), (
                lane,
                step,
            )
            ended += bool(reference[2] or reference[3])
    assert ended > lanes


def float_or_none(value) -> float | None:
    return None if value is None else float(value)


def test_a_fast_lane_is_the_single_env_to_a_grey_level(model):
    env, actions = WorldVectorEnv(5, **keywords(model, verifier=None)), moves(5)[:4]
    shown = [env.reset(seed=30)[0], *(env.step(action)[0] for action in actions)]
    for lane in range(5):
        single = WorldEnv(**keywords(model, verifier=None))
        alone = [single.reset(seed=30 + lane)[0], *(single.step(action)[0] for action in actions[:, lane])]
        assert np.abs(np.stack(alone).astype(int) - np.stack(shown)[:, lane]).max() <= TOLERANCE


@pytest.mark.parametrize("determinism", ["fast", "strict"])
def test_resetting_a_lane_leaves_the_others_bit_identical(determinism):
    model, actions = stirred.world_model(guidance=1.5), moves(3)
    reset, untouched = (WorldVectorEnv(3, **keywords(model, verifier=None, horizon=99, determinism=determinism)) for _ in range(2))
    reset.reset(seed=1), untouched.reset(seed=1)
    reset.step(actions[0]), untouched.step(actions[0])
    reset.reset(seed=40, options={"reset_mask": np.array([False, True, False])})
    for action in actions[1:]:
        frames, others = reset.step(action)[0], untouched.step(action)[0]
        np.testing.assert_array_equal(frames[[0, 2]], others[[0, 2]])
    assert not np.array_equal(frames[1], others[1])


def test_torch_is_left_as_it_was():
    torch.set_num_threads(2)
    env = WorldEnv(**keywords(seen := Looking(), determinism="strict"))
    env.reset(seed=0)
    env.step(np.zeros(3, dtype=np.float32))
    assert seen.settings == [(1, True)] * 2
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (2, False)
    with pytest.raises(ZeroDivisionError), strict_torch(threads=1):
        raise ZeroDivisionError
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (2, False)


class Looking:
    """A world model that looks at how torch is set whenever it is called."""

    def __init__(self) -> None:
        self._model, self.settings = stirred.world_model(), []
        self.spec = self._model.spec

    def start(self, frames, seeds):
        self._look()
        return self._model.start(frames, seeds)

    def step(self, state, actions):
        self._look()
        return self._model.step(state, actions)

    def _look(self) -> None:
        self.settings.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))
