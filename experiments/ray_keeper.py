"""A Ray cluster of this machine that lasts as long as whoever asked for it. Knows nothing of what is computed there.

It runs in a process of its own (`python -m worldsim.experiments.ray_keeper CPUS GPUS`), out of reach of Ctrl-C: it prints its address,
waits for the end of its input, which comes when the asking process closes it or dies however it may, and then ends all of Ray's processes
and removes their folder. It has no dashboard and reports to nobody.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from worldsim.errors import WorldsimError

BEGIN, END = 120, 30  # seconds that Ray has to begin and to end, on a busy machine
TRIES = 3  # of beginning
LONGEST = 30  # characters of the path of Ray's folder: it makes sockets deep within, whose paths the kernel limits to 107


@contextmanager
def local_cluster(cpus: int, gpus: int) -> Iterator[str]:
    """The address of a cluster of this machine with so many CPUs and GPUs to give.

    Raises:
        WorldsimError: it does not come up, `TRIES` times over: Ray gives its own processes half a minute, too little on a busy machine.
    """
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=_token())  # for the keeper, and for Ray in this process, which reads it once
    with ExitStack() as stack:
        for _ in range(TRIES):
            address, reason = stack.enter_context(_kept(cpus, gpus))
            if address:
                yield address
                return
        raise WorldsimError(f"Ray does not begin on this machine ({reason}); type executor=local")


@contextmanager
def _kept(cpus: int, gpus: int) -> Iterator[tuple[str, str]]:
    """The address that one keeper gives, or nothing and the last line that it said."""
    command = [sys.executable, "-m", __name__, str(cpus), str(gpus)]
    with tempfile.TemporaryFile() as said:
        keeper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, start_new_session=True)
        try:
            address = keeper.stdout.readline().strip()
            said.seek(0)
            lines = [line for line in said.read().decode(errors="replace").splitlines() if line.strip()]
            yield address, lines[-1].strip() if lines else "it ended without a word"
        finally:
            keeper.stdin.close()
            keeper.stdout.close()
            try:
                keeper.wait(END)
            except subprocess.TimeoutExpired:
                keeper.kill()
                keeper.wait(END)


def keep(cpus: int, gpus: int) -> None:
    """Be that process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(BEGIN)  # ends this process, and by that all of Ray, if it does not come up
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray would have its workers step back behind all else on this machine
    import ray

    with tempfile.TemporaryDirectory(prefix="worldsim-ray-", dir=_short(tempfile.gettempdir()), ignore_cleanup_errors=True) as folder:
        about = ray.init("local", num_cpus=cpus, num_gpus=gpus, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        signal.alarm(0)
        for number in (signal.SIGINT, signal.SIGTERM):  # it ends by the end of its input and in no other way
            signal.signal(number, signal.SIG_IGN)
        print(about.address_info["address"], flush=True)
        sys.stdin.read()
        ray.shutdown()


@cache
def _token() -> str:
    """What whoever talks to a cluster of this process has to know; without one Ray would write one to the user's home."""
    return secrets.token_hex(32)


def _short(folder: str) -> str:
    return folder if len(folder) + len("/worldsim-ray-12345678") <= LONGEST or not Path("/tmp").is_dir() else "/tmp"


if __name__ == "__main__":
    keep(int(sys.argv[1]), int(sys.argv[2]))
