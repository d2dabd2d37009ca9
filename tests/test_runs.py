"""Runs that lose nothing: hashes of lines, configs and results; who may write; shards put together; old versions; a small storm."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from test_evaluate import arguments, contents, numbers, tiny_parts  # noqa: F401  a fixture

from worldsim.data.sealed import is_sealed, opened_line, read_sealed, sealed_line, write_sealed
from worldsim.errors import DamagedFile, InvalidInput, WorldsimError
from worldsim.evaluate import Shard
from worldsim.experiments import cli
from worldsim.experiments.preflight import Pace, span_of
from worldsim.experiments.status import shards_of, status_of
from worldsim.report import run_lock
from worldsim.report.json_lines import append_rows, put_aside_damaged, read_lines
from worldsim.report.line_forms import is_verdict
from worldsim.report.migration import migrate, read_results
from worldsim.report.run_folder import RunFolder
from worldsim.report.run_lock import STALE, RunLock, owners
from worldsim.report.schema import SCHEMA_VERSION, results_schema, schema_file
from worldsim.types import Trajectory, Verdict

IDENTITY = {"world_model": {"name": "w"}, "verifier": {"name": "judge"}, "task": {"id": "t"}, "sampler": {}, "seed": 0}
CONFIG = {"identity": IDENTITY, "policies": {"a": {"name": "a"}}}


def episode(seed: int, policy: str = "a", world: str = "imagined") -> Trajectory:
    frames = np.full((3, 4, 4, 3), seed, np.uint8)
    return Trajectory("t", frames, np.zeros((2, 1), np.float32), seed, f"s{seed}", metadata={"policy": policy, "world": world})


def begun(path: Path, seeds=(1, 2), config=CONFIG) -> RunFolder:
    """A run with an episode and a verdict for each seed, closed."""
    with RunFolder.open(path, config) as run:
        for seed in seeds:
            run.add_episode(f"e{seed}", episode(seed))
        run.add_verdicts("judge", {f"e{seed}": Verdict(seed % 2, f"seed {seed}", {"p": 0.25}) for seed in seeds})
        run.add_throughput({"world_model": 1.5}, rollouts=len(seeds), frames=2)
    return RunFolder(path)


ROW = st.fixed_dictionaries(
    {"episode": st.text(), "score": st.none() | st.floats(0, 1), "reason": st.text(), "details": st.dictionaries(st.text(), st.integers())}
)


@given(ROW, st.data())
def test_a_line_comes_back_and_one_changed_byte_is_found(row, data):
    line = sealed_line(row, "judge")[:-1]
    assert opened_line(line, "judge") == (row, True)
    place, bit = data.draw(st.integers(0, len(line) - 1)), data.draw(st.integers(0, 7))
    changed = line[:place] + bytes([line[place] ^ (1 << bit)]) + line[place + 1 :]
    found = opened_line(changed, "judge")
    assert found is None or not (found[1] or is_verdict(found[0]))
    assert not is_sealed(line, "another")


def test_damaged_lines_are_named_put_aside_and_the_rest_stays(tmp_path):
    file = tmp_path / "judge.jsonl"
    rows = [{"episode": f"e{n}", "score": n / 4, "reason": "", "details": {}} for n in range(4)]
    append_rows(file, rows)
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"score": 0.25', b'"score": 0.75'))
    assert list(read_lines(file, is_verdict).damaged) == [2]
    assert put_aside_damaged(file, tmp_path / "q" / "judge.jsonl", is_verdict) == 1
    assert [row["episode"] for row in read_lines(file, is_verdict).rows] == ["e0", "e2", "e3"]
    assert put_aside_damaged(file, tmp_path / "q" / "judge.jsonl", is_verdict) == 0
    assert b'"score": 0.75' in (tmp_path / "q" / "judge.jsonl").read_bytes()
    file.write_bytes(whole[:-1])  # only the newline of the last line is missing
    assert len(read_lines(file, is_verdict).rows) == 4
    append_rows(file, rows[:1])
    assert len(read_lines(file, is_verdict).rows) == 5


def test_lines_and_configs_of_older_versions_are_read(tmp_path):
    run = begun(tmp_path / "run")
    old = [{"episode": f"e{n}", "score": 0.5, "reason": "", "details": {}} for n in (1, 2)]
    run.verdict_path("judge").write_text("".join(json.dumps(row) + "\n" for row in old))
    config = tmp_path / "run" / "config.yaml"
    config.write_bytes(config.read_bytes().partition(b"\n")[2])
    assert {name: verdict.score for name, verdict in RunFolder(run.path).verdicts("judge").items()} == {"e1": 0.5, "e2": 0.5}
    run.verdict_path("judge").write_text(json.dumps(old[0] | {"score": 2}) + "\n")
    with pytest.raises(DamagedFile, match="line 1"):
        run.verdicts("judge")


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-1], lambda raw: raw.replace(b"seed: 0", b"seed: 1"), lambda raw: b"", lambda raw: b"\xff"]
)
def test_a_damaged_config_is_refused_and_made_again(tmp_path, damage):
    run = begun(tmp_path / "run")
    file = run.path / "config.yaml"
    file.write_bytes(damage(file.read_bytes()))
    for opening in (lambda: RunFolder(run.path), lambda: RunFolder.open(run.path, CONFIG)):
        with pytest.raises(DamagedFile, match="delete it and type the command that began the run again"):
            opening()
    file.unlink()
    with RunFolder.open(run.path, CONFIG) as again:
        assert [about.episode for about in again.abouts()] == ["e1", "e2"]


def test_the_config_of_a_probe_is_not_taken_for_its_runs(tmp_path):
    run, probe = CONFIG | {"part": "run"}, CONFIG | {"part": "probe"}
    begun(tmp_path / "run", config=run), begun(tmp_path / "run" / "probe", config=probe)
    shutil.copy(tmp_path / "run" / "probe" / "config.yaml", tmp_path / "run" / "config.yaml")
    with pytest.raises(DamagedFile, match="config of the probe, not of the run; delete it and type the command"):
        RunFolder.open(tmp_path / "run", run)
    (tmp_path / "run" / "config.yaml").unlink()
    assert begun(tmp_path / "run", (), run).episode_ids() == ["e1", "e2"]
    with RunFolder.open(tmp_path / "run", CONFIG) as older:  # which does not say whose it is
        assert older.config["part"] == "run"


def test_an_episode_under_anothers_name_or_of_another_run_is_not_counted(tmp_path):
    run = begun(tmp_path / "run")
    first, second = (run.episode_path(name) for name in ("e1", "e2"))
    first.write_bytes(second.read_bytes())
    assert [name for name, _ in run.episodes()] == ["e2"]
    assert run.quarantined() == ["e1"]
    other = begun(tmp_path / "other", config={"identity": IDENTITY | {"seed": 1}})
    shutil.copy(other.episode_path("e1"), first)
    with pytest.raises(DamagedFile, match="another identity"):
        run.about("e1")


def test_about_reads_again_only_what_has_changed(tmp_path, monkeypatch):
    run = begun(tmp_path / "run")
    assert list(run.abouts()) == list(run.abouts())
    monkeypatch.setattr("worldsim.report.run_folder.read_about", lambda path: pytest.fail("read twice"))
    assert run.about("e1").seed == 1
    monkeypatch.undo()
    run.episode_path("e1").write_bytes(b"torn")
    assert [about.episode for about in run.abouts()] == ["e2"]


@pytest.mark.parametrize(
    "change", [lambda raw: raw.replace(b"0.25", b"0.75"), lambda raw: raw[:-9], lambda raw: b"[]", lambda raw: b"[" * 99999]
)
def test_a_sealed_file_that_was_changed_is_refused(tmp_path, change):
    file = tmp_path / "numbers.json"
    write_sealed(file, {"psnr": [0.25, (1, 2)], "none": None})
    assert read_sealed(file, "again") == {"psnr": [0.25, [1, 2]], "none": None}
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(DamagedFile, match="again$"):
        read_sealed(file, "again")


# --- who may write ---


def test_the_refusal_says_who_and_since_when(tmp_path):
    with RunFolder.open(tmp_path, CONFIG):
        with pytest.raises(
            WorldsimError, match=rf"another process is writing .*process {os.getpid()} of .* since 20.*, last heard 0 s ago"
        ):
            RunFolder.open(tmp_path, CONFIG)
        (owner,) = owners(tmp_path)
        assert (owner.here, owner.alive) == (True, True)
    assert owners(tmp_path) == []


def foreign(path: Path, silent: float, name: str = ".owner-ffffffff-1-x.json") -> Path:
    path.mkdir(exist_ok=True)
    (file := path / name).write_text(json.dumps({"host": "far", "user": "ann", "command": "worldsim evaluate", "since": "then"}))
    os.utime(file, (time.time() - silent,) * 2)
    return file


def test_a_silent_writer_elsewhere_is_taken_over_and_a_living_one_is_not(tmp_path):
    foreign(tmp_path, STALE / 2)
    with pytest.raises(WorldsimError, match="of ann on far, since then, last heard 3. s ago: worldsim evaluate"):
        RunFolder.open(tmp_path, CONFIG)
    file = foreign(tmp_path, 2 * STALE)
    with RunFolder.open(tmp_path, CONFIG):
        assert not file.exists()


def test_who_was_taken_over_writes_nothing_more(tmp_path):
    with RunFolder.open(tmp_path, CONFIG) as run:
        (mine,) = owners(tmp_path)
        mine.file.unlink()
        foreign(tmp_path, 0)
        for write in (
            lambda: run.add_episode("e1", episode(1)),
            lambda: run.add_verdicts("judge", {"e1": Verdict(1.0)}),
            lambda: run.add_throughput({}, rollouts=1, frames=1),
        ):
            with pytest.raises(WorldsimError, match="taken over .* on far"):
                write()
    assert not (tmp_path / "episodes").exists()


def test_of_two_machines_that_see_each_other_both_step_back(tmp_path, monkeypatch):
    """Without the kernel's lock, as on a disk that has none."""
    monkeypatch.setattr(run_lock, "_locked", lambda path: (os.open(path / ".lock", os.O_RDWR | os.O_CREAT), False))
    foreign(tmp_path, 0)
    with pytest.raises(WorldsimError, match="another process"):
        RunLock(tmp_path)
    assert [owner.host for owner in owners(tmp_path)] == ["far"]


