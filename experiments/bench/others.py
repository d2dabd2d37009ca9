"""Peers beside our model of their size, where a checkout of them is given."""

from typing import Any

from worldsim.errors import InvalidInput
from worldsim.experiments.schema import BenchConfig


def measure_peers(config: BenchConfig) -> dict[str, Any]:
    """`peers` by name, and in `peers_skipped` a line for each that is absent.

    Raises:
        InvalidInput: a checkout of another commit, models more than 10 % apart in size, or a quality without recordings.
    """
    from worldsim.experiments.peers import PEERS, compare
    from worldsim.experiments.peers.borrowed import PeerMissing

    quality, found, skipped = _quality(config), {}, {}
    for name in PEERS:
        path = getattr(config, f"peer_{name}")
        if path is None:
            skipped[name] = f"no checkout of {name} was given; type peer_{name}=FOLDER"
            continue
        try:
            found[name] = compare(name, path, repeats=config.repeats, quality=quality)
        except PeerMissing as error:
            skipped[name] = str(error)
    return {"peers": found, "peers_skipped": skipped}


def _quality(config: BenchConfig) -> Any:
    """How both sides are trained and scored; None where nobody asked."""
    from worldsim.experiments.peers.quality import Quality

    if not config.quality_seconds:
        return None
    if not config.quality_data:
        raise InvalidInput("quality_seconds needs recordings; type quality_data=FOLDER, see: worldsim collect")
    return Quality.of(config.quality_data, seconds=config.quality_seconds)
