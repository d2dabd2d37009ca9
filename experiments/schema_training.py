"""The keys of the commands that train world models."""

from dataclasses import dataclass
from typing import Any

from worldsim.experiments.options import CPU_OR_CUDA, REQUIRED, SEED, THREADS, option


@dataclass
class TrainConfig:
    """Keys of `worldsim train`."""

    stage: str = option(
        REQUIRED, "what to train", choices=("autoencoder", "pretrain", "causalize", "posttrain", "self-context", "distill", "heads")
    )
    world_model: str = option(
        "drawer", "preset (tiny, drawer, table, transformer, rt1, csgo, recon), YAML file, or folder of a diffusers video U-Net"
    )
    data: str = option("data/drawer", "folder of recorded episodes, or the name of a true world whose recordings lie in data/NAME")
    camera: str | None = option(None, "camera whose pictures are learned; null goes on with that of the stage before, else the frames'")
    out: str | None = option(None, "folder that the checkpoints are written to; null is checkpoints/ and the world model's name")
    init: str | None = option(None, "name or folder of the checkpoint to begin from; null takes the stage before this one in `out`")
    fresh_actions: bool = option(default=False, meaning="give `init` an untrained encoder of actions, for data with other actions than its")
    autoencoder: str | None = option(None, "autoencoder stage, or folder of a diffusers AutoencoderKL; null takes what `init` brings")
    encoder: str | None = option(
        None, "physics encoder of the first frame to add: tiny, or the folder of a DINOv2 or Depth Anything model of transformers"
    )
    transfer: str = option(
        "extrapolative", "how causalize treats the temporal kernels", choices=("shift", "masked", "extrapolative", "mixed")
    )
    norm: str = option("frame", "how norms over time become causal; clip leaves them as they are", choices=("frame", "cumulative", "clip"))
    steps: int | None = option(None, "optimizer steps; null takes the stage's own number (none for causalize)", least=0)
    seconds: float | None = option(None, "stop after this much wall-clock time, saved", least=0)
    batch: int | None = option(None, "clips per step; null takes the preset's or the stage's own number", least=1)
    learning_rate: float | None = option(None, "peak learning rate; null takes the preset's or the stage's own", least=0)
    clip: int | None = option(None, "frames per clip; null takes the preset's", least=2)
    focus: list[str] = option(
        [], "recorded states around whose changes more clips are drawn; [] are those that a hand can move in our own worlds, else none"
    )
    objective: str | None = option(
        None,
        "targets under a nearly clean history, or every frame at its own level; null takes the preset's",
        choices=("two-stream", "forcing"),
    )
    prediction: str | None = option(None, "what the network predicts; null takes the preset's", choices=("clean", "v", "noise", "flow"))
    schedule: str | None = option(
        None, "how noise is added; null takes the preset's", choices=("linear", "cosine", "ddpm", "zero_snr", "zero_snr_rescaled")
    )
    action_dropout: float | None = option(
        None, "share of frames trained without their action, which guidance needs; null takes the preset's", least=0
    )
    average: float | None = option(None, "decay of the averaged weights, 0 for none; null takes the preset's", least=0)
    teacher_steps: int = option(4, "distill: sampling steps of the teacher, the network as it was before", least=2)
    student_steps: int = option(1, "distill: sampling steps that are to do the same; the checkpoint is saved with them", least=1)
    guidance: float | None = option(None, "distill: guidance of the teacher, which the student needs no more; null takes its own", least=0)
    weights: list[float] = option([0, 1, 1, 0], "heads: weights of video, depth, motion and warp; video 0 trains heads alone", least=0)
    moving: list[str] = option(["6:ball"], "heads: NUMBER:STATE, the state that is the place of what a number in `segmentation` stands for")
    depth: str | None = option(None, "heads: TorchScript file that guesses depth; null takes what was recorded")
    flow: str | None = option(None, "heads: TorchScript file that guesses flow, with depth=")
    seed: int = option(0, SEED, least=0)
    threads: int = option(0, THREADS, least=0)
    compile: bool = option(default=False, meaning="compile the network with torch.compile")
    accumulate: int = option(1, "batches whose gradients make one optimizer step", least=1)
    fsdp: bool = option(default=False, meaning="shard weights and optimizer over the processes of torchrun; else each holds all")
    checkpointing: bool = option(default=False, meaning="compute activations twice rather than keep them, to save memory")
    precision: str = option(
        "auto",
        "number format of the network; auto takes bf16 where the machine is faster with it",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    save_seconds: float = option(60.0, "seconds between saves of what resuming needs", least=0)
    device: str = option("cpu", CPU_OR_CUDA)


@dataclass
class PosttrainConfig:
    """Keys of `worldsim posttrain`."""

    mode: str = option(REQUIRED, "objective", choices=("sft", "rwr", "dpo", "grpo"))
    out: str = option(REQUIRED, "folder of the resulting world model; the same command again resumes")
    world_model: str = option("drawer", "name or folder of the world model to begin from")
    data: str = option("data/drawer", "folder of recorded episodes whose starts and actions are imagined again")
    feedback: Any = option(
        None,
        "judge of rollouts: simulator, agreement, inverse_dynamics, vlm, human, or {name: agreement, verifier: NAME}; null asks none",
    )
    learn_from: str | None = option(
        None,
        "real (the recordings; in dpo preferred to rollouts), own (all rollouts) or judged; null is judged where there is feedback",
        choices=("real", "own", "judged"),
    )
    preferences: str | None = option(None, "dpo: file of pairs to learn from, in place of sampling and judging")
    calibration: str | None = option(
        None,
        "what lets another judge than the simulator train: file of worldsim calibrate, or simulator, which measures it on rollouts",
    )
    encoder: str | None = option(None, "physics encoder of the first frame to add: tiny, or the folder of a picture model of transformers")
    trainable: str = option("all", "parameters to train", choices=("all", "lora", "encoder_head"))
    rank: int = option(16, "rank of the adapters of lora", least=1)
    rounds: int = option(1, "times to sample, judge and train; the reference is the model of the round before", least=1)
    contexts: int = option(64, "windows of recordings that are imagined in a round", least=1)
    num_generations: int = option(4, "rollouts of each context", least=1)
    given: int = option(4, "real frames that a rollout begins with", least=1)
    horizon: int = option(8, "frames that are imagined after them", least=1)
    steps: int = option(200, "optimizer steps of a round", least=1)
    batch: int = option(8, "clips, pairs or rollouts per step", least=1)
    learning_rate: float = option(1e-5, "peak learning rate", least=0)
    average: float = option(0.98, "decay of the averaged weights, 0 for none", least=0)
    beta: float = option(500.0, "weight of the reference: of differences of errors in dpo, of the divergence in grpo", least=0)
    lambda_sft: float = option(0.0, "dpo: weight of the chosen clip's own error", least=0)
    epsilon: float = option(1e-3, "grpo: clipping range of the ratio of probabilities, which is a mean over a frame's numbers", least=0)
    scale_rewards: bool = option(default=True, meaning="grpo: divide a group's advantages by their spread")
    weighting: str = option("identity", "rwr: weights are the rewards, or exp of them", choices=("identity", "exp"))
    temperature: float = option(1.0, "rwr with weighting=exp: rewards are divided by this", least=1e-6)
    credit: str = option(
        "clip", "rwr, grpo: a clip's frames share its reward, or each has its own, where the judge gives one", choices=("clip", "frame")
    )
    quantile: float = option(0.5, "share of judged pairs, or of rollouts in sft, that is left out as too close, or too bad", least=0)
    seed: int = option(0, SEED, least=0)
    threads: int = option(0, THREADS, least=0)
    save_seconds: float = option(60.0, "seconds between saves of what resuming needs", least=0)
    device: str = option("cpu", CPU_OR_CUDA)
