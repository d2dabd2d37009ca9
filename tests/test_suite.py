"""Suites of evaluations: their cases, how far a ranking reaches, their worst episodes, and `worldsim evaluate suite=` up to its page."""

import json
import re
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from test_report import CONFIG

from worldsim.errors import InvalidInput
from worldsim.experiments import cli
from worldsim.experiments.evaluate_suite import chosen, gather, write_suite
from worldsim.experiments.presets import load_preset, preset_names
from worldsim.experiments.schema import EvaluateConfig
from worldsim.experiments.suites import KNOWN, Axis, Suite, cases_of
from worldsim.load import load_truth, part_facts
from worldsim.registry import TRUTHS
from worldsim.report.results import write_results
from worldsim.report.run_folder import RunFolder
from worldsim.report.suite import CaseRow, Value, case_row, reach
from worldsim.report.worst import Worst, write_worst
from worldsim.types import Trajectory, Verdict


def row(amount: float, r: float, mmrv: float = 0.0) -> CaseRow:
    """A case whose ceiling is r .9 to 1 and MMRV 0 to .1."""
    best = {"pearson": Value(0.95, 0.9, 1.0), "mmrv": Value(0.02, 0.0, 0.1)}
    measures = {"pearson": Value(r), "mmrv": Value(mmrv), "phi": Value(None), "bias": Value(0.0)}
    return CaseRow(f"{amount}", "light", amount, 20, 6, 0.5, 0.5, measures, best)


def test_cases_are_the_known_world_every_step_and_the_rest():
    suite = Suite("", "drawer", {"light": Axis(neutral=1, amounts=[0.5, 1, 2])}, {"long": {"horizon": 100}})
    assert [(case.name, case.keys) for case in cases_of(suite)] == [
        (KNOWN, {"truth": "drawer"}),
        ("light 0.5", {"truth": {"name": "drawer", "light": 0.5}}),
        ("light 2", {"truth": {"name": "drawer", "light": 2}}),
        ("long", {"horizon": 100}),
    ]
    with pytest.raises(InvalidInput, match="names no truth"):
        cases_of(replace(suite, truth=""))


def test_an_axis_is_merged_into_a_truth_with_options():
    suite = Suite("", {"name": "drawer", "size": 64}, {"light": Axis(neutral=1, amounts=[0.5])})
    assert [case.keys["truth"] for case in cases_of(suite)] == [suite.truth, {"name": "drawer", "size": 64, "light": 0.5}]
    suite = replace(
        suite, truth={"name": "gym", "id": "X-v0", "make": {"g": 10.0, "m": 1}}, axes={"make.g": Axis(neutral=10, amounts=[5.0])}
    )
    assert cases_of(suite)[1].keys["truth"] == {"name": "gym", "id": "X-v0", "make": {"g": 5.0, "m": 1}}
    assert suite.truth["make"]["g"] == 10.0
    suite = replace(suite, truth="gym:X-v0")
    assert part_facts(TRUTHS, cases_of(suite)[1].keys["truth"]) == {"name": "gym", "id": "X-v0", "make": {"g": 5.0}}


def test_amounts_are_whole_where_the_option_is(tmp_path):
    (tmp_path / "mine.yaml").write_text("truth: {name: gym, id: X-v0, make: {g: 10.0}}\naxes: {frame_skip: {neutral: 1, amounts: [2, 3]}}")
    _, cases = chosen(EvaluateConfig(suite=str(tmp_path / "mine.yaml")))
    assert [case.keys["truth"].get("frame_skip") for case in cases] == [None, 2, 3]
    assert all(type(case.keys["truth"]["frame_skip"]) is int for case in cases[1:])
    assert cases[1].keys["truth"]["make"] == {"g": 10.0}


def test_suites_that_ship_change_options_that_their_truth_has():
    for name in preset_names("suite"):
        for case in cases_of(load_preset("suite", name, Suite)):
            if "truth" in case.keys:
                load_truth(case.keys["truth"]).close()


