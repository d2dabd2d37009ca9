"""The verifier `vlm-local` with a tiny random vision-language model: its score is the softmax over yes and no, alone and in a batch."""

import json
import socket

import numpy as np
import pytest
import torch
from tiny_vlm import logits_by_hand, save_tiny_vlm, tokenizer_of
from vlm_server import done, episode, failed

from worldsim.errors import DamagedFile, InvalidInput
from worldsim.load import load_verifier, part_checkpoint, part_facts
from worldsim.registry import VERIFIERS
from worldsim.verifiers.vlm.local import LocalVlmConfig, spellings_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_vlm(tmp_path_factory.mktemp("vlm"))


@pytest.fixture
def _no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a local model must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def judge_of(folder, **options):
    return LocalVlmConfig(path=str(folder), **{"control": False, "least_mass": 0.0} | options).build()


def question_of(trajectory, options, **asked):
    config = LocalVlmConfig(path="", control=False, **asked)
    hearing = config.hearing(trajectory)
    return next(order[0] for order in hearing.windows[0] if tuple(order[0].options) == options)


ORDERS = {"yes_first": ("yes", "no", "cannot tell"), "no_first": ("no", "yes", "cannot tell")}


@pytest.mark.usefixtures("_no_network")
def test_the_score_is_the_softmax_over_the_two_logits(folder):
    trajectory = done()
    verdict = judge_of(folder, frames=2).judge([trajectory])[0]
    tokenizer = tokenizer_of(("yes", "no"))
    pair = [tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no")]
    by_hand = []
    for name, options in ORDERS.items():
        question = question_of(trajectory, options, frames=2)
        yes, no = logits_by_hand(folder, question.text, list(question.pictures))[pair].double()
        by_hand.append(float(yes.exp() / (yes.exp() + no.exp())))
        assert verdict.details["p_yes"][name][0] == pytest.approx(by_hand[-1], abs=1e-5)
    assert verdict.score == pytest.approx(np.mean(by_hand), abs=1e-5)
    assert verdict.details["read_from"] == ["logits"]
    assert by_hand[0] != pytest.approx(by_hand[1], abs=1e-6)
    json.dumps(dict(verdict.details), allow_nan=False)


def test_a_batch_says_what_each_says_alone(folder):
    tasks = ["close the drawer", "open it", "close the drawer if the robot is done, open the drawer if it is open, close it, close it"]
    episodes = [make(task) for task in tasks for make in (done, failed)] + [episode([5, 250])]
    judge = judge_of(folder, batch=1)
    alone = [judge.judge([each])[0] for each in episodes]
    for batch in (2, 5, 16):
        together = judge_of(folder, batch=batch).judge(episodes)
        assert [v.score for v in together] == pytest.approx([v.score for v in alone], abs=1e-5)
    assert len({round(v.score, 6) for v in alone}) == len(alone)


def test_the_pictures_matter(folder):
    scores = [verdict.score for verdict in judge_of(folder).judge([done(), failed()])]
    assert abs(scores[0] - scores[1]) > 1e-4


def test_all_spellings_count(tmp_path):
    spelled = ("yes", "no", "Yes", "▁yes", "NO", "yesterday", "not")
    folder = save_tiny_vlm(tmp_path / "vlm", spellings=spelled)
    verdict = judge_of(folder, both_orders=False).judge([done()])[0]
    question = question_of(done(), ORDERS["yes_first"])
    tokenizer = tokenizer_of(spelled)
    share = logits_by_hand(folder, question.text, list(question.pictures)).double().softmax(-1)
    yes, no = (sum(share[tokenizer.convert_tokens_to_ids(word)] for word in words) for words in (("yes", "Yes", "▁yes"), ("no", "NO")))
    assert verdict.score == pytest.approx(float(yes / (yes + no)), abs=1e-5)
    assert spellings_of(tokenizer) == {"yes": [16, 18, 19], "no": [17, 20]}


def test_a_model_that_would_say_something_else_cannot_tell(folder):
    question = question_of(done(), ORDERS["yes_first"])
    mass = float(logits_by_hand(folder, question.text, list(question.pictures)).softmax(-1)[[16, 17]].sum())
    assert 0 < mass < 1
    assert judge_of(folder, both_orders=False, least_mass=mass * 0.99).judge([done()])[0].score is not None
    verdict = judge_of(folder, both_orders=False, least_mass=min(1.0, mass * 1.01)).judge([done()])[0]
    assert verdict.score is None
    assert "would begin with" in verdict.reason


def test_logits_that_are_no_numbers_are_no_verdict(folder):
    judge = judge_of(folder)
    model = judge._answerer._model
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    verdict = judge.judge([done()])[0]
    assert verdict.score is None
    assert "not finite" in verdict.reason


def test_blank_pictures_are_shown_to_it_too(folder):
    verdict = judge_of(folder, control=True).judge([done()])[0]
    assert verdict.details["asked"] == 4
    assert len(verdict.details["control"]) == 2


def test_what_identifies_it(folder, tmp_path):
    spec = {"name": "vlm-local", "path": str(folder)}
    facts = part_facts(VERIFIERS, spec)
    assert str(folder) not in json.dumps(facts)
    assert part_checkpoint(VERIFIERS, spec) is None
    assert facts == part_facts(VERIFIERS, spec | {"batch": 7, "device": "cuda"})
    other = save_tiny_vlm(tmp_path / "other", seed=1)
    assert facts != part_facts(VERIFIERS, spec | {"path": str(other)})
    assert facts != part_facts(VERIFIERS, spec | {"frames": 2})


@pytest.mark.parametrize(
    ("options", "words"),
    [({"prompt": "five_votes"}, "longer reply"), ({"samples": 3}, "samples"), ({"batch": 0}, "batch"), ({"path": "/nowhere"}, "no folder")],
)
def test_options_that_make_no_sense_are_one_line(folder, options, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        load_verifier({"name": "vlm-local", "path": str(folder), **options})
    assert "\n" not in str(caught.value)


def test_folders_that_hold_no_such_model_are_one_line(tmp_path):
    with pytest.raises(InvalidInput, match="chat template"):
        judge_of(save_tiny_vlm(tmp_path / "a", template=None))
    with pytest.raises(InvalidInput, match="no token for yes"):
        judge_of(save_tiny_vlm(tmp_path / "b", spellings=("yes",)))
    broken = save_tiny_vlm(tmp_path / "c")
    (broken / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(DamagedFile, match="cannot be loaded") as caught:
        judge_of(broken)
    assert "\n" not in str(caught.value)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "config.json").write_text('{"model_type": "mystery", "auto_map": {"AutoConfig": "evil.Evil"}}')
    (tmp_path / "d" / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(DamagedFile):
        judge_of(tmp_path / "d")
