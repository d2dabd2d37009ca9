"""The VLM verifier among the commands: a run judged again by it, what registering it loads, and what is said where a package is missing."""

import json
import subprocess
import sys

import pytest
import tiny
import tiny_vlm
from vlm_server import VlmServer, chat

from worldsim.errors import MissingDependency
from worldsim.experiments import cli, score
from worldsim.experiments.schema import ScoreConfig
from worldsim.load import load_verifier

VLM = {"name": "vlm", "model": "m", "base_url": "http://127.0.0.1:1/v1"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of six episodes that nobody has judged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tiny.world_model(tmp_path / "world")
    tiny.recordings(tmp_path / "rec", lengths=(4, 6, 4, 6))
    keys = ["world_model=world", "policies=[still,random]", "task=rec", "verifier=none", "episodes=3", "run=run", "report=false"]
    assert cli.main(["evaluate", *keys]) == 0
    return tmp_path / "run"


def results_of(run):
    return json.loads((run / "results.json").read_text())


@pytest.mark.slow
def test_a_run_is_judged_again_and_a_rerun_asks_nothing(run, capsys):
    said = {"1 picture": "yes"}

    def script(asked):
        return chat(said["1 picture"] if asked.pictures[0].std() > 1 else "cannot tell")

    with VlmServer(script) as server:
        spec = VLM | {"base_url": server.url, "frames": "last", "price": [0.01, 0.03]}
        score.run(ScoreConfig(run=str(run), verifier=spec))
        first, asked = results_of(run), len(server.asked)
        contents = [(each.text, each.pictures[0].tobytes()) for each in server.asked]
        assert len(set(contents)) == len(contents) > 2
        score.run(ScoreConfig(run=str(run), verifier=spec | {"concurrency": 1}))
        assert len(server.asked) == asked
        assert {**results_of(run), "throughput": None} == {**first, "throughput": None}
        said["1 picture"] = "<script>alert(1)</script>\x1b[2J yes"
        score.run(ScoreConfig(run=str(run), verifier=spec | {"seed": 5}))
    assert first["verifier"]["name"].startswith("vlm-")
    assert [(policy["scored"], policy["successes"]) for policy in first["policies"]] == [(3, 3), (3, 3)]
    assert [policy["unscored"] for policy in results_of(run)["policies"]] == [3, 3]
    out = capsys.readouterr()
    page = (run / "report" / "index.html").read_text()
    assert "\x1b[2J" not in page + out.out + out.err
    assert "<script>alert" not in page


@pytest.mark.slow
def test_a_local_model_judges_a_run(run):
    folder = tiny_vlm.save_tiny_vlm(run.parent / "tiny-vlm")
    score.run(ScoreConfig(run=str(run), verifier={"name": "vlm-local", "path": str(folder), "least_mass": 0.0, "control": False}))
    results = results_of(run)
    assert results["verifier"]["name"].startswith("tiny-vlm-")
    assert [policy["scored"] for policy in results["policies"]] == [3, 3]


def test_registering_loads_no_network_package():
    heavy = "{'openai', 'transformers', 'torch', 'httpx', 'httpx2'}"
    code = f"import sys; from worldsim.registry import VERIFIERS; assert 'vlm' in VERIFIERS; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(("package", "spec"), [("openai", VLM), ("transformers", {"name": "vlm-local", "path": "."})])
def test_a_missing_package_names_its_extra(monkeypatch, package, spec):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=r'pip install -c constraints.txt -e "\.\[vlm\]"') as caught:
        load_verifier(spec)
    assert "\n" not in str(caught.value)