def test_trusted_is_what_a_perfect_simulator_might_have_shown():
    assert row(1, 0.9, 0.1).trusted is True
    assert row(1, 0.89).trusted is False
    assert row(1, 0.95, 0.11).trusted is False
    assert replace(row(1, 0.9), ceiling={}).trusted is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([replace(row(2, 0.95), ceiling={})], "not known to be trusted: of 2 degrees too little was played to say"),
        ([row(2, 0.95), row(5, 0.95)], "to be trusted as far as was tried, 5 degrees"),
        ([replace(row(5, 0.9), ceiling={}), row(2, 0.95)], "to be trusted up to 2 degrees, not known at 5 degrees"),
        ([row(5, 0.5), row(2, 0.95)], "to be trusted up to 2 degrees, no more at 5 degrees"),
        ([row(2, 0.5), row(5, 0.95)], "not even 2 degrees leaves a ranking that can be trusted"),
        (
            [row(-2, 0.95), row(3, 0.5)],
            "not even 3 degrees leaves a ranking that can be trusted; to be trusted as far as was tried, -2 degrees",
        ),
    ],
)
def test_how_far_a_ranking_reaches(rows, said):
    assert reach(rows, 0.0, "degrees") == said


def test_a_run_without_agreement_has_a_row_that_says_nothing():
    policies = [{"episodes": 3, "success_rate": None, "real": None}, {"episodes": 3, "success_rate": 0.5, "real": None}]
    found = case_row("x", "", 0, {"policies": policies, "agreement": None})
    assert (found.simulated, found.real, found.trusted) == (0.5, None, None)
    assert str(found.measures["pearson"]) == "–"


def colours(world: str, start: int, steps: int = 16) -> np.ndarray:
    """Frames that say of which world, start and step they are: uint8 `[steps + 1, 16, 16, 3]`."""
    rgb = [(50 if world == "truth" else 150, 20 * start, 10 * step) for step in range(steps + 1)]
    return np.array(rgb, np.uint8)[:, None, None].repeat(16, 1).repeat(16, 2)


def played(path, outcomes):
    """A run with these outcomes by policy, imagined and true, a digit per start; "?" was not judged."""
    with RunFolder.open(path, CONFIG) as run:
        for policy, sides in outcomes.items():
            for world, judge, digits in zip(("imagined", "truth"), ("classifier", "state"), sides, strict=True):
                for start, digit in enumerate(digits):
                    about = {"policy": policy, "world": world}
                    each = Trajectory("push", colours(world, start), np.zeros((16, 2), np.float32), 0, f"start{start}", metadata=about)
                    run.add_episode(f"{policy}-{world}-{start}", each)
                    run.add_verdicts(judge, {f"{policy}-{world}-{start}": Verdict(None if digit == "?" else float(digit), "by hand")})
        write_results(run)
    return path


WIDE, NEAR, EVEN = ("1110", "0001"), ("1000", "0000"), ("100", "010")  # gaps of .5, .25 and 0 between the rates


@pytest.mark.parametrize(
    ("outcomes", "chosen"),
    [
        (
            {"even": EVEN, "near": NEAR, "wide": WIDE},
            [("wide", 0, "false success"), ("near", 0, "false success"), ("even", 0, "false success")],
        ),
        ({"even": EVEN, "wide": WIDE}, [("wide", 0, "false success"), ("even", 0, "false success"), ("wide", 3, "missed success")]),
        ({"wide": WIDE}, [("wide", 0, "false success"), ("wide", 3, "missed success"), ("wide", 1, "false success")]),
        ({"near": ("0?1", "100")}, [("near", 2, "false success"), ("near", 0, "missed success")]),
        ({"alike": ("10", "10"), "unjudged": ("?", "1"), "alone": ("1", "")}, []),
    ],
)
def test_the_worst_episodes_are_chosen_by_kind_then_gap_then_start(tmp_path, outcomes, chosen):
    rows = [strip.row() for strip in write_worst(played(tmp_path / "run", outcomes), tmp_path, "case").strips]
    assert [(row["policy"], row["start"], row["kind"]) for row in rows] == [
        (policy, f"start{start}", kind) for policy, start, kind in chosen
    ]
    for row in rows:
        number = row["start"].removeprefix("start")
        assert (row["imagined"], row["truth"]) == tuple(f"{row['policy']}-{world}-{number}" for world in ("imagined", "truth"))


