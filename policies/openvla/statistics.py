"""The statistics of the data that an OpenVLA was trained on, by which its actions are undone. Knows no network."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.registry import did_you_mean
from worldsim.types import ActionSpec

FINE_TUNED = "dataset_statistics.json"  # OpenVLA's server reads it, where it is, in place of norm_stats in config.json


def read_statistics(folder: str | Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The statistics that count, by data set.

    Raises:
        DamagedFile: a file that is not JSON.
        InvalidInput: there are none.
    """
    path = Path(folder) / FINE_TUNED
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else config.get("norm_stats")
    except ValueError as error:
        raise DamagedFile(f"{path} is not JSON ({error}); get the checkpoint again") from error
    if not isinstance(found, dict) or not found:
        raise InvalidInput(f"{folder} holds no statistics of actions (norm_stats in config.json, or {FINE_TUNED}); give an OpenVLA")
    return found


def chosen_statistics(found: Mapping[str, Any], key: str | None) -> tuple[str, Mapping[str, Any]]:
    """The key, and the statistics of actions that it stands for.

    Raises:
        UnknownName: no such key.
        InvalidInput: several and none chosen, or they lack quantiles.
    """
    if key is None and len(found) != 1:
        raise InvalidInput(f"the checkpoint was trained on {len(found)} data sets; give unnorm_key: one of {', '.join(sorted(found))}")
    key = next(iter(found)) if key is None else key
    if key not in found:
        raise UnknownName(f'the checkpoint has no statistics "{key}"; {did_you_mean(key, found)}')
    try:
        statistics = found[key]["action"]
        ends = np.array([statistics["q01"], statistics["q99"], mask_of(statistics)], dtype=float)
    except (TypeError, KeyError, ValueError):
        ends = np.full(0, np.nan)
    if ends.ndim != 2 or not np.isfinite(ends).all() or (ends[0] > ends[1]).any():
        raise InvalidInput(f'the statistics "{key}" hold no quantiles q01 and q99 of each number of an action; get the checkpoint again')
    return key, statistics


def mask_of(statistics: Mapping[str, Any]) -> np.ndarray:
    """Which numbers of an action the statistics undo, bool `[A]`; the others, as a rule the gripper, are as they are."""
    return np.array(statistics.get("mask", np.ones(len(statistics["q01"]))), dtype=bool)


def undone(values: np.ndarray, statistics: Mapping[str, Any]) -> np.ndarray:
    """Actions in [-1, 1] as those of the data: -1 is the 1 % quantile of each number, 1 the 99 %. `[..., A]` to `[..., A]`."""
    low, high = (np.array(statistics[name], dtype=float) for name in ("q01", "q99"))
    return np.where(mask_of(statistics), 0.5 * (values + 1) * (high - low) + low, values)


def bounded(convention: ActionSpec, statistics: Mapping[str, Any]) -> ActionSpec:
    """A convention with the bounds that actions of these statistics keep; where they undo nothing, with its own.

    Raises:
        InvalidInput: another number of components.
    """
    mask = mask_of(statistics)
    if len(mask) != convention.size:
        raise InvalidInput(f"the checkpoint acts with {len(mask)} numbers, the convention has {', '.join(convention.names)}")
    ends = [undone(np.full(len(mask), end), statistics) for end in (-1.0, 1.0)]
    low, high = (np.where(mask, end, own).tolist() for end, own in zip(ends, (convention.low, convention.high), strict=True))
    return replace(convention, low=low, high=high)
