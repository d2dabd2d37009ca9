"""A network that reads actions off two neighbouring frames, trained on recordings. Knows nothing of what is judged or gated by it."""

from pathlib import Path

READABLE = 0.5  # share of a component's variance that must be read off held-out recordings for it to count
EPISODES = 200  # recordings that it learns from and is measured on


def trained_reader(out: Path, data: str, *, steps: int, seed: int, save_seconds: float = 60.0) -> Path:
    """Train one on the train split of `data` and write it to `out`, unless it is there; a fifth of the episodes is held out to measure it.

    Raises:
        InvalidInput: recordings of another split, or frames of several sizes.
        RunMismatch: the one that is there, or begun, was trained on other recordings, for other steps or from another seed.
    """
    import torch

    from worldsim.data.files import described_in
    from worldsim.experiments.recordings import action_spec, read_split, recordings_folder
    from worldsim.models.checkpoint import save_checkpoint
    from worldsim.models.video_convnet import VideoConvNetConfig
    from worldsim.posttraining.feedback.inverse_dynamics import KIND, ReadingActions, explained
    from worldsim.training.loop import LoopConfig, train
    from worldsim.training.state import refuse_other_recipe

    recipe = {"data": data, "steps": steps, "seed": seed}
    if (held := described_in(out)) is not None:
        refuse_other_recipe(out, held.get("training", {}), recipe)
        return out
    folder = recordings_folder(data)
    recorded, spec = read_split(folder, "train", limit=EPISODES), action_spec(folder)
    held_out = max(1, len(recorded) // 5)
    height, width = recorded[0].frames.shape[1:3]
    torch.manual_seed(seed)
    network = VideoConvNetConfig(frames=2, height=height, width=width, outputs=spec.size).build()
    where = {"seed": seed, "save_seconds": save_seconds, "recipe": recipe}
    train(ReadingActions(network, recorded[held_out:], spec), LoopConfig(out / "training", steps, **where))
    shares = explained(network, recorded[:held_out], spec)
    print("inverse dynamics reads off held-out recordings: " + ", ".join(f"{n} {s:.2f}" for n, s in zip(spec.names, shares, strict=True)))
    read = {"r_squared": shares.tolist(), "readable": (shares >= READABLE).tolist()}
    card = {"network": network.describe(), "action": vars(spec), **read, "training": recipe}
    save_checkpoint(out, KIND, {"network": network}, card)
    return out
