"""The keys of the commands that run, measure and show."""

from dataclasses import dataclass
from typing import Any

from worldsim.experiments.options import CPU_OR_CUDA, REQUIRED, SEED, THREADS, option
from worldsim.options import EngineKeys, ModelKeys


@dataclass
class EvaluateConfig(ModelKeys):
    """Keys of `worldsim evaluate`."""

    world_model: str = option("drawer", "name or checkpoint of the world model to act in")
    policies: list[Any] = option([], "names, checkpoints or mappings with `name`; [] is the shipped panel")
    task: Any = option(
        None, "name or file of the task, a folder of recordings to start from, or gym:ENV_ID; null is that of the truth, else drawer"
    )
    truth: Any = option(None, "true world to run beside the model, to measure the agreement: drawer, drop, gym:ENV_ID, or a mapping")
    verifier: Any = option(None, "name, checkpoint or mapping of the judge; null takes the world model's own, else classifier")
    episodes: int = option(100, "episodes per policy, one per start of the task", least=1)
    seed: int = option(0, SEED, least=0)
    batch: int = option(25, "episodes stepped together", least=1)
    horizon: int | None = option(None, "steps per episode; null takes the task's", least=1)
    device: str = option("cpu", CPU_OR_CUDA)
    determinism: str = option(
        "fast", "strict is bit-identical on one machine, whatever the batch, and several times slower", choices=("fast", "strict")
    )
    threads: int = option(0, THREADS, least=0)
    executor: str = option("local", "ray spreads the episodes over processes of this machine or of a cluster", choices=("local", "ray"))
    ray_address: str | None = option(None, "HOST:PORT of a Ray cluster, or auto; null makes one of this machine for the time being")
    workers: int = option(
        0, "processes for the true world, with executor=ray for all episodes; 0 uses every core or GPU, 1 stays in this process", least=0
    )
    run: str | None = option(None, "run folder; null is runs/evaluate-<task>, and the same folder again resumes")
    probe: int = option(
        0,
        "episodes of each kind that must fail (no motion, an untrained policy, actions that failed, shuffled ones) for the optimism rate",
        least=0,
    )
    probe_policy: Any = option(None, "the probe's untrained policy; null is the shipped begin, where it fits")
    shard: str | None = option(
        None, "play one part of the plan only, as 2/4, in run/shards/2-of-4; worldsim merge puts all of them together"
    )
    ignore_disk: bool = option(default=False, meaning="begin though the disk looks too small for all episodes")
    drift: int = option(
        0,
        "true episodes of the run, or else recordings of the task, whose actions are replayed open loop: picture quality by step",
        least=0,
    )
    retry: bool = option(default=False, meaning="play again the episodes that a broken world or an unreachable policy left unscored")
    report: bool = option(default=True, meaning="write report/index.html with figures and videos")
    suite: str | None = option(
        None, "several evaluations and one page of them: drawer_shifts, or a YAML file; run= is then the folder of them all"
    )


@dataclass
class ReplayConfig(ModelKeys):
    """Keys of `worldsim replay`, for an episode of a run (run, episode) or for recordings (data)."""

    run: str | None = option(None, "run folder of the episode to play again: the policy acts again from its start and seed")
    episode: str | None = option(None, "id of that episode, or as much of its beginning as no other id shares")
    data: str | None = option(None, "instead: folder of recorded episodes whose actions are replayed, open loop")
    world_model: str | None = option(
        None, "name or checkpoint of the world model; null is the run's own, for recordings drawer. Another asks what it would have shown"
    )
    episodes: int = option(100, "number of recordings to replay", least=1)
    verifier: Any = option(
        None, "judge of the last predicted frame, compared with recorded states; null takes the world model's own, else classifier"
    )
    shuffle_actions: bool = option(default=False, meaning="give each episode another one's actions: a model that listens must get worse")
    check_actions: bool = option(
        default=False, meaning="only check that the recorded actions move the picture as recorded, and no changed ones do so better"
    )
    seed: int = option(0, SEED, least=0)
    batch: int = option(25, "episodes stepped together", least=1)
    out: str | None = option(
        None,
        "folder for numbers and videos; null is RUN/replays for an episode, and prints only for recordings, where it may be a run folder",
    )
    device: str | None = option(None, f"{CPU_OR_CUDA}; null is the run's own, for recordings cpu")
    threads: int = option(0, THREADS, least=0)


