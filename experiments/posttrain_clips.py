"""From candidates and a judge to what `worldsim posttrain` learns from; and whether the judge may train at all."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.experiments.schema import PosttrainConfig

READABLE = 0.5  # share of a component's variance that inverse dynamics must read off held-out recordings for it to count
KEPT = "feedback.jsonl"
READING_STEPS, READING_EPISODES = 600, 200


def permit(config: PosttrainConfig) -> None:
    """Stop, before anything is sampled, where the judge asked for is not known or may not train.

    Raises:
        UnknownName: no such judge.
        InvalidInput: it was not calibrated, or too often wrong.
    """
    from worldsim.posttraining.calibration import HOW, measured_in, require
    from worldsim.posttraining.feedback import FEEDBACK

    if config.feedback is None:
        return
    options = _named(config.feedback)
    name = options.pop("name")
    if FEEDBACK.config(name, options).trusted or config.calibration == "simulator":
        return
    if config.calibration is None:
        raise InvalidInput(f"{name} may not train before it is calibrated; {HOW}")
    require(name, measured_in(config.calibration), "agreement")


def judge_of(config: PosttrainConfig, sampled: Any, folder: Path) -> Any:
    """The judge asked for, its rewards kept in the run; inverse dynamics is trained first where no network is given.

    Raises:
        UnknownName, InvalidInput: an option that it does not have.
    """
    from worldsim.posttraining.feedback import Kept, load_feedback

    spec = _named(config.feedback)
    if spec["name"] == "human":  # not kept: people label more, and change their minds
        return _people(spec, sampled, folder / "to_label")
    if spec["name"] == "inverse_dynamics" and not spec.get("path"):
        spec["path"] = str(trained_reader(config))
    return Kept(load_feedback(spec), Path(config.out) / "rounds" / KEPT)


def _named(feedback: Any) -> dict[str, Any]:
    """A judge given by name or mapping, as a mapping.

    Raises:
        InvalidInput: a mapping without a name.
    """
    spec = dict(feedback) if isinstance(feedback, Mapping) else {"name": feedback}
    if not isinstance(spec.get("name"), str):
        raise InvalidInput(f"feedback is {feedback}, expected a name, or a mapping with one; type feedback=simulator")
    return spec


def rewards_of(config: PosttrainConfig, judge: Any, sampled: Any) -> np.ndarray:
    """Rewards `[N, G]` of the candidates, NaN where the judge could not tell; measured against the simulator first, where that was asked.

    With credit=frame those of each imagined frame, `[N, G, T]`.

    Raises:
        InvalidInput: the judge prefers too often what the simulator does not, could tell nothing, or gives frames no reward.
    """
    from worldsim.posttraining.calibration import FEWEST, preference_accuracy, require
    from worldsim.posttraining.feedback import Kept, frames_of, load_feedback, table_of

    group = sampled.rollouts.shape[1]
    given = judge.score(sampled.imagined(), sampled.references())
    rewards = table_of(given, group)
    if np.isnan(rewards).all() and judge.name == "human":
        raise InvalidInput(f"nobody has labelled {judge.labels} yet; type: worldsim label {judge.labels}, then this command again")
    if np.isnan(rewards).all():
        raise InvalidInput(f"{judge.name} could tell none of the rollouts, so nothing is trained; ask another judge")
    if not judge.trusted and config.calibration == "simulator":
        truth = Kept(load_feedback("simulator"), Path(config.out) / "rounds" / KEPT)
        true = table_of(truth.score(sampled.imagined(), sampled.references()), group)
        accuracy, pairs = preference_accuracy(rewards, true, config.quantile)
        if pairs < FEWEST:
            raise InvalidInput(f"{judge.name} may not train: it was measured on {pairs} pairs, expected {FEWEST}; type more contexts=")
        print(f"{judge.name} prefers what the simulator prefers in {accuracy:.2f} of {pairs} pairs")
        require(judge.name, accuracy, "preference accuracy against the simulator")
    return frames_of(given, group, sampled.given) if config.credit == "frame" else rewards


def _people(spec: dict[str, Any], sampled: Any, path: Path) -> Any:
    """People as a judge, by the labels asked for, or those of a run folder that is written here."""
    from worldsim.posttraining.feedback import load_feedback
    from worldsim.posttraining.feedback.side_by_side import write_to_label

    if not spec.get("labels"):
        write_to_label(path, sampled.imagined(), sampled.references())
        spec = {**spec, "labels": str(path)}
    return load_feedback(spec)


def single_clips(config: PosttrainConfig, world: Any, sampled: Any, rewards: np.ndarray | None) -> Any:
    """Clips to be learned as they are (sft) or by their weight (rwr).

    Raises:
        InvalidInput: the judge says the same of all.
    """
    import torch

    from worldsim.posttraining.objectives import reward_weights

    real, count = sampled.contexts.real, sampled.rollouts.shape[1]
    if config.learn_from == "real":
        return _sequences(world, [real], sampled.contexts.actions, sampled.given, torch.ones(len(real)))
    clips, actions = _own_clips(sampled), np.repeat(sampled.contexts.actions, count, axis=0)
    if rewards is None:
        return _sequences(world, [clips], actions, sampled.given, torch.ones(len(clips)))
    flat = rewards.reshape(len(clips), -1)  # [N G, 1], or [N G, T] of the imagined frames
    told = np.isfinite(flat).all(1)
    if np.ptp(flat[told]) == 0:
        raise InvalidInput(f"the judge gave every rollout the same reward, {flat[told][0, 0]:g}, so nothing is trained; ask another judge")
    if config.mode == "sft":
        clip = flat[:, 0]
        kept = told & (clip >= np.quantile(clip[told], config.quantile)) & (clip > clip[told].min())
        return _sequences(world, [clips[kept]], actions[kept], sampled.given, torch.ones(int(kept.sum())))
    weights = reward_weights(torch.from_numpy(flat[told]).float(), config.weighting, config.temperature)
    weights = _from_the_start(weights, sampled.given) if config.credit == "frame" else weights[:, 0]
    return _sequences(world, [clips[told]], actions[told], sampled.given, weights)


def pairs_of(config: PosttrainConfig, world: Any, sampled: Any, rewards: np.ndarray | None, judge: Any, folder: Path) -> Any:
    """Pairs of clips, written to `folder/preferences.h5` and read back, or from the file asked for."""
    import torch

    from worldsim.data.files import digest_of
    from worldsim.posttraining.feedback import prompt_of
    from worldsim.posttraining.preferences import judged_pairs, read_preferences, real_pairs, write_preferences

    path = Path(config.preferences) if config.preferences else folder / "preferences.h5"
    if not config.preferences:
        who = f"{judge.name} {digest_of(dict(judge.facts))}" if judge else ""
        made = judged_pairs(sampled, rewards, config.quantile, who, prompt_of(judge)) if judge else real_pairs(sampled)
        write_preferences(path, made)
    pairs = read_preferences(path)
    print(f"{len(pairs.chosen)} pairs by {pairs.judge}")
    return _sequences(world, [pairs.chosen, pairs.rejected], pairs.actions, pairs.given, torch.ones(len(pairs.chosen)))


def taken_of(config: PosttrainConfig, world: Any, sampled: Any, rewards: np.ndarray) -> Any:
    """The sampler's steps behind the rollouts of every context that the judge could tell whole."""
    import torch

    from worldsim.models.autoencoder import to_unit
    from worldsim.posttraining.objectives import group_advantages
    from worldsim.posttraining.taken import retrace

    whole = np.isfinite(rewards.reshape(len(rewards), -1)).all(1)
    advantages = group_advantages(torch.from_numpy(rewards[whole]).float(), scale_rewards=config.scale_rewards)
    if not advantages.any():
        raise InvalidInput("the judge gave all rollouts of each context the same reward, so nothing is trained; ask another judge")
    count = rewards.shape[1]
    begin = _encoded(world, sampled.contexts.real[whole][:, : sampled.given]).repeat_interleave(count, 0)
    drawn = torch.from_numpy(sampled.latents[whole]).flatten(0, 1).to(begin)
    actions = _into(world, np.repeat(sampled.contexts.actions[whole], count, axis=0)).to(begin)
    sampler, seeds = with_noise(world.sampler), sampled.seeds[whole].reshape(-1).tolist()
    latents, first = torch.cat([begin, drawn], 1), to_unit(torch.from_numpy(sampled.contexts.real[whole][:, 0])).to(begin)
    with torch.no_grad():
        told = world.network.context_for(first.repeat_interleave(count, 0), begin[:, 0])
    earned = advantages.flatten(0, 1).to(begin)
    earned = _from_the_start(earned, sampled.given) if config.credit == "frame" else earned
    return retrace(world.network, sampler, latents, actions, seeds, sampled.given, earned, told)


