"""The command line: what it prints, what it refuses in one line, and what it leaves unloaded. Also `status`."""

import errno
import importlib.util
import json
import os
import subprocess
import sys
import types
from dataclasses import fields
from importlib.resources import files

import numpy as np
import pytest
import yaml

import worldsim
from worldsim.data.trajectory_file import write_trajectory
from worldsim.errors import DamagedFile, InvalidInput, MissingDependency, RunMismatch, UnknownName
from worldsim.experiments import cli, status
from worldsim.experiments.schema import REQUIRED, VERBS, ImportConfig, ReplayConfig
from worldsim.types import Trajectory

HEAVY = ("torch", "hydra", "mujoco", "matplotlib", "tensorflow", "diffusers")


def loaded_by(code: str) -> set[str]:
    """Which heavy packages a fresh Python holds after `code`."""
    program = f"{code}\nimport sys, json\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    return set(json.loads(done.stdout.splitlines()[-1]))


def refusal(capsys, *argv: str) -> tuple[int, str]:
    """(exit code, the one line on stderr) of a command that fails."""
    code = cli.main(argv)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("worldsim: ")
    return code, err


def command(monkeypatch, verb: str, run) -> None:
    """Put `run` in the place of a command."""
    monkeypatch.setitem(sys.modules, VERBS[verb].module, types.SimpleNamespace(run=run))


def raising(error: BaseException):
    def run(config):
        raise error

    return run


@pytest.fixture
def evaluated(monkeypatch, capsys):
    """A function from arguments to the configuration that `worldsim evaluate` runs with."""
    calls = []
    command(monkeypatch, "evaluate", calls.append)

    def evaluate(*argv: str):
        assert cli.main(["evaluate", *argv]) == 0, capsys.readouterr().err
        return calls.pop()

    return evaluate


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["train", "--help"], ["train", "stge=pretrain"], ["evalute"]])
def test_words_alone_load_nothing_heavy(argv):
    assert loaded_by(f"from worldsim.experiments.cli import main\nmain({argv})") == set()


def test_importing_worldsim_loads_nothing_heavy():
    assert loaded_by("import worldsim") == set()


@pytest.mark.parametrize("argv", [["evaluate", "seed=x"], ["train"], ["train", "stage=pretran"], ["evaluate", "--cfg", "job"]])
def test_composing_loads_hydra_and_nothing_heavier(argv):
    assert loaded_by(f"from worldsim.experiments.cli import main\nmain({argv})") == {"hydra"}


def test_help_lists_every_verb(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for verb in VERBS.values():
        assert f"  {verb.name} " in out
        assert verb.meaning in out


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"worldsim {worldsim.__version__}\n"


every_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)


@every_verb
def test_a_verb_has_a_module(verb):
    assert importlib.util.find_spec(verb.module), f"{verb.module} is missing"


