"""Small RLDS data sets on disk, by tensorflow-datasets' own features and TensorFlow's own record writer. Loads tensorflow."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FRACTAL = {  # an action of fractal20220817_data, every number another
    "world_vector": np.array([0.1, 0.2, 0.3]),
    "rotation_delta": np.array([1.1, 1.2, 1.3]),
    "gripper_closedness_action": np.array([-1.0]),
    "base_displacement_vector": np.array([2.1, 2.2]),
    "base_displacement_vertical_rotation": np.array([3.0]),
    "terminate_episode": np.array([0, 1, 0]),
}


def write_rlds(folder: Path, dataset: str, features: Any, splits: Mapping[str, Sequence[Sequence[Any]]]) -> None:
    """A data set as `tfds.builder_from_directory` reads it: `splits` maps each name to its files, and a file is a list of episodes.

    tensorflow-datasets' builders do the same and need a package that it forgets to ask for.
    """
    import tensorflow as tf

    folder.mkdir(parents=True)
    features.save_config(folder)
    for split, files in splits.items():
        for number, episodes in enumerate(files):
            name = f"{dataset}-{split}.tfrecord-{number:05d}-of-{len(files):05d}"
            with tf.io.TFRecordWriter(str(folder / name)) as writer:
                for episode in episodes:
                    writer.write(features.serialize_example(features.encode_example(episode)))
    about = [
        {"name": split, "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}", "numBytes": "1"}
        | {"shardLengths": [str(len(episodes)) for episodes in files]}
        for split, files in splits.items()
    ]
    info = {"fileFormat": "tfrecord", "moduleName": "tests", "name": dataset, "version": "1.0.0", "splits": about}
    (folder / "dataset_info.json").write_text(json.dumps(info))


def episode_features(action: Any, images: Mapping[str, tuple[int, int]], **more: Any) -> Any:
    """Features of an episode whose steps have this action, an instruction and JPEG images of these sizes; `more` is put into the steps."""
    from tensorflow_datasets import features

    pictures = {name: features.Image(shape=(*size, 3), encoding_format="jpeg") for name, size in images.items()}
    observation = features.FeaturesDict({**pictures, **more.pop("observation", {})})
    steps = {"action": action, "observation": observation, "language_instruction": features.Text(), **more}
    return features.FeaturesDict({"episode_metadata": {"file_path": features.Text()}, "steps": features.Dataset(steps)})


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A random picture, uint8 `[height, width, 3]`."""
    return rng.integers(0, 255, (height, width, 3), dtype=np.uint8)


def bridge_like(folder: Path, files: Mapping[str, Sequence[int]], *, steps: int = 4) -> None:
    """A data set shaped like BridgeData with random 16 x 24 pictures; `files` maps each split to the episodes in each of its files."""
    from tensorflow_datasets import features

    rng, cameras = np.random.default_rng(0), ("image_0", "image_1")
    action = features.Tensor(shape=(7,), dtype=np.float32)
    described = episode_features(action, dict.fromkeys(cameras, (16, 24)))

    def step() -> dict[str, Any]:
        observation = {name: picture(rng, 16, 24) for name in cameras}
        return {"action": rng.normal(size=7).astype(np.float32), "observation": observation, "language_instruction": "lift"}

    def episode() -> dict[str, Any]:
        return {"episode_metadata": {"file_path": "somewhere"}, "steps": [step() for _ in range(steps)]}

    splits = {split: [[episode() for _ in range(count)] for count in counts] for split, counts in files.items()}
    write_rlds(folder, "bridge_dataset", described, splits)
