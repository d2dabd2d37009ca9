"""Labels: who is shown what in which order, where answers are kept, files of them, the judge that reads them, the command around it all."""

import contextlib
import csv
import json
import multiprocessing
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import HASH, clip, config, give, imagined, label_many, make_run, served
from rich.console import Console

from worldsim.errors import DamagedFile, InvalidInput, UnknownName, WorldsimError
from worldsim.experiments.cli import main
from worldsim.labelling.deck import Choice, chosen, deal, read_entries
from worldsim.labelling.label import Label, content_of
from worldsim.labelling.label_file import read_labels, write_labels
from worldsim.labelling.ledger import all_labels, labels_of, opened, raters_of
from worldsim.labelling.question import question
from worldsim.labelling.summary import summarize
from worldsim.labelling.summary_tables import summary_tables
from worldsim.labelling.transfer import export_labels, import_labels
from worldsim.load import load_verifier
from worldsim.report.printable import printable
from worldsim.report.run_folder import RunFolder


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "runsecret")


# --- what a label is, and where it is kept ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"answer": "yes"}, "write y"),
        ({"answer": ""}, "write y"),
        ({"content": "ab"}, "64 hexadecimal"),
        ({"seconds": float("nan")}, "seconds"),
        ({"seconds": -1.0}, "seconds"),
        ({"replays": 10**7}, "replays"),
        ({"rater": ""}, "rater=NAME"),
        ({"rater": " ann"}, "rater=NAME"),
        ({"rater": "ann\x1b[31m"}, r"\\x1b"),
        ({"rater": "a" * 300}, "too long"),
        ({"asked": "="}, "hexadecimal"),
    ],
)
def test_a_label_that_cannot_be_is_refused(changes, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        replace(Label("a1", "ann", "y", HASH), **changes)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("rater", ["ann", "Ann Lee", "=cmd()", "../../etc", "评审", "a%2Fb", "100%"])
def test_any_printable_name_labels_in_its_own_file(run, rater):
    first = imagined(run)[0]
    give(run, rater, {first: "y"})
    assert raters_of(run) == [rater]
    assert labels_of(run, rater)[first].answer == "y"
    assert {path.parent for path in run.path.rglob("*human*")} == {run.path / "verdicts"}


def test_the_last_word_counts_and_the_first_stays_in_the_file(run):
    first, second = imagined(run)[:2]
    give(run, "ann", {first: "y", second: "u"})
    give(run, "ann", {first: "n"})
    assert {episode: label.answer for episode, label in labels_of(run, "ann").items()} == {first: "n", second: "u"}
    assert {episode: verdict.score for episode, verdict in run.verdicts("human:ann").items()} == {first: 0.0, second: None}
    assert len((run.path / "verdicts/human%3Aann.jsonl").read_text().splitlines()) == 3
    assert run.verdicts("human:ann")[first].reason == "rater ann: failure"


def test_a_second_sitting_of_one_rater_is_refused_and_another_rater_is_not(run):
    with opened(run, "ann"):
        with pytest.raises(WorldsimError, match="another process"), opened(run, "ann"):
            pass
        with opened(run, "bob"), RunFolder.open(run.path, config()):  # nor does an evaluation of the run stand in the way
            pass
    with opened(run, "ann"):
        pass


def test_a_name_in_other_capitals_is_refused(run):
    give(run, "ann", {imagined(run)[0]: "y"})
    with pytest.raises(InvalidInput, match="other capitals"), opened(run, "Ann"):
        pass


@pytest.mark.slow
def test_raters_in_several_processes_lose_nothing_while_the_run_is_locked(run):
    """Four raters append 50 labels each at once; a writer of the run holds its lock all the while."""
    said = {f"rater {number}": "ynu"[number % 3] * 25 + "yn"[number % 2] * 25 for number in range(4)}
    context = multiprocessing.get_context("spawn")
    with RunFolder.open(run.path, config()):
        processes = [context.Process(target=label_many, args=(run.path, *each)) for each in said.items()]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
    for rater, answers in said.items():
        lines = (run.path / f"verdicts/human%3A{rater.replace(' ', '%20')}.jsonl").read_text().splitlines()
        assert [json.loads(line)["details"]["label"] for line in lines] == list(answers)


def test_a_torn_line_is_cut_off_and_a_foreign_one_is_named(run):
    first, second = imagined(run)[:2]
    give(run, "ann", {first: "y"})
    file = run.path / "verdicts/human%3Aann.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: len(whole) // 2])
    give(run, "ann", {second: "n"})
    assert {episode: label.answer for episode, label in labels_of(run, "ann").items()} == {first: "y", second: "n"}
    file.write_text('{"episode": "x", "score": 1, "reason": "", "details": {}}\n')
    with pytest.raises(DamagedFile, match="no label"):
        labels_of(run, "ann")
    file.write_bytes(whole.replace(b'"score": 1.0', b'"score": 0.0'))
    with pytest.raises(DamagedFile, match="line 1; worldsim label run=.* rater=ann"):
        labels_of(run, "ann")


# --- what belongs to a label ---


def test_the_hash_is_of_what_is_shown():
    given = clip("secretpolicy", "imagined", 1)
    other = replace(given, metadata={**given.metadata, "policy": "another", "fps": 3}, seed=9, start_id="z", actions=given.actions + 1)
    assert content_of(other) == content_of(given)
    frames = given.frames.copy()
    frames[-1, 0, 0, 0] ^= 1
    assert content_of(replace(given, frames=frames)) != content_of(given)
    assert content_of(replace(given, metadata={**given.metadata, "instruction": "pull"})) != content_of(given)
    assert content_of(replace(given, task_id="pull")) != content_of(given)


# --- which clips, in which order ---


def test_every_rater_is_shown_the_same_clips_in_an_order_of_their_own(run):
    entries, _ = read_entries(run)
    orders = {rater: [card.entry.episode for card in deal(entries, Choice(count=8), rater)] for rater in ("ann", "bob", "cyd")}
    assert len({frozenset(order) for order in orders.values()}) == 1
    assert len({tuple(order) for order in orders.values()}) == 3
    assert orders["ann"] == [card.entry.episode for card in deal(entries, Choice(count=8), "ann")]
    assert orders["ann"] != [card.entry.episode for card in deal(entries, Choice(count=8, seed=1), "ann")]


def test_more_clips_hold_the_fewer_and_a_growing_run_moves_none(run):
    entries, _ = read_entries(run)
    assert set(chosen(entries, Choice(count=4))) < set(chosen(entries, Choice(count=7))) < set(chosen(entries, Choice()))
    before = [card.entry.episode for card in deal(entries[: len(entries) - 4], Choice(world="both"), "ann")]
    after = [card.entry.episode for card in deal(entries, Choice(world="both"), "ann")]
    assert [episode for episode in after if episode in before] == before


def test_the_order_tells_nothing_of_the_policy(tmp_path):
    """Over 200 clips of two policies the order is as mixed as a fair coin's: the longest run and the count in the first half."""
    run = make_run(tmp_path / "many", starts=100, worlds=("imagined",))
    policies = [card.entry.policy == "secretpolicy" for card in deal(read_entries(run)[0], Choice(), "ann")]
    assert 35 <= sum(policies[:100]) <= 65
    assert 70 <= int(np.sum(np.diff(policies) != 0)) <= 130


def test_ids_are_random_and_new_each_time(run):
    entries, _ = read_entries(run)
    first, second = ({card.id for card in deal(entries, Choice(), "ann")} for _ in range(2))
    assert len(first | second) == 20
    assert all(len(id) >= 16 for id in first)


def test_a_pair_is_the_same_policy_from_the_same_start_in_truth(run):
    cards = deal(read_entries(run)[0], Choice(layout="pair"), "ann")
    assert {card.entry.episode.replace("-i", "-t", 1) for card in cards} == {card.reference for card in cards}
    assert all(card.entry.episode.replace("-i", "-t", 1) == card.reference for card in cards)
    assert all(card.reference is None for card in deal(read_entries(run)[0], Choice(), "ann"))
    with pytest.raises(InvalidInput, match="tell them apart"):
        Choice(world="both", layout="pair")


def test_broken_and_damaged_episodes_are_left_out(run):
    first, second, third = imagined(run)[:3]
    broken = run.episode(second)
    with RunFolder.open(run.path, config()) as writer:
        writer.add_episode(second, replace(broken, metadata={**broken.metadata, "fault": "the world froze"}))
    run.episode_path(first).write_bytes(b"torn")
    entries, damaged = read_entries(run)
    assert set(damaged) == {first}
    left = {entry.episode for entry in chosen(entries, Choice())}
    assert third in left
    assert not {first, second} & left
    assert run.episode_path(first).exists()  # a reader moves nothing


# --- files of labels ---

TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=12).filter(
    lambda text: text == text.strip() and text.isprintable()
)
LABELS = st.builds(
    Label,
    episode=TEXTS,
    rater=TEXTS,
    answer=st.sampled_from("ynu"),
    content=st.just(HASH),
    seconds=st.floats(0, 1e6),
    replays=st.integers(0, 10**6),
    order=st.integers(0, 10**9),
    asked=st.sampled_from(["", "0123456789abcdef"]),
)


