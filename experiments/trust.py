"""`worldsim trust`: how well signals against an imagined rollout tell its errors, on held-out recordings, and a limit for one of them."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from worldsim.errors import InvalidInput
from worldsim.experiments.doubted import SPLIT, Doubted, doubted
from worldsim.experiments.recordings import recordings_folder
from worldsim.experiments.schema import TrustConfig
from worldsim.experiments.setting import open_model, sampler_facts, use_torch, verifier_facts, world_model_facts
from worldsim.options import model_options
from worldsim.statistics import Kept, Told, area_under_curve, choose_limit, coverage_curve, rank_correlation
from worldsim.trust import Gate, write_gate

if TYPE_CHECKING:
    from rich.table import Table

UNREAD = "inverse dynamics is left out: give reader=FOLDER, or data with a train split and out=FILE"


class Chosen(NamedTuple):
    """The signal that is gated by, what its limit keeps (None: no limit keeps the promise), and what others would have kept."""

    signal: str
    kept: Kept | None
    curve: list[Kept]


def run(config: TrustConfig) -> dict[str, Any]:
    """Measure, print, and write the gate to `config.out` where a limit keeps the promise.

    Returns:
        The numbers, and the gate's limit, None where there is none.

    Raises:
        InvalidInput: recordings that tell nothing, or keys that do not fit one another.
    """
    from rich.console import Console

    _check_keys(config)
    use_torch(config.threads, config.device)
    facts, model_config = world_model_facts(config.world_model)
    found = doubted(config, open_model(config), model_config, reader := _reader(config))
    told = {name: _told(values, found) for name, values in found.signals.items()}
    Console(highlight=False).print(_table(told, found))
    chosen = _chosen(config, found)
    if chosen.kept is None:
        print(_no_limit(config, chosen))
    else:
        print(_promise(config, chosen.signal, chosen.kept))
    if chosen.kept and config.out:
        judge = None if found.judge is None else verifier_facts(found.judge)
        write_gate(config.out, _gate(config, chosen, facts, sampler_facts(model_config, config), judge, reader))
        print(f"gate: {config.out}; to use it: worldsim score RUN verifier='{{name: gated, of: {_said(found.judge)}, gate: {config.out}}}'")
    return {
        "signals": {each: {key: row and row._asdict() for key, row in rows.items()} for each, rows in told.items()},
        "chosen": chosen.signal,
        "limit": chosen.kept and chosen.kept.limit,
        "rollouts": len(found.wrong),
        "wrong": int(found.wrong.sum()),
        "unscored": found.unscored,
    }


def _check_keys(config: TrustConfig) -> None:
    if not 0 < config.target < 1:
        raise InvalidInput(f"target is {config.target}, expected a share above 0 and below 1 such as 0.05")
    if not config.level < 1:
        raise InvalidInput(f"level is {config.level}, expected a number from 0.5 to below 1 such as 0.95")
    if not 0 < config.noise_level <= 1:
        raise InvalidInput(f"noise_level is {config.noise_level}, expected a noise level above 0 and at most 1 such as 0.5")
    if config.verifier == "none" and config.tolerance is None:
        raise InvalidInput("without a judge a rollout is wrong by its frames only; type tolerance=4 (grey levels), or name a verifier")
    if config.signal == "inverse_dynamics" and config.reader is None and config.out is None:
        raise InvalidInput("signal=inverse_dynamics needs a network that reads actions: type reader=FOLDER, or out=FILE to train one")


def _reader(config: TrustConfig) -> Any:
    """The network that reads actions: the given one, or one trained beside `out`; None, and a line, where neither can be had."""
    from worldsim.posttraining.feedback import load_feedback

    if config.signal not in (None, "inverse_dynamics"):
        return None
    if config.reader is None and not _trains_reader(config):
        print(UNREAD)
        return None
    try:
        return load_feedback({"name": "inverse_dynamics", "path": config.reader or str(_trained(config))})
    except InvalidInput as error:
        if config.reader or config.signal:
            raise
        print(f"inverse dynamics is left out: {error}")
        return None


def _trains_reader(config: TrustConfig) -> bool:
    return bool(config.out) and (recordings_folder(config.data) / "train").is_dir()


def _trained(config: TrustConfig) -> Path:
    from worldsim.experiments.action_reader import trained_reader

    return trained_reader(Path(config.out).with_suffix(".reader"), config.data, steps=config.reader_steps, seed=config.seed)


def _chosen(config: TrustConfig, found: Doubted) -> Chosen:
    """The signal asked for, calibrated on all rollouts; or the one that tells best on half of them, calibrated on the other half."""
    every = np.arange(len(found.wrong))
    first, rows = (every[::2], every[1::2]) if config.signal is None else (every, every)
    signal = config.signal or max(found.signals, key=lambda name: _worth(found.signals[name][first], found, first))
    curve = coverage_curve(found.signals[signal][rows], found.wrong[rows], config.level)
    return Chosen(signal, choose_limit(curve, config.target), curve)


def _worth(values: np.ndarray, found: Doubted, rows: np.ndarray) -> float:
    """How well a signal tells: by wrong rollouts where there are both kinds, else by the frames."""
    wrong = found.wrong[rows]
    if wrong.any() and not wrong.all():
        return area_under_curve(values, wrong, draws=1).value
    return rank_correlation(values, found.errors[rows], draws=1).value


def _told(values: np.ndarray, found: Doubted) -> dict[str, Told | None]:
    both = found.wrong.any() and not found.wrong.all()
    return {
        "error": rank_correlation(values, found.errors),
        "wrong": area_under_curve(values, found.wrong) if both else None,
    }


def _gate(config: TrustConfig, chosen: Chosen, facts: dict[str, Any], sampler: dict[str, Any], judge: Any, reader: Any) -> Gate:
    """The gate as it is written; `facts` and `sampler` are the world model's, `judge` those of the judge."""
    beside = None
    if chosen.signal == "inverse_dynamics":
        path = config.reader or Path(config.out).with_suffix(".reader")
        beside = {"path": os.path.relpath(path, Path(config.out).parent), "sha256": reader.facts["sha256"]}
    return Gate(
        signal=chosen.signal,
        over=config.over,
        limit=chosen.kept.limit,
        every=config.every,
        draws=config.draws,
        noise_level=config.noise_level,
        reader=beside,
        world_model=facts,
        sampler=sampler,
        options=model_options(config),
        load=config.world_model,
        judge=judge,
        promise={"target": config.target, "level": config.level, "tolerance": config.tolerance, **chosen.kept._asdict()},
        curve=[each._asdict() for each in chosen.curve],
        data={"folder": config.data, "seed": config.seed, "split": SPLIT},
    )


