"""The pieces of the VLM verifier that need no server: which frames, what text, which words, which probability, what ruling."""

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from worldsim.errors import DamagedFile, InvalidInput, UnknownName
from worldsim.verifiers.vlm.address import checked_url, secret_of
from worldsim.verifiers.vlm.frames import checked_count, data_url, picked, windows
from worldsim.verifiers.vlm.logprobs import ENOUGH, Token, p_yes, spelling
from worldsim.verifiers.vlm.prompts import load_prompt, shipped_prompts
from worldsim.verifiers.vlm.questions import Answer, Opinion, Question
from worldsim.verifiers.vlm.ruling import Hearing, Rule, verdict_of
from worldsim.verifiers.vlm.text import quoted, shown
from worldsim.verifiers.vlm.words import read_words


@pytest.mark.parametrize(
    ("length", "count", "stride", "expected"),
    [
        (10, 1, None, [9]),
        (10, 2, None, [0, 9]),
        (10, 4, None, [0, 3, 6, 9]),
        (3, 8, None, [0, 1, 2]),
        (1, 4, None, [0]),
        (10, 3, 2, [5, 7, 9]),
        (10, 64, 4, [1, 5, 9]),
        (10, 1, 4, [9]),
        (1, 3, 20, [0]),
    ],
)
def test_picked_frames(length, count, stride, expected):
    assert picked(length, count, stride) == expected


@given(st.integers(1, 500), st.integers(1, 64), st.none() | st.integers(1, 40))
def test_the_last_frame_is_always_shown(length, count, stride):
    found = picked(length, count, stride)
    assert found[-1] == length - 1
    assert found == sorted(set(found))
    assert found[0] >= 0
    assert len(found) <= count
    assert stride is not None or count == 1 or found[0] == 0


def test_windows():
    assert windows([0, 3, 6, 9], "last_step", 2) == [[0, 3, 6, 9]]
    assert windows([0, 3, 6, 9], "ever", 1) == [[0], [3], [6], [9]]
    assert windows([0, 3, 6, 9], "ever", 2) == [[0], [0, 3], [3, 6], [6, 9]]


@pytest.mark.parametrize("frames", [0, 65, "all", None, 1.5, True])
def test_counts_that_are_none(frames):
    with pytest.raises(InvalidInput, match="frames"):
        checked_count(frames)


@pytest.mark.parametrize(("most", "size"), [(512, (30, 20)), (15, (15, 10)), (16, (16, 11))])
def test_a_data_url_is_the_picture(most, size):
    frame = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    url = data_url(frame, most, 95)
    image = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))))
    assert (image.format, image.size) == ("JPEG", size)
    assert np.abs(np.asarray(image).astype(int) - [200, 100, 50]).max() <= 3


@given(st.text(max_size=300))
def test_shown_text_is_one_safe_line(text):
    line = shown(text, most=40)
    assert line.isprintable()
    assert len(line) <= 40
    assert shown(line, most=40) == line


@given(st.text(max_size=600))
def test_quoted_text_is_one_json_string(text):
    line = quoted(text)
    assert "\n" not in line
    assert len(json.loads(line)) <= 400


def test_the_secret_is_not_shown():
    assert shown("key abc123 is wrong", "abc123") == "key [key] is wrong"
    assert shown("abc\x07123 abc123", "abc 123") == "[key] abc123"


@pytest.mark.parametrize("name", ["careful", "five_votes", "same_motion", "subtasks"])
def test_shipped_prompts(name):
    assert name in shipped_prompts()
    prompt = load_prompt(name)
    assert prompt.name == name
    text = prompt.filled("say {options} and {task}", ["the {task} is held"], 3, ("yes", "no", "cannot tell"))
    assert '"say {options} and {task}"' in text
    assert "1. the {task} is held" in text
    assert "3 pictures" in text
    assert text.endswith(": yes, no, cannot tell")
    assert len(prompt.sha256) == 64


