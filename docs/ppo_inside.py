"""PPO inside a world model in one file: gymnasium, numpy and torch, nothing of worldsim but the name of the environment.

    python docs/ppo_inside.py --iterations 30

One small network sees a frame and gives a Gaussian action and a value. It begins from nothing, so it takes far longer than
`worldsim train-policy algorithm=ppo`, which goes on from a cloned policy and has guards against exploiting the model; this has none.
"""

import argparse

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Normal


class Agent(nn.Module):
    """uint8 frames `[B, H, W, 3]` to a Gaussian of actions `[B, A]` and values `[B]`."""

    def __init__(self, height: int, width: int, actions: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.Flatten()]
        self.body = nn.Sequential(*convolutions, nn.LazyLinear(64), nn.ReLU())
        self.body(torch.zeros(1, 3, height, width))
        self.mean, self.value = nn.Linear(64, actions), nn.Linear(64, 1)
        nn.init.zeros_(self.mean.weight)
        self.log_std = nn.Parameter(torch.full((actions,), -0.5))

    def forward(self, frames: torch.Tensor) -> tuple[Normal, torch.Tensor]:
        features = self.body(frames.permute(0, 3, 1, 2).float() / 255)
        return Normal(self.mean(features), self.log_std.exp()), self.value(features)[:, 0]


def roll_out(envs, agent, frames, over, steps):
    """Play `steps` in every lane. Rows are `[steps, B, ...]`; `live` is False where a lane was only being reset."""
    kept = {name: [] for name in ("frames", "actions", "logs", "values", "rewards", "ends", "live", "wins")}
    for _ in range(steps):
        seen = torch.from_numpy(frames)
        with torch.no_grad():
            policy, values = agent(seen)
            actions = policy.sample()
        space = envs.single_action_space
        live = ~over
        frames, rewards, terminated, truncated, infos = envs.step(np.clip(actions.numpy(), space.low, space.high))
        over = terminated | truncated
        wins = np.asarray(infos.get("success", np.zeros(len(over))), dtype=bool) & live
        row = (seen, actions, policy.log_prob(actions).sum(1), values, rewards, over, live, wins)
        for name, value in zip(kept, row, strict=True):
            kept[name].append(torch.as_tensor(value))
    with torch.no_grad():
        last = agent(torch.from_numpy(frames))[1]
    return {name: torch.stack(rows) for name, rows in kept.items()}, last, frames, over


def advantages_of(kept, last, gamma=0.97, decay=0.95):
    """Generalized advantage estimation, float32 `[steps, B]`; an episode that ends is worth nothing after."""
    advantages, running, following = torch.zeros_like(kept["values"]), 0.0, last
    for t in reversed(range(len(advantages))):
        goes_on = 1 - kept["ends"][t].float()
        delta = kept["rewards"][t].float() + gamma * following * goes_on - kept["values"][t]
        running = delta + gamma * decay * goes_on * running
        advantages[t], following = running, kept["values"][t]
    return advantages


def learn(agent, optimizer, kept, advantages, epochs=4, batches=4, clip=0.2):
    """The clipped objective of PPO and the value's squared error, over the live steps."""
    live = kept["live"].flatten()
    rows = {name: kept[name].flatten(0, 1)[live] for name in ("frames", "actions", "logs")}
    gains = advantages.flatten()[live]
    returns, gains = gains + kept["values"].flatten()[live], (gains - gains.mean()) / (gains.std() + 1e-8)
    for _ in range(epochs):
        for part in torch.randperm(len(gains)).chunk(batches):
            policy, values = agent(rows["frames"][part])
            ratio = (policy.log_prob(rows["actions"][part]).sum(1) - rows["logs"][part]).exp()
            gain = torch.min(ratio * gains[part], ratio.clamp(1 - clip, 1 + clip) * gains[part]).mean()
            loss = 0.5 * (values - returns[part]).square().mean() - gain
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()


def main(arguments=None):
    """Train, and print a line for each iteration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="worldsim.envs:worldsim/Drawer-v0")
    parser.add_argument("--world-model", default="drawer")
    parser.add_argument("--task", default="drawer")
    parser.add_argument("--verifier", default="classifier")
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)

    torch.manual_seed(given.seed)
    parts = {"world_model": given.world_model, "task": given.task, "verifier": given.verifier}
    envs = gym.make_vec(given.env, num_envs=given.num_envs, **parts)
    frames, _ = envs.reset(seed=given.seed)
    over = np.zeros(given.num_envs, dtype=bool)
    agent = Agent(*frames.shape[1:3], envs.single_action_space.shape[0])
    optimizer = torch.optim.Adam(agent.parameters(), lr=3e-4)
    for iteration in range(1, given.iterations + 1):
        kept, last, frames, over = roll_out(envs, agent, frames, over, given.steps)
        learn(agent, optimizer, kept, advantages_of(kept, last))
        print(f"iteration {iteration}: reward {kept['rewards'].sum(0).mean():.3f} a lane, {int(kept['wins'].sum())} successes", flush=True)
    envs.close()


if __name__ == "__main__":
    main()
