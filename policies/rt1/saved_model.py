"""A policy saved as a tensorflow SavedModel, called through its signatures. Knows the names of RT-1's inputs, not what its actions mean.

tf_agents' PolicySaver, which wrote RT-1's folders, gives the signature `action` flat names: `0/observation/image`, `0/step_type`, ... and
`1/NAME` for what the policy remembers; its results are `action/NAME` and `state/NAME`, and the signature `get_initial_state` gives NAME.
Savers that write `observation/...` and `policy_state/NAME` throughout are read as well. Which names, sizes and types there are is
read from the signatures; tf_agents is not needed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.quiet_tensorflow import import_tensorflow
from worldsim.errors import INSTALL, DamagedFile, InvalidInput, MissingDependency
from worldsim.policies.foreign import first_line

MID = 1  # tf_agents' step type of a step between the first and the last; SimplerEnv sends it even on the first, and so do we
STATE = re.compile(r"^(?:1|state|policy_state)/")
ACTION = re.compile(r"^action/")
CONSTANTS = {"step_type": MID, "reward": 0, "discount": 1}

State = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class SavedPolicy:
    """The two signatures and what they want.

    Attributes:
        tensorflow: the module.
        place: where it computes, as tensorflow names devices.
        action: signature from named tensors, each with a first axis of lanes, to named tensors.
        begin: signature that gives the state of a new episode; None where the policy remembers nothing.
        inputs: the tensors that `action` wants, by full name.
        image: full name of the image among them.
        embedding: full name of the instruction's vector; None where there is none.
    """

    tensorflow: Any
    place: str
    action: Any
    begin: Any
    inputs: Mapping[str, Any]
    image: str
    embedding: str | None

    @property
    def frame_size(self) -> tuple[int, int]:
        """(rows, columns) of the image."""
        return tuple(self.inputs[self.image].shape[1:3])

    @property
    def embedding_size(self) -> int:
        """Length of the instruction's vector; 0 where the policy takes none."""
        return int(self.inputs[self.embedding].shape[1]) if self.embedding else 0

    @property
    def batched(self) -> bool:
        """Whether the signature takes any number of lanes at once."""
        return all(spec.shape[0] is None for spec in self.inputs.values())

    def start(self) -> State:
        """What the policy remembers at the beginning of one episode: arrays by name with a first axis of 1."""
        if self.begin is None:
            return {}
        wanted = _named(self.begin)
        with self.tensorflow.device(self.place):
            found = self.begin(**{name: self.tensorflow.constant(1, spec.dtype) for name, spec in wanted.items()})
        return {STATE.sub("", name): value.numpy() for name, value in found.items()}

    def step(self, images: np.ndarray, embeddings: np.ndarray, texts: list[str], state: State) -> tuple[dict[str, np.ndarray], State]:
        """One step of B lanes: (actions by short name, each `[B, ...]`; the new state).

        Args:
            images: uint8 `[B, rows, columns, 3]`.
            embeddings: float32 `[B, embedding_size]`.
            texts: B instructions, for inputs of text.
            state: of the lanes in the same order, joined along the first axis.
        """
        given = {self.image: images, **({self.embedding: embeddings} if self.embedding else {})}
        values = {name: given.get(name, self._filler(name, texts, state)) for name in self.inputs}
        with self.tensorflow.device(self.place):
            found = self.action(**{name: self.tensorflow.constant(value, self.inputs[name].dtype) for name, value in values.items()})
        numbers = {name: value.numpy() for name, value in found.items()}
        remembered = {STATE.sub("", name): value for name, value in numbers.items() if STATE.match(name)}
        return {ACTION.sub("", name): value for name, value in numbers.items() if ACTION.match(name)}, remembered

    def _filler(self, name: str, texts: list[str], state: State) -> Any:
        """What goes into an input that is neither image nor embedding: what is remembered, a constant, the text, or zeros."""
        spec, short = self.inputs[name], name.rpartition("/")[2]
        if STATE.match(name):
            return state[STATE.sub("", name)]
        if spec.dtype == self.tensorflow.string:
            return texts
        return np.full((len(texts), *spec.shape[1:]), CONSTANTS.get(short, 0), spec.dtype.as_numpy_dtype)


def load_saved_policy(path: str | Path, device: str = "cpu") -> SavedPolicy:
    """Read a SavedModel folder and check that it is a policy of images.

    Args:
        path: the folder with `saved_model.pb`.
        device: "cpu", "cuda" or "cuda:1".

    Raises:
        MissingDependency: tensorflow is missing, or a package whose types the folder was saved with.
        DamagedFile: no SavedModel, or a torn one.
        InvalidInput: it lacks a signature, an input or an output, or one has another shape; or no such device.
    """
    tensorflow = import_tensorflow("an RT-1 SavedModel")
    place = _place(tensorflow, device)
    with tensorflow.device(place):
        model = _loaded(tensorflow, Path(path))
    signatures = dict(getattr(model, "signatures", {}))
    if "action" not in signatures:
        raise InvalidInput(f"{path} has the signatures {sorted(signatures) or 'none'}, expected action and get_initial_state, as RT-1 has")
    inputs = _named(signatures["action"])
    policy = SavedPolicy(
        tensorflow,
        place,
        signatures["action"],
        signatures.get("get_initial_state"),
        inputs,
        image=_only(path, inputs, "image"),
        embedding=_only(path, inputs, "natural_language_embedding", optional=True),
    )
    _check_inputs(path, policy)
    _check_state(path, policy)
    _check_start(path, policy)
    return policy


