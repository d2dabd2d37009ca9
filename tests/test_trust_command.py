"""A gate from recordings to report: calibrated, refused where it does not belong, and abstaining without ever calling a failure."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from test_report import CONFIG, fill, trajectory
from tiny_runs import evaluate, parts, slide

from worldsim.data.trajectory_file import read_trajectory, write_trajectory
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.experiments import cli
from worldsim.load import load_verifier, part_members, part_tree
from worldsim.models.checkpoint import save_checkpoint
from worldsim.models.video_convnet import VideoConvNetConfig
from worldsim.registry import VERIFIERS, WORLD_MODELS
from worldsim.report.gated import gate_block
from worldsim.report.outcomes import read_outcomes
from worldsim.report.page import write_report
from worldsim.report.results import build_results, result_tables
from worldsim.report.run_folder import RunFolder
from worldsim.trust import Measuring, read_gate, write_gate
from worldsim.types import Trajectory, Verdict, WorldSpec
from worldsim.verifiers.gated import Gated


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Parts of an evaluation, recordings in both splits, a gate that keeps them all, and a run with its true twin."""
    folder = parts(tmp_path_factory.mktemp("shop"))
    for split, count in (("validation", 30), ("train", 6)):
        tiny.recordings(folder / "rec" / split, lengths=(4,) * count)
    (folder / "rec" / "summary.json").write_text(json.dumps({"action": asdict(tiny.ACTION)}), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert trust("signal=seeds", "draws=1", "out=gate.json") == 0
        with slide():
            assert evaluate("truth=slide") == 0
    return folder


@pytest.fixture
def inside(shop, monkeypatch, capsys):
    monkeypatch.chdir(shop)
    capsys.readouterr()
    return shop


def trust(*more: str) -> int:
    return cli.main(["trust", "data=rec", "world_model=world", "verifier=judge", "target=0.99", "threads=1", *more])


def gated(gate: str = "gate.json", of: str = "judge") -> str:
    return f"verifier={{name: gated, of: {of}, gate: {gate}}}"


def refused(capsys, code: int, expected: int = 2) -> str:
    line = capsys.readouterr().err.splitlines()[-1]
    assert code == expected
    return line


def with_limit(folder: Path, limit: float, name: str) -> str:
    write_gate(folder / name, replace(read_gate(folder / "gate.json"), limit=limit))
    return name


def test_the_gate_says_what_it_was_made_for(inside, capsys):
    gate = read_gate("gate.json")
    assert (gate.signal, gate.draws, gate.judge["name"], gate.sampler["steps"]) == ("seeds", 1, "judge", 2)
    assert gate.world_model["sha256"] == json.loads(Path("world/config.json").read_text())["sha256"]
    assert gate.promise["bound"] <= gate.promise["target"] == 0.99
    assert [each["coverage"] for each in gate.curve][-1] == 1.0
    assert trust("signal=seeds", "draws=1", "out=again.json") == 0
    assert Path("again.json").read_bytes() == Path("gate.json").read_bytes()


def test_the_best_signal_of_one_half_is_calibrated_on_the_other(inside, capsys):
    assert trust("out=best.json", "reader_steps=2") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("seeds", "denoising"))
    assert "inverse dynamics is left out: no component" in shown  # two steps teach nothing
    assert read_gate("best.json").promise["kept"] <= 15


def test_a_reader_of_actions_trained_otherwise_is_refused(inside, capsys):
    command = ("signal=inverse_dynamics", "out=other.json", "reader_steps=1")
    trust(*command)
    made = Path("other.reader/model.safetensors").read_bytes()
    for key, line in (
        ("reader_steps=2", "steps=1, now asked for 2"),
        ("seed=1", "seed=0, now asked for 1"),
        ("data=rec/.", "data=rec, now"),
    ):
        capsys.readouterr()
        assert f"other.reader was trained with {line}" in refused(capsys, trust(*command, key), expected=1)
    assert Path("other.reader/model.safetensors").read_bytes() == made
    assert "no component" in refused(capsys, trust(*command))  # the same keys find it


def reader(folder, seed=0):
    """A network that says it reads actions off frames."""
    torch.manual_seed(seed)
    network = VideoConvNetConfig(frames=2, height=tiny.SIZE, width=tiny.SIZE, outputs=3, channels=4).build()
    torch.nn.init.normal_(network.head.weight, std=0.1)
    card = {"network": network.describe(), "action": asdict(tiny.ACTION), "readable": [True, False, True]}
    save_checkpoint(folder, "inverse_dynamics", {"network": network}, card)