def test_a_garbled_owner_is_no_crash_and_leftovers_are_swept(tmp_path):
    foreign(tmp_path, 2 * STALE).write_bytes(b"\xff{")
    os.utime(tmp_path / ".owner-ffffffff-1-x.json", (1, 1))
    (tmp_path / "episodes").mkdir()
    (tmp_path / "episodes" / ".e1.h5.999999999.tmp").write_bytes(b"half")
    with RunFolder.open(tmp_path, CONFIG):
        assert not list(tmp_path.rglob(".*.tmp"))


# --- shards ---


@given(st.integers(0, 40), st.integers(1, 9))
def test_shards_are_a_partition_whatever_is_done(rounds, count):
    plan = [[number] for number in range(rounds)]
    parts = [Shard(number, count).part(plan) for number in range(1, count + 1)]
    assert sorted(each for part in parts for each in part) == plan
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/b", "1/0", "-1/2", "1/2/3"])
def test_a_shard_is_a_part_of_all(text):
    with pytest.raises(InvalidInput, match="as 1/4"):
        Shard.of(text)


@pytest.mark.parametrize("batch", [1, 2])
def test_merged_shards_are_the_run(tiny_parts, capsys, batch):  # noqa: F811
    keys = {"policies": "[a,b,random]", "batch": batch}
    assert cli.main(arguments("whole", **keys)) == 0
    for number in (1, 2, 3):
        assert cli.main(arguments("run", shard=f"{number}/3", **keys)) == 0
        assert "when all 3 shards are played type: worldsim merge run" in capsys.readouterr().out
        assert cli.main(["status", "run"]) == 0
        missing = [f"{each}-of-3" for each in range(number + 1, 4)]
        said = f"run: shards that were not begun here: {', '.join(missing)}\n"
        assert (said in capsys.readouterr().out) == bool(missing)
    assert [status_of(shard).complete for shard in shards_of(Path("run"))] == [True] * 3
    Path("run/shards/2-of-3/checklist.yaml").write_text("rubric: shut\n")
    for new in ("15 episodes and 15 verdicts", "0 episodes and 0 verdicts"):
        capsys.readouterr()
        assert cli.main(["merge", "run", "report=false"]) == 0
        out = capsys.readouterr().out
        assert f"merged 3 run folders: {new} were new; 15 of 15 are there" in out
        assert "for drift and probe, type the command of the shards with run=run and without shard=" in out
        assert contents("run") == contents("whole")
        whole, merged = RunFolder("whole").config, RunFolder("run").config
        assert all(merged[key] == whole[key] for key in ("identity", "policies", "settings", "specs", "part"))
        assert Path("run/checklist.yaml").read_text() == "rubric: shut\n"
        assert numbers("run") == numbers("whole")
    assert cli.main(arguments("run", **keys)) == 0
    assert contents("run") == contents("whole")


