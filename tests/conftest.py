"""What all tests share: one thread per process, so that `pytest -n` does not fight itself, and the folder of real recordings."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # timings are no test's business
settings.load_profile("any machine")
os.environ["OMP_NUM_THREADS"] = "1"  # read by torch and by the processes that tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background, where Ctrl-C would reach no test
    signal.signal(signal.SIGINT, signal.default_int_handler)
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _one_torch_thread():
    """Hold torch to one thread and to its own choice of kernels where a test file has loaded it; never load it."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
        sys.modules["torch"].use_deterministic_algorithms(mode=False)  # a strict run in an earlier test asked for it


@pytest.fixture
def shared_data() -> Path:
    """The folder of real recordings beside the repository; the test is skipped on machines that do not have it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the folder ../shared/data of real recordings")
    return SHARED_DATA
