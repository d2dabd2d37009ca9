"""`worldsim posttrain`: rounds of sampling, judging and training, kept in `out/rounds/N`; the last leaves the world model in `out`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from worldsim.data.files import described_in, sha256_of, write_json
from worldsim.data.windows import focus_of
from worldsim.errors import InvalidInput, RunMismatch, WorldsimError
from worldsim.experiments.posttrain_clips import judge_of, pairs_of, permit, rewards_of, single_clips, taken_of, with_noise
from worldsim.experiments.recordings import read_split, recordings_folder
from worldsim.experiments.schema import PosttrainConfig, recipe
from worldsim.experiments.setting import use_torch
from worldsim.experiments.stage_parts import with_encoder

SHOWN = 16  # contexts that the result is compared on
DROPOUT = 0.1  # of actions, where a checkpoint does not say what it was trained with


def run(config: PosttrainConfig) -> None:
    """Post-train and write the world model; the same command again goes on from what was saved.

    Raises:
        WorldsimError: anything about the request that cannot be met, before a step is trained.
    """
    from worldsim.load import find_checkpoint
    from worldsim.registry import WORLD_MODELS

    config = replace(config, learn_from=config.learn_from or ("judged" if config.feedback else "real"))
    check(config)
    permit(config)
    use_torch(config.threads, config.device)
    begin, out = find_checkpoint("world model", config.world_model, WORLD_MODELS.names()), Path(config.out)
    _same_request(config, begin, out)
    recorded = [] if config.preferences else read_split(recordings_folder(config.data), "train")
    for number in range(1, config.rounds + 1):
        last = number == config.rounds
        folder = out / "rounds" / str(number)
        begin = _round(config, number, begin, folder, out if last else folder / "world_model", recorded)
    print(f"wrote {out}")


def check(config: PosttrainConfig) -> None:
    """Refuse requests that contradict themselves.

    Raises:
        InvalidInput: with what to type.
    """
    if config.preferences and (config.mode != "dpo" or config.feedback):
        raise InvalidInput("preferences=FILE is learned from by mode=dpo, and no judge is asked; leave feedback out")
    if config.learn_from == "judged" and config.feedback is None and not config.preferences:
        raise InvalidInput("learn_from=judged needs a judge; type feedback=simulator, or another")
    if config.learn_from != "judged" and config.feedback is not None:
        raise InvalidInput(f"learn_from={config.learn_from} asks no judge; leave feedback or learn_from out")
    if config.mode in ("rwr", "grpo") and config.learn_from != "judged":
        raise InvalidInput(f"mode={config.mode} learns from rewards; type feedback=simulator, or another judge")
    if config.mode == "dpo" and config.learn_from == "own":
        raise InvalidInput("learn_from=own has no pairs; type learn_from=real, or feedback=simulator")
    if config.learn_from == "judged" and not config.preferences and config.num_generations < 2:
        raise InvalidInput("num_generations=1 leaves nothing to compare; type num_generations=4")
    if config.credit == "frame" and config.mode not in ("rwr", "grpo"):
        raise InvalidInput(f"mode={config.mode} learns from whole clips; leave credit=frame out, or type mode=rwr or mode=grpo")
    if config.mode == "grpo" and config.trainable == "encoder_head":
        raise InvalidInput("the steps of grpo were taken under what the encoder said, so its head gets no gradient; type mode=dpo")
    if not 0 <= config.quantile < 1:
        raise InvalidInput(f"quantile={config.quantile}, expected a share from 0 to below 1")


def _same_request(config: PosttrainConfig, begin: Path, out: Path) -> None:
    """Remember what was asked, and refuse to go on with something else in the same folder."""
    asked = recipe(config) | {"world_model": sha256_of(begin / "model.safetensors")}
    if config.preferences:
        asked["preferences"] = sha256_of(config.preferences) if Path(config.preferences).is_file() else config.preferences
    held = described_in(out / "rounds")
    if held is None:
        write_json(out / "rounds" / "config.json", asked)
    elif different := sorted(key for key in held.keys() | asked.keys() if held.get(key) != asked.get(key)):
        key = different[0]
        raise RunMismatch(f"{out} was made with {key}={held.get(key)}, now asked for {asked.get(key)}; choose another out=")


def _round(config: PosttrainConfig, number: int, begin: Path, folder: Path, made: Path, recorded: list) -> Path:
    """Sample, judge, train and save; returns the folder of the world model."""
    from worldsim.models.causal import causality_leak
    from worldsim.posttraining.trainable import merge_adapters
    from worldsim.simulator import open_world_model, save_world_model

    if number < config.rounds and (made / "config.json").is_file():
        return made
    world = open_world_model(begin, device=config.device, precision="fp32")
    if config.encoder and number == 1:
        world = _with_encoder(world, config.encoder)
    sampled = None if config.preferences else _sampled(config, world, number, folder, recorded)
    objective = _objective(config, world, number, folder, sampled)
    _train(config, objective, folder, number, world.card["sha256"])
    network = merge_adapters(world.network).cpu()
    summary = {} if sampled is None else _compared(world, sampled)
    facts = {key: world.card[key] for key in ("camera", "verifier") if key in world.card}
    facts |= {"leak": causality_leak(network), "stage": "posttrain", "training": _provenance(config, world.card, number), "seen": summary}
    save_world_model(made, world.spec, network, world.autoencoder, world.sampler, facts)
    return made


def _with_encoder(world: Any, trunk: str) -> Any:
    """The same world, whose network is told of the first frame by a fresh encoder: nothing it imagines changes."""
    from worldsim.simulator import VideoWorldModel

    made = VideoWorldModel(world.spec, with_encoder(world.network, trunk), world.autoencoder, world.sampler)
    made.card = world.card
    return made


def _provenance(config: PosttrainConfig, card: dict[str, Any], number: int) -> dict[str, Any]:
    """What the checkpoint says of how it came about; what it was trained with before stands under "before"."""
    dropout = {"action_dropout": _dropout(card)}
    return recipe(config) | dropout | {"round": number, "begun_at": card["sha256"], "before": card.get("training")}


def _dropout(card: dict[str, Any]) -> float:
    said = card.get("training", {}).get("action_dropout")
    return DROPOUT if said is None else float(said)


def _sampled(config: PosttrainConfig, world: Any, number: int, folder: Path, recorded: list) -> Any:
    """The round's candidates, from disk where they are there."""
    from tqdm import tqdm

    from worldsim.posttraining.candidates import draw_contexts, read_candidates, sample, write_candidates

    path = folder / "candidates.h5"
    if path.is_file():
        return read_candidates(path)
    drawn = world
    if config.mode == "grpo":
        from worldsim.posttraining.taken import check_policy
        from worldsim.simulator import VideoWorldModel

        drawn = VideoWorldModel(world.spec, world.network, world.autoencoder, with_noise(world.sampler))
        check_policy(world.network, drawn.sampler)
    seed = config.seed * 1000 + number
    contexts = draw_contexts(recorded, config.contexts, config.given + config.horizon, seed, focus_of(recorded))
    with tqdm(total=config.contexts * config.num_generations, desc=f"sample round {number}", unit="rollout") as bar:
        found = sample(drawn, contexts, config.given, config.num_generations, seed, bar.update)
    write_candidates(path, found)
    return found