def _from_the_start(values: Any, given: int) -> Any:
    """Values of imagined frames `[R, T]` as those of all frames, `[R, given + T]`: frames that were given have none."""
    import torch.nn.functional as F

    return F.pad(values, (given, 0))


def with_noise(sampler: Any) -> Any:
    """The sampler with ancestral noise, where it has none: what grpo samples with."""
    return replace(sampler, eta=sampler.eta or 1.0)


def _own_clips(sampled: Any) -> np.ndarray:
    """Every rollout behind the frames that it was given, `[N G, L, H, W, 3]`."""
    count = sampled.rollouts.shape[1]
    begin = np.repeat(sampled.contexts.real[:, : sampled.given], count, axis=0)
    return np.concatenate([begin, sampled.rollouts.reshape(-1, *sampled.rollouts.shape[2:])], axis=1)


def _sequences(world: Any, versions: list[np.ndarray], actions: np.ndarray, given: int, weights: Any) -> Any:
    """Clips in one or two versions as latents, with the frames that count: those after what was given, and after the two part."""
    import torch

    from worldsim.posttraining.sequences import Sequences, after, parted

    latents = torch.stack([_encoded(world, clips).half().cpu() for clips in versions])
    count, frames = latents.shape[1:3]
    mask = after(given, count, frames) if len(versions) == 1 else parted(*latents, given)
    each = weights if weights.ndim == 2 else weights[:, None].expand(count, frames)
    return Sequences(latents, _into(world, actions), mask, each.clone())


