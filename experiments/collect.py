"""`worldsim collect`: record episodes in the true world, in parallel and resumable. One checksummed file per episode."""

import json
import multiprocessing
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.files import write_json
from worldsim.data.splits import seed_of
from worldsim.data.trajectory_file import write_trajectory
from worldsim.errors import InvalidInput, RunMismatch
from worldsim.experiments.recorded_worlds import Actor, RecordedWorld, recorded_world
from worldsim.load import load_policy, load_truth, part_facts, part_name
from worldsim.registry import TRUTHS
from worldsim.types import ActionSpec, StatePolicy, Task, Trajectory
from worldsim.wrappers import stepped

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
    acting = {key: getattr(config, key) for key in ("truth", "mix", "policies", "noise", "expert")}
    with multiprocessing.get_context("spawn").Pool(workers, _begin, (acting,)) as pool:
        done = pool.imap_unordered(_record, missing, chunksize=8)
        for _ in tqdm(done, total=len(wanted), initial=len(wanted) - len(missing), desc="collect", unit="episode"):
            pass
    print(f"{len(wanted)} episodes in {out / config.split}")


def _episode_path(out: Path, split: str, seed: int) -> Path:
    return out / split / f"{seed // 1000:05d}" / f"{seed:07d}.h5"


def _remember(path: Path, config) -> None:
    """Keep what the episodes were made with, and refuse to continue with something else."""
    recipe = {key: getattr(config, key) for key in ("truth", "split", "seed", "mix", "policies")}
    recipe |= {key: value for key in ("noise", "expert") if (value := getattr(config, key)) is not None}
    if path.exists() and (before := json.loads(path.read_text())) != recipe:
        raise RunMismatch(f"{path} says {before}, now asked for {recipe}; choose another out= or seed=")
    write_json(path, recipe)


def _check(config) -> ActionSpec:
    """Build every part once, here, where an error has someone to tell; what the true world's actions mean.

    Raises:
        InvalidInput: a policy that cannot act there, a world that a seed does not determine, or noise without end.
    """
    if config.noise is not None and not np.isfinite(config.noise):
        raise InvalidInput(f"noise is {config.noise}, expected a share of half an action's range such as 0.4")
    world = recorded_world(config.truth)
    truth = _truth(config.truth, world)
    world.choose_behaviour(config.mix, np.random.default_rng(0))
    try:
        frame, state = truth.place([world.start(0)])[0], first_lane(truth.states())
        for spec in [*config.policies, *([config.expert] if config.expert else [])]:
            act = policy_actor(load_policy(spec, truth.action), world, 0)
            stepped(truth, act(frame, state)[None])
        if not np.array_equal(truth.place([world.start(0)])[0], frame):
            raise InvalidInput(f"{part_name(config.truth)} looks different when it is reset to the same seed again; a truth must not")
    finally:
        truth.close()
    return truth.action


def _truth(given: Any, world: RecordedWorld) -> Any:
    """The true world as it is recorded."""
    return load_truth(part_facts(TRUTHS, given) | world.options)


def _begin(acting: Mapping[str, Any]) -> None:
    """Prepare a process. What cannot be had its first episode says: a pool would begin a process that fails here again and again."""
    try:
        _prepare(acting)
    except Exception as error:
        _worker["failure"] = error


def _prepare(acting: Mapping[str, Any]) -> None:
    os.environ.setdefault("LP_NUM_THREADS", "0")  # each worker renders on its own core
    world = recorded_world(acting["truth"])
    truth = _truth(acting["truth"], world)
    if acting["noise"] is not None:
        world = replace(world, most_noise=acting["noise"])
    if acting["policies"] or acting["expert"]:
        import torch

        torch.set_num_threads(1)
    policies = [(part_name(spec), load_policy(spec, truth.action)) for spec in acting["policies"]]
    expert = load_policy(acting["expert"], truth.action) if acting["expert"] else None
    _worker.update(world=world, truth=truth, mix=acting["mix"], policies=policies, expert=expert)


def _record(job: tuple[int, str]) -> None:
    if "failure" in _worker:
        raise _worker["failure"]
    seed, path = job
    world, rng = _worker["world"], np.random.default_rng([seed, 0])
    if _worker["policies"]:
        name, policy = _worker["policies"][rng.integers(len(_worker["policies"]))]
        act = policy_actor(policy, world, seed)
    else:
        name, behaviour = world.choose_behaviour(_worker["mix"], rng)

        def act(frame, state):
            return behaviour.send(state)

    if _worker["expert"]:
        world = replace(world, expert=policy_actor(_worker["expert"], world, seed))
    write_trajectory(path, record_episode(_worker["truth"], seed, act, rng, name, world))


def policy_actor(policy: Any, world: RecordedWorld, seed: int) -> Actor:
    """A policy at the beginning of an episode, as a function of frame and state; one that reads the true state is shown it.

    Raises:
        InvalidInput: when it acts, the policy failed; the line says how.
    """
    policy.reset([0], [Task(world.name, world.instruction, world.horizon, ())], [seed])

    def act(frame: np.ndarray, state: Mapping[str, np.ndarray]) -> np.ndarray:
        if isinstance(policy, StatePolicy):
            policy.see({name: values[None] for name, values in state.items()})
        action = policy.act(frame[None], [0])[0]
        if fault := getattr(policy, "faults", {}).get(0):
            raise InvalidInput(f"a policy cannot act: {fault}")
        return action

    return act


def record_episode(
    truth: Any, seed: int, act: Actor, rng: np.random.Generator, behaviour: str, world: RecordedWorld | None = None
) -> Trajectory:
    """One episode of `act(frame, state) -> action [A]` in a true world, by default the drawer.

    Action noise is drawn per episode; the expert's answer is kept with each state.

    Raises:
        WorldsimError: the true world, or who acts in it, failed.
    """
    world = world or recorded_world("drawer")
    noise = rng.uniform(min(0.05, world.most_noise), world.most_noise) if rng.random() < 0.6 else 0.0
    frames, states, actions = [truth.place([world.start(seed)])[0]], [first_lane(truth.states())], []
    for _ in range(world.horizon):
        action = world.disturb(act(frames[-1], states[-1]), noise, rng)
        actions.append(truth.action.check(action[None])[0])
        frame, found = stepped(truth, actions[-1][None])
        states.append(first_lane(found))
        frames.append(frame[0])
    if world.expert:
        states = [state | {"expert": world.expert(frame, state)} for frame, state in zip(frames, states, strict=True)]
    return Trajectory(
        task_id=world.name,
        frames=np.stack(frames),
        actions=np.stack(actions),
        seed=seed,
        states={key: np.stack([state[key] for state in states]) for key in states[0]},
        metadata={"behaviour": behaviour, "noise": noise, "instruction": world.instruction, "fps": truth.action.rate_hz},
    )


def first_lane(states: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state of the only lane."""
    return {name: values[0] for name, values in states.items()}