def _objective(config: PosttrainConfig, world: Any, number: int, folder: Path, sampled: Any) -> Any:
    """What is trained on in this round; the network is made trainable here, once everything else is known to be right."""
    from worldsim.posttraining.objective import PostOptions, PostTraining
    from worldsim.posttraining.taken import GroupRelative
    from worldsim.posttraining.trainable import make_trainable
    from worldsim.training.loss import Diffusion

    judge = judge_of(config, sampled, folder) if config.learn_from == "judged" and not config.preferences else None
    rewards = rewards_of(config, judge, sampled) if judge else None
    if config.mode == "dpo":
        clips = pairs_of(config, world, sampled, rewards, judge, folder)
    elif config.mode == "grpo":
        clips = taken_of(config, world, sampled, rewards)
    else:
        clips = single_clips(config, world, sampled, rewards)
    options = PostOptions(
        config.mode,
        config.batch,
        config.given + config.horizon,
        _dropout(world.card),
        beta=config.beta,
        lambda_sft=config.lambda_sft,
        epsilon=config.epsilon,
    )
    diffusion = Diffusion(world.denoiser.schedule, world.sampler.prediction)
    reference = make_trainable(world.network, config.trainable, rank=config.rank, seed=config.seed)
    kind = GroupRelative if config.mode == "grpo" else PostTraining
    made = kind(world.network, reference, world.autoencoder, clips, diffusion, options)
    if config.mode == "grpo":
        made.sampler = with_noise(world.sampler)
    return made


def _train(config: PosttrainConfig, objective: Any, folder: Path, number: int, begun_at: str) -> None:
    """Run the loop under a progress bar, and say so where the chosen clips lost with the rejected ones."""
    from tqdm import tqdm

    from worldsim.posttraining.signs import displaced
    from worldsim.training.curve import Curve
    from worldsim.training.loop import LoopConfig, train

    elsewhere = ("rounds",)
    loop = LoopConfig(
        folder / "training",
        config.steps,
        learning_rate=config.learning_rate,
        average=config.average,
        seed=config.seed * 1000 + number,
        device=config.device,
        save_seconds=config.save_seconds,
        recipe={key: value for key, value in recipe(config).items() if key not in elsewhere} | {"begun_at": begun_at},
        log_every=5,
    )
    with tqdm(total=config.steps, desc=f"{config.mode} round {number}", unit="step") as bar:

        def watch(progress: Any) -> None:
            moved = objective.seen.get("kl_proxy", objective.seen.get("kl", 0.0))
            bar.set_postfix(loss=f"{progress.loss:.4f}", kl=f"{moved:.1e}", refresh=False)
            bar.update(progress.iteration - bar.n)

        train(objective, loop, watch)
    if line := displaced(Curve(folder / "training" / "log.jsonl").rows()):
        print(f"warning: {line}")


def _compared(world: Any, sampled: Any) -> dict[str, float]:
    """Rollouts of some contexts before and after: their distance from what happened, and how sharp they are beside it."""
    import numpy as np

    from worldsim.posttraining.candidates import Contexts, sample
    from worldsim.posttraining.signs import sharpness
    from worldsim.simulator import VideoWorldModel

    own, rows = sampled.contexts, slice(0, SHOWN)
    some = Contexts(own.task_id, own.real[rows], own.actions[rows], {})
    if any(not bool(p.isfinite().all()) for p in world.network.parameters()):
        raise WorldsimError("training made weights that are not numbers; train again with a lower learning_rate= in another out=")
    model = VideoWorldModel(world.spec, world.network, world.autoencoder, world.sampler)
    after, real = sample(model, some, sampled.given, 1, 0).rollouts[:, 0], some.real[:, sampled.given :]
    before = sampled.rollouts[rows, 0]
    found = {"real": sharpness(real), "before": sharpness(before), "after": sharpness(after)}
    apart = {name: float(np.sqrt(((x / 255.0 - real / 255.0) ** 2).mean())) for name, x in (("before", before), ("after", after))}
    print(f"distance from what happened {apart['before']:.4f} before, {apart['after']:.4f} after; sharpness {found}")
    return {f"sharpness_{name}": value for name, value in found.items()} | {f"distance_{name}": value for name, value in apart.items()}