SUFFIXES = st.sampled_from([".csv", ".jsonl"])


@settings(max_examples=60)
@given(labels=st.lists(LABELS, max_size=6, unique_by=lambda label: (label.rater, label.episode)), suffix=SUFFIXES)
def test_what_is_written_comes_back_exactly(tmp_path_factory, labels, suffix):
    file = tmp_path_factory.mktemp("labels") / f"labels{suffix}"
    write_labels(file, labels)
    if labels:
        back = [row.label(row.content) for row in read_labels(file)]
        assert back == sorted(labels, key=lambda label: (label.rater, label.episode))
        again = file.with_name(f"again{suffix}")
        write_labels(again, back)
        assert again.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "-1", "@ann", "'quoted"])
def test_no_cell_of_the_csv_begins_a_formula(tmp_path, name):
    write_labels(tmp_path / "a.csv", [Label(name, name, "y", HASH)])
    with open(tmp_path / "a.csv", newline="") as file:
        cells = [cell for row in list(csv.reader(file))[1:] for cell in row]
    assert cells[:2] == [f"'{name}"] * 2
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert read_labels(tmp_path / "a.csv")[0].rater == name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'row 1: no column "episode"'),
        ("episode,label\n", "no labels"),
        ("episode,lable\na,y\n", 'row 1: unknown column "lable"; did you mean "label"'),
        ("episode,rater\na,ann\n", 'row 1: no column "label"'),
        ("episode,label,label\na,y,y\n", "twice"),
        ("episode,label,rater\na,y,ann\n\nb,maybe,ann\n", 'row 4, column label: "maybe"'),
        ("episode,label,rater\na,Y,ann\n", 'row 2, column label: "Y"'),
        ("episode,label,rater\na,,ann\n", "row 2, column label"),
        ("episode,label,rater\n,y,ann\n", "row 2, column episode: it is empty"),
        ("episode,label\na,y\n", "row 2, column rater: it is empty"),
        ("episode,label,rater\na,y\n", "row 2: 2 cells, expected 3"),
        ("episode,label,rater\na,y,ann\nb,n,ann\na,n,ann\n", "row 4, column episode"),
        ("episode,label,rater,seconds\na,y,ann,soon\n", 'row 2, column seconds: "soon" is no number'),
        ("episode,label,rater,replays\na,y,ann,1.5\n", 'row 2, column replays: "1.5" is no count'),
        ("episode,label,rater,replays\na,y,ann,1_0\n", 'row 2, column replays: "1_0"'),
        ('episode,label,rater\na,y,"ann\n', "is not CSV"),
    ],
)
def test_a_csv_that_is_wrong_says_where_in_one_line(tmp_path, text, words):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_labels(tmp_path / "a.csv")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "row 1: it is no object"),
        ('{"episode": "a", "label": "y", "rater": "ann"}\n{', "row 2: it is not JSON"),
        ('{"episode": 1, "label": "y", "rater": "ann"}', "row 1, column episode: it is no text"),
        ('{"episode": "a", "label": true, "rater": "ann"}', "row 1, column label: it is no text"),
        ('{"episode": "a", "label": "y", "rater": "ann", "replays": true}', "row 1, column replays"),
        ('{"episode": "a", "label": "y", "rater": "ann", "replays": [1]}', "row 1, column replays"),
        ('{"episode": "a", "label": "y", "rater": "ann", "policy": "x"}', "row 1: unknown column"),
        ("[" * 100_000, "row 1: it is not JSON"),
    ],
)
def test_a_jsonl_that_is_wrong_says_where(tmp_path, text, words):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_labels(tmp_path / "a.jsonl")
    assert words in str(caught.value)