def _encoded(world: Any, clips: np.ndarray) -> Any:
    """Clips uint8 `[N, L, H, W, 3]` as latents `[N, L, h, w, C]`: all through the encoder, so that no side is sharper for that."""
    from worldsim.training.latents import encode_frames

    flat = clips.reshape(-1, *clips.shape[2:])
    return encode_frames(world.autoencoder, flat).unflatten(0, clips.shape[:2]).to(world.device)


def _into(world: Any, actions: np.ndarray) -> Any:
    """Actions between frames `[N, L - 1, A]`, normalised and put to the frame that they lead into, `[N, L, A]`."""
    import torch

    from worldsim.data.actions import normalise

    normal = normalise(actions, world.spec.action)
    return torch.from_numpy(np.concatenate([np.zeros_like(normal[:, :1]), normal], axis=1))


def trained_reader(config: PosttrainConfig) -> Path:
    """Train a network that reads actions off neighbouring real frames; components that it reads off held-out recordings count."""
    import torch

    from worldsim.experiments.recordings import action_spec, read_split, recordings_folder
    from worldsim.models.checkpoint import save_checkpoint
    from worldsim.models.video_convnet import VideoConvNetConfig
    from worldsim.posttraining.feedback.inverse_dynamics import KIND, ReadingActions, explained
    from worldsim.training.loop import LoopConfig, train

    out = Path(config.out) / KIND
    if (out / "config.json").is_file():
        return out
    data = recordings_folder(config.data)
    recorded, spec = read_split(data, "train", limit=READING_EPISODES), action_spec(data)
    held_out = max(1, len(recorded) // 5)
    height, width = recorded[0].frames.shape[1:3]
    torch.manual_seed(config.seed)
    network = VideoConvNetConfig(frames=2, height=height, width=width, outputs=spec.size).build()
    where = {"seed": config.seed, "save_seconds": config.save_seconds}
    train(ReadingActions(network, recorded[held_out:], spec), LoopConfig(out / "training", min(READING_STEPS, 3 * config.steps), **where))
    shares = explained(network, recorded[:held_out], spec)
    print("inverse dynamics reads off held-out recordings: " + ", ".join(f"{n} {s:.2f}" for n, s in zip(spec.names, shares, strict=True)))
    card = {"network": network.describe(), "action": vars(spec), "r_squared": shares.tolist(), "readable": (shares >= READABLE).tolist()}
    save_checkpoint(out, KIND, {"network": network}, card)
    return out
