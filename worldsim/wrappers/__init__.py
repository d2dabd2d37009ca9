"""What is put around any world model: chunks of lanes, fewer where memory is short, and an eye on lanes that break. It loads no torch."""

from worldsim.wrappers.chunked import Chunked, ChunkedState, faults_of
from worldsim.wrappers.halving import Halving
from worldsim.wrappers.starting import start_lanes
from worldsim.wrappers.stepping import stepped
from worldsim.wrappers.watched import FROZEN, PATIENCE, Watched, WatchedState

__all__ = ["FROZEN", "PATIENCE", "Chunked", "ChunkedState", "Halving", "Watched", "WatchedState", "faults_of", "start_lanes", "stepped"]
