"""What every command may be told: one dataclass per verb, and the table of verbs.

Knows nothing of Hydra and nothing of what the commands do, so that `worldsim --help` reads it in no time. The dataclasses
are not frozen because Hydra refuses to override a frozen one. Defaults live here and nowhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

REQUIRED = "???"  # OmegaConf's mark for a value that the user must give
CPU_OR_CUDA = "cpu, cuda or cuda:1"
SEED = "every draw of the command follows from it"
THREADS = "torch threads; 0 leaves the choice to torch"


def option(default: Any, meaning: str, *, choices: Sequence[str] = (), least: float | None = None) -> Any:
    """A field with its line of help, and the words or the smallest number that it accepts (for a list: each element)."""
    metadata = {"meaning": meaning, "choices": tuple(choices), "least": least}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def recipe(config: Any) -> dict[str, Any]:
    """What a trained result depends on: every key but where things lie and what they run on."""
    elsewhere = ("data", "out", "init", "device", "threads", "compile")
    return {key: value for key, value in vars(config).items() if key not in elsewhere}


@dataclass
class CollectConfig:
    """Keys of `worldsim collect`."""

    out: str = option("data/drawer", "folder that the episodes are written to")
    episodes: int = option(4000, "number of episodes in the folder when the command ends", least=1)
    truth: str = option("drawer", "name of the true world to record")
    split: str = option("train", "which of the three disjoint ranges of seeds to record", choices=("train", "validation", "evaluation"))
    seed: int = option(0, SEED, least=0)
    workers: int = option(0, "processes; 0 uses every core", least=0)
    mix: str = option("default", "name of the mixture of behaviours that act")
    policies: list[str] = option([], "checkpoints of image policies to roll out as well")


@dataclass
class TrainConfig:
    """Keys of `worldsim train`."""

    stage: str = option(REQUIRED, "what to train", choices=("autoencoder", "pretrain", "causalize", "post-train", "self-context"))
    data: str = option("data/drawer", "folder of recorded episodes")
    out: str = option("checkpoints/drawer", "folder that the checkpoints are written to")
    init: str | None = option(None, "checkpoint to begin from; null takes the stage before this one in `out`")
    iterations: int | None = option(None, "optimizer steps; null takes the stage's own number", least=1)
    seconds: float | None = option(None, "stop after this much wall-clock time, saved", least=0)
    batch: int | None = option(None, "clips per step; null takes the stage's own number", least=1)
    learning_rate: float | None = option(None, "peak learning rate; null takes the stage's own", least=0)
    seed: int = option(0, SEED, least=0)
    threads: int = option(0, THREADS, least=0)
    compile: bool = option(default=False, meaning="compile the network with torch.compile")
    precision: str = option(
        "auto", "number format of the network; auto takes bf16 where the machine is faster with it", choices=("auto", "fp32", "bf16")
    )
    trunk: str = option("unet", "the network's shape", choices=("unet", "transformer"))
    prediction: str = option("clean", "what the network predicts", choices=("clean", "v", "noise"))
    action_dropout: float = option(0.1, "share of frames trained without their action, which guidance needs", least=0)
    device: str = option("cpu", CPU_OR_CUDA)


@dataclass
class TrainPolicyConfig:
    """Keys of `worldsim train-policy`."""

    data: str = option("data/drawer", "folder of recorded episodes")
    out: str = option("checkpoints/policies", "folder that the checkpoints are written to")
    name: str = option("cloned", "name of the policy, part of each checkpoint's name")
    iterations: int = option(2000, "optimizer steps", least=1)
    save_at: list[int] = option([], "steps to save a checkpoint at, besides the last", least=0)
    episodes: int | None = option(None, "learn from this many episodes only", least=1)
    seed: int = option(0, SEED, least=0)
    threads: int = option(0, THREADS, least=0)
    device: str = option("cpu", CPU_OR_CUDA)


@dataclass
class TrainVerifierConfig:
    """Keys of `worldsim train-verifier`."""

    data: str = option("data/drawer", "folder of recorded episodes whose true states are known")
    out: str = option("checkpoints/classifier", "folder that the checkpoint is written to")
    iterations: int = option(2000, "optimizer steps", least=1)
    seed: int = option(0, SEED, least=0)
    threads: int = option(0, THREADS, least=0)
    device: str = option("cpu", CPU_OR_CUDA)


@dataclass
class ReproduceConfig:
    """Keys of `worldsim reproduce`."""

    out: str = option("build", "folder that everything is made in; the same folder again resumes")
    episodes: int = option(4500, "scripted training episodes; a quarter as many again come from image policies", least=4)
    batch: int | None = option(None, "clips per step of the world model's stages; null takes each stage's own", least=1)
    seed: int = option(0, SEED, least=0)
    device: str = option("cpu", CPU_OR_CUDA)
    compile: bool = option(default=True, meaning="compile the network with torch.compile, which needs a C++ compiler")
    install: bool = option(default=False, meaning="put world model, judge and starts where worldsim ships them")


@dataclass
class EvaluateConfig:
    """Keys of `worldsim evaluate`."""

    world_model: str = option("drawer", "name or checkpoint of the world model to act in")
    policies: list[Any] = option([], "names, checkpoints or mappings with `name`; [] is the shipped panel")
    task: str = option("drawer", "name or file of the task, or a folder of recordings to start from")
    truth: str | None = option(None, "name of a true world to run beside the model, to measure the agreement")
    verifier: str | None = option(None, "name or checkpoint of the judge; null takes the world model's own, else classifier")
    episodes: int = option(100, "episodes per policy, one per start of the task", least=1)
    seed: int = option(0, SEED, least=0)
    batch: int = option(25, "episodes stepped together", least=1)
    steps: int | None = option(None, "denoising steps per frame; null takes the checkpoint's", least=1)
    guidance: float | None = option(None, "action guidance; 1 is none, null takes the checkpoint's", least=0)
    history: str | None = option(None, "how the past is kept; null takes the checkpoint's", choices=("stream",))
    horizon: int | None = option(None, "steps per episode; null takes the task's", least=1)
    device: str = option("cpu", CPU_OR_CUDA)
    precision: str = option("auto", "number format of the network", choices=("auto", "fp32", "bf16"))
    determinism: str = option("fast", "strict is bit-identical on one machine", choices=("fast", "strict"))
    threads: int = option(0, THREADS, least=0)
    workers: int = option(0, "processes for the true world; 0 uses every core, 1 stays in this process", least=0)
    run: str | None = option(None, "run folder; null is runs/evaluate-<task>, and the same folder again resumes")
    report: bool = option(default=True, meaning="write report/index.html with figures and videos")


@dataclass
class ReplayConfig:
    """Keys of `worldsim replay`."""

    world_model: str = option("drawer", "name or checkpoint of the world model to act in")
    data: str = option(REQUIRED, "folder of recorded episodes whose actions are replayed")
    episodes: int = option(100, "number of episodes to replay", least=1)
    verifier: str | None = option(
        None, "judge of the last predicted frame, compared with recorded states; null takes the world model's own, else classifier"
    )
    shuffle_actions: bool = option(default=False, meaning="give each episode another one's actions: a model that listens must get worse")
    steps: int | None = option(None, "denoising steps per frame; null takes the checkpoint's", least=1)
    guidance: float | None = option(None, "action guidance; 1 is none, null takes the checkpoint's", least=0)
    history: str | None = option(None, "how the past is kept; null takes the checkpoint's", choices=("stream",))
    seed: int = option(0, SEED, least=0)
    batch: int = option(25, "episodes stepped together", least=1)
    out: str | None = option(None, "folder for the numbers and the videos, may be a run folder; null prints only")
    device: str = option("cpu", CPU_OR_CUDA)
    precision: str = option("auto", "number format of the network", choices=("auto", "fp32", "bf16"))
    threads: int = option(0, THREADS, least=0)


@dataclass
class ImportConfig:
    """Keys of `worldsim import`."""

    source: str = option(REQUIRED, "format of the data: rlds or mp4-json")
    path: str = option(REQUIRED, "folder or file to read")
    out: str = option(REQUIRED, "folder that the episodes are written to")
    limit: int | None = option(None, "read this many episodes only", least=1)
    camera: str | None = option(None, "name of the camera; null takes the format's first")
    size: int = option(64, "height and width of the written frames in pixels", least=1)


@dataclass
class ScoreConfig:
    """Keys of `worldsim score`."""

    run: str = option(REQUIRED, "run folder to judge again")
    verifier: str | None = option(None, "another judge; null rebuilds the results from the verdicts that are there")


@dataclass
class DemoConfig:
    """Keys of `worldsim demo`."""

    run: str = option("runs/demo", "run folder; the same folder again resumes")
    episodes: int | None = option(None, "episodes per policy; null takes the demo's own number", least=1)


@dataclass
class BenchConfig:
    """Keys of `worldsim bench`."""

    out: str = option("bench.json", "file that the timings are written to")
    world_model: str = option("drawer", "name or checkpoint of the world model to time")
    lanes: list[int] = option([1, 8, 25], "numbers of parallel worlds to time", least=1)
    steps: list[int] = option([1, 2, 4], "numbers of denoising steps to time", least=1)
    batch: int = option(25, "lanes in the timing of the model alone", least=1)
    frames: int = option(24, "frames per lane in each timing", least=1)
    precision: str = option("auto", "number format of the network", choices=("auto", "fp32", "bf16"))
    threads: int = option(0, THREADS, least=0)


@dataclass
class DoctorConfig:
    """`worldsim doctor` takes no keys."""


@dataclass
class StatusConfig:
    """Keys of `worldsim status`."""

    run: str = option(REQUIRED, "run folder to look at")


@dataclass(frozen=True)
class Verb:
    """One command: its name, the dataclass of its keys, and a line of help. Its module is named after it and has `run(config)`."""

    name: str
    config: type
    meaning: str

    @property
    def stem(self) -> str:
        """The name as a file name: `train-policy` is `train_policy`."""
        return self.name.replace("-", "_")

    @property
    def module(self) -> str:
        """The module whose `run(config)` does the work."""
        return f"worldsim.experiments.{'import_' if self.name == 'import' else self.stem}"


VERBS = {
    verb.name: verb
    for verb in (
        Verb("demo", DemoConfig, "Rank the shipped policies in the shipped world and check the ranking against the truth."),
        Verb("collect", CollectConfig, "Record episodes of a true world."),
        Verb("import", ImportConfig, "Turn RLDS or mp4-and-JSON recordings of robots into episode files."),
        Verb("train", TrainConfig, "Train one stage of a world model."),
        Verb("train-policy", TrainPolicyConfig, "Clone a policy from recorded episodes."),
        Verb("train-verifier", TrainVerifierConfig, "Train a judge of success on recorded episodes."),
        Verb("evaluate", EvaluateConfig, "Let policies act in a world model, judge them and rank them."),
        Verb("replay", ReplayConfig, "Feed recorded actions to a world model and compare it with what happened."),
        Verb("score", ScoreConfig, "Judge a run again and rebuild its results and report."),
        Verb("reproduce", ReproduceConfig, "Make everything that ships again: data, policies, judge, world model."),
        Verb("status", StatusConfig, "Say how far a run is."),
        Verb("bench", BenchConfig, "Time a world model on this machine."),
        Verb("doctor", DoctorConfig, "Say what this machine has, what it lacks and what to type."),
    )
}
