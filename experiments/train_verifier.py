"""`worldsim train-verifier`: learn to read a state off a frame, then calibrate the judgement on held-out episodes."""

from pathlib import Path

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.experiments.schema import recipe

TARGET, THRESHOLD, SCALE = "opening", 0.02, 0.1  # metres; the network predicts units of SCALE


def run(config) -> None:
    """Train on `data/train`, calibrate and count mistakes on `data/validation`, and write the checkpoint."""
    import torch
    from tqdm import tqdm

    from worldsim.models.checkpoint import save_checkpoint
    from worldsim.models.convnet import ConvNetConfig
    from worldsim.training.loop import LoopConfig, train
    from worldsim.training.regression import Regression

    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads or torch.get_num_threads())
    frames, values = frames_and_values(config.data, "train", every=3)
    model = ConvNetConfig(outputs=1).build().to(config.device)
    draw = near_threshold(values)
    objective = Regression(model, frames, (values[:, None] / SCALE).astype(np.float32), draw=draw)
    with tqdm(total=config.steps, desc="train-verifier", unit="step") as bar:
        loop = LoopConfig(Path(config.out) / ".training", config.steps, seed=config.seed, device=config.device, recipe=recipe(config))
        train(objective, loop, lambda progress: bar.update(progress.iteration - bar.n))
    held_out = measure(model, *frames_and_values(config.data, "validation", every=24))
    facts = {"network": model.describe(), "target": TARGET, "threshold": THRESHOLD, "scale": SCALE, "training": recipe(config), **held_out}
    save_checkpoint(config.out, "verifier", {"network": model}, facts)
    print(f"held out: {held_out['held_out']}")


def near_threshold(values: np.ndarray):
    """Draws rows half uniformly and half among those within two thresholds of the threshold, where mistakes are made."""
    near = np.flatnonzero(np.abs(values - THRESHOLD) < 2 * THRESHOLD)

    def draw(count: int, rng: np.random.Generator) -> np.ndarray:
        return np.concatenate([rng.integers(len(values), size=count // 2), rng.choice(near, count - count // 2)])

    return draw


def frames_and_values(data: str, split: str, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Every `every`-th frame, last first, of the episodes of a split, uint8 `[N, H, W, 3]`, and the true state in each `[N]`.

    Raises:
        InvalidInput: episodes without that state, or of another split.
    """
    from worldsim.data.splits import require_split
    from worldsim.data.trajectory_file import read_trajectory, trajectory_paths

    frames, values = [], []
    for path in trajectory_paths(Path(data) / split):
        trajectory = read_trajectory(path)
        require_split(trajectory.seed, split)
        if TARGET not in trajectory.states:
            raise InvalidInput(f'{path} has no true state "{TARGET}"; a classifier needs recordings of the truth: worldsim collect')
        frames.append(trajectory.frames[::-every])
        values.append(trajectory.states[TARGET][::-every])
    return np.concatenate(frames), np.concatenate(values)


def measure(model, frames: np.ndarray, values: np.ndarray) -> dict:
    """Calibration (logistic, on these frames) and the confusion of its verdicts with the truth."""
    from scipy.optimize import minimize

    parts = np.array_split(frames, 1 + len(frames) // 256)
    guess = np.concatenate([model.predict(part)[:, 0] for part in parts]).astype(np.float64) * SCALE
    truth = values < THRESHOLD

    def loss(parameters: np.ndarray) -> float:
        logit = parameters[0] * (THRESHOLD - guess) * 1000 + parameters[1]
        return float(np.mean(np.logaddexp(0, np.where(truth, -logit, logit))) + 1e-3 * parameters[0] ** 2)

    slope, offset = minimize(loss, [1.0, 0.0], method="Nelder-Mead").x
    said = slope * (THRESHOLD - guess) * 1000 + offset >= 0
    counts = {"true_success": said & truth, "false_success": said & ~truth, "missed": ~said & truth, "true_failure": ~said & ~truth}
    error = float(np.abs(guess - values).mean())
    held_out = {"frames": len(frames), "mean_error": error, **{name: int(which.sum()) for name, which in counts.items()}}
    return {"calibration": {"slope": slope * 1000, "offset": offset}, "held_out": held_out}