def test_a_merge_keeps_what_people_typed_into_the_run(tmp_path, capsys):
    for name, text in (("out", "rubric: mine\n"), ("one", "rubric: theirs\n")):
        begun(tmp_path / name)
        (tmp_path / name / "checklist.yaml").write_text(text)
    assert cli.main(["merge", str(tmp_path / "out"), str(tmp_path / "one"), "report=false"]) == 0
    assert f"{tmp_path / 'one' / 'checklist.yaml'} differs; the one of {tmp_path / 'out'} stays" in capsys.readouterr().out
    assert (tmp_path / "out" / "checklist.yaml").read_text() == "rubric: mine\n"


def test_a_merge_refuses_what_does_not_belong_together(tmp_path, capsys):
    begun(tmp_path / "one")
    begun(tmp_path / "other", config={"identity": IDENTITY | {"seed": 1}})
    for number, digest in ((1, "x"), (2, "y")):
        plan = {"episodes": 4, "digest": digest, "shard": f"{number}/2", "batch": 1}
        begun(tmp_path / f"shard{number}", (number,), CONFIG | {"plan": plan})
    for words, said in (
        (["one", "other"], "given seed 1, but"),
        (["shard1", "shard2"], "a shard of another plan"),
        (["out"], "has no shards"),
    ):
        assert cli.main(["merge", str(tmp_path / "out"), *(str(tmp_path / word) for word in words if word != "out")]) != 0
        assert said in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_duplicates_that_differ_and_damaged_ones_are_named(tmp_path, capsys):
    begun(tmp_path / "one")
    with RunFolder.open(tmp_path / "two", CONFIG) as two:
        two.add_episode("e1", replace(episode(1), frames=np.zeros((3, 4, 4, 3), np.uint8)))
        two.add_episode("e3", episode(3))
        two.add_verdicts("judge", {"e1": Verdict(0.0), "e3": Verdict(1.0)})
    path = begun(tmp_path / "three", (4,)).episode_path("e4")
    path.write_bytes(path.read_bytes()[:-1])
    assert cli.main(["merge", str(tmp_path / "out"), *(str(tmp_path / name) for name in ("one", "two", "three")), "report=false"]) == 0
    out = capsys.readouterr().out
    assert f"e1 differs in {tmp_path / 'two'}" in out
    assert f"judge says otherwise of e1 in {tmp_path / 'two'}" in out
    assert "not merged: " in out
    merged = RunFolder(tmp_path / "out")
    assert [about.episode for about in merged.abouts()] == ["e1", "e2", "e3"]
    assert {name: verdict.score for name, verdict in merged.verdicts("judge").items()} == {"e1": 1.0, "e2": 0.0, "e3": 1.0}


