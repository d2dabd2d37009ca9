"""`worldsim collect`: record episodes in the true world, in parallel and resumable. One checksummed file per episode."""

import json
import multiprocessing
import os
from pathlib import Path

import numpy as np

from worldsim.data.files import write_json
from worldsim.data.splits import seed_of
from worldsim.data.trajectory_file import write_trajectory
from worldsim.envs.drawer.behaviours import choose_behaviour, expert_action
from worldsim.envs.drawer.physics import wide_start
from worldsim.envs.drawer.truth import HORIZON, INSTRUCTION, DrawerTruth
from worldsim.errors import RunMismatch
from worldsim.registry import TRUTHS
from worldsim.types import Task, Trajectory

_worker: dict = {}  # what a worker process keeps between episodes


def run(config) -> None:
    """Record `config.episodes` episodes below `config.out`; files that are there already are kept."""
    from tqdm import tqdm

    _check(config)
    out = Path(config.out)
    _remember(out / f"collect-{config.split}-{config.seed}.json", config)
    wanted = {
        seed: _episode_path(out, config.split, seed) for seed in (seed_of(config.split, config.seed + i) for i in range(config.episodes))
    }
    missing = [(seed, str(path)) for seed, path in wanted.items() if not path.exists()]
    workers = config.workers or os.cpu_count() or 1
    with multiprocessing.get_context("spawn").Pool(workers, _prepare, (config.mix, list(config.policies))) as pool:
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


def _check(config) -> None:
    """Build every part once, here, where an error has someone to tell."""
    choose_behaviour(config.mix, np.random.default_rng(0))
    truth = TRUTHS.config(config.truth).build()
    truth.place([wide_start(0)])
    truth.close()
    _load_policies(list(config.policies))


def _prepare(mix: str, policies: list[str]) -> None:
    _worker.update(truth=DrawerTruth(), mix=mix, policies=_load_policies(policies))


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
        name, behaviour = choose_behaviour(_worker["mix"], rng)

        def act(frame, state):
            return behaviour.send(state)

    write_trajectory(path, record_episode(_worker["truth"], seed, act, rng, name))


def _policy_actor(seed: int, rng: np.random.Generator):
    """One of the image policies, drawn at random, as a function of frame and state."""
    policy = _worker["policies"][rng.integers(len(_worker["policies"]))]
    policy.reset([0], [Task("drawer", INSTRUCTION, HORIZON, ())], [seed])
    return "policy", lambda frame, state: policy.act(frame[None], [0])[0]


def record_episode(truth: DrawerTruth, seed: int, act, rng: np.random.Generator, name: str) -> Trajectory:
    """One episode of `act(frame, state) -> action [3]`, action noise drawn per episode; the expert's answer is kept with each state."""
    noise = rng.uniform(0.05, 0.4) if rng.random() < 0.6 else 0.0
    frames = [truth.place([wide_start(seed)])[0]]
    states, actions = [], []
    for _ in range(HORIZON):
        states.append(_lane_state(truth))
        action = np.clip(act(frames[-1], states[-1]) + rng.normal(0, noise, 3), -1, 1).astype(np.float32)
        frame, _ = truth.step(action[None])
        actions.append(action)
        frames.append(frame[0])
    states.append(_lane_state(truth))
    return Trajectory(
        task_id="drawer",
        frames=np.stack(frames),
        actions=np.stack(actions),
        seed=seed,
        states={key: np.stack([state[key] for state in states]) for key in states[0]},
        metadata={"behaviour": name, "noise": noise, "instruction": INSTRUCTION, "fps": truth.action.rate_hz},
    )


def _lane_state(truth: DrawerTruth) -> dict[str, np.ndarray]:
    state = {name: values[0] for name, values in truth.states().items()}
    return state | {"expert": expert_action(state)}