@dataclass
class EvaluateVideoConfig(ModelKeys):
    """Keys of `worldsim evaluate-video`."""

    world_model: str = option("drawer", "name or checkpoint of the world model that predicts")
    data: str = option(REQUIRED, "folder of recorded episodes")
    protocol: str = option("drawer", "what is given, predicted and scored: drawer, drop, rt1, csgo, recon, recon_rollout or a YAML file")
    clips: str | None = option(None, "clips.json of an earlier run, to score the same clips; null chooses by the protocol's seed")
    limit: int | None = option(None, "score at most this many clips; null takes the protocol's number", least=1)
    mode: str | None = option(None, "frame by frame or all together; null takes the protocol's", choices=("ar", "nar"))
    crop: list[int] = option([], "height and width cut from the centre before scoring; [] takes the protocol's", least=1)
    fvd: str | None = option(None, "I3D as a TorchScript file, FILE#SHA256, or a YAML file that says how to call it; null leaves FVD out")
    fid: str | None = option(None, "Inception, likewise")
    lpips: str | None = option(None, "LPIPS, likewise")
    dreamsim: str | None = option(None, "DreamSim, likewise")
    depth: str | None = option(None, "depth estimator as a TorchScript file, in place of the model's heads; with flow=")
    flow: str | None = option(None, "flow estimator, likewise")
    shuffle_actions: bool = option(default=False, meaning="give each clip another one's actions: a model that listens must get worse")
    counterfactual: bool = option(
        default=False, meaning="predict each clip under another one's actions too: does the model react as much as the world does?"
    )
    surprise: bool = option(
        default=False, meaning="does what cannot have happened surprise the model more than what did? By its own denoising error"
    )
    seed: int = option(0, "every draw of the model follows from it; the clips follow from the protocol's", least=0)
    batch: int = option(25, "clips predicted together", least=1)
    out: str | None = option(None, "folder for numbers, clip list and pictures; null prints only")
    device: str = option("cpu", CPU_OR_CUDA)
    threads: int = option(0, THREADS, least=0)


@dataclass
class ScoreConfig:
    """Keys of `worldsim score`."""

    run: str = option(REQUIRED, "run folder to judge again")
    verifier: Any = option(None, "another judge, as name, checkpoint or {name: NAME, ...}; null rebuilds from the verdicts that are there")


@dataclass
class MergeConfig:
    """Keys of `worldsim merge`."""

    run: str = option(REQUIRED, "run folder that episodes and verdicts are copied into; it may be new")
    shards: list[str] = option([], "run folders to copy them from; [] is all in run/shards")
    report: bool = option(default=True, meaning="write report/index.html with figures and videos")


@dataclass
class CalibrateConfig:
    """Keys of `worldsim calibrate`."""

    run: str = option(REQUIRED, "run folder whose episodes the judge is checked on")
    verifier: str | None = option(None, "judge, by the name that its verdicts are kept under; null is the run's own")
    against: str = option(
        REQUIRED, "what is right: people's labels, or the true state where the run has a truth", choices=("human", "state")
    )
    count: int = option(100, "episodes that people should label, half of them successes by the judge's verdict", least=2)
    seed: int = option(0, "which of them: every draw follows from it", least=0)
    rater: str | None = option(None, "the one person whose labels count; null is the majority of all who could tell")
    labels: str | None = option(None, "exported labels, or another run, to read them from; null is this run")


