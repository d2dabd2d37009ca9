"""The keys of the commands that make things: recordings, weights, policies, judges."""

from dataclasses import dataclass
from typing import Any

from worldsim.experiments.options import CPU_OR_CUDA, REQUIRED, SEED, THREADS, option


@dataclass
class CollectConfig:
    """Keys of `worldsim collect`."""

    out: str = option("data/drawer", "folder that the episodes are written to")
    episodes: int = option(4000, "number of episodes in the folder when the command ends", least=1)
    truth: Any = option("drawer", "true world to record: drawer, drop, gym:ENV_ID, or {name: gym, id: ENV_ID, ...}")
    split: str = option("train", "which of the three disjoint ranges of seeds to record", choices=("train", "validation", "evaluation"))
    seed: int = option(0, SEED, least=0)
    workers: int = option(0, "processes; 0 uses every core", least=0)
    mix: str = option("default", "name of the mixture of behaviours that act")
    policies: list[Any] = option([], "who acts instead: names, checkpoints or mappings with `name`; each episode draws one")
    noise: float | None = option(None, "largest noise on actions, as a share of half their range; null is 0.4", least=0)
    expert: Any = option(None, "policy that is asked at every frame too; its answers are what train-policy then learns")


@dataclass
class ImportConfig:
    """Keys of `worldsim import`."""

    source: str = option(
        REQUIRED,
        "format of the recordings: rlds, mp4-json (also called droid), lerobot, csgo, recon, mp4-npz, video-csv, or one of a plug-in",
    )
    path: str = option(REQUIRED, "folder or file to read")
    out: str | None = option(None, "folder that the episodes are written to; null is data/ and the name of the recordings")
    limit: int | None = option(None, "read this many episodes only", least=1)
    camera: str | None = option(None, "name of the camera whose pictures become the frames; null takes the format's first")
    resize: str = option(
        "64",
        "size of the written pictures: 64 is a centred square, 240x320 is cut to that, 320x512:pad has black borders, none is as recorded",
    )
    views: str = option("all", "whether pictures of the other cameras are kept beside the frames", choices=("all", "none"))
    options: Any = option(
        None,
        "what else the format is told, a mapping: '{rate: 5, rotation: rpy}'; mp4-npz and video-csv take names, rate, frame, rotation, "
        "gripper and rows (frames or steps), mp4-npz also key (the array of actions), csgo takes frames (how many a file holds)",
    )
    actions: str | None = option(None, "which actions, where a data set can give several: vid2world for fractal20220817_data in rlds")


@dataclass
class WeightsConfig:
    """Keys of `worldsim weights`."""

    action: str = option(
        REQUIRED, "turn an official checkpoint into a folder that worldsim reads, or say what a file is", choices=("convert", "check")
    )
    source: str = option(REQUIRED, "the .ckpt or .safetensors file; to check, also a converted folder")
    out: str | None = option(None, "folder that the converted model is written to")
    domain: str = option("rt1", "what the actions are: 13, 51 or 3 numbers", choices=("rt1", "csgo", "recon"))
    base: bool = option(default=False, meaning="the source is DynamiCrafter, to be made causal; a Vid2World checkpoint is never changed")
    transfer: str = option(
        "extrapolative", "weight transfer of the temporal kernels", choices=("shift", "masked", "extrapolative", "mixed")
    )
    norm: str = option("clip", "frames that a GroupNorm looks at: clip as released, frame is strictly causal", choices=("clip", "frame"))
    head: str = option(
        "rows", "last convolution: rows as released, which sees the rows above only, or symmetric", choices=("rows", "symmetric")
    )
    image_tokens: str = option(
        "official",
        "image tokens a frame attends to: official depends on the number of frames, per_frame on nothing",
        choices=("official", "per_frame"),
    )
    towers: str | None = option(None, "another checkpoint, for the frozen parts that the source lacks: autoencoder, image and text tower")
    empty_text: str | None = option(None, "file with the [77, 1024] tensor of the empty text; null computes it with the text tower")


