"""Reader of RLDS data sets (TFRecords as tensorflow-datasets writes them). Knows nothing of where episodes go.

Files are read one by one, so that a torn one does not take the others with it. What stands behind a damaged record of a file
cannot be reached; it is one recording that says so and how many episodes it stands for. A data set of one split is split further
(`worldsim.data.rlds_splits`).
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.quiet_tensorflow import import_quietly
from worldsim.data.recording import RECORDING_FORMATS, Recording, refused
from worldsim.data.rlds_actions import RECORDED, convention_of
from worldsim.data.rlds_splits import Rule, split_rule
from worldsim.data.rlds_steps import Layout, Unreadable, trajectory_of
from worldsim.data.tfrecords import count_records
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.registry import did_you_mean
from worldsim.types import Trajectory


@dataclass(frozen=True)
class DataSet:
    """An opened data set.

    Attributes:
        tf: tensorflow.
        name: what the data set calls itself.
        steps: description of a step.
        parse: a record to an episode whose pictures are still encoded.
        cameras: names of the colour pictures among the observations: by name, wrist cameras last.
        encoded: those that are stored as JPEG or PNG.
        files: per split, its files and how many episodes each is said to have.
    """

    tf: Any
    name: str
    steps: Any
    parse: Callable[[Any], Any]
    cameras: list[str]
    encoded: tuple[str, ...]
    files: Mapping[str, tuple[tuple[Path, int], ...]]

    @property
    def failure(self) -> tuple[type[Exception], ...]:
        """What comes of data that are not what the description says."""
        return (self.tf.errors.OpError, KeyError, TypeError, ValueError)


def read_rlds(
    path: str | os.PathLike, *, split: str | None = None, camera: str | None = None, limit: int | None = None, actions: str = RECORDED
) -> Iterator[Recording]:
    """The episodes of an RLDS data set in the order of its files; one is in memory at a time.

    Args:
        path: the folder with `features.json`, or one above a single such folder.
        split: one split only; None for all.
        camera: name of the image among the observations; None for the first by name, wrist cameras last.
        limit: at most this many episodes.
        actions: "recorded", or another kind of action that is known for this data set, as "vid2world" for fractal20220817_data.

    Raises:
        MissingDependency: tensorflow-datasets or tensorflow is not installed.
        InvalidInput: no data set there, or none with images.
        UnknownName: no such split, camera or kind of actions.
        DamagedFile: its description cannot be read.
    """
    data = _opened(_folder(Path(path)))
    splits = list(data.files)
    camera = _chosen(camera, data.cameras, f"{path} has no camera")
    chosen = splits if split is None else [_chosen(split, splits, f"{path} has no split")]
    others = tuple(name for name in data.cameras if name != camera)
    convention = convention_of(data.name, data.steps, actions)
    layouts = [Layout(data.name, name, camera, others, convention) for name in chosen]
    rule = split_rule(data.name, {name: [count for _, count in files] for name, files in data.files.items()})
    return islice(chain.from_iterable(_split(data, layout, rule) for layout in layouts), limit)


def _opened(folder: Path) -> DataSet:
    """The data set in a folder. tensorflow-datasets answers a damaged description with errors of any class."""
    tf, tfds = import_quietly("RLDS", "tensorflow", "tensorflow_datasets")
    try:
        builder = tfds.builder_from_directory(folder)
        steps = builder.info.features["steps"].feature
        if "action" not in steps:
            raise KeyError("action")
        if any(0 in described.shape for described in tf.nest.flatten(steps.get_tensor_info())):
            raise ValueError("a feature without numbers")  # TensorFlow divides by their number, and the process dies
        observed = steps["observation"].items()
        files = {
            name: tuple(zip(map(Path, split.filepaths), split.shard_lengths, strict=True)) for name, split in builder.info.splits.items()
        }
    except Exception as error:
        raise DamagedFile(f"{folder} is no RLDS data set ({type(error).__name__}); it needs steps with observation and action") from error
    kind = getattr(builder.info.file_format, "value", "tfrecord")
    if kind != "tfrecord":
        raise InvalidInput(f"{folder} keeps its episodes in {kind} files, expected tfrecord; convert it with tensorflow-datasets")
    cameras = [name for name, feature in observed if feature.np_dtype == np.uint8 and feature.shape[2:] == (3,)]
    cameras.sort(key=lambda name: ("wrist" in name or "hand" in name, name))
    encoded = tuple(name for name in cameras if isinstance(steps["observation"][name], tfds.features.Image))
    as_stored = {"steps": {"observation": {name: tfds.decode.SkipDecoding() for name in encoded}}}
    parse = tf.function(partial(builder.info.features.deserialize_example, decoders=as_stored))  # traced once, not once a file
    return DataSet(tf, builder.name, steps, parse, cameras, encoded, files)


def _split(data: DataSet, layout: Layout, rule: Rule) -> Iterator[Recording]:
    """The episodes of one split, file by file."""
    for number, (file, promised) in enumerate(data.files[layout.split]):
        for record, each in enumerate(_file(data, layout, file, promised)):
            yield replace(each, split=rule(layout.split, number, record, each.name))


def _file(data: DataSet, layout: Layout, file: Path, promised: int) -> Iterator[Recording]:
    """The episodes of one file, and one recording more for those that cannot be reached, if there are any."""
    try:
        count, whole = count_records(file)
    except OSError as error:
        yield refused(layout.split, file.name, f"{file} cannot be read ({error.strerror})", promised)
        return
    reached = 0
    for reached, episode in enumerate(_episodes(data, file, count), start=1):
        name = f"{file.name}-{reached - 1:06d}"
        yield Recording(layout.split, name, partial(_read, data, episode, layout, name))
    if reached < max(count, promised) or not whole:
        missing = max(count, promised) - reached
        kind = "is damaged" if reached < count else "ends"
        reason = f"{file.name} {kind} after {reached} of {max(count, promised)} episodes; copy it again from where it came"
        yield refused(layout.split, f"{file.name}-{reached:06d}", reason, max(1, missing))


def _episodes(data: DataSet, file: Path, count: int) -> Iterator[Mapping[str, Any] | str]:
    """The records of a file up to the first damaged one: parsed, pictures still encoded; or why one cannot be parsed."""
    try:
        records = iter(data.tf.data.TFRecordDataset([str(file)]).take(count).map(data.parse))
    except data.failure as error:
        yield from [f"the data set's description does not fit its records ({type(error).__name__})"] * count
        return
    for _ in range(count):
        try:
            yield next(records)
        except (data.tf.errors.DataLossError, StopIteration):
            return
        except data.failure as error:
            yield f"the record is not what the data set's description says ({type(error).__name__})"


def _read(data: DataSet, episode: Mapping[str, Any] | str, layout: Layout, name: str) -> Trajectory:
    if isinstance(episode, str):
        raise DamagedFile(episode)
    try:
        trajectory = trajectory_of((_decoded(data, step) for step in episode["steps"].as_numpy_iterator()), layout)
        recorded = _plain(episode.get("episode_metadata", {}))
    except InvalidInput:
        raise
    except data.failure as error:
        raise DamagedFile(f"a step cannot be read ({type(error).__name__})") from error
    return replace(trajectory, metadata={**trajectory.metadata, "episode": name, "recorded": recorded})


def _decoded(data: DataSet, step: Mapping[str, Any]) -> dict[str, Any]:
    """The step with its pictures decoded, each by itself: a broken one must not take the others with it."""
    pictures = {name: _picture(data, name, step["observation"][name]) for name in data.encoded}
    return {**step, "observation": {**step["observation"], **pictures}}


def _picture(data: DataSet, name: str, stored: bytes) -> np.ndarray | Unreadable:
    try:
        return data.steps["observation"][name].decode_example(stored).numpy()
    except data.failure as error:
        return Unreadable(f"a picture cannot be decoded ({type(error).__name__})")


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The single values among an episode's own metadata, as JSON takes them."""
    values = {name: value.numpy() for name, value in metadata.items() if hasattr(value, "numpy") and value.shape == ()}
    return {name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value.item() for name, value in values.items()}


def _chosen(given: str | None, known: list[str], problem: str) -> str:
    if not known:
        raise InvalidInput(f"{problem} at all; expected an RLDS data set of images")
    if given is not None and given not in known:
        raise UnknownName(f'{problem} "{given}"; {did_you_mean(given, known)}')
    return known[0] if given is None else given


def _folder(path: Path) -> Path:
    folders = sorted(file.parent for file in path.rglob("features.json"))
    if len(folders) != 1:
        raise InvalidInput(f"{path} holds {len(folders)} RLDS data sets, expected 1; give the folder that has features.json in it")
    return folders[0]


@RECORDING_FORMATS.register("rlds")
@dataclass(frozen=True)
class Rlds:
    """TFRecords as tensorflow-datasets writes them (BridgeData, fractal, DROID, Open X-Embodiment)."""

    path: str
    camera: str | None = None
    limit: int | None = None
    actions: str = RECORDED

    def build(self) -> Iterator[Recording]:
        """Its episodes, unread."""
        return read_rlds(self.path, camera=self.camera, limit=self.limit, actions=self.actions)
