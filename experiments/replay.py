"""`worldsim replay`: recorded actions in the world model, frame by frame beside what was recorded. Open loop: no policy looks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from worldsim.data.cameras import camera_of, seen_from
from worldsim.data.files import write_json
from worldsim.data.sealed import write_sealed
from worldsim.data.splits import split_folder
from worldsim.data.trajectory_file import read_trajectory, trajectory_paths
from worldsim.errors import InvalidInput, WorldsimError
from worldsim.experiments.check_actions import check_actions, check_table
from worldsim.experiments.continuations import continue_stepwise
from worldsim.experiments.schema import ReplayConfig
from worldsim.experiments.setting import chosen_verifier, open_model, sampler_facts, use_torch, world_model_facts
from worldsim.load import load_verifier, part_name
from worldsim.statistics import wilson_interval
from worldsim.types import Trajectory, Verdict, WorldModel

if TYPE_CHECKING:
    from rich.table import Table

SHOWN_STEPS = (1, 4, 8, 16, 24)
EXAMPLES, EVERY = 4, 3  # episodes shown, and steps between the frames of a film strip
DEFAULT_FPS = 5.0


@dataclass(frozen=True)
class Prediction:
    """A recorded episode and what the world model made of its first frame and some actions: `frames` like `recorded.frames`."""

    recorded: Trajectory
    frames: np.ndarray


def run(config: ReplayConfig) -> dict[str, Any]:
    """Replay, print PSNR by step, and write numbers, film strips and videos to `config.out`. Returns the numbers.

    Raises:
        InvalidInput: no recordings, recordings of another frame size or other actions, or too few to shuffle.
        WorldsimError: `check_actions` found that they do not move the picture as recorded.
    """
    from rich.console import Console

    use_torch(config.threads, config.device)
    facts, model_config = world_model_facts(config.world_model)
    recorded = read_recordings(config.data, config.episodes, camera_of(model_config))
    if config.check_actions and config.shuffle_actions:
        raise InvalidInput("check_actions tries other episodes' actions itself; leave shuffle_actions away")
    if config.check_actions:
        return _check_actions(config, recorded)
    actions = shuffled(recorded) if config.shuffle_actions else [trajectory.actions for trajectory in recorded]
    predictions = list(predict(open_model(config), recorded, actions, seed=config.seed, batch=config.batch))
    numbers = {
        **psnr_by_step(predictions),
        "success_agreement": success_agreement(predictions, chosen_verifier(config.verifier, model_config)),
        "shuffled_actions": config.shuffle_actions,
        "world_model": facts,
        "sampler": sampler_facts(model_config, config),
        "data": config.data,
        "seed": config.seed,
    }
    console = Console(highlight=False)
    console.print(_table(numbers))
    if numbers["success_agreement"]:
        console.print(_agreement_line(numbers["success_agreement"]), markup=False, soft_wrap=True)
    if config.out:
        console.print(f"numbers, film strips and videos: {_write(Path(config.out), numbers, predictions)}", markup=False, soft_wrap=True)
    if config.out and (Path(config.out) / "config.yaml").exists():
        console.print(f"to put them into the run's report: worldsim score run={config.out}", markup=False, soft_wrap=True)
    return numbers


def _check_actions(config: ReplayConfig, recorded: Sequence[Trajectory]) -> dict[str, Any]:
    """Whether recorded actions move the picture as recorded; prints the table and writes it to `config.out`.

    Raises:
        WorldsimError: they do not.
    """
    from rich.console import Console

    model = open_model(config)

    def made(clips: Sequence[Trajectory], actions: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [each.frames for each in predict(model, clips, actions, seed=config.seed, batch=config.batch)]

    check = check_actions(recorded, model.spec.action, made)
    Console(highlight=False).print(check_table(check))
    if config.out:
        write_json(Path(config.out) / "action_check.json", check.numbers())
    if not check.passed:
        raise WorldsimError(check.line())
    print(check.line())
    return check.numbers()


def read_recordings(data: str, count: int, camera: str | None = None) -> list[Trajectory]:
    """The first `count` episodes below `data`, or below its folder `validation` where it has one, as `camera` saw them."""
    return [seen_from(read_trajectory(path), camera) for path in trajectory_paths(split_folder(data, "validation"))[:count]]


def shuffled(recorded: Sequence[Trajectory]) -> list[np.ndarray]:
    """Each episode's actions taken from the next one, the last from the first, cut or repeated to its own length.

    Raises:
        InvalidInput: there is only one episode.
    """
    if len(recorded) < 2:
        raise InvalidInput("shuffle_actions needs at least two episodes; type episodes=2, or give a folder with more")
    others = [*recorded[1:], recorded[0]]
    return [np.resize(other.actions, own.actions.shape) for own, other in zip(recorded, others, strict=True)]


def predict(
    model: WorldModel, recorded: Sequence[Trajectory], actions: Sequence[np.ndarray], *, seed: int, batch: int
) -> Iterator[Prediction]:
    """The model's continuation of each first frame under the given actions, in the order of `recorded`.

    Episodes of one length run together, `batch` at a time. Actions beyond the model's bounds are clipped to them.

    Raises:
        InvalidInput: recorded actions that mean something else than the model's.
    """
    from tqdm import tqdm

    for each in recorded:
        model.spec.action.refuse_recorded(each.metadata.get("action", {}), f'episode "{each.metadata.get("episode", each.start_id)}"')
    made: dict[int, Prediction] = {}
    with tqdm(total=len(recorded), desc="replay", unit="episode", leave=False) as bar:
        for rows in _batches(recorded, batch):
            chosen = np.stack([actions[row] for row in rows])  # [B, T, A]
            first = np.stack([recorded[row].frames[:1] for row in rows])
            made_up = continue_stepwise(model, first, chosen, [seed + row for row in rows])
            frames = np.concatenate([first, made_up], axis=1)  # [B, T + 1, H, W, 3]
            made |= {row: Prediction(recorded[row], lane) for row, lane in zip(rows, frames, strict=True)}
            bar.update(len(rows))
    return (made[row] for row in range(len(recorded)))


def _batches(recorded: Sequence[Trajectory], size: int) -> Iterator[list[int]]:
    """Indices of episodes of one length, at most `size` together."""
    for length in dict.fromkeys(map(len, recorded)):
        rows = [row for row, trajectory in enumerate(recorded) if len(trajectory) == length]
        yield from (rows[begin : begin + size] for begin in range(0, len(rows), size))


def psnr_by_step(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Mean PSNR at every step over the episodes that reach it, of the prediction and of repeating the first frame."""
    from worldsim.metrics import psnr

    ours = [psnr(each.frames[1:], each.recorded.frames[1:]) for each in predictions]
    copies = [psnr(each.recorded.frames[:1], each.recorded.frames[1:]) for each in predictions]
    steps = range(max(map(len, ours)))
    return {
        "steps": [step + 1 for step in steps],
        "psnr": [float(np.mean([row[step] for row in ours if step < len(row)])) for step in steps],
        "copy_psnr": [float(np.mean([row[step] for row in copies if step < len(row)])) for step in steps],
        "episodes": len(predictions),
        "episodes_by_step": [sum(step < len(row) for row in ours) for step in steps],
    }


