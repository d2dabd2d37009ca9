"""`worldsim replay RUN episode=ID`: an episode of a run played again, the policy acting anew, and set beside what is on disk.

It knows neither how the episode is found nor how its parts are loaded.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.files import write_json, written_whole
from worldsim.errors import InvalidInput, WorldsimError
from worldsim.evaluate import Clock, roll_out
from worldsim.experiments.past_episode import PastEpisode, past_episode
from worldsim.experiments.provenance import machine, versions
from worldsim.experiments.schema import ReplayConfig
from worldsim.load import load_verifier
from worldsim.options import model_options
from worldsim.types import Trajectory, Verdict

RECORDINGS_ONLY = ("data", "episodes", "verifier", "shuffle_actions", "check_actions", "seed", "batch")
ENHANCED = 8  # times that a difference of pictures is enhanced, to be seen
COLUMNS = 8  # frames of the film strip, at most
DEFAULT_FPS = 5.0
LAST_BITS = "a fast run's episode depends, in its last bits, on who shared its batch, and a contact can enlarge that; strict ones do not"


@dataclass(frozen=True)
class Difference:
    """How two arrays of one episode differ: the largest absolute difference, and the first row that differs, None where none does."""

    largest: float
    first: int | None


def run(config: ReplayConfig) -> dict[str, Any]:
    """Play the episode again; print, and write to `config.out`, what came of it. Returns what is in the written JSON file.

    Raises:
        UnknownName, InvalidInput, RunMismatch: as `past_episode`; keys that belong to recordings.
        WorldsimError: an episode whose bits are promised came out otherwise.
    """
    asked = _asked(config)
    past = past_episode(config.run, config.episode, asked)
    ((_, again),) = roll_out(
        past.setting.worlds[past.planned.world], past.setting.cast, past.setting.task, [past.planned], Clock(), batch=1
    )
    about = _about(past, again, asked)
    out = Path(config.out) if config.out else Path(config.run) / "replays"
    stem = out / _stem(about["episode"], asked if past.changed else {})
    write_pictures(stem, past.trajectory, again)
    write_json(stem.with_name(f"{stem.name}.json"), about)
    for line in _lines(about, stem):
        print(line)
    if past.strict and not about["counterfactual"] and not about["equal"]:
        raise WorldsimError(f"this run is strict, so episode {about['episode']} should have been the same to the bit; {_why(past)}")
    return about


def _asked(config: ReplayConfig) -> dict[str, Any]:
    """What is to be otherwise than in the run, as keys of `worldsim evaluate`.

    Raises:
        InvalidInput: a key that only recordings have, or no episode.
    """
    if not config.episode:
        raise InvalidInput(f"which episode of {config.run}? Type worldsim replay {config.run} episode=ID; its report lists the ids")
    defaults = {field.name: getattr(ReplayConfig(), field.name) for field in fields(ReplayConfig)}
    wrong = [key for key in RECORDINGS_ONLY if getattr(config, key) != defaults[key]]
    if wrong:
        raise InvalidInput(f"{wrong[0]} belongs to recordings (worldsim replay data=FOLDER), not to an episode of a run; leave it out")
    given = {"world_model": config.world_model, "device": config.device, "threads": config.threads or None}
    return model_options(config) | {key: value for key, value in given.items() if value is not None}


def differences(held: np.ndarray, made: np.ndarray) -> Difference:
    """Compare two arrays `[T, ...]` over the rows that both have."""
    rows = min(len(held), len(made))
    apart = np.abs(held[:rows].astype(np.float64) - made[:rows]).max(axis=tuple(range(1, held.ndim)), initial=0.0)
    unequal = np.flatnonzero(apart)
    return Difference(float(apart.max(initial=0.0)), int(unequal[0]) if len(unequal) else None)


def _about(past: PastEpisode, again: Trajectory, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that is told of the replay, as JSON."""
    held = past.trajectory
    frames, actions = differences(held.frames, again.frames), differences(held.actions, again.actions)
    return {
        "episode": past.episode,
        "policy": past.planned.policy,
        "world": past.planned.world,
        "task": past.setting.task.id,
        "instruction": held.metadata.get("instruction", ""),
        "start": held.start_id,
        "seed": held.seed,
        "steps": {"recorded": len(held), "replayed": len(again)},
        "strict": past.strict,
        "equal": frames.first is None and actions.first is None and len(held) == len(again),
        "frames": asdict(frames),
        "actions": asdict(actions),
        "faults": {"recorded": held.metadata.get("fault", ""), "replayed": again.metadata.get("fault", "")},
        "verdicts": _verdicts(past, again),
        "counterfactual": dict(asked) if past.changed else None,
    }


