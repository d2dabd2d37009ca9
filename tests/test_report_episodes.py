"""Every number of a report leads to its episodes, and the checklist is filled from the run or says what to do."""

import csv
import json
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from test_report import CONFIG, OUTCOMES, fill, trajectory

from worldsim.data.files import write_json
from worldsim.errors import DamagedFile, UnknownName
from worldsim.report import clips, sections
from worldsim.report.calibration import add_calibration, against_human
from worldsim.report.checklist import ITEMS, checklist
from worldsim.report.episode_index import listings, replay_command
from worldsim.report.outcomes import Outcome, read_outcomes
from worldsim.report.page import write_report
from worldsim.report.probe import probe_path
from worldsim.report.results import build_results
from worldsim.report.run_folder import RunFolder
from worldsim.report.stated import read_stated
from worldsim.report.trials import write_trials
from worldsim.types import Verdict


@pytest.fixture
def run(tmp_path):
    with RunFolder.open(tmp_path / "my run", CONFIG) as run:
        yield fill(run)


class Index(HTMLParser):
    """Anchors with the text of all links to them, ids of elements, and the episode ids in each list."""

    def __init__(self, html):
        super().__init__()
        self.ids, self.links, self.files, self.listed = [], {}, [], {}
        self._anchor = self._list = None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        if tag == "div" and "id" in given:
            self._list = self.listed.setdefault(given["id"], "")
            self._list = given["id"]
        href = given.get("href", "")
        self._anchor = href[1:] if href.startswith("#") and tag == "a" else None
        self.files += [value for key, value in attributes if key in ("href", "src") and not value.startswith(("#", "data:"))]

    def handle_endtag(self, tag):
        self._anchor = None
        if tag == "details":
            self._list = None

    def handle_data(self, data):
        if self._anchor:
            self.links.setdefault(self._anchor, []).append(data)
        if self._list:
            self.listed[self._list] += data


def index_of(run):
    return Index(write_report(run).read_text(encoding="utf-8"))


def ids_in(index, anchor):
    return re.findall(r"\d-(?:imagined|truth)-\d\d", index.listed[anchor].split("note", 1)[-1])


def probed(run):
    """A probe of two kinds inside the run: one false success of three."""
    config = {**CONFIG, "policies": {"still": {"truth": "assumed"}, "shuffled": {"truth": "assumed"}}}
    with RunFolder.open(probe_path(run), config) as probe:
        fill(probe, {"still": ("00",), "shuffled": ("1",)}, worlds=("imagined",))


# --- links ---


def test_every_link_resolves_and_every_file_exists(run):
    probed(run)
    index = index_of(run)
    assert len(index.ids) == len(set(index.ids))
    assert set(index.links) <= set(index.ids)
    assert index.files
    assert all((run.path / "report" / link).is_file() for link in index.files)


def test_counts_link_to_lists_of_just_those_episodes(run):
    index = index_of(run)
    assert index.links["false-successes"] == ["2", "2"]  # in the agreement and above the examples
    assert ids_in(index, "false-successes") == ["0-imagined-08", "0-truth-08", "1-imagined-04", "1-truth-04"]
    assert ids_in(index, "missed-successes") == ["1-imagined-09", "1-truth-09"]
    assert len(ids_in(index, "policy-1")) == 20
    for rank, policy in enumerate(OUTCOMES, start=1):
        assert policy in index.links[f"policy-{rank}"]
    assert "0.900" in index.links["policy-1"]


def test_probe_numbers_link_to_the_probe_and_its_command(run):
    probed(run)
    index = index_of(run)
    assert index.links["probe-2"] == ["shuffled", "1", "1"]
    assert ids_in(index, "probe-2") == ["1-imagined-00"]
    assert replay_command(probe_path(run), "1-imagined-00") in index.listed["probe-2"]