# --- status, results of older versions ---


def test_status_names_everything(tmp_path, capsys):
    run = begun(tmp_path / "run", (1, 2, 3), CONFIG | {"planned": 9, "command": "worldsim evaluate run=x"})
    run.verdict_path("judge").write_bytes(run.verdict_path("judge").read_bytes().replace(b'"score": 0', b'"score": 1'))
    path = run.episode_path("e3")
    path.write_bytes(path.read_bytes()[:-1])
    foreign(run.path, 2 * STALE)
    assert cli.main(["status", str(run.path), str(run.path)]) == 0
    out = capsys.readouterr().out
    for words in (
        "2 of 9 episodes; to go on type: worldsim evaluate run=x",
        "left by (gone)",
        "2 damaged",
        "1 not judged yet",
        "MiB on disk",
    ):
        assert out.count(words) == 2, out
    assert "7200 episodes an hour; 4 seconds for the 7 left" in out


def test_the_first_episodes_tell_how_long_the_rest_will_take(monkeypatch):
    clock = iter([100.0, 130.0])
    monkeypatch.setattr("worldsim.experiments.preflight.time.monotonic", lambda: next(clock))
    pace = Pace("imagined", left=43, first=3)
    lines = [pace.line() for _ in range(43)]
    assert lines[2] == "worldsim: about 7 minutes for the other 40 imagined episodes, at 6 a minute"
    assert not any(lines[:2] + lines[3:])
    monkeypatch.setattr("worldsim.experiments.preflight.time.monotonic", lambda: 0.0)
    few = Pace("truth", left=2, first=2)
    assert [few.line(), few.line()] == ["", ""]
    assert [span_of(seconds) for seconds in (7, 119, 120, 7199, 7200, 200000)] == [
        "7 seconds",
        "119 seconds",
        "2 minutes",
        "120 minutes",
        "2 hours",
        "2 days",
    ]


