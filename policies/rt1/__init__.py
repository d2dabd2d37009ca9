"""RT-1 and RT-1-X from the SavedModel folders that were published. Importing this loads no tensorflow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.registry import POLICIES
from worldsim.types import ActionSpec

NOTHING = "none"  # as an instruction: zeros in place of the vector
FITS = ("pad", "crop")


@POLICIES.register("rt1")
@dataclass
class RT1Config:
    """A policy of the RT-1 family, as a tensorflow SavedModel.

    Attributes:
        path: the folder with `saved_model.pb`.
        embeddings: vectors of instructions: a cache file, or a folder of imported episodes that carry them (see `rt1/embeddings.py`).
        instruction: what the policy is told; None is the task's instruction, "none" is nothing (zeros).
        actions: "raw7" (as fractal20220817_data recorded), "vid2world13" (for a world model converted from Vid2World's RT-1),
            "simpler-google" or "simpler-widowx" (as SimplerEnv hands them to its robots); None gives, as recorded, what the world names.
        fit: "pad" keeps the whole frame inside black borders, as SimplerEnv does; "crop" takes the largest centred part of the image's
            shape, which removes the side bars that Vid2World's RT-1 frames have.
        terminate: "hold" keeps a lane still after the policy said that it is done; "ignore" lets it go on.
        out_of_range: "refuse" an action beyond the bounds of RT-1's outputs, or "clip" it: RT-1-X gives larger ones.
        batched: one call for all lanes, for networks whose memory allows it. RT-1's own does not: it counts steps once per call.
        device: "cpu", "cuda" or "cuda:1".
    """

    path: str
    embeddings: str | None = None
    instruction: str | None = None
    actions: str | None = None
    fit: str = "pad"
    terminate: str = "hold"
    out_of_range: str = "refuse"
    batched: bool = False
    device: str = "cpu"

    def build(self, action: ActionSpec | None = None) -> Any:
        """Load the folder; `action` is the world's and is compared by whoever joins the two.

        Raises:
            MissingDependency: no tensorflow.
            DamagedFile, InvalidInput, UnknownName: no such policy or embeddings, or an option that is none of those above.
        """
        from worldsim.policies.foreign import clips
        from worldsim.policies.rt1.actions import form
        from worldsim.policies.rt1.policy import RT1Policy
        from worldsim.policies.rt1.saved_model import load_saved_policy

        for key, known in (("fit", FITS), ("terminate", ("hold", "ignore"))):
            if getattr(self, key) not in known:
                raise InvalidInput(f'{key} of policy rt1 is "{getattr(self, key)}", expected {" or ".join(known)}')
        acts, clip = form(self.actions, action), clips(self.out_of_range)
        network = load_saved_policy(self.path, self.device)
        if self.batched and not network.batched:
            raise InvalidInput(f"{self.path} takes one lane at a time; leave batched away")
        told, fit = self._told(network.embedding_size), self._fit(*network.frame_size)
        return RT1Policy(network, acts, told, fit, clip=clip, batched=self.batched, until_done=self.terminate == "hold")

    def facts(self) -> dict[str, str]:
        """What identifies network and embeddings, wherever they lie.

        Raises:
            DamagedFile, InvalidInput: no such files.
        """
        from worldsim.policies.foreign import fingerprint

        return {"sha256": fingerprint(self.path)} | ({"embeddings": self._embeddings().digest()} if self.embeddings else {})

    def _embeddings(self) -> Any:
        from worldsim.policies.rt1.embeddings import load_embeddings

        return load_embeddings(self.embeddings)

    def _told(self, size: int) -> Callable[[str], tuple[str, np.ndarray]]:
        """From the instruction of a task to what the policy is told: (text, vector)."""
        known = self._embeddings() if self.embeddings and size else None

        def told(instruction: str) -> tuple[str, np.ndarray]:
            text = instruction if self.instruction is None else self.instruction
            if text in ("", NOTHING):
                return "", np.zeros(size, np.float32)
            if known is None and size:
                raise InvalidInput(
                    f'policy rt1 needs the embedding of "{text}"; give embeddings=FILE_OR_FOLDER of imported episodes that carry them '
                    "(worldsim/policies/rt1/embeddings.py says how), or instruction: none for zeros"
                )
            return text, known.of(text, size) if known else np.zeros(0, np.float32)

        return told

    def _fit(self, height: int, width: int) -> Callable[[np.ndarray], np.ndarray]:
        """From frames uint8 `[B, H, W, 3]` to the size of the network's image, by the interpolation it was trained with."""
        from worldsim.data.resizing import centred, resize_with_pad

        def fit(frames: np.ndarray) -> np.ndarray:
            seen = centred(frames, height / width) if self.fit == "crop" else frames
            return resize_with_pad(seen, height, width, "point")

        return fit