@dataclass
class LabelConfig:
    """Keys of `worldsim label`."""

    run: str = option(REQUIRED, "run folder whose clips are labelled")
    rater: str | None = option(None, "who labels; null is the name you are logged in under")
    world: str = option("imagined", "whose clips", choices=("imagined", "truth", "both"))
    layout: str = option("single", "one clip, or beside it the true one from the same start, if any", choices=("single", "pair"))
    count: int | None = option(None, "label so many clips, chosen by the seed, the same for every rater; null is all", least=1)
    seed: int = option(0, "which clips are chosen, and each rater's order", least=0)
    episodes: str | None = option(None, "file with the ids of the clips to label, as worldsim calibrate writes one; null is all")
    rule: str | None = option(None, "when a clip is a success; null takes the run's, else last_step", choices=("last_step", "ever"))
    rubric: str | None = option(None, "what raters are to look for: a text, or a file that holds one")
    port: int = option(0, "port on this machine's loopback; 0 takes a free one", least=0)
    open: bool = option(default=True, meaning="open the page in a browser, where there is a screen")
    summary: bool = option(default=False, meaning="only print who labelled what, and how far raters agree")
    export: str | None = option(None, "only write all labels, or those of rater, to a file that ends in .csv or .jsonl")
    import_: str | None = option(None, "only read labels from such a file into the run; typed as import=FILE")


@dataclass
class PlayConfig(ModelKeys):
    """Keys of `worldsim play`."""

    world_model: str = option("drawer", "name or checkpoint of the world model to play in")
    task: str | None = option(
        None, "where games begin: name or file of a task, or a folder of recordings; null is the task called like the world model"
    )
    truth: str | None = option("auto", "name of a true world to go beside it; auto takes the one called like the world model, null none")
    policy: Any = option(None, "who can be handed over to, as name, checkpoint or mapping; null offers the shipped ones that fit")
    start: int = option(0, "number of the task's start to begin at", least=0)
    seed: int = option(0, "every draw of the first game follows from it", least=0)
    out: str = option("runs/play", "folder for recordings: episode files in its folders imagined and truth")
    frames: int = option(1000, "frames held to go back to, each with the model's state; the oldest game is forgotten first", least=2)
    device: str = option("cpu", CPU_OR_CUDA)
    determinism: str = option(
        "strict", "strict gives the same bits for the same actions on one machine; fast may use all threads", choices=("fast", "strict")
    )
    threads: int = option(0, THREADS, least=0)
    port: int = option(0, "port on this machine's loopback; 0 takes a free one", least=0)
    open: bool = option(default=True, meaning="open the page in a browser, where there is a screen")


@dataclass
class CompareConfig:
    """Keys of `worldsim compare`."""

    run: Any = option(
        None, "run folders, one per task, or references whose published simulators are compared; simpler takes all tables of that family"
    )
    real: str | None = option(
        None,
        "CSV file of real results (policy,success[,start][,task] or policy,episodes,successes) or a reference; list lists them; "
        "null is own truth",
    )
    names: Any = option(None, "real names of simulated policies that are called otherwise, as {mine: rt-1-converged}")
    tasks: Any = option(None, "real names of simulated tasks that are called otherwise, as {drawer: close_drawer}")
    setting: str | None = option(None, "which simulator of a reference given as run, as vm; null takes the first, of a family all")
    accept: list[str] = option([], "fields of the recipe that may differ between the sides, as [horizon]; the difference is printed")
    average: str | None = option(
        None, "also average each policy over the tasks, which mixes them; null never does", choices=("equal_task_mean", "pooled")
    )
    out: str | None = option(None, "file for the numbers as JSON, with its schema beside it; null prints only")
    report: str | None = option(None, "folder for a page with the tables, figures and clips; null writes none")


@dataclass
class DemoConfig:
    """Keys of `worldsim demo`."""

    run: str = option("runs/demo", "run folder; the same folder again resumes")
    episodes: int | None = option(None, "episodes per policy; null takes the demo's own number", least=1)


