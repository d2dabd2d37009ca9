"""`worldsim replay`: recorded actions in the world model, frame by frame beside what was recorded. Open loop: no policy looks.

With an episode of a run in their place it hands over to `replay_episode`.
"""

from collections.abc import Sequence
from dataclasses import replace
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
from worldsim.experiments.open_loop import Prediction, predict, psnr_by_step, shuffled, success_agreement
from worldsim.experiments.schema import ReplayConfig
from worldsim.experiments.setting import chosen_verifier, open_model, sampler_facts, use_torch, world_model_facts
from worldsim.load import load_verifier, part_name
from worldsim.types import Trajectory

if TYPE_CHECKING:
    from rich.table import Table

SHOWN_STEPS = (1, 4, 8, 16, 24)
EXAMPLES, EVERY = 4, 3  # episodes shown, and steps between the frames of a film strip
DEFAULT_FPS = 5.0


def run(config: ReplayConfig) -> dict[str, Any]:
    """Replay what was asked for. Of recordings: print PSNR by step, and write numbers, film strips and videos to `config.out`.

    Returns:
        The numbers.

    Raises:
        InvalidInput: neither a run nor recordings, or both; no recordings,
            recordings of another frame size or other actions, or too few to shuffle.
        WorldsimError: `check_actions` found that they do not move the picture as recorded.
    """
    if config.run or config.episode:
        from worldsim.experiments import replay_episode

        _check_choice(config)
        return replay_episode.run(config)
    if not config.data:
        raise InvalidInput(
            "replay needs an episode of a run, worldsim replay RUN episode=ID, or recordings of actions, worldsim replay data=FOLDER"
        )
    return _replay_recordings(replace(config, world_model=config.world_model or "drawer", device=config.device or "cpu"))


def _check_choice(config: ReplayConfig) -> None:
    if not config.run:
        raise InvalidInput(f"episode={config.episode} of which run? Type worldsim replay RUN episode={config.episode}")
    if config.data:
        raise InvalidInput(
            f"give a run or recordings, not both: worldsim replay {config.run} episode=ID, or worldsim replay data={config.data}"
        )


def _replay_recordings(config: ReplayConfig) -> dict[str, Any]:
    from rich.console import Console

    use_torch(config.threads, config.device)
    facts, model_config = world_model_facts(config.world_model)
    recorded = read_recordings(config.data, config.episodes, camera_of(model_config))
    if config.check_actions and config.shuffle_actions:
        raise InvalidInput("check_actions tries other episodes' actions itself; leave shuffle_actions away")
    if config.check_actions:
        return _check_actions(config, recorded)
    actions = shuffled(recorded) if config.shuffle_actions else [trajectory.actions for trajectory in recorded]
    judge = chosen_verifier(config.verifier, model_config, recorded[0].task_id)
    predictions = list(predict(open_model(config), recorded, actions, seed=config.seed, batch=config.batch))
    numbers = {
        **psnr_by_step(predictions),
        "success_agreement": success_agreement(predictions, part_name(judge), lambda: load_verifier(judge)),
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