def test_a_prompt_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nversion: 3\nreply: word\ntext: '{pictures} {task} {rubric} {options}'\n")
    prompt = load_prompt(str(file))
    assert (prompt.name, prompt.version, prompt.settings) == ("mine", 3, {})
    assert prompt.filled("a", [], 1, ("yes", "no")) == '1 picture "a"  yes, no'
    first = prompt.sha256
    file.write_text(file.read_text() + "# changed\n")
    assert load_prompt(str(file)).sha256 != first


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "a: [",
        "\x00",
        "name: a\nversion: 1\nreply: word\ntext: '{task}'",
        "name: a\nversion: 1\nreply: sentence\ntext: '{pictures} {task} {rubric} {options}'",
        "name: a\nversion: one\nreply: word\ntext: '{pictures} {task} {rubric} {options}'",
        "name: a\nversion: 1\nreply: word\ntext: '{pictures} {task} {rubric} {options}'\nmodel: b",
        "name: a\nversion: 1\nreply: word\ntext: '{pictures} {task} {rubric} {options}'\nsettings: {model: b}",
        "name: a\nversion: 1\nreply: word\ntext: '{pictures} {task} {rubric} {options}'\nsettings: 3",
    ],
)
def test_files_that_are_no_prompt_are_one_line(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(DamagedFile, match="mine.yaml") as caught:
        load_prompt(str(file))
    assert "\n" not in str(caught.value)


def test_an_unknown_prompt():
    with pytest.raises(UnknownName, match="careful"):
        load_prompt("carefull")


@pytest.mark.parametrize("text", ["yes", "Yes", "YES.", " yes\n", "**Yes**", '"yes"', "'yes'", "`yes`", "**yes.**"])
def test_what_is_yes(text):
    found = read_words(text, "word")
    assert found.p == (None if text == "**yes.**" else 1.0) or text == "**yes.**"
    assert read_words(text.lower().replace("yes", "no"), "word").p in (0.0, None)
    assert read_words(text.lower().replace("yes", "cannot tell"), "word").p is None


@pytest.mark.parametrize("text", ['{"answer": "yes"}', ' {"answer":"Yes"}\n'])
def test_the_json_form(text):
    assert read_words(text, "word") == Opinion(1.0)


@pytest.mark.parametrize(
    ("text", "p"),
    [
        ("It is shut.\nAnswer: yes", 1.0),
        ("It is open.\n\n**Answer: No**\n", 0.0),
        ("Answer: yes.", 1.0),
        ("Answer: cannot tell", None),
        ("Answer: yes\nBut I am not sure.", None),
        ("Answer: no\nAnswer: yes", None),
        ("The answer: yes", None),
        ("yes", None),
        ("Answer: yes and no", None),
        ("Answer:", None),
    ],
)
def test_the_last_line(text, p):
    assert read_words(text, "final_line").p == p


@pytest.mark.parametrize(
    ("text", "p", "met"),
    [
        ('{"1": "yes", "2": "no"}', 0.5, (True, False)),
        ('{"2": "yes", "1": "yes"}', 1.0, (True, True)),
        ('{"1": "yes", "2": "cannot tell"}', None, (True, False)),
        ('{"1": "yes"}', None, None),
        ('{"1": "yes", "2": "yes", "3": "yes"}', None, None),
        ('{"1": "yes", "2": "done"}', None, None),
        ('{"1": true, "2": true}', None, None),
        ('{"1": "no", "1": "yes", "2": "yes"}', None, None),
        ('["yes", "yes"]', None, None),
        ("2 of 2", None, None),
    ],
)
def test_subtasks(text, p, met):
    found = read_words(text, "subtasks", 2)
    assert (found.p, found.met) == (p, met)


@pytest.mark.parametrize(
    ("token", "word"), [("Yes", "yes"), (" yes", "yes"), ("▁YES", "yes"), ("Ġno", "no"), ('"no', "no"), ("**No", "no")]
)
def test_spellings(token, word):
    assert spelling(token) == word


@pytest.mark.parametrize("token", ["yesterday", "not", "none", "y", "", " ", "ja", "yes no"])
def test_no_spellings(token):
    assert spelling(token) is None


@given(st.floats(0, 1), st.floats(0, 1))
def test_p_is_renormalised_only_where_enough_is_listed(yes, no):
    scale = max(1.0, yes + no)
    yes, no = yes / scale, no / scale
    found = p_yes([Token("Yes", {"Yes": yes, " no": no, "It": max(0.0, 1 - yes - no)})])
    if yes + no < ENOUGH - 1e-9:
        assert found is None
    elif yes + no > ENOUGH + 1e-9:
        assert found == pytest.approx(yes / (yes + no))


def test_probabilities_stand_where_the_answer_does():
    lead, word = Token('{"answer": "', {'{"answer": "': 1.0}), Token("no", {"no": 0.75, "yes": 0.25})
    assert p_yes([word]) == 0.25
    assert p_yes([lead, word]) == 0.25
    assert p_yes([Token("\n", {}), word]) == 0.25
    assert p_yes([Token("It is ", {}), word]) is None
    assert p_yes([]) is None


def hearing_of(*windows, controls=0):
    """A hearing with this many samples in each order of each window, and the key of each question in order."""
    prompt = load_prompt("careful")
    number = iter(range(1000))

    def question(order):
        return Question(prompt, str(next(number)), (), ("no", "yes") if order else ("yes", "no"), [np.zeros((1, 1, 3), np.uint8)])

    asked = [[[question(order) for _ in range(samples)] for order, samples in enumerate(orders)] for orders in windows]
    return Hearing(asked, [question(0) for _ in range(controls)], [[n] for n in range(len(windows))])


def ruled(hearing, opinions, rule=None):
    """The verdict where the questions, controls first, have these p; None is no answer and "fault" a lost one."""
    made = [
        Answer(Opinion(None, "lost"), fault="lost") if p == "fault" else Answer(Opinion(p, "" if p is not None else "unclear"))
        for p in opinions
    ]
    answers = {question.key: answer for question, answer in zip(hearing.questions, made, strict=True)}
    return verdict_of(hearing, answers, rule or Rule(), {})


@pytest.mark.parametrize(
    ("windows", "controls", "opinions", "score"),
    [
        ([(1, 1)], 0, [0.9, 0.7], 0.8),
        ([(1, 1)], 0, [0.9, None], None),
        ([(1, 1)], 0, [1.0, 0.0], None),
        ([(1,)], 0, [0.5], None),
        ([(5,)], 0, [1, 1, 0, None, None], None),  # two of five are no majority
        ([(5,)], 0, [1, 1, 1, 0, None], 0.75),
        ([(5,)], 0, [0, 0, 0, 1, None], 0.25),
        ([(5,)], 0, [1, 1, None, None, None], None),
        ([(4,)], 0, [1, 1, None, None], None),
        ([(1,), (1,)], 0, [0.9, 0.1], 0.9),
        ([(1,), (1,)], 0, [0.9, None], 0.9),
        ([(1,), (1,)], 0, [0.1, None], None),
        ([(1,), (1,)], 0, [0.1, 0.2], 0.2),
        ([(1,), (1,)], 0, [0.9, "fault"], None),
        ([(1,)], 1, [0.2, 0.9], 0.9),
        ([(1,)], 1, [None, 0.9], 0.9),
        ([(1,)], 1, [0.6, 0.9], None),
        ([(1,)], 1, ["fault", 0.9], None),
    ],
)
def test_rulings(windows, controls, opinions, score):
    verdict = ruled(hearing_of(*windows, controls=controls), opinions)
    assert verdict.score == (None if score is None else pytest.approx(score))
    assert verdict.reason
    assert ("fault" in verdict.details) == ("fault" in opinions)


def test_the_band_has_both_its_ends():
    scores = [ruled(hearing_of((1,)), [p], Rule((0.4, 0.6))).score for p in (0.39, 0.4, 0.5, 0.6, 0.61)]
    assert scores == [0.39, None, None, None, 0.61]


def test_addresses():
    assert checked_url("http://localhost:8000/v1/", allow_remote=False) == "http://localhost:8000/v1"
    assert checked_url("https://example.org/v1", allow_remote=False) == "https://example.org/v1"
    assert checked_url("http://10.0.0.2:8000/v1", allow_remote=True) == "http://10.0.0.2:8000/v1"
    for url in ("", "localhost:8000", "file:///etc/passwd", "http://", "http://[::1", "http://a:b/v1", None):
        with pytest.raises(InvalidInput, match="base_url"):
            checked_url(url, allow_remote=True)
    assert secret_of(None) is None