def _verdicts(past: PastEpisode, again: Trajectory) -> list[dict[str, Any]]:
    """What is on disk and what is said now, by judge: the run's own and, of a true episode, the state first.

    A judge that says something else each time (people) is not asked again, nor is any about an episode that broke off.
    """
    own = past.setting.identity["verifier"]["name"]
    judges = ({"state": load_verifier("state")} if past.planned.world == "truth" else {}) | {own: past.setting.verifier}
    rows = []
    for name, judge in judges.items():
        asked = not getattr(judge, "revisable", False) and "fault" not in again.metadata
        said = judge.judge([again])[0] if asked else None
        rows.append({"judge": name, "recorded": _said(past.folder.verdicts(name).get(past.episode)), "replayed": _said(said)})
    return rows


def _said(verdict: Verdict | None) -> dict[str, Any] | None:
    return None if verdict is None else {"success": verdict.success, "score": verdict.score, "reason": verdict.reason}


def _stem(episode: str, asked: Mapping[str, Any]) -> str:
    """The name of the files: the id, and what was otherwise."""
    other = "".join(f"-{key}={value}" for key, value in asked.items())
    return episode + re.sub(r"[^\w.=-]+", "_", other)[:80]


def write_pictures(stem: Path, held: Trajectory, again: Trajectory) -> None:
    """A video and a film strip: recorded, replayed and, where they differ, the difference, enhanced."""
    from worldsim.data.video import write_video
    from worldsim.report.figures import enlarge, film_strip, png_of, side_by_side, stride

    rows = min(len(held.frames), len(again.frames))
    sides = {"recorded": held.frames, "replayed": again.frames}
    apart = np.abs(held.frames[:rows].astype(np.int16) - again.frames[:rows])
    both = side_by_side(*sides.values())
    if apart.any():
        sides["difference"] = np.minimum(ENHANCED * apart, 255).astype(np.uint8)
        both = side_by_side(both, enlarge(sides["difference"], 256))
    write_video(stem.with_name(f"{stem.name}.mp4"), both, float(held.metadata.get("fps") or DEFAULT_FPS))
    films = list(sides.values())
    with written_whole(stem.with_name(f"{stem.name}.png")) as aside:
        aside.write_bytes(png_of(film_strip(films, list(sides), stride(films, COLUMNS))))


def _lines(about: Mapping[str, Any], stem: Path) -> list[str]:
    """What the terminal is told."""
    from worldsim.report.printable import printable

    rows = [
        ("episode", f"{about['episode']} ({about['world']})"),
        ("task", f"{about['task']}: {about['instruction']}"),
        ("policy", about["policy"]),
        ("start", f"{about['start']}, seed {about['seed']}"),
        *((f"{each['judge']}", _compared(each)) for each in about["verdicts"]),
        *(("broke off", f"{when}: {fault}") for when, fault in about["faults"].items() if fault),
        ("outcome", _outcome(about)),
        *([("", LAST_BITS)] if not (about["equal"] or about["strict"] or about["counterfactual"]) else []),
        ("pictures", f"{stem}.mp4, {stem}.png" + ("" if about["frames"]["first"] is None else f" (difference {ENHANCED} times enhanced)")),
    ]
    width = max(len(name) for name, _ in rows) + 2
    return [printable(f"{name:{width}}{text}") for name, text in rows]


def _compared(row: Mapping[str, Any]) -> str:
    recorded, replayed = _word(row["recorded"]), _word(row["replayed"])
    return f"{recorded}; again: {replayed}" if recorded != replayed else f"{recorded}, as before"


def _word(said: Mapping[str, Any] | None) -> str:
    if said is None:
        return "not judged"
    word = {True: "success", False: "failure", None: "could not tell"}[said["success"]]
    score = "" if said["score"] is None else f", score {said['score']:.3f}"
    return f"{word}{score}" + (f" ({said['reason']})" if said["reason"] else "")


def _outcome(about: Mapping[str, Any]) -> str:
    """Whether the replay is what is on disk, in one sentence."""
    asked = about["counterfactual"]
    other = f"with {', '.join(f'{key}={value}' for key, value in asked.items())} in place of the run's own: " if asked else ""
    if about["equal"]:
        return f"{other}the same to the bit, {about['steps']['recorded']} steps: frames and actions"
    frames, actions = about["frames"], about["actions"]
    parts = [
        f"frames differ from step {frames['first']} on, by at most {frames['largest']:.0f} of 255 grey levels"
        if frames["first"] is not None
        else "the same frames",
        f"actions from step {actions['first'] + 1} on, by at most {actions['largest']:.2g}"
        if actions["first"] is not None
        else "the same actions",
    ]
    steps = about["steps"]
    short = f" over the {min(steps.values())} steps that both have ({steps['recorded']} recorded, {steps['replayed']} replayed)"
    return other + "; ".join(parts) + (short if steps["recorded"] != steps["replayed"] else "")


def _why(past: PastEpisode) -> str:
    """What has changed around a strict episode since, as far as the run recorded it."""
    now = {**versions(), **machine()}
    then = {**past.run.config.get("versions", {}), **past.run.config.get("machine", {})}
    other = [f"{key} {then[key]}, now {now[key]}" for key in now if key in then and key != "threads" and then[key] != now[key]]
    return f"since then: {'; '.join(other)}" if other else "versions and machine are as they were, so please report it"
