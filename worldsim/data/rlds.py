"""Reader of RLDS data sets (TFRecords as tensorflow-datasets writes them). Knows nothing of where episodes go.

An RLDS episode has T steps, each with an observation and the action taken from it. `frames[t] --actions[t]--> frames[t + 1]`
leaves T - 1 actions between T frames: nothing shows what the last action did, so it is dropped. A first action that is exactly
zero in every component is a filler of the recording software and goes together with its frame. `is_last`, `is_terminal` and
`has_image_*` are not looked at: real data sets fill them in wrongly.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.recording import RECORDING_FORMATS, Recording
from worldsim.errors import DamagedFile, InvalidInput, MissingDependency, UnknownName
from worldsim.registry import did_you_mean
from worldsim.types import Trajectory

RATES_HZ = {"bridge": 5.0, "fractal20220817_data": 3.0, "droid": 15.0}  # RLDS states no rate; by the start of the data set's name
ASSUMED_HZ = 5.0
FIRST_PARTS = ("world_vector", "rotation_delta", "open_gripper", "gripper_closedness_action")  # of an action that is a dictionary
BRIDGE_NAMES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


@dataclass(frozen=True)
class Layout:
    """What is read of every episode of one data set: its name, the split, the camera."""

    dataset: str
    split: str
    camera: str


def read_rlds(
    path: str | os.PathLike, *, split: str | None = None, camera: str | None = None, limit: int | None = None
) -> Iterator[Recording]:
    """The episodes of an RLDS data set in the order of its files; one is in memory at a time.

    Args:
        path: the folder with `features.json`, or one above a single such folder.
        split: one split only; None for all.
        camera: name of the image among the observations; None for the first by name, wrist cameras last.
        limit: at most this many episodes.

    Raises:
        MissingDependency: tensorflow-datasets or tensorflow is not installed.
        InvalidInput: no data set there, or none with images.
        UnknownName: no such split or camera.
        DamagedFile: its description cannot be read.
    """
    folder = _data_set(Path(path))
    tfds, failure = _tensorflow()
    try:
        builder = tfds.builder_from_directory(folder)
        splits, cameras = list(builder.info.splits), _cameras(builder.info.features["steps"])
    except (failure, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedFile(f"{folder} is no RLDS data set ({type(error).__name__}); it needs steps with observation and action") from error
    camera = _chosen(camera, cameras, f"{path} has no camera")
    chosen = splits if split is None else [_chosen(split, splits, f"{path} has no split")]
    layouts = [Layout(builder.name, name, camera) for name in chosen]
    return islice(chain.from_iterable(_recordings(tfds, failure, builder, layout) for layout in layouts), limit)


def trajectory_of(steps: Iterable[Mapping[str, Any]], layout: Layout) -> Trajectory:
    """The steps of one episode, as numpy values, by the rules on top of this file. Raises InvalidInput where they make no episode."""
    frames, actions, names, instruction = [], [], (), ""
    for step in steps:
        parts = dict(_parts(step["action"]))
        names = tuple(f"{name}_{i}" if part.size > 1 else name for name, part in parts.items() for i in range(part.size))
        actions.append(np.concatenate([part.ravel() for part in parts.values()]).astype(np.float32))
        frames.append(step["observation"][layout.camera])
        instruction = instruction or _instruction(step)
    filler = int(bool(actions) and not actions[0].any())
    frames, actions = frames[filler:], actions[filler:-1]
    if not actions:
        raise InvalidInput(f"episode has {len(frames)} usable steps, expected at least 2")
    if len({frame.shape for frame in frames}) > 1 or len({action.shape for action in actions}) > 1:
        raise InvalidInput("episode changes its frame size or action size on the way")
    rate = next((hz for prefix, hz in RATES_HZ.items() if layout.dataset.startswith(prefix)), None)
    return Trajectory(
        task_id="import",
        frames=np.stack(frames),  # [T, H, W, 3]
        actions=np.stack(actions),  # [T - 1, A]
        metadata={
            "source": "rlds",
            "dataset": layout.dataset,
            "split": layout.split,
            "camera": layout.camera,
            "instruction": instruction,
            "fps": rate or ASSUMED_HZ,
            "fps_assumed": rate is None,
            "action": _meaning(layout.dataset, names) | {"rate_hz": rate or ASSUMED_HZ},
        },
    )


def _cameras(steps: Mapping[str, Any]) -> list[str]:
    """Names of the colour images among the observations: by name, wrist cameras last. KeyError where there is no action."""
    steps["action"]
    images = [name for name, feature in steps["observation"].items() if feature.np_dtype == np.uint8 and feature.shape[2:] == (3,)]
    return sorted(images, key=lambda name: ("wrist" in name or "hand" in name, name))


def _parts(action: Any, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """(name, array) of an action's parts in a fixed order; a flat array is one part. Termination flags move nothing and are left out."""
    if not isinstance(action, Mapping):
        yield prefix or "action", np.asarray(action)
        return
    rank = {name: place for place, name in enumerate(FIRST_PARTS)}
    for name in sorted(action, key=lambda name: (rank.get(name, len(rank)), name)):
        if not name.startswith("terminate"):
            yield from _parts(action[name], f"{prefix}.{name}" if prefix else name)


