"""The verifier `vlm` against somebody else's server: `transformers serve` with a tiny model, in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from tiny_vlm import save_yes_sayer
from vlm_server import done, failed

from worldsim.load import load_verifier

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def served(tmp_path):
    """(base URL, model) of a server that has begun; the test is skipped where transformers cannot serve."""
    if find_spec("fastapi") is None or find_spec("uvicorn") is None:
        pytest.skip("transformers serve needs fastapi and uvicorn")
    folder, port, log = save_yes_sayer(tmp_path / "model"), free_port(), tmp_path / "log"
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve", str(folder)]
    options = ["--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen([*command, *options], stdout=out, stderr=out, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    try:
        for _ in range(240):
            if process.poll() is not None:
                pytest.skip(f"transformers serve did not begin: {log.read_text().strip().splitlines()[-1:]}")
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except (URLError, ConnectionError, TimeoutError):
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_it_understands_a_server_of_transformers(served):
    url, model = served
    spec = {"name": "vlm", "model": model, "base_url": url, "cache": False, "frames": 2, "timeout": 120}
    trusting = load_verifier(spec | {"control": False}).judge([done(), failed()])
    assert [verdict.success for verdict in trusting] == [True, True]
    assert trusting[0].details["answers"] == ["yes", "yes"]
    assert min(trusting[0].details["tokens"]) > 0
    careful = load_verifier(spec).judge([done(), failed()])
    assert [verdict.success for verdict in careful] == [None, None]
    assert "blank pictures" in careful[0].reason
