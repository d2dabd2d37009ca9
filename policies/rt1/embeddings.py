"""Vectors of instructions, as the Universal Sentence Encoder (large, version 5) made them for RT-1. Knows neither RT-1 nor the encoder.

Every recorded episode of fractal20220817_data carries the 512 numbers of its instruction, so an evaluation from that data set's
instructions needs no encoder. A cache is one safetensors file: a tensor `vectors`, float32 `[N, D]`, and under the metadata key
`instructions` a JSON list of N strings. To make one from imported episodes:

    from worldsim.policies.rt1.embeddings import collect_embeddings
    collect_embeddings("FOLDER OF EPISODES").save("instructions.safetensors")
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldsim.data.files import digest_of, written_whole
from worldsim.data.trajectory_file import read_trajectory, trajectory_paths
from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.types import Trajectory

KEY = "language_embedding"  # where imported episodes keep the vector, among their metadata
SAME = 1e-4  # largest difference between two vectors of one instruction that is called rounding


@dataclass(frozen=True)
class Embeddings:
    """float32 `[D]` by instruction, and where they are from."""

    vectors: Mapping[str, np.ndarray]
    source: str

    def of(self, instruction: str, size: int) -> np.ndarray:
        """The vector of an instruction, float32 `[size]`.

        Raises:
            UnknownName: there is none; with the closest known instructions.
            InvalidInput: it has another length.
        """
        if instruction not in self.vectors:
            close = difflib.get_close_matches(instruction, self.vectors, n=3)
            hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"it knows {len(self.vectors)} others."
            raise UnknownName(
                f'no embedding of the instruction "{instruction}" in {self.source}; {hint} '
                f"Take it into a cache with collect_embeddings (worldsim/policies/rt1/embeddings.py), or set instruction: none for zeros"
            )
        vector = self.vectors[instruction]
        if len(vector) != size:
            raise InvalidInput(f"embeddings in {self.source} have {len(vector)} numbers, the policy takes {size}; its encoder makes others")
        return vector

    def digest(self) -> str:
        """What the embeddings are, as a short hash."""
        return digest_of({name: vector.tolist() for name, vector in self.vectors.items()})

    def save(self, path: str | Path) -> None:
        """Write the cache, whole or not at all."""
        from safetensors.numpy import save_file

        names = sorted(self.vectors)
        with written_whole(path) as aside:
            vectors = np.stack([self.vectors[name] for name in names]).astype(np.float32)
            save_file({"vectors": vectors}, aside, metadata={"instructions": json.dumps(names)})


def load_embeddings(path: str | Path) -> Embeddings:
    """Embeddings from a cache file, or collected from a folder of imported episodes.

    Raises:
        DamagedFile: no such file, or no cache.
        InvalidInput: a folder whose episodes carry none.
    """
    if Path(path).is_dir():
        return collect_embeddings(path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names, vectors = json.loads((file.metadata() or {})["instructions"]), file.get_tensor("vectors")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DamagedFile(
            f"{path} is no cache of embeddings ({type(error).__name__}); make one from imported episodes with collect_embeddings(FOLDER)"
        ) from error
    sound = isinstance(names, list) and all(isinstance(name, str) for name in names) and vectors.dtype == np.float32
    if not sound or vectors.ndim != 2 or len(names) != len(vectors) or not np.isfinite(vectors).all():
        raise DamagedFile(f"{path} holds {vectors.dtype} {list(vectors.shape)} for its list of instructions, expected float32 [N, D] for N")
    return Embeddings(dict(zip(names, vectors, strict=True)), str(path))


def collect_embeddings(folder: str | Path) -> Embeddings:
    """The embeddings that imported episodes carry, by their instructions; every episode below `folder` is read once.

    Raises:
        InvalidInput: no episode carries one, or one instruction has two.
        DamagedFile: an episode that cannot be read.
    """
    vectors: dict[str, np.ndarray] = {}
    for path in trajectory_paths(folder):
        trajectory = read_trajectory(path)
        instruction, vector = str(trajectory.metadata.get("instruction", "")), carried_embedding(trajectory)
        if not instruction or vector is None:
            continue
        known = vectors.setdefault(instruction, vector)
        if known.shape != vector.shape or np.abs(known - vector).max() > SAME:
            raise InvalidInput(f'{path} has another embedding of "{instruction}" than an episode before it; import one data set at a time')
    if not vectors:
        raise InvalidInput(f"no episode below {folder} carries a {KEY}; import them again with: worldsim import rlds PATH out={folder}")
    return Embeddings(vectors, str(folder))


def carried_embedding(trajectory: Trajectory) -> np.ndarray | None:
    """The vector of an episode's instruction, float32 `[D]`; None where it carries none."""
    found = trajectory.metadata.get(KEY)
    return None if found is None else np.asarray(found, dtype=np.float32).ravel()