def _meaning(dataset: str, names: tuple[str, ...]) -> dict[str, Any]:
    """The fields of an ActionSpec that say what an action means, as far as the data set's name tells."""
    if dataset.startswith("bridge") and names == tuple(f"action_{i}" for i in range(7)):
        return {"names": list(BRIDGE_NAMES), "frame": "base", "rotation": "rpy", "gripper": "absolute"}
    return {"names": list(names), "frame": "base", "rotation": "none", "gripper": "none"}


def _instruction(step: Mapping[str, Any]) -> str:
    found = step.get("language_instruction", step["observation"].get("natural_language_instruction", b""))
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else ""


def _recordings(tfds: Any, failure: type[Exception], builder: Any, layout: Layout) -> Iterator[Recording]:
    """The episodes of one split. A torn file ends its split: one last recording says so when it is read."""
    config = tfds.ReadConfig(add_tfds_id=True, try_autocache=False, interleave_cycle_length=1, skip_prefetch=True)
    place = "start"
    try:
        for episode in tfds.as_numpy(builder.as_dataset(split=layout.split, read_config=config, shuffle_files=False)):
            name = _episode_name(episode["tfds_id"].decode())
            place = f"after {name}"
            yield Recording(layout.split, name, partial(_read, failure, episode, layout, name))
    except (failure, OSError) as error:
        yield Recording(layout.split, place, partial(_refuse, f"the record file is torn here ({type(error).__name__})"))


def _refuse(reason: str) -> Trajectory:
    raise DamagedFile(reason)


def _read(failure: type[Exception], episode: Mapping[str, Any], layout: Layout, name: str) -> Trajectory:
    try:
        trajectory = trajectory_of(episode["steps"], layout)
    except InvalidInput:
        raise
    except (failure, KeyError, TypeError, ValueError) as error:
        raise DamagedFile(f"a step cannot be read ({type(error).__name__})") from error
    recorded = {key: value for key, value in episode.get("episode_metadata", {}).items() if np.ndim(value) == 0}
    plain = {key: value.decode("utf-8", "replace") if isinstance(value, bytes) else value.item() for key, value in recorded.items()}
    return replace(trajectory, metadata={**trajectory.metadata, "episode": name, "recorded": plain})


def _episode_name(record: str) -> str:
    """tensorflow-datasets' name of a record, FILE__NUMBER, with a number that sorts."""
    file, _, number = record.rpartition("__")
    return f"{file}-{int(number):06d}"


def _chosen(given: str | None, known: list[str], problem: str) -> str:
    if not known:
        raise InvalidInput(f"{problem} at all; expected an RLDS data set of images")
    if given is not None and given not in known:
        raise UnknownName(f'{problem} "{given}"; {did_you_mean(given, known)}')
    return known[0] if given is None else given


def _data_set(path: Path) -> Path:
    folders = sorted(file.parent for file in path.rglob("features.json"))
    if len(folders) != 1:
        raise InvalidInput(f"{path} holds {len(folders)} RLDS data sets, expected 1; give the folder that has features.json in it")
    return folders[0]


def _tensorflow() -> tuple[Any, type[Exception]]:
    """(tensorflow_datasets, the root of tensorflow's errors), imported without its chatter."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _silent():
            import tensorflow
            import tensorflow_datasets
    except ImportError as error:
        advice = 'type: pip install -c constraints.txt -e ".[rlds]"'
        raise MissingDependency(f"RLDS needs tensorflow and tensorflow-datasets; {advice}") from error
    tensorflow.get_logger().setLevel("ERROR")
    return tensorflow_datasets, tensorflow.errors.OpError


@contextmanager
def _silent() -> Iterator[None]:
    """File descriptor 2 closed to compiled code, which logs past Python's sys.stderr."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@RECORDING_FORMATS.register("rlds")
@dataclass(frozen=True)
class Rlds:
    """TFRecords as tensorflow-datasets writes them (BridgeData, fractal, DROID, Open X-Embodiment)."""

    path: str
    camera: str | None = None
    limit: int | None = None

    def build(self) -> Iterator[Recording]:
        """Its episodes, unread."""
        return read_rlds(self.path, camera=self.camera, limit=self.limit)