def test_a_strip_shows_truth_above_imagination_along_the_episode(tmp_path):
    strip = write_worst(played(tmp_path / "run", {"wide": ("0001", "0110")}), tmp_path, "case").strips[0]
    image = np.asarray(Image.open(tmp_path / strip.file).convert("RGB"))
    steps = (0, 3, 6, 9, 12, 15, 16)
    middles = [image.shape[1] - 48 - 100 * place for place in reversed(range(len(steps)))]  # frames of 96 pixels, 4 between them
    for world, middle in (("truth", image.shape[0] - 148), ("imagined", image.shape[0] - 48)):
        np.testing.assert_array_equal(image[middle, middles], colours(world, 3)[list(steps), 0, 0])


@pytest.mark.parametrize(
    ("worst", "said"),
    [
        (Worst(0, 0, []), "No episode has both an imagined and a true verdict."),
        (Worst(1, 0, []), "No episode differs: imagination and truth end alike in 1 paired episode."),
        (Worst(20, 4, [None] * 3), "Imagination and truth end differently in 4 of 20 paired episodes, 3 shown."),
        (Worst(20, 3, [None] * 3), "Imagination and truth end differently in 3 of 20 paired episodes."),
    ],
)
def test_a_line_says_how_many_episodes_differ(worst, said):
    assert str(worst) == said


def test_the_page_shows_each_case_its_own_worst_episodes(tmp_path):
    suite = Suite("", cases={"close #1": {}, "push": {}, "good": {}})
    outcomes = ({"a": WIDE}, {"a": NEAR}, {"a": ("10", "10")})
    cases = cases_of(suite)
    paths = {case.name: played(tmp_path / "cases" / case.folder, each) for case, each in zip(cases, outcomes, strict=True)}
    write_suite(tmp_path, "mine", suite, gather(cases, paths), paths)
    told = {each["name"]: each["worst"] for each in json.loads((tmp_path / "suite.json").read_text())["cases"]}
    assert [row["start"] for row in told["close #1"]] == ["start0", "start3", "start1"]
    assert told["push"] == [
        {
            "policy": "a",
            "start": "start0",
            "kind": "false success",
            "truth": "a-truth-0",
            "imagined": "a-imagined-0",
            "strip": "strips/push-1.png",
        }
    ]
    assert told["good"] == []
    page = (tmp_path / "index.html").read_text()
    parts = re.split("<h3>", page)[-3:]
    for name, part in zip(told, parts, strict=True):
        shown, linked = re.findall('<img src="([^"]+)"', part), re.findall('<a href="(strips/[^"]+)"', part)
        assert list(map(unquote, shown)) == list(map(unquote, linked)) == [row["strip"] for row in told[name]]
        assert all((tmp_path / unquote(link)).read_bytes()[:4] == b"\x89PNG" for link in linked)
    assert "No episode differs: imagination and truth end alike in 2 paired episodes." in parts[2]
    assert "truth: failure (by hand)" in parts[1]
    assert "imagined: success (by hand)" in parts[1]