def _named(signature: Any) -> dict[str, Any]:
    """What a signature takes, by the names it was saved with: Python's names of arguments may have no slash."""
    return {spec.name or argument: spec for argument, spec in signature.structured_input_signature[1].items()}


def _only(path: str | Path, inputs: Mapping[str, Any], short: str, *, optional: bool = False) -> str | None:
    """The full name of the observation called `short`."""
    found = [name for name in inputs if not STATE.match(name) and name.rpartition("/")[2] == short]
    if len(found) == 1 or (optional and not found):
        return found[0] if found else None
    raise InvalidInput(f"{path} takes {', '.join(sorted(inputs))}; expected exactly one observation named {short}, found {len(found)}")


def _check_inputs(path: str | Path, policy: SavedPolicy) -> None:
    image = policy.inputs[policy.image]
    if image.dtype != policy.tensorflow.uint8 or image.shape.rank != 4 or image.shape[3] != 3 or None in image.shape[1:]:
        raise InvalidInput(f"{path} takes an image {_said(image)}, expected uint8 [lanes, rows, columns, 3] of a stated size")
    if policy.embedding and (policy.inputs[policy.embedding].shape.rank != 2 or not policy.inputs[policy.embedding].shape[1]):
        raise InvalidInput(f"{path} takes an instruction {_said(policy.inputs[policy.embedding])}, expected float32 [lanes, numbers]")
    for name, spec in policy.inputs.items():
        if spec.shape.rank is None or spec.shape.rank < 1 or spec.shape[0] not in (None, 1) or None in spec.shape[1:]:
            raise InvalidInput(f"{path} takes {name} {_said(spec)}, expected a first axis of lanes (any number, or 1) and stated sizes")


def _check_state(path: str | Path, policy: SavedPolicy) -> None:
    """Refuse where what goes in, what comes out and what an episode begins with are not the same tensors."""
    taken = {STATE.sub("", name): spec for name, spec in policy.inputs.items() if STATE.match(name)}
    given = {STATE.sub("", name): spec for name, spec in policy.action.structured_outputs.items() if STATE.match(name)}
    begun = {STATE.sub("", name): spec for name, spec in policy.begin.structured_outputs.items()} if policy.begin else {}
    if not set(taken) == set(given) == set(begun):
        raise InvalidInput(
            f"{path} remembers other tensors than it is given: action takes {sorted(taken)} and returns {sorted(given)}, "
            f"get_initial_state returns {sorted(begun)}; expected the same names"
        )
    for name, spec in taken.items():
        for other in (given[name], begun[name]):
            if other.dtype != spec.dtype or not spec.shape.is_compatible_with(other.shape):
                raise InvalidInput(f"{path} takes the state {name} as {_said(spec)} and returns it as {_said(other)}; expected the same")


def _check_start(path: str | Path, policy: SavedPolicy) -> None:
    """Refuse where an episode cannot begin."""
    wanted = _named(policy.begin) if policy.begin else {}
    if len(wanted) > 1 or any(spec.shape.rank != 0 or not spec.dtype.is_integer for spec in wanted.values()):
        given = ", ".join(f"{name} {_said(spec)}" for name, spec in wanted.items())
        raise InvalidInput(f"{path} wants {given} to begin an episode, expected batch_size alone, an int32 []")
    try:
        sizes = {name: value.shape[:1] for name, value in policy.start().items()}
    except Exception as error:  # as above
        raise InvalidInput(f"{path} cannot begin an episode ({first_line(error)}); expected get_initial_state to work") from error
    if wrong := [name for name, size in sizes.items() if size != (1,)]:
        raise InvalidInput(f"{path} begins one episode with {wrong[0]} for {list(sizes[wrong[0]])} lanes, expected a first axis of 1")


def _said(spec: Any) -> str:
    return f"{spec.dtype.name} {spec.shape.as_list() if spec.shape.rank is not None else '[?]'}"


def _loaded(tensorflow: Any, path: Path) -> Any:
    """The SavedModel; where it was saved with types that nobody registered, once more with tensorflow_probability, which knows RT-1's."""
    try:
        return tensorflow.saved_model.load(str(path))
    except Exception as error:  # a torn graph fails in any way
        if not isinstance(error, ValueError) or "registered" not in str(error):
            advice = "give the folder that holds saved_model.pb and variables/"
            raise DamagedFile(f"{path} cannot be read as a SavedModel ({first_line(error)}); {advice}") from error
        unknown = first_line(error)
    try:
        import tensorflow_probability  # noqa: F401  (importing it registers its types)

        return tensorflow.saved_model.load(str(path))
    except (ImportError, ValueError) as error:
        advice = f'type: {INSTALL} "tensorflow-probability[tf]"'
        raise MissingDependency(f"{path} was saved with types of a package that is not installed ({unknown}); {advice}") from error


def _place(tensorflow: Any, device: str) -> str:
    """Tensorflow's name of a device of torch. On a GPU it takes memory as it needs it: a world model may live there too.

    Raises:
        InvalidInput: tensorflow sees no such device.
    """
    kind, _, number = device.partition(":")
    seen = tensorflow.config.list_physical_devices("GPU")
    try:
        for gpu in seen:
            tensorflow.config.experimental.set_memory_growth(gpu, enable=True)
    except RuntimeError:  # another part of this process has begun to compute with tensorflow already
        pass
    if kind == "cpu":
        return "/CPU:0"
    if kind != "cuda" or not (number or "0").isdigit() or int(number or 0) >= len(seen):
        raise InvalidInput(f'tensorflow has no device "{device}"; it sees {len(seen)} GPUs; type device=cpu or cuda:NUMBER')
    return f"/GPU:{int(number or 0)}"