def test_a_gate_of_read_actions_finds_its_reader_beside_it_and_knows_it(inside, capsys, monkeypatch):
    reader(inside / "sub" / "reader")
    assert trust("signal=inverse_dynamics", "reader=sub/reader", "out=sub/gate.json") == 0
    assert "inverse dynamics" in capsys.readouterr().out
    gate = read_gate("sub/gate.json")
    assert gate.reader["path"] == "reader"
    assert 0 < gate.limit < 1
    spec = {"name": "gated", "of": str(inside / "judge"), "gate": str(inside / "sub" / "gate.json"), "world_model": str(inside / "world")}
    monkeypatch.chdir("/")
    assert all("gate" in each.details for each in load_verifier(spec).judge([imagined()]))
    reader(inside / "sub" / "reader", seed=1)
    with pytest.raises(InvalidInput, match="reader of actions"):
        load_verifier(spec)


def imagined():
    return Trajectory("tiny", np.stack([tiny.picture(seed) for seed in range(3)]), np.zeros((2, 3), np.float32))


def test_no_limit_is_said_in_a_line_and_no_file_is_written(inside, capsys):
    assert cli.main(["trust", "data=rec", "world_model=world", "verifier=judge", "target=0.001", "signal=seeds", "out=none.json"]) == 0
    assert "no limit of seeds keeps the risk below 0.001 at 95%" in capsys.readouterr().out.splitlines()[-1]
    assert not Path("none.json").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("target=1.5",), "target is 1.5, expected a share above 0 and below 1"),
        (("level=1",), "level is 1.0, expected"),
        (("signal=doubt",), 'unknown signal "doubt"'),
        (("verifier=none",), "type tolerance=4"),
        (("signal=inverse_dynamics",), "type reader=FOLDER, or out=FILE"),
        (("noise_level=1.5", "signal=denoising"), "noise_level is 1.5, expected a noise level"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(inside, capsys, words, line):
    assert line in refused(capsys, trust(*words))


@pytest.fixture
def still(monkeypatch):
    """A world model of one's own with three methods, without noise, named "still": it stands still."""

    @dataclass(frozen=True)
    class Past:
        frames: np.ndarray

    class Still:
        spec = WorldSpec(16, 16, tiny.ACTION, context=4, fps=10)

        def start(self, frames, seeds):
            return Past(frames[:, -1])

        def step(self, state, actions):
            return state, state.frames

    @dataclass
    class Config:
        def build(self):
            return Still()

    monkeypatch.setitem(WORLD_MODELS._parts, "still", Config)


def test_a_model_without_noise_has_its_judge_only(inside, still, capsys):
    words = ["trust", "data=rec", "world_model=still", "target=0.99", "threads=1"]
    assert cli.main([*words, "verifier=judge"]) == 0
    assert "judge" in (said := capsys.readouterr().out)
    assert "seeds" not in said
    line = "cannot be measured of this world model; name another signal="
    assert f"seeds {line}" in refused(capsys, cli.main([*words, "verifier=judge", "signal=seeds"]))
    assert f"a signal {line}" in refused(capsys, cli.main([*words, "verifier=none", "tolerance=4"]))


def test_frames_alone_calibrate_where_there_is_no_state(inside, capsys, tmp_path):
    first = next(tiny.recordings(tmp_path / "bare", lengths=(4,) * 12, states=False).glob("*.h5"))
    recorded = read_trajectory(first)
    write_trajectory(first, replace(recorded, actions=3 * recorded.actions))  # beyond the world model's bounds
    words = [f"data={tmp_path / 'bare'}", "world_model=world", "signal=seeds", "target=0.9", f"out={tmp_path / 'gate.json'}"]
    assert "type verifier=none tolerance=4" in refused(capsys, cli.main(["trust", *words, "verifier=judge"]))
    assert cli.main(["trust", *words, "verifier=none", "tolerance=200"]) == 0
    assert read_gate(tmp_path / "gate.json").judge is None


def test_a_gate_is_refused_for_another_world_model_sampler_or_file(inside, capsys, tmp_path):
    gate = read_gate("gate.json")
    facts = gate.world_model
    with pytest.raises(InvalidInput, match="calibrated for world model"):
        gate.refuse_other_world(facts | {"sha256": "0" * 64}, gate.sampler)
    with pytest.raises(InvalidInput, match="with steps=2, not steps=1"):
        gate.refuse_other_world(facts, gate.sampler | {"steps": 1})
    gate.refuse_other_world(facts | {"name": "moved"}, gate.sampler | {"precision": "bf16", "determinism": "strict"})
    assert "with steps=2, not steps=1" in refused(capsys, evaluate("steps=1", gated(), run="other"))
    assert not Path("other").exists()
    two = "verifier={name: vote, of: [judge, {name: gated, of: judge, gate: gate.json}], quorum: 1}"
    assert "with steps=2, not steps=1" in refused(capsys, evaluate("steps=1", two, run="other"))
    assert "missing.json cannot be read" in refused(capsys, evaluate(gated("missing.json"), run="other"), 1)
    text = Path("gate.json").read_text()
    (tmp_path / "bad.json").write_text(text.replace('"draws": 1', '"draws": 2'))
    with pytest.raises(DamagedFile, match="checksum"):
        read_gate(tmp_path / "bad.json")
    (tmp_path / "odd.json").write_text("{}")
    with pytest.raises(DamagedFile, match="holds no gate"):
        read_gate(tmp_path / "odd.json")
    assert "one judge" in refused(capsys, evaluate("verifier={name: gated, of: [judge], gate: gate.json}", run="other"))


def test_a_moved_world_model_is_named_and_another_refused(inside, tmp_path):
    spec = {"name": "gated", "of": "judge", "gate": "gate.json"}
    tiny.world_model(tmp_path / "moved")
    assert load_verifier(spec | {"world_model": str(tmp_path / "moved")})
    tiny.world_model(tmp_path / "other", size=24)
    with pytest.raises(InvalidInput, match="name the right one"):
        load_verifier(spec | {"world_model": str(tmp_path / "other")})


def test_members_are_found_behind_a_gate(inside):
    gate = {"name": "gated", "of": "judge", "gate": "gate.json"}
    spec = {"name": "vote", "of": ["classifier", gate]}
    assert list(part_tree(VERIFIERS, spec)) == [spec, "classifier", gate, "judge"]
    assert part_members(VERIFIERS, spec) == ["classifier", "judge"]


def test_a_run_that_is_there_is_gated_and_what_is_withheld_is_unscored(inside, capsys):
    run = RunFolder("run")
    values = sorted(v.details["gate"]["value"] for v in judged(run, "gate.json") if "gate" in v.details)
    assert len(values) == 10
    name = with_limit(inside, values[6], "middle.json")
    assert cli.main(["score", "run", f"verifier={{name: gated, of: judge, gate: {name}, as: careful}}"]) == 0
    results = json.loads(Path("run/results.json").read_text())
    assert results["gate"] | {"policies": 0, "measures": 0, "told": 0} == {
        "signal": "seeds", "limit": values[6], "gated": 10, "withheld": 3, "policies": 0, "measures": 0, "told": 0,
    }  # fmt: skip
    assert sum(each["unscored"] for each in results["policies"]) == 3
    assert sum(each["real"]["unscored"] for each in results["policies"]) == 0
    said, plain = RunFolder("run").verdicts("careful"), RunFolder("run").verdicts("judge")
    for about in RunFolder("run").abouts():
        verdict, before = said[about.episode], plain[about.episode]
        if about.world == "truth" or verdict.details["gate"]["value"] <= values[6]:
            assert verdict.score == before.score
        else:
            assert verdict.score is None
            assert "above the calibrated" in verdict.reason
            assert verdict.details["gate"]["withheld"]["score"] == before.score
    assert "Agreement with and without the gate" in capsys.readouterr().out
    assert cli.main(["score", "run"]) == 0  # back to the run's own judge


def judged(run: RunFolder, gate: str) -> list[Verdict]:
    judge = load_verifier({"name": "gated", "of": "judge", "gate": gate}, run.path)
    return judge.judge([run.episode(each) for each in run.episode_ids()])


def test_an_evaluation_judged_behind_a_gate_is_the_same_as_one_gated_afterwards(inside):
    with slide():
        assert evaluate("truth=slide", gated(), run="fresh") == 0
    before = {each.episode: each for each in RunFolder("fresh").abouts()}
    name = RunFolder("fresh").identity["verifier"]["name"]
    said = RunFolder("fresh").verdicts(name)
    assert name == "gated"
    assert said == dict(zip(before, judged(RunFolder("fresh"), "gate.json"), strict=True))


class Fixed:
    """Says of each trajectory what its metadata says."""

    def judge(self, trajectories):
        return [Verdict(each.metadata["score"], "by hand", each.metadata.get("details", {})) for each in trajectories]


def test_only_imagined_rollouts_beyond_the_limit_are_withheld(inside, tmp_path):
    from toy import PixelShift, picture

    gate = replace(read_gate("gate.json"), limit=5.0)
    still = np.stack([picture(2)] * 3)  # against a draw with noise of a grey level: about 1
    moving = np.stack([picture(column) for column in (0, 3, 6)])

    def episode(frames, **about):
        return Trajectory("shift", frames, np.zeros((2, 2), np.float32), metadata={"score": 1.0} | about)

    known = replace(episode(moving), states={"opening": np.zeros(3)})
    told = Gated(Fixed(), gate, PixelShift(), Measuring(draws=1)).judge(
        [episode(still), episode(moving), episode(moving, world="truth"), known, episode(moving, details={"fault": "out of reach"})]
    )
    assert [each.score for each in told] == [1.0, None, 1.0, 1.0, 1.0]
    assert ["gate" in each.details for each in told] == [True, True, False, False, False]
    assert told[1].details["gate"]["withheld"] == {"score": 1.0, "reason": "by hand"}
    assert told[1].reason == f"seeds {told[1].details['gate']['value']:.3g} above the calibrated 5"


def test_a_gate_of_the_judges_own_doubt_asks_no_world_model_and_belongs_to_that_judge(inside, tmp_path):
    assert trust("signal=judge", "out=own.json") == 0
    told = load_verifier({"name": "gated", "of": "judge", "gate": "own.json", "world_model": "nowhere"}).judge([imagined()])
    assert told[0].details["gate"]["value"] <= 0.5
    with pytest.raises(InvalidInput, match="calibrated with judge judge, not with this recorded"):
        load_verifier({"name": "gated", "of": "recorded", "gate": "own.json"})
    gate = replace(read_gate("own.json"), limit=0.25)
    said = Gated(Fixed(), gate, None, Measuring()).judge(
        [replace(imagined(), metadata={"score": score}) for score in (0.1, 0.6, 0.75, None)]
    )
    assert [each.score for each in said] == [0.1, None, 0.75, None]
    assert [each.details["gate"]["value"] for each in said] == pytest.approx([0.1, 0.4, 0.25, 0.5])


def test_agreement_with_and_without_the_gate_by_hand(tmp_path):
    """Of four policies the gate withholds exactly the three starts that end otherwise than in truth: then all agree."""
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        fill(run)
        truth, verdicts = run.verdicts("state"), {}
        for about in run.abouts():
            if about.world == "imagined":
                said, twin = run.verdicts("classifier")[about.episode], truth[about.episode.replace("imagined", "truth")]
                gate = {"signal": "seeds", "value": 1.0, "limit": 2.0}
                if said.success != twin.success:
                    withheld = {"withheld": {"score": said.score, "reason": said.reason}}
                    said = Verdict(None, "seeds 3 above", {"gate": gate | withheld})
                else:
                    said = replace(said, details={"gate": gate})
                verdicts[about.episode] = said
        run.add_verdicts("classifier", verdicts)
        results = build_results(run)
        page = write_report(run).read_text(encoding="utf-8")
    gate = results["gate"]
    assert (gate["gated"], gate["withheld"]) == (40, 3)
    phi = gate["measures"]["phi"]
    assert phi["gated"]["value"] == pytest.approx(1)
    assert 0 <= phi["change"][0] <= 1 - phi["without"]["value"] <= phi["change"][1]
    assert gate["measures"]["bias"]["without"]["value"] == pytest.approx(0.025)
    assert 'id="gate"' in page
    assert "lets 37 of 40 imagined rollouts through" in page
    assert any(table.title == "Agreement with and without the gate" for table in result_tables(results))


def test_a_run_without_a_gate_says_nothing_of_one_and_one_without_truth_compares_nothing(tmp_path):
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        fill(run)
        assert build_results(run)["gate"] is None
    with RunFolder.open(tmp_path / "alone", CONFIG) as run:
        run.add_episode("e", trajectory("good", "imagined", 0))
        run.add_verdicts("classifier", {"e": Verdict(1.0, "", {"gate": {"signal": "seeds", "value": 1.0, "limit": 2.0}})})
        block = gate_block(read_outcomes(run), ["good"], 0.95)
        assert (block["gated"], block["withheld"], block["measures"]) == (1, 0, None)
        assert 'id="gate"' in write_report(run).read_text(encoding="utf-8")