def test_unscored_and_untwinned_episodes_are_listed_as_such(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        fill(run, {"good": ("1?", "11")})
        run.add_episode("extra", trajectory("good", "imagined", 7))
        outcomes = read_outcomes(run)
        lists = {each.anchor: each for each in listings(run, outcomes, ["good"])}
        assert [line.kind for line in lists["policy-1"].lines] == ["", "unscored", "unscored"]
        assert [line.imagined.episode for line in lists["unscored"].lines] == ["0-imagined-01", "extra"]
        index = index_of(run)
        assert index.links["unscored"] == ["2", "2"]


def test_errors_of_the_judge_on_the_truth_are_listed(run):
    run.add_verdicts("classifier", {"0-truth-00": Verdict(0.0), "0-truth-01": Verdict(1.0), "2-truth-05": Verdict(None)})
    index = index_of(run)
    assert index.links["judge-errors"] == ["listed"]
    assert ids_in(index, "judge-errors") == ["0-imagined-00", "0-truth-00"]


def test_other_judges_stand_in_columns_of_the_lists(run):
    run.add_verdicts("<b>vlm</b>", {"0-imagined-00": Verdict(0.0), "0-imagined-01": Verdict(None)})
    html = write_report(run).read_text()
    assert "<b>vlm" not in html
    assert "<th>&lt;b&gt;vlm&lt;/b&gt;" in html
    row = next(line for line in html.splitlines() if line.startswith("<tr><td>start00") and "0-imagined-00" in line)
    assert row.split("<td>")[1:6] == ["start00", "0", "success", "success", "failure"]


def test_commands_survive_a_shell(run):
    command = replay_command(run.path, "0-imagined-00")
    assert shlex.split(command) == ["worldsim", "replay", str(run.path), "--episode", "0-imagined-00"]
    assert "&#39;" in write_report(run).read_text()  # the path with a space is quoted


# --- trials ---


def test_trials_hold_every_episode_and_no_formula(run, tmp_path):
    run.add_verdicts("classifier", {"0-truth-00": Verdict(0.0), "3-imagined-00": Verdict(None, "=1+1")})
    write_trials(tmp_path / "trials.csv", read_outcomes(run))
    with open(tmp_path / "trials.csv", newline="") as file:
        rows = {row["episode"]: row for row in csv.DictReader(file)}
    assert len(rows) == 80
    assert rows["3-imagined-00"]["reason"] == "'=1+1"
    assert (rows["3-imagined-00"]["success"], rows["3-imagined-00"]["score"]) == ("", "")
    assert (rows["0-truth-00"]["success"], rows["0-truth-00"]["judge_on_truth"]) == ("1", "0")
    assert rows["1-imagined-09"]["policy"] == "<script>alert(1)</script>"


# --- checklist ---


def complete(run):
    """Everything that an item asks for: what the run holds and what its people state."""
    probed(run)
    run.add_verdicts("classifier", {"0-imagined-00": Verdict(0.8, "nearly")})
    loop = {"psnr": [30.0, 25.0], "copy_psnr": [28.0, 20.0], "steps": [1, 2], "episodes": 3}
    (run.path / "open_loop.json").write_text(json.dumps(loop))
    cases = [(Verdict(float(said)), bool(true)) for said, true in [(1, 1)] * 20 + [(0, 0)] * 19 + [(1, 0)]]
    add_calibration(run, "classifier", against_human(cases, (25, 35), 0, level=0.95))
    stated = {"rubric": "shut within 2 cm", "selection": "the last", "controller": "joint impedance", "training": "4500 <episodes>"}
    (run.path / "checklist.yaml").write_text("".join(f"{key}: {value}\n" for key, value in stated.items()))


def items_of(run):
    return {item.key: item for item in checklist(run, build_results(run), read_outcomes(run))}


def test_a_complete_run_answers_every_item(run):
    complete(run)
    items = items_of(run)
    assert [item.key for item in items.values() if not item.answer] == []
    assert items["rubric"].answer == "Stated by the authors: shut within 2 cm"
    assert "25.00 dB over 2 steps" in items["drift"].answer
    assert "1 of 3 called a success" in items["optimism"].answer
    assert "0.975" in items["humans"].answer
    assert "10 scored imagined episodes per policy" in items["trials"].answer
    html = write_report(run).read_text()
    assert "17 of 17 items are answered" in html
    assert "4500 &lt;episodes&gt;" in html
    assert "Not recorded" not in html


def test_a_bare_run_says_what_to_do_for_every_item(tmp_path):
    bare = {"identity": {**CONFIG["identity"], "verifier": {"name": "none"}, "world_model": {"name": "toy"}}}
    bare["identity"]["world_model"] |= {"sha256": None, "parameters": None, "leak": None}
    with RunFolder.open(tmp_path / "run", bare) as run:
        items = items_of(run)
        assert [item.key for item in items.values() if item.answer] == ["intervals"]
        assert len(items) == len(ITEMS)
        assert all(item.advice and "RUN" not in item.advice for item in items.values())
        assert f"{run.path}/checklist.yaml" in items["rubric"].advice
        assert str(run.path) in items["optimism"].advice
        html = write_report(run).read_text()
        assert html.count('class="missing"') == len(ITEMS) - 1


def test_a_stated_line_goes_beside_what_the_run_says(run):
    (run.path / "checklist.yaml").write_text("trials: three were repeated\n")
    answer = items_of(run)["trials"].answer
    assert answer.startswith("10 scored imagined episodes")
    assert answer.endswith("Stated by the authors: three were repeated")


def test_what_people_typed_stays_as_they_typed_it(run):
    (run.path / "checklist.yaml").write_text("rubric: yes\ntrials: 2026-13-45\nrate:\n")
    known = {key for key, *_ in ITEMS} | {"rate"}
    assert read_stated(run, known) == {"rubric": "yes", "trials": "2026-13-45"}


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("rubrik: x", UnknownName, 'did you mean "rubric"'),
        ("a: [", DamagedFile, "not YAML"),
        ("rubric: [a, b]", DamagedFile, 'no text under "rubric" but a list'),
        ("rubric: {a: b}", DamagedFile, "but a mapping"),
        ("- x", DamagedFile, "mapping"),
    ],
)
def test_a_checklist_that_cannot_be_read_is_said_in_one_line(run, text, error, words):
    (run.path / "checklist.yaml").write_text(text)
    with pytest.raises(error, match=words) as caught:
        write_report(run)
    assert "\n" not in str(caught.value)