@every_verb
def test_a_verb_explains_each_key(verb, capsys):
    assert cli.main([verb.name, "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for field in fields(verb.config):
        assert f" {field.name}: " in out
        assert field.metadata["meaning"] in out


@every_verb
def test_defaults_live_in_the_dataclass_alone(verb, capsys):
    assert cli.main([verb.name, "--cfg", "job"]) == 0
    given = {field.name: field.default_factory() if callable(field.default_factory) else field.default for field in fields(verb.config)}
    assert yaml.safe_load(capsys.readouterr().out) == given


def test_every_verb_has_its_yaml():
    folder = files("worldsim.experiments.configs")
    assert {entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml")} == {f"{verb.stem}.yaml" for verb in VERBS.values()}


def test_help_shows_types_defaults_and_choices(capsys):
    cli.main(["train", "--help"])
    out = capsys.readouterr().out
    assert "stage: autoencoder|pretrain|causalize|posttrain|self-context|distill|heads (required)" in out
    assert "learning_rate: float | null (default null)" in out
    assert "compile: bool (default false)" in out
    cli.main(["bench", "--help"])
    assert "lanes: list[int] (default [1,8,32])" in capsys.readouterr().out


def test_values_arrive_with_their_types(evaluated):
    config = evaluated("episodes=7", "guidance=2", "report=false", "history=stream", "policies=[begin,{name: cloned, step: 3}]")
    assert type(config) is VERBS["evaluate"].config
    assert (config.episodes, config.guidance, config.report, config.history) == (7, 2.0, False, "stream")
    assert isinstance(config.guidance, float)
    assert config.policies == ["begin", {"name": "cloned", "step": 3}]


@pytest.mark.parametrize(
    "path",
    [
        "runs/a b",
        "runs/lr=1e-3,seed=2",
        "it's",
        'a "b" c',
        "(1) [2] {3}",
        "ends\\",
        "a\\'b",
        "Übung/日本",
        "a: b # c",
        "12",
        "true",
        "~/x@y%z",
        "a,b",
    ],
)
def test_a_path_arrives_as_it_was_typed(evaluated, path):
    assert evaluated(f"run={path}", f"world_model={path}").run == path


@pytest.mark.parametrize(("typed", "meant"), [("'two words'", "two words"), ('"a=b"', "a=b"), ("null", None), ("", "")])
def test_quotes_and_null_keep_their_meaning(evaluated, typed, meant):
    assert evaluated(f"run={typed}").run == meant


def test_names_in_a_list_may_be_quoted(evaluated):
    assert evaluated("policies=['lr=3/a.pt',\"two words\",two words]").policies == ["lr=3/a.pt", "two words", "two words"]


@pytest.mark.parametrize(
    "argv",
    [
        ["episodes=3", "shuffle_actions=true", "data=my data", "steps=null"],
        ["--episodes", "3", "--shuffle-actions", "--data", "my data"],
        ["--data=my data", "--episodes=3", "--shuffle_actions=true"],
    ],
)
def test_flags_say_the_same_as_keys(monkeypatch, argv):
    seen = []
    monkeypatch.setattr("worldsim.experiments.replay.run", seen.append)
    assert cli.main(["replay", *argv]) == 0
    assert seen == [ReplayConfig(data="my data", episodes=3, shuffle_actions=True)]


def test_leading_keys_may_go_without_names(monkeypatch):
    seen = []
    monkeypatch.setattr("worldsim.experiments.import_.run", seen.append)
    for argv in (["rlds", "a b"], ["source=rlds", "path=a b"], ["rlds", "path=a b"], ["--source", "rlds", "--path", "a b"]):
        assert cli.main(["import", *argv, "out=x"]) == 0
    assert seen == [ImportConfig(source="rlds", path="a b", out="x")] * 4


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["evalute"], 'did you mean "evaluate"?'),
        ([], "worldsim --help"),
        (["evaluate", "epsodes=3"], 'did you mean "episodes"?'),
        (["evaluate", "+episodes=3"], 'did you mean "episodes"?'),
        (["evaluate", "hydra.run.dir=x"], "no key"),
        (["evaluate", "runs/x"], "expected key=value"),
        (["evaluate", "--episodes"], "type episodes=VALUE"),
        (["evaluate", "--epsodes", "3"], 'did you mean "episodes"?'),
        (["evaluate", "--report", "no"], 'got "no"'),
        (["doctor", "x"], "expected key=value"),
        (["weights", "convrt"], 'did you mean "convert"?'),
        (["doctor", "x=1"], "no key"),
        (["evaluate", "episodes=many"], 'episodes takes int, got "many"'),
        (["evaluate", "episodes=1.5"], "episodes takes int"),
        (["evaluate", "episodes="], "episodes takes int"),
        (["evaluate", "episodes=null"], "episodes takes int"),
        (["evaluate", "episodes=1,2"], "episodes takes int"),
        (["evaluate", "seed=1", "guidance=x", "batch=2"], "guidance takes float | null"),
        (["evaluate", "report=maybe"], "report takes bool"),
        (["evaluate", "policies=begin"], "policies takes list[name|mapping]"),
        (["evaluate", "policies=[begin"], "policies takes list[name|mapping]"),
        (["evaluate", "policies=[a=b]"], "quotes around an element"),
        (["evaluate", "run=[a]"], "run takes str | null"),
        (["evaluate", "run=${nowhere}"], "run takes str | null"),
        (["bench", "lanes=[1,x]"], "lanes takes list[int]"),
        (["bench", "lanes=[1,0]"], "expected at least 1"),
        (["evaluate", "episodes=0"], "expected at least 1"),
        (["evaluate", "guidance=nan"], "expected at least 0"),
        (["evaluate", "determinism=strickt"], 'did you mean "strict"?'),
        (["evaluate", "history=null2"], "known: block, recompute, stream, window"),
        (["train", "--cfg", "job", "stage=pretran"], 'did you mean "pretrain"?'),
        (["train"], "train needs stage=autoencoder|"),
        (["train", "stage=???"], "train needs stage="),
        (["train", "--cfg", "hydra"], "--cfg job"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_2(capsys, argv, said):
    code, line = refusal(capsys, *argv)
    assert code == 2
    assert said in line


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("frames are\nwrong"), 2),
        (UnknownName('unknown policy "x"'), 2),
        (DamagedFile("torn"), 1),
        (MissingDependency("no mujoco"), 1),
        (RunMismatch("another run"), 1),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x/a.h5"), 1),
        (OSError(errno.EACCES, "Permission denied", "runs/x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_a_failure_is_one_line_and_its_exit_code(monkeypatch, capsys, error, code):
    command(monkeypatch, "doctor", raising(error))
    got, line = refusal(capsys, "doctor")
    assert got == code
    expected = {1: str(error), 2: " ".join(str(error).split()), 130: "to go on from what is finished type"}[code]
    if number := getattr(error, "errno", None):
        expected = {errno.ENOSPC: "the disk is full while writing runs/x/a.h5", errno.EACCES: "runs/x cannot be read or written"}[number]
    assert expected in line


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("ours"), FileNotFoundError(errno.ENOENT, "gone"), BrokenPipeError(errno.EPIPE, "a socket")]
)
def test_our_own_mistakes_keep_their_traceback(monkeypatch, tmp_path, error):
    command(monkeypatch, "doctor", raising(error))
    with open(tmp_path / "out", "w") as out, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", out)
        with pytest.raises(type(error)):
            cli.main(["doctor"])


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_is_quiet(unbuffered):
    read, write = os.pipe()
    os.close(read)
    program = [sys.executable, "-m", "worldsim.experiments.cli", "evaluate", "--help"]
    with os.fdopen(write, "w") as out:
        done = subprocess.run(program, stdout=out, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}, timeout=60)
    assert done.stderr == b""
    assert done.returncode == 1


@pytest.fixture
def run_folder(tmp_path):
    """A run of three planned episodes, two of them finished."""
    (tmp_path / "config.yaml").write_text("identity: {}\nplanned: 3\n")
    for index, world in enumerate(("model", "truth")):
        frames, actions = np.zeros((3, 4, 4, 3), np.uint8), np.zeros((2, 1), np.float32)
        episode = Trajectory("task", frames, actions, metadata={"policy": "begin", "world": world})
        write_trajectory(tmp_path / "episodes" / f"{index}.h5", episode)
    (tmp_path / "verdicts").mkdir()
    rows = [{"episode": str(index), "score": score, "reason": "", "details": {}} for index, score in enumerate((1.0, None))]
    (tmp_path / "verdicts" / "classifier.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"sco')
    return tmp_path


def test_status_counts_a_run(run_folder, capsys):
    found = status.status_of(run_folder)
    assert found.episodes == {("begin", "model"): 1, ("begin", "truth"): 1}
    assert found.verdicts == {"classifier": (1, 1)}
    assert (found.planned, found.complete, found.damaged) == (3, False, [])
    assert cli.main(["status", f"run={run_folder}"]) == 0
    assert "2 of 3 episodes" in capsys.readouterr().out


def test_status_knows_when_a_run_is_complete(run_folder):
    (run_folder / "config.yaml").write_text("identity: {}\nplanned: 2\n")
    assert status.status_of(run_folder).complete
    (run_folder / "episodes" / "1.h5").write_bytes(b"torn")
    torn = status.status_of(run_folder)
    assert (torn.complete, len(torn.damaged)) == (False, 1)
    assert str(run_folder / "episodes" / "1.h5") in torn.damaged[0]


def test_status_ignores_files_that_are_being_written(run_folder):
    (run_folder / "episodes" / ".2.h5.77.tmp").write_bytes(b"half")
    (run_folder / "episodes" / ".3.h5").write_bytes(b"half")
    assert status.status_of(run_folder).damaged == []


@pytest.mark.parametrize("name", ["", "config.yaml"])
def test_status_refuses_a_folder_without_a_run(tmp_path, capsys, name):
    if name:
        (tmp_path / name).write_text("planned: [1\n")
    code, line = refusal(capsys, "status", f"run={tmp_path}")
    assert code == (1 if name else 2)
    assert str(tmp_path) in line


def test_status_refuses_a_verdict_file_of_another_kind(run_folder, capsys):
    (run_folder / "verdicts" / "classifier.jsonl").write_text("[]\n")
    assert cli.main(["status", f"run={run_folder}"]) == 0
    assert "classifier.jsonl in line 1" in capsys.readouterr().out


def test_required_values_are_marked_as_omegaconf_marks_them():
    from omegaconf import MISSING

    assert REQUIRED == MISSING