@dataclass
class TrainPolicyConfig:
    """Keys of `worldsim train-policy`."""

    algorithm: str = option("clone", "clone recorded episodes, or learn inside a world model with ppo", choices=("clone", "ppo"))
    data: str = option("data/drawer", "clone: folder of recorded episodes")
    out: str = option("checkpoints/policies", "folder that the checkpoints are written to; with ppo the same folder again resumes")
    name: str = option("cloned", "name of the policy, part of each checkpoint's name")
    steps: int = option(2000, "clone: optimizer steps", least=1)
    save_at: list[int] = option([], "clone: steps to save a checkpoint at, besides the last", least=0)
    width: int = option(24, "clone: channels of the network's first layer; all others follow", least=1)
    episodes: int | None = option(None, "clone: learn from this many episodes only", least=1)
    policy: str | None = option(None, "ppo: cloned policy to begin from, by name or folder")
    env: str = option("worldsim/Drawer-v0", "ppo: environment of the world model to learn in")
    world_model: str | None = option(None, "ppo: world model; null is that of env")
    task: str | None = option(
        None,
        "clone: task whose episodes are learned from, null all; ppo: starts to learn from, a task, a file or a folder, null those of env",
    )
    verifier: str = option("classifier", "ppo: judge that gives the reward")
    watcher: str | None = option(None, "ppo: another judge, which gives no reward and is compared with the first at every check")
    truth: str | None = option("drawer", "ppo: true world of the checks, which nothing is learned from; null checks imagined success only")
    check_task: str | None = option(None, "ppo: starts of the checks; null keeps the last of task for them, untrained on")
    check_episodes: int = option(40, "ppo: episodes of a check, in the world model and in the truth; 0 for no checks", least=0)
    check_every: int = option(5, "ppo: iterations between two checks", least=1)
    alarm: float = option(0.3, "ppo: stop when imagined success has risen by this much more than true success, or the watcher's", least=0)
    select: str = option("last", "ppo: network to keep: the last, or the best in the truth's checks", choices=("last", "truth"))
    iterations: int = option(20, "ppo: rollouts, each of the task's horizon in every lane", least=1)
    lanes: int = option(32, "ppo: episodes side by side", least=1)
    sampling_steps: int | None = option(None, "ppo: denoising steps of the world model; null is its own number", least=1)
    learning_rate: float = option(1e-4, "ppo: learning rate of the actor", least=0)
    critic_rate: float = option(1e-3, "ppo: learning rate of the critic", least=0)
    batch: int = option(192, "ppo: steps per gradient", least=2)
    epochs: int = option(4, "ppo: passes over a rollout", least=1)
    gamma: float = option(0.97, "ppo: discount", least=0)
    log_std: float = option(-1.5, "ppo: logarithm of the noise on actions, as a share of half their range")
    warmup: int = option(1, "ppo: iterations in which only the critic learns", least=0)
    kl: float = option(0.01, "ppo: weight of the divergence from the policy it began from, in nats", least=0)
    target_kl: float = option(0.03, "ppo: divergence within an iteration at which its passes end early", least=0)
    shaping: float = option(0.1, "ppo: reward for each unit that the logit of the judge's score gains; 0 rewards success only", least=0)
    doubt: float = option(0.05, "ppo: cost of a grey level by which the world model disagrees with itself under other noise", least=0)
    doubt_every: int = option(4, "ppo: steps between two that are imagined twice for that", least=1)
    seed: int = option(0, SEED, least=0)
    threads: int = option(0, THREADS, least=0)
    device: str = option("cpu", CPU_OR_CUDA)


