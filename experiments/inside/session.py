"""The loop of PPO inside a world model: roll out, learn, check now and then, save; the same command again goes on.

Every iteration begins its own episodes, from seeds that its number gives; so nothing but networks and optimizer outlives one, and a
training that was stopped between two goes on as if it had not been.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import configure

from worldsim.data.files import sweep
from worldsim.envs.sb3 import WorldVecEnv
from worldsim.errors import InvalidInput
from worldsim.experiments.inside.actor import Base, ClonedActorCritic, TwoRatePPO, load_base
from worldsim.experiments.inside.doubt import Doubting
from worldsim.experiments.inside.learning_curve import read_curve, write_curve
from worldsim.experiments.inside.reward import GuardedReward, Prices
from worldsim.experiments.inside.settings import Setting, curve_folder, recipe_of
from worldsim.experiments.inside.spot import Checks, alarm
from worldsim.training.state import Training, load_state, save_state, tensors_of


class Session:
    """One training: PPO, its world, its checks and its files."""

    def __init__(self, config: Any, base: Base, setting: Setting) -> None:
        self.config, self.base, self._setting = config, base, setting
        self.folder: Path = curve_folder(config)
        doubting = Doubting(setting.model, config.doubt_every) if config.doubt > 0 else None
        world = WorldVecEnv(config.lanes, world_model=doubting or setting.model, task=setting.task, verifier=setting.judge)
        self.env = GuardedReward(world, Prices(config.shaping, config.doubt), doubting)
        _refuse_other_sizes(base, world)
        self.ppo = make_ppo(config, base, self.env, setting.task.horizon)
        self._checks = setting.check_task and Checks(
            setting.check_task, setting.judge, setting.watcher, setting.model, setting.truth, config.lanes
        )
        self._training = Training(self.ppo.policy, self.ppo.policy.optimizer, {})
        self._recipe = recipe_of(config, base.sha256)
        self.curve: dict[str, Any] = {"iterations": [], "checks": []}

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return self._training.progress.iteration

    @property
    def steps(self) -> int:
        """Steps in the world model so far, of all lanes."""
        return self.iteration * self.config.lanes * self._setting.task.horizon

    @property
    def alarmed(self) -> str | None:
        """The line of the last check's alarm, if it raised one."""
        return self.curve["checks"][-1].get("alarm") if self.curve["checks"] else None

    def resume(self) -> None:
        """Go on where this training stopped, or check the base policy and begin.

        Raises:
            RunMismatch: the folder holds a training with other keys.
            DamagedFile: what was saved is not whole.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        if (state := self.folder / "state.safetensors").exists():
            load_state(state, self._training, self._recipe, {})
            self.curve = _cut(read_curve(self.folder / "curve.json"), self.iteration)
        if not self.curve["checks"]:
            self._check()

    def iterate(self) -> dict[str, Any]:
        """One rollout, one update, a check where one is due; all of it saved. Returns the iteration's row of the curve."""
        config, number = self.config, self.iteration
        seeds = np.random.SeedSequence([config.seed, number]).generate_state(3).tolist()
        torch.manual_seed(seeds[0])
        np.random.seed(seeds[1])  # noqa: NPY002 Stable-Baselines3 shuffles with it
        self.env.seed(seeds[2])
        self.ppo.policy.freeze_actor(frozen=number < config.warmup)
        self.ppo.learn(config.lanes * self._setting.task.horizon)
        self._training.progress.iteration += 1
        row = {"iteration": self.iteration, "steps": self.steps, **self.env.tally.row(), **self._learnt()}
        self.curve["iterations"].append(row)
        if self.iteration % config.check_every == 0 or self.iteration == config.iterations:
            self._check()
        write_curve(self.folder, self.curve)
        save_state(self.folder / "state.safetensors", self._training, tensors_of(self._training, keep=True), self._recipe, {})
        return row

    def finish(self) -> Path:
        """Write the policy folder: the last network, or with select=truth the one that did best there. Returns the folder."""
        folder = Path(self.config.out) / self.config.name
        network, iteration = self.ppo.policy.actor, self.iteration
        if self.config.select == "truth":
            best = max(self.curve["checks"], key=lambda check: check["true"]["rate"])
            iteration = best["iteration"]
            network = self.base.network if iteration == 0 else load_base(str(self.folder / f"{iteration}")).network
        about = {**self._recipe, "steps": iteration * self.config.lanes * self._setting.task.horizon, "iteration": iteration}
        self.base.save(folder, network, about)
        return folder

    def _check(self) -> None:
        """A row of the curve's checks, and the network as it was."""
        if self._checks is None:
            return
        row = {"iteration": self.iteration, "steps": self.steps, **self._checks.check(self.base.policy(self.ppo.policy.actor))}
        first = self.curve["checks"][0] if self.curve["checks"] else row
        line = alarm(first, row, self.config.alarm)
        self.curve["checks"].append(row | ({"alarm": line} if line else {}))
        if self.config.select == "truth":
            self.base.save(self.folder / f"{self.iteration}", self.ppo.policy.actor, {"iteration": self.iteration})

    def _learnt(self) -> dict[str, float]:
        """The divergence from the base where the policy has been, in nats, and PPO's own numbers."""
        logged = self.ppo.logger.name_to_value
        names = {"kl_to_base": "train/entropy_loss", "value_loss": "train/value_loss", "explained": "train/explained_variance"}
        buffer = self.ppo.rollout_buffer
        return {name: float(np.nan_to_num(logged[key])) for name, key in names.items()} | {"reward": float(buffer.rewards.sum(0).mean())}


def make_ppo(config: Any, base: Base, env: GuardedReward, horizon: int) -> TwoRatePPO:
    """PPO whose actor is the base policy, with rollouts of one horizon in each lane, and no output of its own.

    Raises:
        InvalidInput: a batch that does not divide a rollout.
    """
    if config.lanes * horizon % config.batch:
        raise InvalidInput(f"batch is {config.batch}, expected a divisor of lanes x horizon = {config.lanes * horizon}")
    ppo = TwoRatePPO(
        ClonedActorCritic,
        env,
        learning_rate=config.learning_rate,
        n_steps=horizon,
        batch_size=config.batch,
        n_epochs=config.epochs,
        gamma=config.gamma,
        ent_coef=config.kl,
        target_kl=config.target_kl,
        seed=config.seed,
        device=config.device,
        policy_kwargs={"base": base, "log_std": config.log_std},
    )
    ppo.critic_rate = config.critic_rate
    ppo.set_logger(configure(None, []))
    return ppo


def _refuse_other_sizes(base: Base, world: WorldVecEnv) -> None:
    """Stop where the policy does not fit the world."""
    spec, size = world.env.world_model.spec, base.network.config.frame_size
    if (spec.height, spec.width) != (size, size):
        raise InvalidInput(f"the policy sees {size} x {size} frames, the world makes {spec.height} x {spec.width}; choose another policy=")
    if different := base.action.differences(spec.action):
        raise InvalidInput(f"the policy's actions differ from the world's in {', '.join(different)}; choose another policy=")


def _cut(curve: dict[str, Any], iteration: int) -> dict[str, Any]:
    """The curve up to an iteration: what was written after the state was saved is made again."""
    return curve | {name: [row for row in curve[name] if row["iteration"] <= iteration] for name in ("iterations", "checks")}
