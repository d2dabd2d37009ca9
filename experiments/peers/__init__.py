"""Other projects' world models beside ours, timed in one process and imported from checkouts that the user names; none of it is here."""

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

if TYPE_CHECKING:
    from rich.table import Table

    from worldsim.experiments.peers.quality import Quality

PEERS = {name: f"worldsim.experiments.peers.{name}" for name in ("diamond", "worldgym")}
APART = 0.10  # parameters may differ by this share of the peer's


def compare(name: str, path: str, *, lanes: Sequence[int] = (1, 8), repeats: int = 5, quality: "Quality | None" = None) -> dict[str, Any]:
    """CPU milliseconds per frame and lane of a peer and of our model of its size, on one thread in float32, run in turn.

    Args:
        name: one of `PEERS`.
        path: folder of its checkout.
        lanes: numbers of lanes.
        repeats: runs of each, of which the least counts.
        quality: how to train and score both as well; None leaves that out.

    Returns:
        Values for JSON: what was compared, a row for each number of lanes and each of our settings, and the quality block or why not.

    Raises:
        UnknownName: no such peer.
        PeerMissing: no checkout there.
        InvalidInput: a checkout of another commit, or models more than 10 % apart in size.
    """
    from worldsim.experiments.peers.timing import one_thread

    if name not in PEERS:
        raise UnknownName(f'unknown peer "{name}"; {did_you_mean(name, PEERS)}')
    module = import_module(PEERS[name])
    with one_thread():
        peer = module.load(path)
        found = _facts(name, module, peer) | {"repeats": repeats, "load": os.getloadavg()[0]}
        found["rows"] = [row for count in lanes for row in _rows(module, peer, count, repeats)]
        found["quality"] = None if quality is None else _quality(name, path, quality)
    return found | ({} if quality else {"quality_reason": "not asked for; it takes twice quality.seconds and some minutes"})


def _facts(name: str, module: ModuleType, peer: Any) -> dict[str, Any]:
    """What is compared, checked to be of one size."""
    from worldsim.models.checkpoint import parameter_count

    counts = {which: parameter_count(*own.build()) for which, own in module.OURS.items()}
    for which, count in counts.items():
        if abs(count - peer.parameters) > APART * peer.parameters:
            raise InvalidInput(
                f"{name} has {peer.parameters:,} parameters and ours ({which}) {count:,}, expected counts at most {APART:.0%} apart"
            )
    return {
        "peer": name,
        "parameters": {"peer": peer.parameters, "ours": counts},
        "peer_facts": peer.facts(),
        "our_facts": {which: own.describe() for which, own in module.OURS.items()},
        "threads": 1,
        "dtype": "float32",
    }


def _rows(module: ModuleType, peer: Any, lanes: int, repeats: int) -> list[dict[str, Any]]:
    """One row for each of our models and settings; the peer and all of them take turns."""
    from worldsim.experiments.peers.ours import running
    from worldsim.experiments.peers.timing import alternate

    kinds = [(which, setting) for which in module.OURS for setting in module.SETTINGS]
    jobs = {str(i): running(module.OURS[which], setting, lanes) for i, (which, setting) in enumerate(kinds)}
    spent = alternate({"peer": peer.running(lanes), **jobs}, repeats)
    return [
        {
            "lanes": lanes,
            "peer_steps": module.STEPS,
            "peer_ms": spent["peer"],
            "ours": which,
            "ours_steps": setting.steps,
            "ours_guided": setting.guided,
            "ours_ms": spent[str(i)],
            "ratio": spent["peer"] / spent[str(i)],
        }
        for i, (which, setting) in enumerate(kinds)
    ]


def _quality(name: str, path: str, quality: "Quality") -> dict[str, Any]:
    """What both sides learn in the same processor time, trained one after the other."""
    from worldsim.experiments.peers.learners import OwnLearner, shipped_autoencoder
    from worldsim.experiments.peers.quality import measure, read

    module, recordings, autoencoder = import_module(f"{PEERS[name]}_learner"), read(quality), shipped_autoencoder()
    makers = {
        name: lambda: module.learner(path, recordings, autoencoder),
        "ours": lambda: OwnLearner(module.OWN, recordings, autoencoder),
    }
    return {"about": module.ABOUT} | measure(makers, recordings, quality)


def table(found: Mapping[str, Any]) -> "Table":
    """The rows of `compare` for people."""
    from rich.table import Table

    counts = ", ".join(f"{which} {count / 1e6:.2f} M" for which, count in found["parameters"]["ours"].items())
    about = f"{found['peer']} {found['parameters']['peer'] / 1e6:.2f} M beside ours ({counts}), one thread, float32"
    shown = Table(title=f"CPU ms per frame and lane: {about}")
    for heading in ("lanes", "peer steps", "peer ms", "ours", "steps", "guided", "ours ms", "ratio"):
        shown.add_column(heading, justify="left" if heading == "ours" else "right")
    for row in found["rows"]:
        ours = (row["ours"], str(row["ours_steps"]), "yes" if row["ours_guided"] else "no", f"{row['ours_ms']:.1f}")
        shown.add_row(str(row["lanes"]), str(row["peer_steps"]), f"{row['peer_ms']:.1f}", *ours, f"{row['ratio']:.1f}x")
    return shown


def quality_table(found: Mapping[str, Any]) -> "Table | None":
    """What `compare` found of quality, for people; None where it did not look."""
    from rich.table import Table

    quality = found["quality"]
    if quality is None:
        return None
    shown = Table(
        title=f"PSNR (dB) of {quality['held_out_episodes']} held-out continuations, {quality['seconds']:g} CPU s of training each"
    )
    shown.add_column("")
    for step in quality["steps"]:
        shown.add_column(f"frame {step}", justify="right")
    for name, scores in quality["psnr"].items():
        shown.add_row(name, *(f"{each:.2f}" for each in scores))
    return shown