@settings(max_examples=150)
@given(content=st.binary(max_size=80), suffix=SUFFIXES)
def test_no_bytes_bring_the_reader_down(tmp_path_factory, content, suffix):
    file = tmp_path_factory.mktemp("fuzz") / f"a{suffix}"
    file.write_bytes(b"episode,label,rater\n" + content if suffix == ".csv" else content)
    with contextlib.suppress(InvalidInput):
        read_labels(file)


def test_labels_move_between_copies_of_a_run(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    copy = RunFolder(tmp_path / "copy")
    episodes = imagined(run)
    give(run, "ann", dict(zip(episodes, "yynuynyuny", strict=True)))
    give(run, "@bob", {episodes[0]: "n"})
    assert export_labels(run, tmp_path / "a.csv") == 11
    assert import_labels(copy, tmp_path / "a.csv") == (11, 0)
    assert all_labels(copy) == all_labels(run)
    export_labels(copy, tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    assert import_labels(copy, tmp_path / "a.csv") == (0, 11)  # a second time changes nothing
    assert export_labels(run, tmp_path / "c.jsonl", "@bob") == 1
    with pytest.raises(InvalidInput, match='did you mean "ann"'):
        export_labels(run, tmp_path / "d.csv", "anne")


def test_a_plain_sheet_is_taken_for_the_rater_who_is_named(run, tmp_path):
    first, second = imagined(run)[:2]
    (tmp_path / "sheet.csv").write_text(f"episode,label\n{first},y\n{second},u\n")
    assert import_labels(run, tmp_path / "sheet.csv", "cyd") == (2, 0)
    assert labels_of(run, "cyd")[first].content == content_of(run.episode(first))


@pytest.mark.parametrize(
    ("rows", "words"),
    [("nosuch,y,ann,", 'row 3, column episode: .* no episode "nosuch"'), ("{second},y,bob," + HASH, "row 3, column content")],
)
def test_an_import_that_is_wrong_in_one_row_changes_nothing(run, tmp_path, rows, words):
    first, second = imagined(run)[:2]
    (tmp_path / "a.csv").write_text(f"episode,label,rater,content\n{first},y,ann,\n{rows.format(second=second)}\n")
    with pytest.raises(InvalidInput, match=words):
        import_labels(run, tmp_path / "a.csv")
    assert raters_of(run) == []


# --- the judge ---


def said(run, spec):
    verifier = load_verifier(spec, run.path)
    return {episode: verifier.judge([trajectory])[0] for episode, trajectory in run.episodes()}


def test_the_judge_says_what_one_rater_or_the_majority_said(run):
    a, b, c, d, e = imagined(run)[:5]
    give(run, "ann", {a: "y", b: "y", c: "n", d: "u", e: "u"})
    give(run, "bob", {a: "y", b: "n", c: "n", d: "y"})
    give(run, "cyd", {a: "n", c: "u"})
    scores = {episode: verdict.score for episode, verdict in said(run, "human").items()}
    assert [scores[each] for each in (a, b, c, d, e)] == [1.0, None, 0.0, 1.0, None]
    assert set(scores.values()) == {1.0, 0.0, None}
    assert sum(score is None for score in scores.values()) == len(scores) - 3  # nobody's label is no failure
    ann = {episode: verdict.score for episode, verdict in said(run, {"name": "human", "rater": "ann"}).items()}
    assert [ann[each] for each in (a, b, c, d, e)] == [1.0, 1.0, 0.0, None, None]
    assert said(run, "human")[a].details == {"labels": {"ann": "y", "bob": "y", "cyd": "n"}}


def test_a_label_holds_in_a_copy_under_another_id_and_not_for_other_frames(run, tmp_path):
    first, second = imagined(run)[:2]
    give(run, "ann", {first: "y", second: "y"})
    trajectory = run.episode(first)
    export_labels(run, tmp_path / "a.csv")
    verifier = load_verifier({"name": "human", "labels": str(tmp_path / "a.csv")})
    assert verifier.judge([replace(trajectory, seed=77)])[0].score == 1
    changed = trajectory.frames.copy()
    changed[-1] = 0
    with RunFolder.open(run.path, config()) as writer:
        writer.add_episode(first, replace(trajectory, frames=changed))  # played again under its old id
    scores = {episode: verdict.score for episode, verdict in said(run, "human").items()}
    assert (scores[first], scores[second]) == (None, 1)
    with served(run) as (_, sitting):  # and so the rater is asked again
        assert sitting.done == 1


def test_one_person_who_contradicts_herself_on_the_very_same_clip_cannot_tell(run):
    first, second = imagined(run)[:2]
    with RunFolder.open(run.path, config()) as writer:
        writer.add_episode(second, run.episode(first))
    give(run, "ann", {first: "y", second: "n"})
    assert {said(run, "human")[episode].score for episode in (first, second)} == {None}


def test_a_judge_without_labels_says_what_to_type(run, tmp_path):
    with pytest.raises(InvalidInput, match="worldsim score RUN verifier=human"):
        load_verifier("human")
    with pytest.raises(InvalidInput, match="nobody has labelled"):
        load_verifier("human", run.path)
    give(run, "ann", {imagined(run)[0]: "y"})
    with pytest.raises(UnknownName, match='did you mean "ann"'):
        load_verifier({"name": "human", "rater": "anne"}, run.path)
    (tmp_path / "a.csv").write_text("episode,label,rater\na,y,ann\n")
    with pytest.raises(InvalidInput, match="column content: it is empty"):
        load_verifier({"name": "human", "labels": str(tmp_path / "a.csv")})


def test_scoring_follows_labels_as_they_come(run, capsys):
    episodes = imagined(run)
    give(run, "ann", dict.fromkeys(episodes[:4], "y"))
    assert main(["score", str(run.path), "verifier=human"]) == 0
    counts = lambda: sorted((p["name"], p["successes"], p["scored"]) for p in results(run)["policies"])  # noqa: E731
    first = counts()
    assert sum(successes for _, successes, _ in first) == sum(scored for _, _, scored in first) == 4
    lines = (run.path / "verdicts/human.jsonl").read_text().count("\n")
    assert main(["score", str(run.path), "verifier=human"]) == 0
    assert (run.path / "verdicts/human.jsonl").read_text().count("\n") == lines  # what was said is not said twice
    give(run, "ann", {episodes[0]: "n"} | dict.fromkeys(episodes[4:], "n"))
    assert main(["score", str(run.path), "verifier=human"]) == 0
    assert (sum(s for _, s, _ in counts()), sum(n for _, _, n in counts())) == (3, 10)
    assert main(["score", str(run.path), "verifier={name: human, rater: ann}"]) == 0
    assert results(run)["verifier"]["name"].startswith("human-")
    capsys.readouterr()


def results(run):
    return json.loads((run.path / "results.json").read_text())


# --- agreement ---


def test_the_summary_counts_and_compares(run):
    entries = chosen(read_entries(run)[0], Choice())
    episodes = [entry.episode for entry in entries]
    give(run, "ann", dict(zip(episodes, "yyyyynnnnu", strict=True)))
    give(run, "bob", dict(zip(episodes, "yyyynnnnnn", strict=True)))
    summary = summarize(entries, all_labels(run))
    assert summary.counts == {"ann": {"y": 5, "n": 4, "u": 1}, "bob": {"y": 4, "n": 6, "u": 0}}
    (pair,) = summary.pairs
    assert (pair.shared, pair.same, pair.decided) == (10, 8, 9)
    assert pair.kappa.value == pytest.approx((8 / 9 - (5 * 4 + 4 * 5) / 81) / (1 - (5 * 4 + 4 * 5) / 81))
    assert {each.entry.episode for each in summary.disagreements} == {episodes[4], episodes[9]}
    assert summary.alpha is None
    give(run, "cyd", {episodes[0]: "y"})
    later = summarize(entries, all_labels(run))
    assert later.disagreements is None  # cyd is not done and should not know
    assert later.alpha is not None
    assert not later.done("cyd")
    assert later.done("ann")


def test_hostile_text_is_harmless_in_the_tables(tmp_path):
    evil = "push\x1b]0;owned\x07 [red]it[/red] \u202egnp"
    run = make_run(tmp_path / "run", starts=1, worlds=("imagined",))
    trajectory = clip("secretpolicy", "imagined", 3)
    with RunFolder.open(run.path, config()) as writer:
        writer.add_episode("evil", replace(trajectory, metadata={**trajectory.metadata, "policy": evil}, start_id=evil))
    entries = chosen(read_entries(run)[0], Choice())
    for rater, answer in (("ann", "y"), ("[bold]bob", "n")):
        give(run, rater, dict.fromkeys((entry.episode for entry in entries), answer))
    console = Console(width=200, file=open(os.devnull, "w"), record=True, force_terminal=True)  # noqa: SIM115
    with console.file:
        console.print(*summary_tables(summarize(entries, all_labels(run))))
    shown = console.export_text()
    assert "[bold]bob" in shown
    assert "[red]it[/red]" in "".join(shown.split("\n")) or "[red]it" in shown
    assert not [char for char in shown if not char.isprintable() and char != "\n"]


@given(st.text())
def test_printable_text_is_printable_and_left_alone_where_it_was(text):
    assert printable(text).isprintable()
    if text.isprintable():
        assert printable(text) == text


# --- the question ---


def test_a_rubric_is_a_text_or_a_file(tmp_path):
    (tmp_path / "rubric.txt").write_text("closed means shut\n", encoding="utf-8")
    from_file, from_text = question("ever", str(tmp_path / "rubric.txt")), question("ever", "closed means shut")
    assert from_file == from_text
    others = [question("last_step", "closed means shut"), question("ever", "closed"), question("ever", "closed means shut", "pair")]
    assert from_file.digest not in [other.digest for other in others]
    (tmp_path / "rubric.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match="UTF-8"):
        question("ever", str(tmp_path / "rubric.txt"))
    with pytest.raises(InvalidInput, match="rule=last_step"):
        question("sometimes", None)
