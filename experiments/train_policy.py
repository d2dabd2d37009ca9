"""`worldsim train-policy`: clone an image policy from recorded episodes, keeping checkpoints along the way."""

from pathlib import Path

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.experiments.schema import recipe


def run(config) -> None:
    """Train and write `out/NAME-STEPS` at every step of `save_at`, and `out/NAME` at the end."""
    import torch
    from tqdm import tqdm

    from worldsim.envs.drawer.physics import ACTION
    from worldsim.models.checkpoint import save_checkpoint
    from worldsim.models.convnet import ConvNetConfig
    from worldsim.training.loop import LoopConfig, train
    from worldsim.training.regression import Regression

    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads or torch.get_num_threads())
    frames, actions = demonstrations(config.data, config.episodes)
    model = ConvNetConfig(outputs=actions.shape[1]).build().to(config.device)
    out = Path(config.out)

    def keep(name: str, steps: int) -> None:
        facts = {"network": model.describe(), "action": vars(ACTION), "training": {**recipe(config), "steps": steps}}
        save_checkpoint(out / name, "policy", {"network": model}, facts)

    if 0 in config.save_at:
        keep(f"{config.name}-0", 0)
    bar = tqdm(total=config.steps, desc=f"train-policy {config.name}", unit="step")

    def watch(progress) -> None:
        bar.update(progress.iteration - bar.n)
        bar.set_postfix(loss=f"{progress.loss:.4f}", refresh=False)
        if progress.iteration in config.save_at:
            keep(f"{config.name}-{progress.iteration}", progress.iteration)

    loop = LoopConfig(out / f".{config.name}", config.steps, seed=config.seed, device=config.device, recipe=recipe(config))
    train(Regression(model, frames, actions), loop, watch)
    keep(config.name, config.steps)
    bar.close()


def demonstrations(data: str, episodes: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 `[N, H, W, 3]` and the expert's action in each, float32 `[N, A]`; training seeds only.

    Raises:
        InvalidInput: episodes that no expert has labelled, or of another split.
    """
    from worldsim.data.splits import require_split
    from worldsim.data.trajectory_file import read_trajectory, trajectory_paths

    frames, actions = [], []
    for path in trajectory_paths(Path(data) / "train")[:episodes]:
        trajectory = read_trajectory(path)
        require_split(trajectory.seed, "train")
        if "expert" not in trajectory.states:
            raise InvalidInput(f'{path} has no expert actions (state "expert"); record some with: worldsim collect')
        frames.append(trajectory.frames[::2])
        actions.append(trajectory.states["expert"][::2].astype(np.float32))
    return np.concatenate(frames), np.concatenate(actions)
