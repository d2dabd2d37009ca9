"""`worldsim train-policy`: clone an image policy from recorded episodes, or train one on inside a world model with PPO."""

from pathlib import Path

import numpy as np

from worldsim.data.actions import normalise
from worldsim.errors import InvalidInput
from worldsim.experiments.recordings import action_spec, read_split
from worldsim.experiments.schema import recipe


def run(config) -> None:
    """Train, as `algorithm` says."""
    (learn_inside if config.algorithm == "ppo" else clone)(config)


def learn_inside(config) -> None:
    """Write `out/NAME`, the policy, and `out/NAME-training`, its curve and what resuming needs; stop early on an alarm or Ctrl-C.

    Raises:
        WorldsimError: keys that do not go together, a part that is not there, or a folder with another training.
    """
    from worldsim.experiments.inside.settings import check_keys, open_setting

    check_keys(config)
    import torch
    from tqdm import tqdm

    from worldsim.experiments.inside.actor import load_base
    from worldsim.experiments.inside.session import Session
    from worldsim.training.interrupts import noticed_interrupts

    torch.set_num_threads(config.threads or torch.get_num_threads())
    session = Session(config, load_base(config.policy), open_setting(config))
    session.resume()
    bar = tqdm(total=config.iterations, initial=session.iteration, desc=f"train-policy {config.name}", unit="iteration")
    with noticed_interrupts() as interrupt:
        while session.iteration < config.iterations and not (session.alarmed or interrupt.asked):
            row = session.iterate()
            bar.update()
            bar.set_postfix(success=f"{row['successes']}/{row['episodes']}", kl=f"{row['kl_to_base']:.3f}", refresh=False)
    bar.close()
    if interrupt.asked:
        raise KeyboardInterrupt
    if session.alarmed:
        print(f"stopped after {session.iteration} iterations: {session.alarmed}")
    print(f"policy in {session.finish()}, curve in {session.folder / 'curve.png'}")


def clone(config) -> None:
    """Train and write `out/NAME-STEPS` at every step of `save_at`, and `out/NAME` at the end."""
    import torch
    from tqdm import tqdm

    from worldsim.models.checkpoint import save_checkpoint
    from worldsim.models.convnet import ConvNetConfig
    from worldsim.training.loop import LoopConfig, train
    from worldsim.training.regression import Regression

    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads or torch.get_num_threads())
    data = Path(config.data)
    spec = action_spec(data)
    frames, actions = demonstrations(data, config.episodes, config.task)
    model = ConvNetConfig(outputs=spec.size, width=config.width, frame_size=frames.shape[1]).build().to(config.device)
    out = Path(config.out)

    def keep(name: str, steps: int) -> None:
        about = {"network": model.describe(), "action": vars(spec), "normalised": True}
        facts = about | {"training": {**recipe(config), "steps": steps}}
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
    train(Regression(model, frames, normalise(actions, spec)), loop, watch)
    keep(config.name, config.steps)
    bar.close()


def demonstrations(data: Path, episodes: int | None, task: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 `[N, H, W, 3]` and the action in each, float32 `[N, A]`, of the training split, with `task` of that task only.

    Where an expert said at every frame what to do (state "expert"), that is what is cloned; else what was done.

    Raises:
        InvalidInput: episodes of another split, or frames that are not square.
    """
    frames, actions = [], []
    for trajectory in read_split(data, "train", limit=episodes, task=task):
        expert = trajectory.states.get("expert")
        frames.append(trajectory.frames[:-1] if expert is None else trajectory.frames[::2])
        actions.append((trajectory.actions if expert is None else expert[::2]).astype(np.float32))
    height, width = frames[0].shape[1:3]
    if height != width:
        raise InvalidInput(f"frames are {height} x {width}, expected squares; import with: worldsim import ... resize=64")
    return np.concatenate(frames), np.concatenate(actions)
