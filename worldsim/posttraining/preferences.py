"""Pairs of clips of which one is preferred, in memory and on disk: made of candidates and rewards, checked on the way in. Knows no network.

Both clips of a pair begin at the same frames and follow the same actions. The file keeps start and actions of both sides and their hashes,
so that reading can say whether that holds.
"""

import hashlib
import os
from dataclasses import dataclass

import numpy as np

from worldsim.data.checked_hdf5 import read_hdf5, written_hdf5
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.posttraining.candidates import Candidates

FORMAT = "worldsim-preferences/1"
REAL = "real recording"  # the judge of pairs that need none
SIDES = ("chosen", "rejected")


@dataclass(frozen=True)
class Preferences:
    """P pairs of clips of L frames, of which the first `given` are shared.

    Attributes:
        chosen, rejected: uint8 `[P, L, H, W, 3]`.
        actions: float32 `[P, L - 1, A]`.
        given: shared frames.
        scores: what the judge gave chosen and rejected, `[P, 2]`.
        seeds: of the rollouts, uint64 `[P, 2]`; 0 for a recording.
        judge: what identifies it.
        prompt: hash of what it was asked; empty where it was asked nothing.
    """

    chosen: np.ndarray
    rejected: np.ndarray
    actions: np.ndarray
    given: int
    scores: np.ndarray
    seeds: np.ndarray
    judge: str
    prompt: str = ""


def real_pairs(candidates: Candidates) -> Preferences:
    """What really happened is preferred to every rollout: pairs that no judge is needed for."""
    groups, count = candidates.rollouts.shape[:2]
    real = np.repeat(candidates.contexts.real, count, axis=0)
    rejected = np.concatenate([real[:, : candidates.given], candidates.rollouts.reshape(groups * count, *candidates.rollouts.shape[2:])], 1)
    seeds = np.stack([np.zeros(groups * count, np.uint64), candidates.seeds.reshape(-1)], 1)
    scores = np.tile([1.0, 0.0], (groups * count, 1))
    return Preferences(real, rejected, np.repeat(candidates.contexts.actions, count, axis=0), candidates.given, scores, seeds, REAL)


def judged_pairs(candidates: Candidates, rewards: np.ndarray, quantile: float, judge: str, prompt: str = "") -> Preferences:
    """The best against the worst rollout of each context, where they lie further apart than the `quantile` of those that differ at all.

    Args:
        candidates: N contexts of G rollouts.
        rewards: `[N, G]`; NaN where the judge could not tell, which is no reward.
        quantile: share of the pairs with the smallest gaps that are dropped, in [0, 1).
        judge: what identifies it.
        prompt: hash of what it was asked.

    Raises:
        InvalidInput: no context has two rollouts that the judge tells apart.
    """
    told = np.isfinite(rewards).sum(1) > 1
    best = np.where(told, np.nanargmax(np.where(np.isnan(rewards), -np.inf, rewards), 1), 0)
    worst = np.where(told, np.nanargmin(np.where(np.isnan(rewards), np.inf, rewards), 1), 0)
    every = np.arange(len(rewards))
    gaps = np.where(told, rewards[every, best] - rewards[every, worst], 0.0)
    if not (gaps > 0).any():
        raise InvalidInput(f"{judge} tells no two rollouts of a context apart: no pairs, nothing is trained; ask another judge")
    kept = np.flatnonzero((gaps > 0) & (gaps >= np.quantile(gaps[gaps > 0], quantile)))
    picked = {side: (kept, place[kept]) for side, place in zip(SIDES, (best, worst), strict=True)}
    begin, own = candidates.contexts.real[kept, : candidates.given], candidates.contexts
    clips = {side: np.concatenate([begin, candidates.rollouts[at]], 1) for side, at in picked.items()}
    scores, seeds = (np.stack([values[at] for at in picked.values()], 1) for values in (rewards, candidates.seeds))
    return Preferences(clips["chosen"], clips["rejected"], own.actions[kept], candidates.given, scores, seeds, judge, prompt)


def write_preferences(path: str | os.PathLike, pairs: Preferences) -> None:
    """Write them, whole or not at all."""
    with written_hdf5(path) as file:
        for side in SIDES:
            clips = getattr(pairs, side)
            file.create_dataset(f"{side}/frames", data=clips, compression="gzip", compression_opts=1)
            file[f"{side}/actions"] = pairs.actions
            file[f"{side}/shared"] = np.array(shared_hashes(clips[:, : pairs.given], pairs.actions), dtype="S64")
        file["scores"], file["seeds"] = pairs.scores, pairs.seeds
        file.attrs.update(format=FORMAT, given=pairs.given, judge=pairs.judge, prompt=pairs.prompt)


def read_preferences(path: str | os.PathLike) -> Preferences:
    """Read pairs and check that they are pairs.

    Raises:
        DamagedFile: missing, torn or of another format.
        InvalidInput: two sides that do not share start and actions, scores that are no numbers or in the wrong order, or no pair at all.
    """
    with read_hdf5(path) as file:
        if file.attrs.get("format") != FORMAT:
            raise DamagedFile(f"{path} holds no preferences ({FORMAT}); make some with: worldsim posttrain mode=dpo")
        given = int(file.attrs["given"])
        sides = {side: {name: file[f"{side}/{name}"][()] for name in ("frames", "actions", "shared")} for side in SIDES}
        scores, seeds, judge, prompt = file["scores"][()], file["seeds"][()], file.attrs["judge"], file.attrs["prompt"]
    _check(path, sides, scores, given)
    clips = [sides[side]["frames"] for side in SIDES]
    return Preferences(*clips, sides["chosen"]["actions"], given, scores, seeds, judge, prompt)


def shared_hashes(begin: np.ndarray, actions: np.ndarray) -> list[str]:
    """What a pair must share, hashed: its first frames uint8 `[P, given, H, W, 3]` and its actions `[P, L - 1, A]`."""
    rows = zip(begin, actions.astype(np.float32), strict=True)
    return [hashlib.sha256(np.ascontiguousarray(a).tobytes() + np.ascontiguousarray(b).tobytes()).hexdigest() for a, b in rows]


def _check(path: str | os.PathLike, sides: dict[str, dict[str, np.ndarray]], scores: np.ndarray, given: int) -> None:
    if not len(scores):
        raise InvalidInput(f"{path} holds no pair, so nothing is trained; sample again, or ask another judge")
    hashes = {side: shared_hashes(held["frames"][:, :given], held["actions"]) for side, held in sides.items()}
    stored = {side: [text.decode() for text in held["shared"]] for side, held in sides.items()}
    rows = zip(hashes["chosen"], hashes["rejected"], stored["chosen"], stored["rejected"], strict=True)
    apart = [row for row, each in enumerate(rows) if len(set(each)) > 1]
    if apart:
        raise InvalidInput(f"{path}: chosen and rejected of pair {apart[0]} do not share start and actions; sample both from the same")
    if not np.isfinite(scores).all():
        raise InvalidInput(f"{path} has scores that are not numbers; leave out the pairs that the judge could not tell")
    if (scores[:, 0] <= scores[:, 1]).any():
        raise InvalidInput(f"{path} has a pair whose chosen clip scores no higher than the rejected one; swap or drop it")