@dataclass
class BenchConfig(EngineKeys):
    """Keys of `worldsim bench`."""

    out: str = option("bench.json", "file that the timings are written to")
    parts: list[str] = option(
        ["memory", "frames", "env", "evaluation", "peers"],
        "what to measure; engine and decoder say what each of the engine's options is worth, play what worldsim play reaches, scaling what "
        "workers of Ray add",
        choices=("memory", "frames", "env", "evaluation", "scaling", "engine", "decoder", "play", "peers"),
    )
    world_model: str = option("drawer", "name or checkpoint of the world model to time")
    preset: str | None = option(None, "sizes to time in the model alone with random weights in its place, as dynamicrafter_small or rt1")
    histories: list[str] = option(
        ["stream", "block", "window", "recompute"],
        "ways to keep the past to time in the model alone",
        choices=("stream", "block", "window", "recompute"),
    )
    steps: list[int] = option([1, 2, 4, 10], "numbers of denoising steps to time in the model alone", least=1)
    composed: list[int] = option([], "further numbers of steps, whose time is put together from those measured", least=1)
    guidance: float | None = option(None, "action guidance in the model alone; 1 is none, null takes its own", least=0)
    batch: int = option(1, "lanes in the timing of the model alone", least=1)
    lanes: list[int] = option([1, 8, 32], "numbers of parallel worlds to time in the environment", least=1)
    frames: int = option(0, "frames per lane in each timing; 0 is as many as pass until their cost repeats", least=0)
    repeats: int = option(5, "timings of each, in turn, of which the least counts", least=1)
    policies: list[Any] = option([], "policies of the short evaluation; [] is the first and the last of the shipped panel")
    task: str = option("drawer", "task of the short evaluation, and of play")
    verifier: Any = option(None, "judge of the short evaluation; null takes the world model's own, else classifier")
    episodes: int = option(25, "episodes per policy of the short evaluation", least=1)
    workers: list[int] = option([1, 2, 4], "numbers of Ray's workers, each of one thread, that share the short evaluation", least=1)
    evaluation_batch: int = option(25, "episodes of the short evaluation that are stepped together", least=1)
    peer_diamond: str | None = option(None, "checkout of DIAMOND to time beside ours; also --peer diamond=FOLDER")
    peer_worldgym: str | None = option(None, "checkout of WorldGym to time beside ours; also --peer worldgym=FOLDER")
    quality_seconds: float = option(0.0, "processor time in which peers and ours are trained to be compared in quality; 0 is none", least=0)
    quality_data: str | None = option(None, "folder of recordings that they learn from, with its train and validation splits")
    device: str = option("cpu", CPU_OR_CUDA)
    peak_tflops: float | None = option(None, "peak of the device, to set what is reached beside it", least=1)
    threads: int = option(0, THREADS, least=0)


@dataclass
class ServePolicyConfig:
    """Keys of `worldsim serve-policy`."""

    policy: Any = option(REQUIRED, "name, checkpoint or mapping with `name` of the policy to serve")
    host: str = option("127.0.0.1", "address to listen at; another than this machine's own needs allow_remote=true")
    port: int = option(8000, "port to listen at; 0 takes a free one", least=0)
    world_model: str | None = option(None, "world whose actions a policy takes that has none of its own, such as random")
    api_key_env: str | None = option(
        None, "name of the environment variable that holds the key which clients must send; null asks for none"
    )
    allow_remote: bool = option(default=False, meaning="let other machines connect, in plain text")


@dataclass
class DoctorConfig:
    """Keys of `worldsim doctor`."""

    out: str | None = option(None, "JSON file for a bug report, without names of people and machines; null prints only")


@dataclass
class StatusConfig:
    """Keys of `worldsim status`."""

    run: str = option(REQUIRED, "run folder to look at")
    more: list[str] = option([], "further run folders")
