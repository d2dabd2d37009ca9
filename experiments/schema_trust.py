"""The keys of the command that calibrates how far a world model can be trusted."""

from dataclasses import dataclass
from typing import Any

from worldsim.experiments.options import CPU_OR_CUDA, REQUIRED, SEED, THREADS, option
from worldsim.options import ModelKeys


@dataclass
class TrustConfig(ModelKeys):
    """Keys of `worldsim trust`."""

    data: str = option(REQUIRED, "folder of recordings that the world model was not trained on; its validation split, where it has one")
    world_model: str = option("drawer", "name or checkpoint of the world model to gate")
    out: str | None = option(None, "file for the gate, as gate.json; null only measures")
    episodes: int = option(400, "recordings that are replayed at most", least=10)
    verifier: Any = option(None, "judge of imagined rollouts; null takes the world model's own, else classifier, none counts frames only")
    signal: str | None = option(
        None,
        "what is gated by; null measures all, takes the one that tells best on half of the recordings, and calibrates it on the others",
        choices=("seeds", "denoising", "inverse_dynamics", "judge"),
    )
    over: str = option("mean", "what of its steps counts for a rollout", choices=("mean", "max"))
    target: float = option(0.05, "share of the rollouts let through that may be wrong", least=0)
    level: float = option(0.95, "how sure that is to be", least=0.5)
    tolerance: float | None = option(
        None, "grey levels, a mean over pixels and steps, beyond which a rollout is wrong as well; null counts wrong verdicts only", least=0
    )
    every: int = option(4, "steps between two that are measured, counted back from the last, which always is", least=1)
    draws: int = option(1, "times that such a step is imagined again", least=1)
    noise_level: float = option(0.5, "of the noise that frames are reconstructed from, up to 1", least=0)
    reader: str | None = option(
        None, "checkpoint that reads actions off frames; null trains one beside out on the train split of data, where there is one"
    )
    reader_steps: int = option(600, "optimizer steps of that training", least=1)
    seed: int = option(0, SEED, least=0)
    batch: int = option(25, "episodes stepped together", least=1)
    device: str = option("cpu", CPU_OR_CUDA)
    threads: int = option(0, THREADS, least=0)