def test_the_published_schemas_are_those_of_the_code():
    written = json.loads(schema_file(SCHEMA_VERSION).read_text())
    assert written == results_schema(), "write it anew: python -m worldsim.report.schema"


def test_results_of_every_version_become_the_newest(tiny_parts):  # noqa: F811
    assert cli.main(arguments("run")) == 0
    results = read_results(Path("run"))
    jsonschema.validate(json.loads(Path("run/results.json").read_text()), results_schema())
    older = json.loads(json.dumps(results)) | {"schema_version": 1}
    for key in ("calibration", "judges", "probe", "gate"):
        older.pop(key)
    for policy in older["policies"]:
        del policy["corrected"]
    jsonschema.validate(older, json.loads(schema_file(1).read_text()))
    newest = migrate(older)
    jsonschema.validate(newest, results_schema())
    assert newest | {"gate": None} == results | {"judges": [], "calibration": None, "probe": None}
    assert older["schema_version"] == 1
    for version in (0, SCHEMA_VERSION + 1, "2", None, True):
        with pytest.raises(DamagedFile, match="schema version"):
            migrate(older | {"schema_version": version})


# --- real processes ---


PROGRAM = "import sys; from worldsim.experiments.cli import main; print('go', flush=True); sys.exit(main(sys.argv[1:]))"


def started(folder: Path, words: list[str]) -> subprocess.Popen:
    """A command in a process of its own, about to begin."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    return process


def interrupted(process: subprocess.Popen, *numbers: int) -> str:
    """What it says when it is sent these signals, one at once after another, while it runs."""
    assert process.poll() is None
    for number in numbers:
        process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + numbers[0], err
    assert "Traceback" not in err
    return err


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)])
@pytest.mark.parametrize("delay", [0.5, 2.5])
def test_a_signal_ends_it_with_the_command_to_resume(tmp_path, numbers, delay):
    tiny.world_model(tmp_path / "world"), tiny.policy(tmp_path / "a"), tiny.task_file(tmp_path / "task.h5", starts=400, horizon=50)
    keys = ["evaluate", "run=run", "world_model=world", "policies=[a]", "task=task.h5", "verifier=none", "episodes=400", "batch=400"]
    process = started(tmp_path, keys)
    time.sleep(delay)
    err = interrupted(process, *numbers)
    assert err.splitlines()[-1].startswith("worldsim: interrupted; to go on from what is finished type: worldsim evaluate run=run")
    assert not list(tmp_path.glob("run/**/.*.tmp"))


def test_a_signal_is_not_raised_into_an_import(tmp_path):
    (tmp_path / "lengthy.py").write_text("""import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    while True: pass
except BaseException: os.abort()  # as a module written in C++ does
""")
    said = "lambda code: print('left with', code, flush=True)"
    program = f"from worldsim.experiments.stopping import leaving_quickly\nwith leaving_quickly({said}): import lengthy"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "left with 130\n", "")


@pytest.mark.slow
def test_a_signal_while_the_report_is_written_leaves_no_half_file(tiny_parts):  # noqa: F811
    keys = {"report": "true", "determinism": "strict"}
    process = started(tiny_parts, arguments("run", **keys))
    while not Path("run/results.json").exists():
        assert process.poll() is None
        time.sleep(0.005)
    interrupted(process, signal.SIGINT)
    page = Path("run/report/index.html")
    assert not page.exists()
    assert cli.main(arguments("whole", **keys)) == cli.main(arguments("run", **keys)) == 0
    assert numbers("run") == numbers("whole")
    assert contents("run") == contents("whole")
    assert page.read_text().rstrip().endswith("</html>")
    assert not list(Path("run").rglob(".*.tmp"))


@pytest.mark.slow
def test_a_small_storm_loses_nothing(tmp_path):
    words = ["kills=4", "races=2", "damaged=6", "disk=0", "processes=3", f"where={tmp_path}", f"out={tmp_path / 'counts.json'}"]
    program = [sys.executable, "-W", "error", "-m", "worldsim.experiments.faults"]  # its runs are forked, so it has to be a clean process
    done = subprocess.run([*program, *words], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads((tmp_path / "counts.json").read_text())["counts"]
    assert sum(count for what, count in counts["kills"].items() if what.startswith("killed")) == 4
    assert sum(counts["damaged"].values()) == 6
