"""A Ray cluster to work on: one that is there, or one of this machine for the time being. Knows nothing of what is computed there."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from worldsim.errors import InvalidInput, MissingDependency, WorldsimError, install_extra
from worldsim.experiments.ray_keeper import local_cluster
from worldsim.experiments.stopping import Interrupted

PATIENCE = 5.0  # seconds that a head node has to answer


def check_ray(address: str | None, device: str) -> None:
    """Refuse what Ray could not be asked for, before anything is loaded.

    Raises:
        MissingDependency: Ray is not installed.
        InvalidInput: a GPU by number, or an address that is none.
    """
    if find_spec("ray") is None:
        raise MissingDependency(f"executor=ray needs Ray; type: {install_extra('ray')}")
    if ":" in device:
        raise InvalidInput(f'device is "{device}", expected cpu or cuda with executor=ray: Ray chooses the GPU of each worker')
    if address not in (None, "auto"):
        host, colon, port = address.rpartition(":")
        if not (host and colon and port.isdecimal()) or "/" in host:
            raise InvalidInput(f'ray_address is "{address}", expected HOST:PORT of the head node, auto, or null for this machine alone')


@contextmanager
def connected(address: str | None, cpus: int, gpus: int) -> Iterator[None]:
    """Ray, connected to the cluster at `address`, or to one of this machine with so many CPUs and GPUs that ends with the block.

    Raises:
        WorldsimError: no cluster answers there, or this machine's does not begin.
    """
    if address is None:
        with local_cluster(cpus, gpus) as own, _connected(own):
            yield
        return
    if address != "auto":
        _call(address)
    with _connected(address):
        yield


def room(cpus: int, gpus: int) -> int:
    """How many workers that each take so many CPUs and GPUs the cluster has room for."""
    import ray

    there = ray.cluster_resources()
    return int(min(there.get(kind, 0) // each for kind, each in (("CPU", cpus), ("GPU", gpus)) if each))


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Within the block SIGTERM stays with whoever handled it, which Ray would change."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except SystemExit as error:  # Ray's answer to a SIGTERM while it connects
        raise Interrupted(signal.SIGTERM) from error
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error.__cause__ or error).strip().splitlines()[-1:])
        raise WorldsimError(f"no Ray cluster at {address} ({reason}); type ray start --head there, or leave ray_address out") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _call(address: str) -> None:
    """Ray itself would try for two minutes.

    Raises:
        WorldsimError: nobody answers.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise WorldsimError(f"no Ray cluster at {address} ({error}); type ray start --head there, or leave ray_address out") from error
