"""A cloned image policy as the actor of Stable-Baselines3's PPO, tied to where it began. Knows no world and no reward."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from worldsim.load import find_checkpoint
from worldsim.models.checkpoint import load_checkpoint, save_checkpoint
from worldsim.models.convnet import ConvNet, ConvNetConfig
from worldsim.policies.cloned import ClonedPolicy
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec


@dataclass(frozen=True)
class Base:
    """The cloned policy that training begins from: its network, what its actions mean, and whether [-1, 1] stands for their bounds."""

    network: ConvNet
    action: ActionSpec
    normalised: bool
    sha256: str

    def policy(self, network: ConvNet) -> ClonedPolicy:
        """`network` as an ordinary policy."""
        return ClonedPolicy(self.action, network, normalised=self.normalised)

    def save(self, folder: Any, network: ConvNet, training: dict[str, Any]) -> str:
        """Write `network` as a policy folder, in which weights are float16; returns the hash of the weights."""
        facts = {"network": network.describe(), "action": vars(self.action), "normalised": self.normalised, "training": training}
        return save_checkpoint(folder, "policy", {"network": network}, facts)


def load_base(name: str) -> Base:
    """A cloned policy by name or folder.

    Raises:
        UnknownName: no such policy.
        InvalidInput, DamagedFile: no whole checkpoint of a policy.
    """
    checkpoint = load_checkpoint(find_checkpoint("policy", name, POLICIES.names()), "policy")
    network = checkpoint.fill("network", ConvNetConfig(**checkpoint.config["network"]).build())
    return Base(network, ActionSpec(**checkpoint.config["action"]), checkpoint.config.get("normalised", False), checkpoint.sha256)


class ClonedActorCritic(ActorCriticPolicy):
    """PPO's policy whose mean action is a cloned network's, with fixed Gaussian noise; the critic is a second network of the same shape.

    What PPO takes for the entropy is the negative divergence from the base policy, KL(now || base) in nats; so `ent_coef` weighs it, and
    PPO's loss is its own plus `ent_coef` times the mean divergence. Noise is fixed and equal in both: it is the squared distance of the
    means over twice the variance.

    Args:
        *args: those of `ActorCriticPolicy`.
        base: whom it begins as, and is held to.
        log_std: logarithm of the noise, as a share of half the range of each component.
        **kwargs: those of `ActorCriticPolicy`.
    """

    def __init__(self, *args: Any, base: Base, log_std: float, **kwargs: Any) -> None:
        self._given, self._log_std = base, log_std
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Any) -> None:
        spec = self._given.action
        low, high = torch.tensor(spec.low, dtype=torch.float32), torch.tensor(spec.high, dtype=torch.float32)
        self.actor, self.anchor, self.critic = (deepcopy(self._given.network) for _ in range(3))
        self.anchor.requires_grad_(requires_grad=False)
        self.critic.head = nn.Linear(self.critic.head.in_features, 1)
        nn.init.zeros_(self.critic.head.weight), nn.init.zeros_(self.critic.head.bias)
        normalised = self._given.normalised
        self.register_buffer("scale", (high - low) / 2 if normalised else torch.ones_like(low))
        self.register_buffer("centre", (high + low) / 2 if normalised else torch.zeros_like(low))
        self.register_buffer("log_std", self._log_std + ((high - low) / 2).log())
        learnt = [{"params": list(network.parameters())} for network in (self.actor, self.critic)]
        self.optimizer = self.optimizer_class(learnt, lr=lr_schedule(1), **self.optimizer_kwargs)

    def freeze_actor(self, *, frozen: bool) -> None:
        """Let only the critic learn, or both."""
        self.actor.requires_grad_(requires_grad=not frozen)

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:  # noqa: FBT001, FBT002
        """uint8 `[B, 3, H, W]` to actions `[B, A]`, values `[B, 1]` and log probabilities `[B]`."""
        distribution = self.get_distribution(obs)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self.predict_values(obs), distribution.log_prob(actions)

    def evaluate_actions(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values `[B, 1]`, log probabilities `[B]` and negative divergences from the base `[B]` of these actions."""
        distribution = self.get_distribution(obs)
        return self.predict_values(obs), distribution.log_prob(actions), -self._divergence(distribution, obs)

    def get_distribution(self, obs: Tensor) -> Distribution:
        """The Gaussian of the actions."""
        return DiagGaussianDistribution(len(self.scale)).proba_distribution(self._mean(self.actor, obs), self.log_std)

    def predict_values(self, obs: Tensor) -> Tensor:
        """`[B, 1]`."""
        return self.critic(_channels_last(obs))

    def divergence(self, obs: Tensor) -> Tensor:
        """KL(now || base) in nats for each picture, `[B]`."""
        return self._divergence(self.get_distribution(obs), obs)

    def _divergence(self, distribution: Distribution, obs: Tensor) -> Tensor:
        with torch.no_grad():
            base = self._mean(self.anchor, obs)
        return ((distribution.distribution.mean - base) ** 2 / (2 * torch.exp(2 * self.log_std))).sum(dim=1)

    def _mean(self, network: ConvNet, obs: Tensor) -> Tensor:
        return self.centre + self.scale * network(_channels_last(obs))


class TwoRatePPO(PPO):
    """PPO whose critic has a learning rate of its own: it begins from nothing, the actor does not."""

    critic_rate: float

    def _update_learning_rate(self, optimizers: Any) -> None:
        """Called by `train`, which would otherwise set one rate for both."""
        super()._update_learning_rate(optimizers)
        self.policy.optimizer.param_groups[1]["lr"] = self.critic_rate


def _channels_last(obs: Tensor) -> Tensor:
    return obs.permute(0, 2, 3, 1)


def acted(policy: ClonedActorCritic, frames: np.ndarray) -> np.ndarray:
    """What PPO's policy does without noise, uint8 `[B, H, W, 3]` to float32 `[B, A]`, clipped to its space as PPO clips it."""
    return policy.predict(frames, deterministic=True)[0]