@pytest.mark.slow
def test_from_a_file_to_its_page(tmp_path, capsys):
    words = "about: a <try>\ntruth: drawer\naxes:\n  light: {unit: times, neutral: 1, amounts: [0.5], meaning: the lights}\n"
    (tmp_path / "mine.yaml").write_text(words)
    asked = ["evaluate", f"suite={tmp_path / 'mine.yaml'}", f"run={tmp_path / 'out'}", "policies=[begin,converged]"]
    asked += ["episodes=2", "horizon=2", "workers=1", "report=false"]
    assert cli.main(asked) == 0
    printed = capsys.readouterr().out
    assert "case 2 of 2: light 0.5" in printed
    assert "light: " in printed
    told = json.loads((tmp_path / "out" / "suite.json").read_text())
    assert [each["name"] for each in told["cases"]] == [KNOWN, "light 0.5"]
    starts = [
        json.loads((tmp_path / "out" / "cases" / name / "results.json").read_text())["task"]["starts"] for name in (KNOWN, "light-0.5")
    ]
    assert starts[0] != starts[1]  # imagined from what the changed world shows
    page = (tmp_path / "out" / "index.html").read_text()
    assert "a &lt;try&gt;" in page
    assert "the lights" in page
    assert len(re.findall("(?:in|of) 4 paired episodes", page)) == 2  # how many differ, of either case
    assert (tmp_path / "out" / "figures" / "axes.png").read_bytes()[:4] == b"\x89PNG"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cases").rglob("*.h5")}
    assert cli.main(asked) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cases").rglob("*.h5")} == before


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("about: x", [], "has no case"),
        ("cases: {a: {horizn: 3}}", [], 'worldsim evaluate has no such key; did you mean "horizon"'),
        ("cases: {a: {horizon: 3}}", ["horizon=4"], "sets horizon itself; drop horizon="),
        ("cases: {a: {horizon: 3}}", ["shard=1/2"], "not played in shards"),
        ("axes: {light: {amounts: [2]}}", [], "names no truth"),
        ("axis: 1", [], "does not describe a suite"),
        ("cases: {../../a: {horizon: 3}}", [], "cannot be the name of a folder"),
        ("cases: {a b: {horizon: 3}, a-b: {horizon: 4}}", [], 'would lie in a folder "a-b"'),
        ("truth: drawer\naxes: {camera: {amounts: [2, 2]}}", [], 'would lie in a folder "camera-2"'),
        ("truth: drawer\naxes: {camera: {amounts: [.nan]}}", [], "finite numbers"),
        ("truth: drawer\naxes: {camera: {amounts: []}}", [], "finite numbers"),
        ("truth: drawer\naxes: {camra: {amounts: [0]}}", [], "the known world's is None"),
        ("truth: drawer\naxes: {name: {amounts: [1]}}", [], "an option of the truth"),
        ("truth: drawer\naxes: {camra: {amounts: [1]}}", [], 'did you mean "camera"'),
        ("truth: drawer\naxes: {light: {amounts: [2]}}", [], "the known world's is 1"),
        ("truth: drawer\naxes: {light: {neutral: 1, amounts: [99]}}", [], "expected 0.05 to 3"),
        ("truth: [drawer]\naxes: {light: {amounts: [2]}}", [], "truth is ['drawer'], expected a name or a mapping"),
        ("truth: {size: 64}\naxes: {light: {amounts: [2]}}", [], "needs a name"),
        ("truth: {name: drawer, light: 2}\naxes: {light: {neutral: 1, amounts: [3]}}", [], "neutral at 1, the known world's is 2"),
        ("truth: gym:X-v0\naxes: {success: {amounts: [2]}}", [], "success is 2.0, expected text"),
        ("truth: gym:X-v0\naxes: {success: {amounts: [0]}}", [], "axis success of suite"),
        ("truth: gym:X-v0\naxes: {rate_hz: {amounts: [9]}}", [], "known world's is None; name an option that is a number, or give it"),
        ("truth: gym:X-v0\naxes: {make.g: {amounts: [9]}}", [], "write truth: {name: NAME, make: {g: NUMBER}}"),
        ("cases: {a: {batch: 0}}", [], "batch is 0, expected at least 1"),
        ("cases: {a: {horizon: abc}}", [], "horizon is 'abc', expected a whole number"),
        ("cases: {a: {determinism: stirct}}", [], 'did you mean "strict"'),
    ],
)
def test_suites_that_cannot_be(tmp_path, capsys, text, more, said):
    (tmp_path / "mine.yaml").write_text(text)
    assert cli.main(["evaluate", f"suite={tmp_path / 'mine.yaml'}", f"run={tmp_path / 'out'}", *more]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
