"""The table of verbs: what every command may be told, in one dataclass per verb.

Knows nothing of Hydra and nothing of what the commands do, so that `worldsim --help` reads it in no time. The dataclasses
are not frozen because Hydra refuses to override a frozen one. Defaults live there and nowhere else.
"""

from dataclasses import dataclass

from worldsim.experiments.options import REQUIRED, recipe
from worldsim.experiments.schema_judging import (
    BenchConfig,
    CalibrateConfig,
    CompareConfig,
    DemoConfig,
    DoctorConfig,
    EvaluateConfig,
    EvaluateVideoConfig,
    LabelConfig,
    MergeConfig,
    PlayConfig,
    ReplayConfig,
    ScoreConfig,
    ServePolicyConfig,
    StatusConfig,
)
from worldsim.experiments.schema_making import (
    AblateConfig,
    CollectConfig,
    ImportConfig,
    ReproduceConfig,
    TrainPolicyConfig,
    TrainVerifierConfig,
    WeightsConfig,
)
from worldsim.experiments.schema_training import PosttrainConfig, TrainConfig
from worldsim.experiments.schema_trust import TrustConfig

__all__ = [
    "REQUIRED",
    "VERBS",
    "Verb",
    "recipe",
    "BenchConfig",
    "CalibrateConfig",
    "CompareConfig",
    "DemoConfig",
    "DoctorConfig",
    "EvaluateConfig",
    "EvaluateVideoConfig",
    "LabelConfig",
    "MergeConfig",
    "PlayConfig",
    "ReplayConfig",
    "ScoreConfig",
    "ServePolicyConfig",
    "StatusConfig",
    "TrustConfig",
    "AblateConfig",
    "CollectConfig",
    "ImportConfig",
    "PosttrainConfig",
    "ReproduceConfig",
    "TrainConfig",
    "TrainPolicyConfig",
    "TrainVerifierConfig",
    "WeightsConfig",
]


@dataclass(frozen=True)
class Verb:
    """One command: its name, the dataclass of its keys, a line of help, and the keys whose names may be left out, in their order.

    `gathers` is the last of these keys where it takes all further words as a list. Its module is named after it and has `run(config)`.
    """

    name: str
    config: type
    meaning: str
    positional: tuple[str, ...] = ()
    gathers: str | None = None

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
        Verb("import", ImportConfig, "Turn recordings of robots into episode files.", ("source", "path")),
        Verb("train", TrainConfig, "Train one stage of a world model."),
        Verb("posttrain", PosttrainConfig, "Train a world model on with feedback: finetuning, weighted regression, preferences, groups."),
        Verb("train-policy", TrainPolicyConfig, "Clone a policy from recorded episodes, or train one on inside a world model."),
        Verb("train-verifier", TrainVerifierConfig, "Train a judge of success on recorded episodes."),
        Verb("evaluate", EvaluateConfig, "Let policies act in a world model, judge them and rank them."),
        Verb("replay", ReplayConfig, "Play an episode of a run again, or recorded actions in a world model, and compare.", ("run",)),
        Verb("evaluate-video", EvaluateVideoConfig, "Measure predicted video by a published protocol: PSNR, SSIM, LPIPS, FVD, FID."),
        Verb("score", ScoreConfig, "Judge a run again and rebuild its results and report.", ("run",)),
        Verb("label", LabelConfig, "Label clips of a run by hand, blind, on a page of this machine; say how far raters agree.", ("run",)),
        Verb("play", PlayConfig, "Drive a world model by hand on a page of this machine, beside the truth; rewind, branch, record."),
        Verb("calibrate", CalibrateConfig, "Say how often a judge errs, against people or the true state, and correct rates.", ("run",)),
        Verb(
            "trust", TrustConfig, "Say how well a world model's doubt tells its errors, and calibrate a limit beyond which nobody judges."
        ),
        Verb("compare", CompareConfig, "Set simulated beside real success rates and say how far they agree.", ("run",), "run"),
        Verb("ablate", AblateConfig, "Compare weight transfers and guidance at a small scale (Vid2World, Table 2)."),
        Verb("reproduce", ReproduceConfig, "Make everything that ships again: data, policies, judge, world model."),
        Verb("weights", WeightsConfig, "Convert official Vid2World or DynamiCrafter checkpoints, or look at one.", ("action", "source")),
        Verb("serve-policy", ServePolicyConfig, "Let other harnesses ask a policy, over openpi's wire.", ("policy",)),
        Verb("merge", MergeConfig, "Put shards of a run, played anywhere, together into one.", ("run", "shards"), "shards"),
        Verb("status", StatusConfig, "Say how far runs are.", ("run", "more"), "more"),
        Verb("bench", BenchConfig, "Time a world model on this machine."),
        Verb("doctor", DoctorConfig, "Say what this machine has, what it lacks and what to type."),
    )
}
