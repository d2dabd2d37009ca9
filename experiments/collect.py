"""`worldsim collect`: record episodes in the true world, in parallel and resumable. One checksummed file per episode."""

import json
import multiprocessing
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.files import write_json
from worldsim.data.splits import seed_of
from worldsim.data.trajectory_file import write_trajectory
from worldsim.errors import RunMismatch
from worldsim.experiments.recorded_worlds import RecordedWorld, recorded_world
from worldsim.registry import TRUTHS
from worldsim.types import ActionSpec, Task, Trajectory

Actor = Callable[[np.ndarray, Mapping[str, np.ndarray]], np.ndarray]  # frame and state to an action
_worker: dict = {}  # what a worker process keeps between episodes


def run(config) -> None:
    """Record `config.episodes` episodes below `config.out`; files that are there already are kept."""
    from tqdm import tqdm

    action = _check(config)
    out = Path(config.out)
    _remember(out / f"collect-{config.split}-{config.seed}.json", config)
    write_json(out / "summary.json", {"action": asdict(action)})
    wanted = {
        seed: _episode_path(out, config.split, seed) for seed in (seed_of(config.split, config.seed + i) for i in range(config.episodes))
    }
    missing = [(seed, str(path)) for seed, path in wanted.items() if not path.exists()]
    workers = config.workers or os.cpu_count() or 1
    with multiprocessing.get_context("spawn").Pool(workers, _prepare, (config.truth, config.mix, list(config.policies))) as pool:
        done = pool.imap_unordered(_record, missing, chunksize=8)
        for _ in tqdm(done, total=len(wanted), initial=len(wanted) - len(missing), desc="collect", unit="episode"):
            pass
    print(f"{len(wanted)} episodes in {out / config.split}")


def _episode_path(out: Path, split: str, seed: int) -> Path:
    return out / split / f"{seed // 1000:05d}" / f"{seed:07d}.h5"


def _remember(path: Path, config) -> None:
    """Keep what the episodes were made with, and refuse to continue with something else."""
    recipe = {"truth": config.truth, "split": config.split, "seed": config.seed, "mix": config.mix, "policies": list(config.policies)}
    if path.exists() and (before := json.loads(path.read_text())) != recipe:
        raise RunMismatch(f"{path} says {before}, now asked for {recipe}; choose another out= or seed=")
    write_json(path, recipe)


def _check(config) -> ActionSpec:
    """Build every part once, here, where an error has someone to tell; what the true world's actions mean."""
    world = recorded_world(config.truth)
    world.choose_behaviour(config.mix, np.random.default_rng(0))
    truth = TRUTHS.config(config.truth, world.options).build()
    truth.place([world.start(0)])
    truth.close()
    _load_policies(list(config.policies))
    return truth.action


def _prepare(name: str, mix: str, policies: list[str]) -> None:
    os.environ.setdefault("LP_NUM_THREADS", "0")  # each worker renders on its own core
    truth = TRUTHS.config(name, recorded_world(name).options).build()
    _worker.update(name=name, truth=truth, mix=mix, policies=_load_policies(policies))


def _load_policies(names: list[str]) -> list:
    if not names:
        return []
    import torch

    from worldsim.load import load_policy

    torch.set_num_threads(1)
    return [load_policy(name) for name in names]


def _record(job: tuple[int, str]) -> None:
    seed, path = job
    rng = np.random.default_rng([seed, 0])
    if _worker["policies"]:
        name, act = _policy_actor(seed, rng)
    else:
        name, behaviour = recorded_world(_worker["name"]).choose_behaviour(_worker["mix"], rng)

        def act(frame, state):
            return behaviour.send(state)

    write_trajectory(path, record_episode(_worker["truth"], seed, act, rng, name, _worker["name"]))


def _policy_actor(seed: int, rng: np.random.Generator):
    """One of the image policies, drawn at random, as a function of frame and state."""
    world, policy = recorded_world(_worker["name"]), _worker["policies"][rng.integers(len(_worker["policies"]))]
    policy.reset([0], [Task(_worker["name"], world.instruction, world.horizon, ())], [seed])
    return "policy", lambda frame, state: policy.act(frame[None], [0])[0]


def record_episode(truth: Any, seed: int, act: Actor, rng: np.random.Generator, behaviour: str, name: str = "drawer") -> Trajectory:
    """One episode of `act(frame, state) -> action [A]` in the true world called `name`.

    Action noise is drawn per episode; the expert's answer is kept with each state.
    """
    world = recorded_world(name)
    noise = rng.uniform(0.05, 0.4) if rng.random() < 0.6 else 0.0
    frames = [truth.place([world.start(seed)])[0]]
    states, actions = [_first_lane(truth.states(), world)], []
    for _ in range(world.horizon):
        actions.append(world.disturb(act(frames[-1], states[-1]), noise, rng))
        frame, found = truth.step(actions[-1][None])
        states.append(_first_lane(found, world))
        frames.append(frame[0])
    return Trajectory(
        task_id=name,
        frames=np.stack(frames),
        actions=np.stack(actions),
        seed=seed,
        states={key: np.stack([state[key] for state in states]) for key in states[0]},
        metadata={"behaviour": behaviour, "noise": noise, "instruction": world.instruction, "fps": truth.action.rate_hz},
    )


def _first_lane(states: Mapping[str, np.ndarray], world: RecordedWorld) -> dict[str, np.ndarray]:
    """The state of the only lane, and what the expert would do in it."""
    state = {name: values[0] for name, values in states.items()}
    return state | {"expert": world.expert_action(state)}