# --- what is chosen and warned of ---


def test_examples_are_the_first_of_each_policy_then_the_second(run):
    outcomes = [
        Outcome(f"{policy}{start}{world}", policy, world, f"s{start}", start, Verdict(float(world == "imagined")))
        for policy in ("a", "b")
        for start in range(3)
        for world in ("imagined", "truth")
    ]
    made = []
    original, clips._clip = clips._clip, lambda run, line, name: made.append((line.first.episode, name))
    try:
        clips.fault_clips(run, outcomes, ["a", "b"])
    finally:
        clips._clip = original
    assert made == [("a0imagined", "false-success-1"), ("b0imagined", "false-success-2"), ("a1imagined", "false-success-3")]


def test_failure_modes_count_reasons_without_their_numbers():
    outcome = Outcome("e1", "a", "imagined", "s", 0, Verdict(0.0, "opening is 0.032 at the end"))
    others = [replace(outcome, episode=f"e{n}", verdict=Verdict(0.0, f"opening is 0.{n} at the end")) for n in (2, 3)]
    alone = replace(outcome, episode="e4", verdict=Verdict(0.0, "fell over"))
    won = replace(outcome, episode="e5", verdict=Verdict(1.0, "fell over"))
    modes = sections.failure_modes([outcome, *others, alone, won])
    assert [(mode.reason, mode.count, mode.example.episode) for mode in modes] == [
        ("opening is … at the end", 3, "e1"),
        ("fell over", 1, "e4"),
    ]


def test_warnings_name_leaks_carriers_and_what_is_missing(run):
    results = build_results(run)
    results["world_model"]["leak"] = {"latents": 0.0, "actions": 0.2}
    results["agreement"]["pearson"] = 0.9
    results["agreement"]["policy_layer"]["drop_one"] = {"low": 0.3, "high": 0.95, "without": "bad"}
    found = " ".join(sections.warnings_of(results))
    assert "leaks through actions" in found
    assert "without bad it falls from 0.900 to 0.300" in found
    assert "not calibrated" in found
    assert "No known-failure probe" in found


def measured(run, sha256, **physics):
    found = {"value": 0.5, "low": 0.4, "high": 0.6, "ceiling": 0.9, "floor": 0.1, "unit": "m", "better": "lower"} | physics
    psnr = {"value": 31.25, "low": 31.0, "high": 31.5, "copy": 25.0, "unit": "dB"}
    write_json(
        run.path / "video" / "video_quality.json",
        {
            "metrics": {"psnr": psnr},
            "physics": {"depth_warp": found},
            "clips": 7,
            "protocol": {"name": "drop"},
            "world_model": {"sha256": sha256},
        },
    )


def test_predicted_video_is_shown_where_it_was_measured(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        fill(run)
        page = write_report(run).read_text()
        assert "Not measured for this run. <code>worldsim evaluate-video" in page
        measured(run, "ab" * 32, ceiling=None)
        page = write_report(run).read_text()
        assert "7 held-out clips under their recorded actions, protocol drop" in page
        assert "<td>depth warp (m)</td><td>0.5</td><td>[0.4, 0.6]</td><td>–</td><td>0.1</td><td>lower</td>" in page
        assert "<td>PSNR (dB)</td><td>31.2</td><td>[31, 31.5]</td><td>–</td><td>25</td><td>higher</td>" in page
        assert "another world model" not in page
        measured(run, "cd" * 32)
        assert "another world model" in write_report(run).read_text()
        (run.path / "video" / "video_quality.json").write_text('{"metrics": [')
        with pytest.raises(DamagedFile, match="make it again: worldsim evaluate-video out="):
            write_report(run)
