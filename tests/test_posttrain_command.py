"""`worldsim posttrain` on the tiny world: every mode end to end, kill and resume, and what is refused before anything is trained."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file

from worldsim.errors import InvalidInput
from worldsim.experiments import cli
from worldsim.posttraining.calibration import measured_in, preference_accuracy
from worldsim.posttraining.candidates import Candidates, Contexts, read_candidates
from worldsim.posttraining.feedback import Kept, Reward, load_feedback, prompt_of
from worldsim.posttraining.feedback.side_by_side import beside
from worldsim.posttraining.preferences import judged_pairs, read_preferences, real_pairs, write_preferences
from worldsim.posttraining.signs import displaced, sharpness
from worldsim.types import Trajectory

pytestmark = pytest.mark.slow  # as a file

SMALL = ("contexts=6", "num_generations=3", "given=2", "horizon=3", "steps=4", "batch=3", "learning_rate=1e-3", "threads=1")


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> tuple[Path, Path, Path]:
    """Recordings, a world model and a judge."""
    folder = tmp_path_factory.mktemp("parts")
    tiny.recordings(folder / "data" / "train", lengths=(8, 8, 9))
    return folder / "data", tiny.world_model(folder / "world"), tiny.classifier(folder / "judge")


def words(parts, out: Path, *more: str) -> list[str]:
    data, world, _ = parts
    return ["posttrain", f"data={data}", f"world_model={world}", f"out={out}", *SMALL, *more]


def refused(capsys, words: list[str]) -> str:
    assert cli.main(words) in (1, 2)
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "more",
    [
        ("mode=sft",),
        ("mode=sft", "learn_from=own"),
        ("mode=sft", "feedback=simulator"),
        ("mode=rwr", "feedback=simulator", "weighting=exp", "temperature=0.01"),
        ("mode=dpo",),
        ("mode=dpo", "feedback=simulator", "trainable=lora", "rounds=2"),
        ("mode=rwr", "feedback=simulator", "weighting=exp", "temperature=0.01", "credit=frame"),
        ("mode=grpo", "feedback=simulator", "beta=0.01"),
        ("mode=grpo", "feedback=simulator", "credit=frame"),
        ("mode=grpo", "feedback=simulator", "encoder=tiny"),
        ("mode=dpo", "encoder=tiny", "trainable=encoder_head"),
    ],
)
def test_every_mode_makes_a_world_model_that_differs(tmp_path, parts, more):
    out = tmp_path / "out"
    assert cli.main(words(parts, out, *more)) == 0
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (parts[1], out))
    assert after["sha256"] != before["sha256"]
    assert (after["network"].pop("encoder", None) is not None) == ("encoder=tiny" in more)
    assert after["network"] == before["network"]
    assert after["sampler"] == before["sampler"]
    assert after["leak"] == {"latents": 0.0, "levels": 0.0, "actions": 0.0}
    assert after["training"]["mode"] == more[0].removeprefix("mode=")
    assert cli.main(["replay", f"world_model={out}", f"data={parts[0] / 'train'}", "episodes=2", f"verifier={parts[2]}"]) == 0
    log = [json.loads(line) for line in (out / "rounds" / "1" / "training" / "log.jsonl").read_text().splitlines()]
    assert {"kl_proxy", "kl"} & log[-1].keys()
    assert ("rewards/margins" in log[-1]) == (more[0] == "mode=dpo")


def test_a_killed_run_resumes_to_the_same_weights(tmp_path, parts):
    def started(out: str) -> list[str]:
        asked = words(parts, tmp_path / out, "mode=dpo", "feedback=simulator", "trainable=lora", "steps=25", "save_seconds=0")
        return [sys.executable, "-m", "worldsim.experiments.cli", *asked]

    subprocess.run(started("whole"), check=True, capture_output=True, timeout=300)
    state = tmp_path / "killed" / "rounds" / "1" / "training" / "state.safetensors"
    process = subprocess.Popen(started("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not state.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (tmp_path / "killed" / "config.json").exists()
    subprocess.run(started("killed"), check=True, capture_output=True, timeout=300)
    whole, killed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("mode=rwr",), "learns from rewards"),
        (("mode=dpo", "learn_from=own"), "has no pairs"),
        (("mode=dpo", "feedback=simulator", "credit=frame"), "learns from whole clips"),
        (("mode=sft", "learn_from=judged"), "needs a judge"),
        (("mode=dpo", "feedback=similator"), 'did you mean "simulator"'),
        (("mode=rwr", "feedback=agreement"), "may not train before it is calibrated"),
        (("mode=rwr", "feedback=agreement", "calibration=nowhere.json"), "no calibration at nowhere.json"),
        (("mode=dpo", "preferences=nowhere.h5"), "cannot be read"),
        (("mode=sft", "trainable=encoder_head"), "no parameters for trainable=encoder_head"),
    ],
)
def test_what_is_refused_before_a_step(tmp_path, capsys, parts, more, said):
    spec = [f"feedback={{name: agreement, verifier: {parts[2]}}}" if word == "feedback=agreement" else word for word in more]
    if any("similator" in word for word in more):
        spec.append("calibration=simulator")
    assert said in refused(capsys, words(parts, tmp_path / "out", *spec))
    assert not (tmp_path / "out" / "config.json").exists()
    assert not list(tmp_path.rglob("state.safetensors"))


def test_a_judge_that_is_wrong_too_often_may_not_train(tmp_path, capsys, parts):
    more = ("mode=dpo", f"feedback={{name: agreement, verifier: {parts[2]}}}", "calibration=simulator", "contexts=12")
    assert "may not train" in refused(capsys, words(parts, tmp_path / "out", *more))
    assert not list(tmp_path.rglob("state.safetensors"))


def test_people_label_what_was_imagined(tmp_path, capsys, parts):
    """The clips wait in a run folder; once some are labelled, the same command trains on pairs of yes and no."""
    from worldsim.labelling.label import Label, content_of
    from worldsim.labelling.label_file import write_labels
    from worldsim.labelling.transfer import import_labels
    from worldsim.report.run_folder import RunFolder

    asked = words(parts, tmp_path / "out", "mode=dpo", "feedback=human", "quantile=0")
    assert "worldsim label" in refused(capsys, asked)
    run = RunFolder(tmp_path / "out" / "rounds" / "1" / "to_label")
    first = run.episode_ids()[:6]  # of two contexts
    labels = [Label(each, "ann", "yn"[row % 2], content_of(run.episode(each))) for row, each in enumerate(first)]
    write_labels(tmp_path / "labels.csv", labels)
    import_labels(run, tmp_path / "labels.csv")
    assert cli.main(asked) == 0
    pairs = read_preferences(tmp_path / "out" / "rounds" / "1" / "preferences.h5")
    assert pairs.scores.tolist() == [[1.0, 0.0]] * 2
    assert pairs.judge.startswith("human")


def test_another_request_in_the_same_folder(tmp_path, capsys, parts):
    assert cli.main(words(parts, tmp_path / "out", "mode=sft")) == 0
    assert "learning_rate=0.001, now asked for 0.01" in refused(capsys, words(parts, tmp_path / "out", "mode=sft", "learning_rate=0.01"))


def candidates(count: int = 3, seed: int = 0) -> Candidates:
    rng = np.random.default_rng(seed)
    real = rng.integers(0, 256, (count, 4, 8, 8, 3), dtype=np.uint8)
    rollouts = rng.integers(0, 256, (count, 3, 3, 8, 8, 3), dtype=np.uint8)
    contexts = Contexts("tiny", real, rng.uniform(-1, 1, (count, 3, 2)).astype(np.float32), {})
    return Candidates(
        contexts, 1, rollouts, np.zeros((count, 3, 3, 1, 1, 1), np.float32), np.arange(3 * count, dtype=np.uint64).reshape(-1, 3)
    )


def test_pairs_come_back_from_disk(tmp_path):
    held = candidates()
    rewards = np.array([[0.0, 0.5, 1.0], [0.2, 0.1, 0.2], [np.nan, 0.3, 0.3]])
    made = judged_pairs(held, rewards, 0.0, "somebody")
    write_preferences(tmp_path / "pairs.h5", made)
    read = read_preferences(tmp_path / "pairs.h5")
    assert np.array_equal(read.scores, [[1.0, 0.0], [0.2, 0.1]])
    assert np.array_equal(read.seeds, [[2, 0], [3, 4]])
    assert np.array_equal(read.chosen[0, 1:], held.rollouts[0, 2])
    assert np.array_equal(read.chosen[:, 0], read.rejected[:, 0])
    assert len(judged_pairs(held, rewards, 0.9, "somebody").chosen) == 1  # the clearest gap only
    assert np.array_equal(real_pairs(held).chosen[0], held.contexts.real[0])


def test_a_judge_that_always_says_yes_gives_no_pairs():
    with pytest.raises(InvalidInput, match="yes-man tells no two rollouts of a context apart: no pairs, nothing is trained"):
        judged_pairs(candidates(), np.ones((3, 3)), 0.5, "yes-man")


@pytest.mark.parametrize("side", ["actions", "start"])
def test_pairs_that_do_not_share_start_and_actions_are_refused(tmp_path, monkeypatch, side):
    import worldsim.posttraining.preferences as preferences

    made = real_pairs(candidates())
    other = made.rejected.copy()
    other[1, 0] = 255 - other[1, 0]
    if side == "start":
        made = replace(made, rejected=other)
        write_preferences(tmp_path / "pairs.h5", made)
    else:
        hashes = preferences.shared_hashes
        monkeypatch.setattr(preferences, "shared_hashes", lambda begin, actions: hashes(begin, actions + begin[0, 0, 0, 0, 0]))
        write_preferences(tmp_path / "pairs.h5", made)
        monkeypatch.undo()
    with pytest.raises(InvalidInput, match="of pair [01] do not share start and actions"):
        read_preferences(tmp_path / "pairs.h5")


@pytest.mark.parametrize(("scores", "said"), [([np.nan, 0.0], "not numbers"), ([0.0, 1.0], "scores no higher")])
def test_scores_that_cannot_be(tmp_path, scores, said):
    made = real_pairs(candidates())
    write_preferences(tmp_path / "pairs.h5", replace(made, scores=np.tile(scores, (len(made.chosen), 1))))
    with pytest.raises(InvalidInput, match=said):
        read_preferences(tmp_path / "pairs.h5")


class Counting:
    """Gives the mean of a clip, and counts."""

    name, trusted = "counting", True

    def __init__(self, facts: dict, broken: bool = False) -> None:
        self.facts, self.asked, self.broken = facts, 0, broken

    def score(self, rollouts, references):
        self.asked += len(rollouts)
        return [Reward(float("nan") if self.broken else float(each.frames.mean())) for each in rollouts]


def test_rewards_are_kept_by_content_judge_and_prompt(tmp_path):
    held, judge = candidates(), Counting({"name": "counting"})
    given = held.imagined(), held.references()
    first = Kept(judge, tmp_path / "kept.jsonl").score(*given)
    assert Kept(judge, tmp_path / "kept.jsonl").score(*given) == first
    assert judge.asked == 9
    other = Counting({"name": "counting", "prompt": "is it right?"})
    Kept(other, tmp_path / "kept.jsonl").score(*given)
    assert other.asked == 9
    with pytest.raises(InvalidInput, match="not a number"):
        Kept(Counting({"name": "broken"}, broken=True), tmp_path / "kept.jsonl").score(*given)


def test_the_simulator_prefers_what_is_nearer_to_what_happened():
    held = candidates()
    real = held.references()[:2]
    near = Trajectory("tiny", np.clip(real[0].frames.astype(int) + 1, 0, 255).astype(np.uint8), real[0].actions)
    exact, close = load_feedback("simulator").score([real[0], near], real)
    assert exact.clip == 0 > close.clip >= -1 / 255 - 1e-6
    assert len(close.frames) == 3


def test_agreement_rewards_a_failure_that_stays_one():
    """An imagined failure of what failed gets the 1, an imagined success of it gets none; of what succeeded the other way round."""

    class Bright:
        def build(self):
            return self

        def judge(self, trajectories):
            from worldsim.types import Verdict

            return [Verdict(float(each.frames[-1].mean() > 128)) for each in trajectories]

    def clip(value: int, opening: float | None = None) -> Trajectory:
        frames = np.full((3, 4, 4, 3), value, np.uint8)
        return Trajectory("tiny", frames, np.zeros((2, 1), np.float32), states={} if opening is None else {"opening": np.full(3, opening)})

    from worldsim.posttraining.feedback.agreement import AgreementFeedback

    judge = AgreementFeedback(verifier=Bright())
    failed, closed = clip(0, opening=0.2), clip(255, opening=0.0)
    rewards = judge.score([clip(0), clip(255), clip(255), clip(0)], [failed, failed, closed, closed])
    assert [reward.clip for reward in rewards] == [1.0, 0.0, 1.0, 0.0]


def test_people_and_models_are_shown_both_clips():
    shown = beside(candidates().imagined()[0], candidates().references()[0])
    assert shown.frames.shape == (4, 8, 20, 3)
    assert "both halves" in shown.metadata["instruction"]
    vlm = load_feedback({"name": "vlm", "verifier": {"name": "vlm", "model": "m", "base_url": "http://127.0.0.1:1/v1"}})
    assert vlm.facts["verifier"]["prompt"]["name"] == "same_motion"
    other = load_feedback(
        {"name": "vlm", "verifier": {"name": "vlm", "model": "m", "base_url": "http://127.0.0.1:1/v1", "prompt": "careful"}}
    )
    assert prompt_of(vlm) != prompt_of(other)
    with pytest.raises(InvalidInput, match="feedback=vlm needs a model"):
        load_feedback("vlm")


@pytest.mark.parametrize(("binary", "rewards"), [(True, [1.0, None, 0.0]), (False, [0.8, None, 0.3])])
def test_accepting_and_rejecting(binary, rewards):
    from worldsim.posttraining.feedback.side_by_side import VlmFeedback
    from worldsim.types import Verdict

    judge = VlmFeedback(verifier="vlm", binary=binary)
    verdicts = [Verdict(0.8, details={"p": 0.8}), Verdict(None), Verdict(0.3)]
    assert [judge._reward(verdict).clip for verdict in verdicts] == rewards


def test_preference_accuracy_by_hand():
    simulator = np.array([[0.0, 1.0, 3.0]])
    assert preference_accuracy(simulator, simulator, 0.0) == (1.0, 3)
    assert preference_accuracy(-simulator, simulator, 0.0) == (0.0, 3)
    assert preference_accuracy(np.ones((1, 3)), simulator, 0.0) == (0.5, 3)
    assert preference_accuracy(np.array([[0.0, 2.0, 1.0]]), simulator, 0.0) == (pytest.approx(2 / 3), 3)
    assert preference_accuracy(np.array([[0.0, 2.0, 1.0]]), simulator, 0.9) == (1.0, 1)  # the clear gap is right
    assert preference_accuracy(np.full((1, 3), np.nan), simulator, 0.0) == (0.0, 0)


@pytest.mark.parametrize(("warnings", "said"), [([], None), (["Only 3 episodes were compared"], "says too little")])
def test_calibration_files(tmp_path, warnings, said):
    block = {"episodes": 60, "agreement": {"value": 0.9}, "warnings": warnings}
    (tmp_path / "judge.json").write_text(json.dumps({"human": None, "state": block}))
    if said is None:
        assert measured_in(tmp_path / "judge.json") == 0.9
    else:
        with pytest.raises(InvalidInput, match=said):
            measured_in(tmp_path / "judge.json")


def test_inverse_dynamics_learns_on_recordings_and_judges(tmp_path, capsys, parts):
    """Trained on recordings too small to read anything off, it says so and is refused."""
    more = ("mode=rwr", "feedback=inverse_dynamics", "calibration=simulator")
    said = refused(capsys, words(parts, tmp_path / "out", *more))
    assert "can be read off neighbouring frames" in said or "may not train" in said
    assert (tmp_path / "out" / "inverse_dynamics" / "config.json").is_file()


def test_signs():
    rows = [{"loss": 1 - 0.1 * i, "winner_error_change": 0.01 * i} for i in range(9)]
    assert "pushed away" in displaced(rows)
    assert displaced([row | {"winner_error_change": -0.01} for row in rows]) is None
    grey, board = np.full((4, 4, 3), 9, np.uint8), np.indices((4, 4)).sum(0)[..., None].repeat(3, -1) % 2 * 255
    assert sharpness(grey) == 0
    assert sharpness(board.astype(np.uint8)) == pytest.approx(2.0)


def test_candidates_are_what_the_world_model_made(tmp_path, parts):
    assert cli.main(words(parts, tmp_path / "out", "mode=dpo")) == 0
    held = read_candidates(tmp_path / "out" / "rounds" / "1" / "candidates.h5")
    assert held.rollouts.shape == (6, 3, 3, 16, 16, 3)
    assert len(np.unique(held.seeds)) == 18
    assert held.contexts.states["opening"].shape == (6, 5)
    assert (held.rollouts[:, 0] != held.rollouts[:, 1]).any()


def test_stages_of_physmaster_follow_one_another(tmp_path, parts, capsys):
    """The encoder is added in the first, kept in the second, and alone trained in the third; grpo, which cannot reach it, is refused."""
    data, _, judge = parts
    steps = (("mode=sft", "encoder=tiny"), ("mode=dpo", "trainable=lora"), ("mode=dpo", "trainable=encoder_head"))
    held, at = [], parts[1]
    for number, more in enumerate(steps):
        out = tmp_path / str(number)
        assert cli.main(words((data, at, judge), out, *more)) == 0
        held.append(load_file(out / "model.safetensors"))
        at = out
    changed = [{name for name in b if not torch.equal(a[name], b[name])} for a, b in pairwise(held)]
    assert changed[0]
    assert not any(name.startswith("network/encoder.") for name in changed[0])
    assert changed[1]
    assert all(name.startswith("network/encoder.head.") for name in changed[1])
    line = refused(capsys, words((data, at, judge), tmp_path / "x", "mode=grpo", "feedback=simulator", "trainable=encoder_head"))
    assert "its head gets no gradient" in line
