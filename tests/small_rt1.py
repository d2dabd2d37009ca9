"""A SavedModel with the signatures, names and shapes of RT-1's, only small, and the same policy once more in numpy.

Every output depends on what the policy remembers: the last six images, the tokens of its last six actions, two counters.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HISTORY, TOKENS = 6, 11
MEMORY = ("image", "action_tokens", "step_num", "t")
OBSERVATIONS = {  # of rt1main, without its image and embedding
    "base_pose_tool_reached": [7],
    "gripper_closed": [1],
    "gripper_closedness_commanded": [1],
    "height_to_bottom": [1],
    "orientation_box": [2, 3],
    "orientation_start": [4],
    "robot_orientation_positions_box": [3, 3],
    "rotation_delta_to_go": [3],
    "src_rotation": [4],
    "vector_to_go": [3],
    "workspace_bounds": [3, 3],
}


@dataclass(frozen=True)
class Small:
    """What to build.

    Attributes:
        rows: of the image.
        columns: of the image; None leaves the size of the input open.
        embedding: length of the instruction's vector.
        batch: first axis of every tensor; None is any number of lanes.
        names: "tf_agents" (0/..., 1/NAME, state/NAME) or "policy_state" (observation/..., policy_state/NAME throughout).
        stop: the step at which it says that it is done.
        spoil: from this step on an output is NaN.
        fail: at this step the graph raises.
        without: signatures left out.
        changed: outputs of get_initial_state by name, replaced.
    """

    rows: int = 16
    columns: int | None = 20
    embedding: int = 8
    batch: int | None = 1
    names: str = "tf_agents"
    stop: int = 10_000
    spoil: int = 10_000
    fail: int = 10_000
    without: tuple[str, ...] = ()
    changed: dict = field(default_factory=dict)

    def __call__(self, memory: dict, image, embedding) -> tuple[dict, dict]:
        """One step of B lanes in numpy: (outputs, memory)."""
        lanes = len(image)
        seen = np.concatenate([memory["image"][:, 1:], image[:, None]], axis=1)
        shade = seen.reshape(lanes, -1).mean(1, dtype=np.float64) / 255
        newest = image.reshape(lanes, -1).mean(1, dtype=np.float64) / 255
        said = (image.reshape(lanes, -1).astype(np.int64).sum(1)[:, None] + np.arange(TOKENS)) % 256
        tokens = np.concatenate([memory["action_tokens"][:, 1:], said[:, None, :, None, None]], axis=1)
        step, t = memory["step_num"] + 1, memory["t"] + 2
        count, told = step.ravel() - 1, np.tanh(embedding.sum(1))
        spoilt = np.where(count >= self.spoil, np.nan, 0)
        outputs = {
            "world_vector": np.stack([2 * shade - 1, told, count / 100], 1),
            "rotation_delta": np.stack([tokens.reshape(lanes, -1).sum(1) / (HISTORY * TOKENS * 300), -shade, t.ravel() / 100 + spoilt], 1),
            "gripper_closedness_action": (newest - shade)[:, None],
            "base_displacement_vector": np.stack([shade, -shade], 1),
            "base_displacement_vertical_rotation": np.full((lanes, 1), 0.5),
            "terminate_episode": np.eye(3, dtype=int)[np.where(count >= self.stop, 0, 1)],
        }
        return outputs, {"image": seen, "action_tokens": tokens, "step_num": step, "t": t}

    def begin(self, lanes: int = 1) -> dict:
        """The memory of a new episode."""
        image = np.zeros((lanes, HISTORY, self.rows, self.columns or 20, 3), np.uint8)
        tokens, one = np.full((lanes, HISTORY, TOKENS, 1, 1), 3, np.int32), np.zeros((lanes, 1, 1, 1, 1), np.int32)
        return {"image": image, "action_tokens": tokens, "step_num": one, "t": one}

    def save(self, folder: Path) -> Path:
        """Write it as a SavedModel."""
        return self.write(self.module(), folder)

    def write(self, module, folder: Path) -> Path:
        """Write a module as a SavedModel with the two signatures."""
        import tensorflow as tf

        signatures = {"action": module.action, "get_initial_state": module.begin}
        tf.saved_model.save(module, str(folder), signatures={key: each for key, each in signatures.items() if key not in self.without})
        return folder

    def module(self):
        """It as a tf.Module with the functions `action` and `begin`."""
        import tensorflow as tf

        inputs = [tf.TensorSpec([self.batch, *shape], dtype, name) for name, (shape, dtype) in self._inputs(tf).items()]
        module = tf.Module()
        module.weight = tf.Variable(1.0)  # so that there is something under variables/

        def action(*tensors):
            given = {spec.name: tensor for spec, tensor in zip(inputs, tensors, strict=True)}
            return self._step(tf, given, module.weight)

        def begin(batch_size):
            state = {name: tf.constant(value[0]) for name, value in self.begin().items()} | self.changed
            return {name: tf.tile(value[None], [batch_size, *[1] * value.shape.rank]) for name, value in state.items()}

        module.action = tf.function(action, input_signature=inputs)
        module.begin = tf.function(begin, input_signature=[tf.TensorSpec([], tf.int32, "batch_size")])
        return module

    def _inputs(self, tf) -> dict:
        """(shape without lanes, dtype) by name."""
        step, seen, state = ("0/", "0/observation/", "1/") if self.names == "tf_agents" else ("", "observation/", "policy_state/")
        image, embedding = (self.rows, self.columns, 3), (self.embedding,)
        return {
            **{f"{seen}{name}": (shape, tf.float32) for name, shape in OBSERVATIONS.items()},
            f"{seen}image": (image, tf.uint8),
            f"{seen}natural_language_embedding": (embedding, tf.float32),
            f"{seen}natural_language_instruction": ((), tf.string),
            f"{step}step_type": ((), tf.int32),
            f"{step}reward": ((), tf.float32),
            f"{step}discount": ((), tf.float32),
            **{f"{state}{name}": (value.shape[1:], value.dtype) for name, value in self.begin().items()},
        }

    def _step(self, tf, given: dict, weight) -> dict:
        """The graph: `__call__` in tensorflow, under the names of the signature."""
        short = {name.rpartition("/")[2] if "observation" in name else name: tensor for name, tensor in given.items()}
        prefix = "1/" if self.names == "tf_agents" else "policy_state/"
        state = {name: given[prefix + name] for name in MEMORY}
        lanes = tf.shape(short["image"])[0]
        seen = tf.concat([state["image"][:, 1:], short["image"][:, None]], 1)
        shade = weight * tf.reduce_mean(tf.reshape(tf.cast(seen, tf.float32), [lanes, -1]), 1) / 255
        newest = weight * tf.reduce_mean(tf.reshape(tf.cast(short["image"], tf.float32), [lanes, -1]), 1) / 255
        total = tf.reduce_sum(tf.reshape(tf.cast(short["image"], tf.int32), [lanes, -1]), 1)
        said = (total[:, None] + tf.range(TOKENS)) % 256
        tokens = tf.concat([state["action_tokens"][:, 1:], said[:, None, :, None, None]], 1)
        step, t = state["step_num"] + 1, state["t"] + 2
        count, told = tf.reshape(state["step_num"], [-1]), tf.tanh(tf.reduce_sum(short["natural_language_embedding"], 1))
        tf.debugging.assert_less(count, self.fail, "no such step")
        number, time = tf.cast(count, tf.float32), tf.cast(tf.reshape(t, [-1]), tf.float32)
        spoilt = tf.where(count >= self.spoil, float("nan"), 0.0)
        token_sum = tf.cast(tf.reduce_sum(tf.reshape(tokens, [lanes, -1]), 1), tf.float32)
        outputs = {
            "world_vector": tf.stack([2 * shade - 1, told, number / 100], 1),
            "rotation_delta": tf.stack([token_sum / (HISTORY * TOKENS * 300), -shade, time / 100 + spoilt], 1),
            "gripper_closedness_action": (newest - shade)[:, None],
            "base_displacement_vector": tf.stack([shade, -shade], 1),
            "base_displacement_vertical_rotation": tf.fill([lanes, 1], 0.5),
            "terminate_episode": tf.one_hot(tf.where(count >= self.stop, 0, 1), 3, dtype=tf.int32),
        }
        remembered = {"image": seen, "action_tokens": tokens, "step_num": step, "t": t}
        prefix = "state/" if self.names == "tf_agents" else "policy_state/"
        return {f"action/{key}": each for key, each in outputs.items()} | {f"{prefix}{key}": each for key, each in remembered.items()}
