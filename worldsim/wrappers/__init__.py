"""What is put around any world model: chunks of lanes, and an eye on lanes that break. Knows the protocol only and loads no torch."""

from worldsim.wrappers.chunked import Chunked, ChunkedState
from worldsim.wrappers.starting import start_lanes
from worldsim.wrappers.watched import FROZEN, PATIENCE, Watched, WatchedState

__all__ = ["FROZEN", "PATIENCE", "Chunked", "ChunkedState", "Watched", "WatchedState", "start_lanes"]
