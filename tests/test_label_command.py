"""`worldsim label` as people type it: refusals in one line, files, the summary, and sittings that are interrupted or go on side by side."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from labelled import Client, give, imagined, make_run

from worldsim.experiments.cli import main
from worldsim.labelling.ledger import labels_of, raters_of


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "runsecret")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export=a.txt"], "neither .csv nor .jsonl"),
        (["export=a.csv"], "nobody has labelled"),
        (["import=nosuch.csv"], "there is no file"),
        (["export=a.csv", "import=a.csv"], "separate commands"),
        (["--summary"], "nobody has labelled"),
        (["world=dream"], 'unknown world "dream"'),
        (["world=both", "layout=pair"], "tell them apart"),
        (["count=0"], "at least 1"),
        (["port=99999", "open=false"], "port 99999 cannot be used"),
        (["rater=' '"], "rater=NAME"),
        (["rater=\x1b[2J"], r"\x1b[2J"),
    ],
)
def test_a_wrong_request_ends_in_one_line(run, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["label", str(run.path), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert error.rstrip("\n").isprintable()


def test_the_command_exports_imports_and_sums_up(run, tmp_path, capsys):
    episodes = imagined(run)
    give(run, "ann", dict(zip(episodes, "yyyyynnnnu", strict=True)))
    give(run, "bob", dict(zip(episodes, "yyyynnnnnn", strict=True)))
    assert main(["label", str(run.path), f"export={tmp_path}/a.csv"]) == 0
    assert main(["label", str(run.path), "--import", f"{tmp_path}/a.csv"]) == 0
    assert main(["label", str(run.path), "--summary"]) == 0
    out = capsys.readouterr().out
    assert "20 labels written" in out
    assert "20 were there already" in out
    assert "kappa" in out
    assert episodes[4] in out  # unblinded, as both are done
    assert "secretpolicy" in out


def _started(run, *arguments):
    command = [sys.executable, "-m", "worldsim.experiments.cli", "label", str(run.path), "open=false", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = []
    while not (lines and "http://" in lines[-1]):
        lines.append(process.stdout.readline())
        assert lines[-1], process.stderr.read()
    return process, lines[-1].split()[-1]


class Page(Client):
    """A client of a command in another process, known by its address."""

    def __init__(self, address):
        class Server:
            port = int(address.split(":")[2].split("/")[0])

        Server.address = address
        super().__init__(Server)
        self.enter()
        self.csrf = json.loads(self.ask("/api/sitting")[2])["csrf"]

    def answer(self, said):
        card = json.loads(self.ask("/api/card")[2])["card"]["id"]
        body = json.dumps({"card": card, "answer": said, "seconds": 1.0, "replays": 0}).encode()
        return self.ask("/api/label", body, content_type="application/json", x_csrf_token=self.csrf)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_sitting_keeps_every_answer_and_goes_on(run, number, code):
    process, address = _started(run, "rater=ann")
    page = Page(address)
    assert [page.answer(said) for said in "ynu"] == [200] * 3
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in out + err
    assert sorted(label.answer for label in labels_of(run, "ann").values()) == ["n", "u", "y"]
    process, address = _started(run, "rater=ann")
    page = Page(address)
    assert json.loads(page.ask("/api/card")[2])["done"] == 3
    assert [page.answer("y") for _ in range(7)] == [200] * 7
    assert page.ask("/api/finish", b"{}", content_type="application/json", x_csrf_token=page.csrf)[0] == 200
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "10 of 10" in out


@pytest.mark.slow
def test_two_raters_label_at_once(run):
    ann, bob = _started(run, "rater=ann"), _started(run, "rater=bob")
    try:
        pages = [Page(address) for _, address in (ann, bob)]
        for said in "ynuyn":
            assert [page.answer(said) for page in pages] == [200, 200]
        with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(ann[1]):
            pass
        with caught.value:
            assert caught.value.code == 403
    finally:
        for process, _ in (ann, bob):
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    assert {rater: len(labels_of(run, rater)) for rater in raters_of(run)} == {"ann": 5, "bob": 5}