def _said(judge: Any) -> str:
    """A judge as it is typed."""
    return "JUDGE" if judge is None else judge if isinstance(judge, str) else json.dumps(judge)


def _promise(config: TrustConfig, name: str, kept: Kept) -> str:
    return (
        f"limit {kept.limit:.4g} of {name.replace('_', ' ')} keeps {kept.coverage:.0%} of the rollouts, of which {kept.wrong} of "
        f"{kept.kept} are wrong: below {kept.bound:.3f} at {config.level:.0%}, as asked ({config.target:g})"
    )


def _no_limit(config: TrustConfig, chosen: Chosen) -> str:
    best, every = min(chosen.curve, key=lambda each: each.bound), chosen.curve[-1]
    return (
        f"no limit of {chosen.signal.replace('_', ' ')} keeps the risk below {config.target:g} at {config.level:.0%}: of {every.kept} "
        f"rollouts {every.wrong} are wrong, and the best that can be promised is {best.bound:.3f} for {best.coverage:.0%} of them; "
        "no gate is written; type more episodes= or a higher target="
    )


def _table(told: dict[str, dict[str, Told | None]], found: Doubted) -> "Table":
    from rich.table import Table

    title = f"{len(found.wrong)} rollouts, {int(found.wrong.sum())} wrong, mean error {found.errors.mean():.2f} grey levels"
    table = Table(title=title, caption=f"{found.unscored} more could not be judged" if found.unscored else None)
    for heading in ("signal", "mean", "Spearman with the error of frames", "AUC of wrong rollouts"):
        table.add_column(heading, justify="right")
    for name, row in told.items():
        table.add_row(name.replace("_", " "), f"{found.signals[name].mean():.3f}", _span(row["error"]), _span(row["wrong"]))
    return table


def _span(told: Told | None) -> str:
    return "–" if told is None else f"{told.value:.2f} [{told.low:.2f}, {told.high:.2f}]"
