"""The run folder survives what happens to files; results and page are right on a run small enough to count by hand."""

import json
import re
from html.parser import HTMLParser

import av
import jsonschema
import numpy as np
import pytest
from rich.console import Console

from worldsim.errors import DamagedFile, InvalidInput, RunMismatch, UnknownName, WorldsimError
from worldsim.report.migration import read_results
from worldsim.report.page import headline, write_report
from worldsim.report.results import agreement_table, build_results, result_tables, results_schema, results_table, write_results
from worldsim.report.run_folder import RunFolder
from worldsim.types import Trajectory, Verdict

CONFIG = {
    "identity": {
        "world_model": {"name": "toy", "sha256": "ab" * 32, "parameters": 1234, "leak": {"latents": 0.0, "levels": 0.0, "actions": 0.0}},
        "verifier": {"name": "classifier"},
        "task": {"id": "push", "instruction": "push the block"},
        "sampler": {"steps": 4, "guidance": 1.0, "history": "window", "precision": "float32"},
        "seed": 0,
    },
    "command": "worldsim evaluate world_model=toy",
    "policies": {"good": {"sha256": "1"}},
}
# successes of ten starts: imagined, then true
OUTCOMES = {
    "good": ("1111111110", "1111111100"),
    "<script>alert(1)</script>": ("1111100000", "1111000001"),
    "poor": ("1000000000", "1000000000"),
    "bad": ("0000000000", "0000000000"),
}


def trajectory(policy, world, start, steps=3):
    frames = np.random.default_rng(start).integers(0, 255, (steps + 1, 16, 16, 3), dtype=np.uint8)
    metadata = {"policy": policy, "world": world, "instruction": "push the block", "fps": 4}
    return Trajectory("push", frames, np.zeros((steps, 2), np.float32), seed=start, start_id=f"start{start:02d}", metadata=metadata)


def fill(run, outcomes=OUTCOMES, worlds=("imagined", "truth")):
    """Episodes and verdicts; "?" in an outcome string is an episode that nobody could judge."""
    for number, (policy, strings) in enumerate(outcomes.items()):
        for world, string in zip(worlds, strings, strict=False):
            verdicts = {}
            for start, digit in enumerate(string):
                run.add_episode(f"{number}-{world}-{start:02d}", trajectory(policy, world, start))
                verdicts[f"{number}-{world}-{start:02d}"] = Verdict(None if digit == "?" else float(digit), "by hand")
            run.add_verdicts("classifier" if world == "imagined" else "state", verdicts)
    return run