@dataclass
class TrainVerifierConfig:
    """Keys of `worldsim train-verifier`."""

    data: str = option("data/drawer", "folder of recorded episodes, or a run folder")
    out: str = option("checkpoints/classifier", "folder that the checkpoint is written to")
    labels: Any = option("state", "who says what success is: state, human, recorded (a data set's flag), or {name: human, labels: FILE}")
    task: str | None = option(None, "learn from episodes of this task only, as recordings name it; null takes all")
    frames: int = option(3, "frames that are looked at, the last ones", least=1)
    rule: str = option("last_step", "what counts as success: at the last step, or ever", choices=("last_step", "ever"))
    abstain: float | None = option(None, "share of its answers that may be wrong, beyond which it abstains; null answers always", least=0)
    held_out: float = option(0.3, "share of the starts held out, where data is not divided into train and validation", least=0)
    every: int = option(3, "with labels=state, steps between two moments that are learned", least=1)
    world_model: str | None = option(None, "world model whose imagined last steps are learned from as well")
    relived: float = option(0.2, "share of the moments with past enough that it imagines", least=0)
    relived_steps: int = option(0, "steps that it imagines up to such a moment, at least the frames of a clip; 0 is exactly those", least=0)
    shift: int = option(1, "largest displacement of worn training clips, in pixels", least=0)
    features: str | None = option(None, "folder of a frozen picture model (DINOv2, CLIP) to stand on, read by transformers")
    hidden: int = option(128, "with features, size of the layer on them; 0 is linear", least=0)
    channels: int = option(24, "without features, channels of the first layer", least=1)
    steps: int = option(2500, "optimizer steps", least=1)
    batch: int = option(64, "clips per step", least=2)
    seed: int = option(0, SEED, least=0)
    threads: int = option(0, THREADS, least=0)
    save_seconds: float = option(60.0, "seconds between saves of what resuming needs", least=0)
    device: str = option("cpu", CPU_OR_CUDA)


@dataclass
class AblateConfig:
    """Keys of `worldsim ablate`."""

    data: str = option("data/drawer", "folder of recorded episodes")
    out: str = option("runs/ablation", "folder that table, numbers and figure are written to; the same folder again resumes")
    world_model: str = option("drawer", "world model whose autoencoder and network shape are used")
    transfers: list[str] = option(
        ["shift", "masked", "extrapolative", "mixed"], "weight transfers", choices=("shift", "masked", "extrapolative", "mixed")
    )
    seeds: int = option(3, "trainings of each variant", least=1)
    pretrain_steps: int = option(3000, "optimizer steps of the bidirectional, action-free model", least=1)
    steps: int = option(300, "optimizer steps of each variant", least=1)
    batch: int = option(4, "clips per step", least=1)
    clip: int = option(12, "frames per clip", least=2)
    learning_rate: float = option(1e-3, "peak learning rate", least=0)
    average: float = option(0.98, "decay of the averaged weights", least=0)
    action_dropout: float = option(0.2, "share of frames trained without their action in the guided variants", least=0)
    scales: list[float] = option([1.5, 2.5], "guidance scales that the guided variants are sampled with, besides 1", least=0)
    sampling_steps: int = option(2, "denoising steps per frame", least=1)
    episodes: int = option(60, "held-out episodes that are replayed", least=2)
    seed: int = option(0, SEED, least=0)
    threads: int = option(0, THREADS, least=0)
    device: str = option("cpu", CPU_OR_CUDA)


@dataclass
class ReproduceConfig:
    """Keys of `worldsim reproduce`."""

    out: str = option("build", "folder that everything is made in; the same folder again resumes")
    world: str = option(
        "drawer",
        "what to make: the drawer world, the table with its three tasks, or what suite=fetch needs of gymnasium-robotics' arm",
        choices=("drawer", "table", "fetch"),
    )
    episodes: int | None = option(
        None,
        "scripted episodes of each task, with fetch of pushing; image policies add to them",
        least=4,
    )
    batch: int | None = option(None, "clips per step of the world model's stages; null takes each stage's own", least=1)
    seed: int = option(0, SEED, least=0)
    device: str = option("cpu", CPU_OR_CUDA)
    compile: bool = option(default=True, meaning="compile the network with torch.compile, which needs a C++ compiler")
    install: bool = option(default=False, meaning="put world model, judge and starts where worldsim ships them")
