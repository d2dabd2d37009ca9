"""`worldsim posttrain feedback=vlm` against a real server on loopback: a model that looks may train, one that does not is refused."""

import json
import math
from pathlib import Path

import pytest
import tiny
from vlm_server import VlmServer, chat, listed

from worldsim.experiments import cli
from worldsim.posttraining.preferences import read_preferences

pytestmark = pytest.mark.slow  # as a file

SMALL = (
    "contexts=12",
    "quantile=0.3",
    "num_generations=3",
    "given=2",
    "horizon=3",
    "steps=3",
    "batch=3",
    "learning_rate=1e-3",
    "threads=1",
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> tuple[Path, Path]:
    """Recordings and a world model."""
    folder = tmp_path_factory.mktemp("parts")
    tiny.recordings(folder / "data" / "train", lengths=(8, 8, 9))
    return folder / "data", tiny.world_model(folder / "world")


def asked_of(server, parts, out: Path, *more: str, **options) -> list[str]:
    verifier = {"name": "vlm", "model": "m", "base_url": server.url, "backoff": 0, "cache": False} | options
    said = ", ".join(f"{key}: {json.dumps(value)}" for key, value in verifier.items())
    feedback = f"feedback={{name: vlm, binary: false, verifier: {{{said}}}}}"
    return ["posttrain", f"data={parts[0]}", f"world_model={parts[1]}", f"out={out}", feedback, *SMALL, *more]


def looks(asked):
    """p(yes) falls with the difference of the two halves; a picture with nothing in it tells nothing."""
    if any(picture.std() == 0 for picture in asked.pictures):
        return chat("cannot tell")
    width = asked.pictures[0].shape[1]
    half = (width - width // 9) // 2  # 16 + 4 + 16 columns
    apart = [abs(p[:, :half].astype(float) - p[:, -half:].astype(float)).mean() for p in asked.pictures]
    p = math.exp(-sum(apart) / len(apart) / 64)
    words = {"yes": p, "no": 1 - p}
    return chat(max(words, key=words.get), logprobs=listed(dict(sorted(words.items(), key=lambda each: -each[1]))))


def test_a_model_that_sees_the_difference_trains(tmp_path, capsys, parts):
    with VlmServer(looks) as server:
        words = asked_of(server, parts, tmp_path / "out", "mode=dpo", "calibration=simulator")
        assert cli.main(words) == 0
        asked = len(server.asked)
        assert all(len(each.pictures) == 4 for each in server.asked)
        assert "both halves" in server.asked[-1].text
        (tmp_path / "out" / "config.json").unlink()
        assert cli.main(words) == 0
    assert len(server.asked) == asked  # its rewards were kept
    pairs = read_preferences(tmp_path / "out" / "rounds" / "1" / "preferences.h5")
    assert pairs.judge.startswith("vlm")
    assert (pairs.scores[:, 0] > pairs.scores[:, 1]).all()
    assert "vlm prefers what the simulator prefers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "options", "said"),
    [
        (lambda asked: chat("yes"), {"control": False}, "vlm may not train: its preference accuracy against the simulator is 0.50"),
        (lambda asked: chat("yes"), {}, "vlm could tell none of the rollouts"),
        (lambda asked: chat("perhaps"), {"control": False}, "vlm could tell none of the rollouts"),
    ],
    ids=["always yes", "yes to blank pictures too", "no answer"],
)
def test_a_model_that_does_not_look_is_refused(tmp_path, capsys, parts, script, options, said):
    with VlmServer(script) as server:
        assert cli.main(asked_of(server, parts, tmp_path / "out", "mode=dpo", "calibration=simulator", **options)) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.rglob("state.safetensors"))