@pytest.fixture
def run(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        yield fill(run)


def identity_with(**changes):
    return {**CONFIG, "identity": {**CONFIG["identity"], **changes}}


# --- run folder ---


def test_an_episode_comes_back_as_it_was(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        assert not run.has_episode("a1")
        given = trajectory("good", "imagined", 3)
        run.add_episode("a1", given)
        assert run.has_episode("a1")
        assert run.episode_ids() == ["a1"]
        ((episode, back),) = run.episodes()
        assert episode == "a1"
        assert np.array_equal(back.frames, given.frames)
        assert back.metadata == given.metadata


def test_an_episode_needs_its_policy_and_world_and_a_file_name(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        with pytest.raises(InvalidInput, match='"world"'):
            run.add_episode("a1", trajectory("good", "dream", 0))
        with pytest.raises(InvalidInput, match="cannot name a file"):
            run.episode_path("../a1")


def test_the_same_identity_resumes_and_free_keys_grow(tmp_path):
    RunFolder.open(tmp_path / "run", CONFIG).close()
    RunFolder.open(tmp_path / "run", {**CONFIG, "policies": {"sixth": {"sha256": "6"}}, "episodes": 80}).close()
    config = RunFolder(tmp_path / "run").config
    assert config["policies"] == {"good": {"sha256": "1"}, "sixth": {"sha256": "6"}}
    assert config["episodes"] == 80
    assert config["command"] == CONFIG["command"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (identity_with(sampler={**CONFIG["identity"]["sampler"], "steps": 8}), ("sampler.steps 8", "made with 4", "another run=PATH")),
        (identity_with(extra=1), ("extra 1", "made with nothing")),
        ({**CONFIG, "policies": {"good": {"sha256": "2"}}}, ("policies.good.sha256", '"2"', '"1"')),
    ],
)
def test_another_identity_is_refused_in_one_line(tmp_path, config, words):
    RunFolder.open(tmp_path / "run", CONFIG).close()
    before = (tmp_path / "run/config.yaml").read_bytes()
    with pytest.raises(RunMismatch) as caught:
        RunFolder.open(tmp_path / "run", config)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words)
    assert (tmp_path / "run/config.yaml").read_bytes() == before
    RunFolder.open(tmp_path / "run", CONFIG).close()  # the refusal left no lock behind


def test_two_writers_are_refused_until_one_closes(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG):
        with pytest.raises(WorldsimError, match="another process is writing"):
            RunFolder.open(tmp_path / "run", CONFIG)
        assert RunFolder(tmp_path / "run").config == CONFIG  # reading needs no lock
    RunFolder.open(tmp_path / "run", CONFIG).close()


def test_folders_and_configs_that_are_no_runs(tmp_path):
    with pytest.raises(UnknownName, match="worldsim evaluate run="):
        RunFolder(tmp_path)
    with pytest.raises(InvalidInput, match="JSON"):
        RunFolder.open(tmp_path / "run", {**CONFIG, "array": np.zeros(2)})
    with pytest.raises(InvalidInput, match="identity"):
        RunFolder.open(tmp_path / "run", {"seed": 0})
    for text in ("a: [", "only: text"):
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(DamagedFile):
            RunFolder(tmp_path)


def test_a_damaged_episode_is_put_aside_and_not_counted(run, caplog):
    path = run.episode_path("0-imagined-00")
    path.write_bytes(path.read_bytes()[:200])
    results = build_results(run)
    assert "quarantine" in caplog.text
    assert not run.has_episode("0-imagined-00")
    assert (run.path / "quarantine/0-imagined-00.h5").exists()
    assert results["quarantined"] == ["0-imagined-00"]
    assert results["policies"][0]["episodes"] == 9
    run.add_episode("0-imagined-00", trajectory("good", "imagined", 0))
    assert build_results(run)["quarantined"] == []


def test_verdicts_survive_a_torn_line_and_the_last_word_wins(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        assert run.verdicts("judge/v1") == {}
        run.add_verdicts("judge/v1", {"a": Verdict(1.0, "yes"), "b": Verdict(None)})
        file = next((run.path / "verdicts").iterdir())
        with open(file, "ab") as stream:
            stream.write(b'{"episode": "c", "sco')
        assert set(run.verdicts("judge/v1")) == {"a", "b"}
        run.add_verdicts("judge/v1", {"a": Verdict(0.0, "no", {"votes": 3}), "d": Verdict(1.0)})
        assert run.verdicts("judge/v1") == {"a": Verdict(0.0, "no", {"votes": 3}), "b": Verdict(None), "d": Verdict(1.0)}
        file.write_bytes(b"not json\n")
        with pytest.raises(DamagedFile):
            run.verdicts("judge/v1")


# --- results ---


def assert_fits(value, schema):
    """As the published schema has it."""
    jsonschema.validate(value, schema)


def test_counts_rates_and_agreement_by_hand(run):
    results = build_results(run)
    assert [policy["name"] for policy in results["policies"]] == list(OUTCOMES)
    good = results["policies"][0]
    assert (good["episodes"], good["scored"], good["unscored"], good["successes"], good["success_rate"]) == (10, 10, 0, 9, 0.9)
    assert good["interval"] == pytest.approx([0.5958, 0.9821], abs=1e-4)
    assert (good["real"]["successes"], good["real"]["success_rate"]) == (8, 0.8)
    assert good["agreement"] == 0.9
    assert [policy["task"] for policy in results["policies"]] == ["push"] * 4
    agreement = results["agreement"]
    assert agreement["policies"] == 4
    assert agreement["paired_episodes"] == 40
    assert (agreement["false_successes"], agreement["missed"]) == (2, 1)
    assert agreement["bias"] == pytest.approx(0.1 / 4)
    assert agreement["mean_absolute_error"] == pytest.approx(0.1 / 4)
    assert agreement["mmrv"] == agreement["regret"] == 0
    assert agreement["top1_correct"] is True
    assert agreement["pearson"] == pytest.approx(np.corrcoef([0.9, 0.5, 0.1, 0], [0.8, 0.5, 0.1, 0])[0, 1], abs=1e-6)
    assert agreement["intervals"]["pearson"][0] <= agreement["pearson"] <= agreement["intervals"]["pearson"][1]
    assert agreement["noise_ceiling"]["pearson"]["low"] < 1
    both = np.array([[int(d) for side in sides for d in side] for sides in OUTCOMES.values()]).reshape(4, 2, 10)
    assert agreement["phi"] == pytest.approx(np.corrcoef(both[:, 0].ravel(), both[:, 1].ravel())[0, 1])


def test_letters_follow_the_corrected_paired_tests(run):
    # against "good", "bad" loses 9 starts of 9 (p = 0.004, Holm times 6) and "poor" 8 of 8 (p = 0.0078, times 5): both below 0.05
    letters = {policy["name"]: policy["letters"] for policy in build_results(run)["policies"]}
    assert letters == {"good": "a", "<script>alert(1)</script>": "ab", "poor": "b", "bad": "b"}


def test_results_are_written_fit_their_schema_and_do_not_change(run):
    first, second = write_results(run), build_results(run)
    assert first == second == read_results(run.path)
    assert results_schema() == json.loads((run.path / "results.schema.json").read_text())
    assert_fits(first, results_schema())
    for broken in ({**first, "level": "95"}, {**first, "more": 1}, {**first, "policies": [{"name": "good"}]}):
        with pytest.raises(jsonschema.ValidationError):
            assert_fits(broken, results_schema())


def test_unscored_is_counted_and_never_a_failure(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        fill(run, {"good": ("11??", "1101"), "bad": ("0000", "00?0")})
        run.add_episode("unjudged", trajectory("bad", "imagined", 9))
        results = build_results(run)
        good, bad = results["policies"]
        assert (good["scored"], good["unscored"], good["success_rate"]) == (2, 2, 1.0)
        assert (bad["scored"], bad["unscored"], bad["real"]["unscored"]) == (4, 1, 1)
        assert results["agreement"]["paired_episodes"] == 5
        text = printed(results_table(results))
        assert "Unscored episodes: 3" in text


def test_verifier_is_measured_where_it_judged_the_truth(run):
    assert build_results(run)["verifier"] == {
        "name": "classifier",
        "agreement_with_truth": None,
        "interval": None,
        "judged_true_episodes": 0,
    }
    run.add_verdicts(
        "classifier", {"0-truth-00": Verdict(1.0), "0-truth-01": Verdict(1.0), "0-truth-09": Verdict(1.0), "0-truth-02": Verdict(None)}
    )
    verifier = build_results(run)["verifier"]
    assert verifier["agreement_with_truth"] == pytest.approx(2 / 3)
    assert verifier["judged_true_episodes"] == 3


def test_throughput_adds_up_sessions(run):
    assert build_results(run)["throughput"] == {
        "rollouts_per_hour": None,
        "frames_per_second": None,
        "lanes_per_call": None,
        "seconds": {},
    }
    run.add_throughput({"world_model": 8.0, "policy": 1.0}, rollouts=5, frames=50)
    run.add_throughput({"world_model": 10.0, "other": 1.0}, rollouts=5, frames=50, lanes=12)
    assert build_results(run)["throughput"] == {
        "rollouts_per_hour": 1800,
        "frames_per_second": 5,
        "lanes_per_call": 12,
        "seconds": {"world_model": 18.0, "policy": 1.0, "other": 1.0},
    }


def test_one_policy_has_no_ranking_to_agree_on(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        results = build_results(fill(run, {"good": ("1101", "1100")}))
        assert results["agreement"]["pearson"] is None
        assert results["agreement"]["noise_ceiling"] is None
        assert results["agreement"]["bias"] == 0.25
        assert_fits(results, results_schema())
        assert "Only 1 policy" in (said := printed(agreement_table(results)))
        assert "1 policy; 4 paired episodes: 1 false success, 0 missed;" in said
        assert "bias 0.250" in headline(results)


def test_a_later_repeat_from_the_same_start_is_not_a_second_twin(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        fill(run, {"good": ("1", "1")})
        run.add_episode("repeat", trajectory("good", "imagined", 0))
        run.add_verdicts("classifier", {"repeat": Verdict(0.0)})
        results = build_results(run)
        assert results["policies"][0]["success_rate"] == 0.5
        assert results["agreement"]["paired_episodes"] == 1


def printed(table):
    console = Console(width=160)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_tables_show_intervals_ceilings_and_the_warning(run):
    results = build_results(run)
    ranking, agreement = printed(results_table(results)), printed(agreement_table(results))
    assert "[0.596, 0.982]" in ranking
    assert "<script>alert(1)</script>" in ranking
    band = results["agreement"]["noise_ceiling"]["pearson"]
    assert f"{band['median']:.3f} [{band['low']:.3f}, {band['high']:.3f}]" in agreement
    assert "Only" not in agreement
    results["agreement"]["policies"] = 3
    assert "Only 3 policies" in printed(agreement_table(results))


# --- page ---


class Page(HTMLParser):
    """Tags, their attributes and the text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for key, value in attributes if key in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def page_of(run):
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_the_page_stands_alone_and_escapes_names(run):
    run.add_throughput({"world_model": 8.0}, rollouts=5, frames=50)
    page = page_of(run)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    assert {re.match(r"data:image/(png|jpeg);base64,|#|(videos|figures)/|trials\.csv$", address)[0] for address in page.addresses} == {
        "data:image/png;base64,",
        "#",
        "videos/",
        "figures/",
        "trials.csv",
    }
    assert page.tags.count("video") == 4 + 3  # a pair of each policy, two false successes, one missed
    assert page.tags.count("svg") == 3
    results = json.loads((run.path / "results.json").read_text())
    assert headline(results) in page.text
    for words in ("0.900", "[0.596, 0.982]", "ab" * 32, "leak.latents", "worldsim evaluate world_model=toy", "rollouts per hour"):
        assert words in page.text


def test_the_faults_shown_are_the_first_of_each_policy(run):
    html = write_report(run).read_text().split("Where imagination goes wrong")[1]
    captions = re.findall(r"start (start\d\d) <span class=\"kind\">([a-z ]+)</span>\s*<br>(.*)\s*<br>(.*)\n", html)
    assert captions == [
        ("start08", "false success", "truth: failure (by hand)", "imagined: success (by hand)"),
        ("start04", "false success", "truth: failure (by hand)", "imagined: success (by hand)"),
        ("start09", "missed success", "truth: success (by hand)", "imagined: failure (by hand)"),
    ]


def test_every_policy_has_a_video_of_its_first_start_in_both_worlds(run):
    page_of(run)
    links = sorted((run.path / "report/videos").glob("policy-*.mp4"))
    assert len(links) == len(OUTCOMES)
    with av.open(str(links[1])) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert [frame.shape for frame in frames] == [(256, 520, 3)] * 4


def test_the_same_run_gives_the_same_page(run):
    first = write_report(run).read_bytes()
    files = {path: path.read_bytes() for path in (run.path / "report").rglob("*") if path.is_file() and path.suffix != ".mp4"}
    assert write_report(run).read_bytes() == first
    assert {path: path.read_bytes() for path in files} == files
    assert {path.suffix for path in files} == {".html", ".csv", ".pdf", ".png"}


def test_a_perfect_simulator_has_no_bad_case(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        page = page_of(fill(run, {"good": ("1101", "1101"), "bad": ("0010", "0010")}))
        assert "There is none: in all 8 paired episodes" in page.text
        assert "Only 2 policies" in page.text


def test_real_recordings_without_truth_or_scores_still_report(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        fill(run, {"replay": ("???",)}, worlds=("imagined",))
        block = {"psnr": [30.0, 25.0], "copy_psnr": [28.0, 20.0], "steps": [1, 2], "episodes": 3, "success_agreement": None}
        (run.path / "open_loop.json").write_text(json.dumps(block))
        page = page_of(run)
        results = json.loads((run.path / "results.json").read_text())
        assert_fits(results, results_schema())
        assert results["agreement"] is None
        assert results["open_loop"] == block
        assert results["policies"][0]["unscored"] == 3
        assert "no scored true episodes" in page.text
        assert "over 3 recordings" in page.text
        text = "".join(printed(table) for table in result_tables(results))
        assert "Unscored episodes: 3" in text
        assert "25.00" in text
        assert "no scored true episodes" in printed(agreement_table(results))


def test_an_empty_run_still_reports(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        page = page_of(run)
        assert_fits(json.loads((run.path / "results.json").read_text()), results_schema())
        assert "0 policies" in page.text


def test_text_that_writes_backwards_is_spelled_out(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        page = write_report(fill(run, {"a\u202eb\x1b[2J": ("1", "0")})).read_text()
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "a\\u202eb\\x1b[2J" in page