def success_agreement(predictions: Sequence[Prediction], verifier: Any) -> dict[str, Any] | None:
    """How often the judge of the last predicted frame says what the recorded state says; None where no state was recorded."""
    true = load_verifier("state").judge([each.recorded for each in predictions])
    if all(verdict.success is None for verdict in true):
        return None
    imagined = [Trajectory(each.recorded.task_id, each.frames, each.recorded.actions) for each in predictions]
    return {"verifier": part_name(verifier), **_confusion(true, load_verifier(verifier).judge(imagined))}


def _confusion(true: Sequence[Verdict], said: Sequence[Verdict]) -> dict[str, Any]:
    outcomes = [(t.success, s.success) for t, s in zip(true, said, strict=True)]
    scored = [outcome for outcome in outcomes if None not in outcome]
    agree = sum(t == s for t, s in scored)
    low, high = wilson_interval(agree, len(scored)) if scored else (None, None)
    return {
        "agree": agree,
        "scored": len(scored),
        "rate": agree / len(scored) if scored else None,
        "low": low,
        "high": high,
        "true_positive": scored.count((True, True)),
        "false_positive": scored.count((False, True)),
        "false_negative": scored.count((True, False)),
        "true_negative": scored.count((False, False)),
        "unscored": len(outcomes) - len(scored),
    }


def _table(numbers: dict[str, Any]) -> "Table":
    from rich.table import Table

    about = ", actions shuffled" if numbers["shuffled_actions"] else ""
    table = Table(title=f"Open loop, {numbers['episodes']} episodes{about}")
    for heading in ("step", "episodes", "PSNR (dB)", "copying (dB)"):
        table.add_column(heading, justify="right")
    last = numbers["steps"][-1]
    for step in sorted({step for step in SHOWN_STEPS if step < last} | {last}):
        values = (f"{numbers[key][step - 1]:.2f}" for key in ("psnr", "copy_psnr"))
        table.add_row(str(step), str(numbers["episodes_by_step"][step - 1]), *values)
    return table


def _agreement_line(found: dict[str, Any]) -> str:
    cells = ("true_positive", "false_positive", "false_negative", "true_negative")
    counts = ", ".join(f"{key.replace('_', ' ')} {found[key]}" for key in cells)
    return f"success as {found['verifier']} reads the last frame: {found['agree']} of {found['scored']} agree with the state ({counts})"


def _write(out: Path, numbers: dict[str, Any], predictions: Sequence[Prediction]) -> Path:
    """Numbers, film strips and videos; shuffled ones under names of their own, for a report must not take them for the model's."""
    from worldsim.data.files import written_whole
    from worldsim.data.video import write_video
    from worldsim.report.figures import film_strip, png_of, side_by_side

    tail = "_shuffled" if numbers["shuffled_actions"] else ""
    shown = predictions[:EXAMPLES]
    rows = [frames for each in shown for frames in (each.recorded.frames, each.frames)]
    with written_whole(out / f"strips{tail}.png") as aside:
        aside.write_bytes(png_of(film_strip(rows, ["recorded", "imagined"] * len(shown), EVERY, height=64)))
    for number, each in enumerate(shown):
        fps = float(each.recorded.metadata.get("fps") or DEFAULT_FPS)
        write_video(out / "open_loop" / f"episode{number}{tail}.mp4", side_by_side(each.recorded.frames, each.frames), fps)
    write_sealed(out / f"open_loop{tail}.json", numbers)
    return out
