"""Every code block of every page is checked: Python runs and prints what it says, commands are resolved, cheap ones run, the rest is named.

A block is commands (no word after its fence, or bash), python, csv, yaml or text; text is output or a picture in letters, and stands in
`OUTPUT_OF` or `NOT_CHECKED` below with its first line.
"""

import contextlib
import importlib
import io
import itertools
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from named import unknown_names
from pages import BLOCKS, COMMANDS, NAMES, ROOT, Block, Command, blocks_of, spoken_of

from worldsim.data.real_results import read_real_results
from worldsim.errors import WorldsimError
from worldsim.experiments import cli
from worldsim.experiments.presets import load_preset
from worldsim.experiments.schema import VERBS
from worldsim.experiments.suites import Suite, cases_of
from worldsim.registry import VERIFIERS, WORLD_MODELS
from worldsim.report.checklist import ITEMS
from worldsim.report.stated import read_stated

OUTPUT_OF = {  # a text block whose command is run, and prints it
    ("docs/compare.md", "Simulated beside real: simpler:google_robot/move_near"): "worldsim compare simpler:google_robot/move_near",
    ("docs/compare.md", "Agreement, task by task: simpler:google_robot, vm"): (
        "worldsim compare simpler:google_robot setting=vm average=equal_task_mean"
    ),
}
NOT_CHECKED = {  # a text block by the beginning of its first line, and why
    ("README.md", "worldsim/types.py"): "the tree: tests/test_tree.py",
    ("CONTRIBUTING.md", "5  experiments/"): "the floors: tests/test_tree.py",
    ("docs/compare.md", "worldsim: recipes differ"): "needs a run of 100 episodes; tests/test_compare.py has its twin",
    ("docs/any-environment.md", "from stable_baselines3 import SAC"): "trains for a minute; tests/test_gym_truth.py acts with such a file",
    ("docs/physics.md", "colour: 762 frames/s"): "times of one machine",
    ("docs/replay.md", "episode     0a5d67c5ac1293e6"): "needs the run of the block before; tests/test_replay_episode.py has its twin",
    ("docs/report.md", "report/index.html"): "names of files; tests/test_report.py looks for them",
    ("docs/runs.md", "RUN/config.yaml"): "names of files; tests/test_runs.py looks for them",
    ("docs/tutorial-rank.md", "policy     success     95% interval"): "rates of a longer run; tests/test_tutorials.py plays it small",
    ("docs/tutorial-verifier.md", "policy                   cream (own)"): "of the same run",
    ("docs/tutorial-verifier.md", "true positive rate"): "of the same run",
    ("docs/statistics.md", "Prediction-powered: 2000 panels"): "a simulation of an hour",
}
SUITES = {  # yaml blocks that are a suite
    ("docs/suites.md", "about: Does the ranking survive a darker room, or twice the steps?"),
    ("docs/suites.md", "about: Does the ranking survive another gravity?"),
}
STATED = {("docs/report.md", "rubric: the drawer is shut within 2 cm when the episode ends")}  # yaml blocks that are a checklist.yaml
LANGUAGES = ("", "bash", "python", "csv", "yaml", "toml", "text")
RUN_AS_THEY_STAND = ("worldsim compare --real list", *OUTPUT_OF.values())
PLACEHOLDERS = re.compile(r"\b[A-Z]{2,}\b|\.\.\.")  # as in `worldsim score RUN`
OUR_PROGRAMS = {"make", "python", "worldsim", "pip", "git", "docker", "ray", "sbatch", "torchrun"}


def made_by(page: str) -> set[str]:
    """Words that stand for what the page makes: the values of out= and run=, and names that its Python registers."""
    words = [word for command in COMMANDS if command.page == page for word in command.words]
    registered = re.findall(
        r"\.register\(\"([\w-]+)\"\)", "".join(block.text for block in BLOCKS if (block.page, block.language) == (page, "python"))
    )
    return {word.partition("=")[2] for word in words if word.startswith(("out=", "run="))} | set(registered)


def typed(wanted: Callable[[Command], bool]) -> pytest.MarkDecorator:
    """A test of every line that a reader types and that is wanted."""
    return pytest.mark.parametrize("command", [*filter(wanted, COMMANDS)], ids=lambda command: f"{command.page}: {command.text}")


def resolved(command: Command) -> None:
    """Compose the configuration of a `worldsim` line with everything in it: keys, types, choices, required keys, names of parts."""
    verb = VERBS[command.words[1]]
    values, _ = cli._compose(verb, list(cli._keyed(verb, cli_words(command))))
    cli._check(verb, values, partial=False)
    assert unknown_names(verb.name, values, made_by(command.page)) == []


def cli_words(command: Command) -> list[str]:
    words = command.words[2:]
    cli._name_peers(words)
    return words


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    assert [block for block in BLOCKS if block.language not in LANGUAGES] == []
    assert {(block.page, block.number) for block in BLOCKS if not block.text.strip()} == set()


def test_output_is_compared_or_named_with_a_reason() -> None:
    text = [(block.page, block.first) for block in BLOCKS if block.language == "text" and (block.page, block.first) not in OUTPUT_OF]
    named = [entry for page, first in text for entry in NOT_CHECKED if entry[0] == page and first.startswith(entry[1])]
    assert sorted(named) == sorted(NOT_CHECKED)
    assert len(text) == len(NOT_CHECKED)


@pytest.mark.parametrize("name", NAMES)
def test_fences_come_in_pairs_and_no_block_is_hidden_by_indentation(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    fences = re.findall(r"^ *```.*$", text, re.MULTILINE)
    assert [fence for fence in fences if fence.startswith(" ")] == []
    assert len(fences) == 2 * len(blocks_of(name))
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"\n\n( {4}.*)", outside) == []


@pytest.mark.parametrize("name", sorted({block.page for block in BLOCKS if block.language == "python"}))
def test_python_blocks_run_and_print_what_they_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "page"}
    for block in blocks_of(name):
        if block.language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(block.text, f"{name}, block {block.number}", "exec"), scope)
            assert_said(block, printed.getvalue().splitlines())


@pytest.fixture(autouse=True)
def nothing_stays_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the Python of a page registers is forgotten after its test."""
    for registry in (WORLD_MODELS, VERIFIERS):
        registry.names()
        monkeypatch.setattr(registry, "_parts", dict(registry._parts))


def assert_said(block: Block, printed: list[str]) -> None:
    """What stands behind `print(...)  # ` is what came out; more words may follow in brackets."""
    said = [line.split("  # ")[1] for line in block.text.splitlines() if line.startswith("print(") and "  # " in line]
    for words, value in zip(said, printed if said else [], strict=True):
        assert words == value or words.startswith(f"{value} (")


@typed(lambda command: command.words[0] == "worldsim")
def test_a_command_is_resolved_whole(command: Command) -> None:
    resolved(command)


@pytest.mark.parametrize(
    "line",
    [
        "evaluate policies=[begun]",
        "evaluate policies='[{name: begin, adapters: [clop]}]'",
        "evaluate policies='[{name: scripted, adapters: [{name: clip, loww: 1}]}]'",
        "evaluate verifier='{name: vote, of: [classifier, humn]}'",
        "evaluate verifier='{name: vote, of: [classifier], quorom: 1}'",
        "evaluate truth=drawr",
        "evaluate task=drawr",
        "evaluate epsodes=1",
        "evaluate world_model=drawr",
        "evaluate-video data=data/x protocol=drawr",
        "train stage=pretrain world_model=tinyy",
        "train world_model=tiny",
        "posttrain mode=dpo out=x feedback=simulater",
        "posttrain mode=dpo out=x feedback='{name: agreement, verifer: x}'",
        "train-policy algorithm=ppo env=worldsim/Drawr-v0",
        "compare runs/mine --real simpler:google_robot/close_drawr",
        "compare simplr",
        "import video-cvs recordings/x",
        "import video-csv recordings/x options='{rates: 5}'",
    ],
)
def test_a_command_with_a_mistake_is_not_resolved(line: str) -> None:
    with pytest.raises((AssertionError, WorldsimError)):
        resolved(Command("SECURITY.md", f"worldsim {line}"))


@pytest.mark.parametrize("said", sorted({said for name in NAMES for said in spoken_of(name) if not PLACEHOLDERS.search(said)}))
def test_a_command_in_a_sentence_is_understood(said: str, capsys: pytest.CaptureFixture) -> None:
    words = said.split()[1:]
    whole = "--help" in words or "--version" in words
    assert cli.main(words if whole else [*words, "--cfg", "job"]) == 0, capsys.readouterr().err


@typed(lambda command: command.words[0] != "worldsim")
def test_another_line_is_shell_and_names_what_is_there(command: Command) -> None:
    subprocess.run(["bash", "-n"], input=command.text, text=True, check=True, capture_output=True, timeout=20)
    program, *rest = itertools.dropwhile(lambda word: re.fullmatch(r"[A-Z_]+=.*", word), command.words)
    if program.endswith(".sh"):
        subprocess.run(["bash", "-n", ROOT / program], check=True, capture_output=True, timeout=20)
        return
    assert Path(program).name in OUR_PROGRAMS
    if program == "make":
        assert rest[0] in re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    if Path(program).name == "python" and rest[0] == "-m" and rest[1].startswith("worldsim"):
        assert_module_takes(rest[1], rest[2:])
    elif Path(program).name == "python" and rest[0] != "-m":
        assert (ROOT / rest[0]).is_file()


def assert_module_takes(name: str, words: list[str]) -> None:
    """A module that is run by `python -m`, and the keys it is given where it has a table of them."""
    module = importlib.import_module(name)
    assert 'if __name__ == "__main__":' in Path(module.__file__).read_text(encoding="utf-8")
    keys = {word.partition("=")[0] for word in words if re.fullmatch(r"\w+=.*", word)}
    if name.endswith(".faults"):
        module._options(words)
    elif hasattr(module, "KEYS"):
        assert keys <= module.KEYS.keys()


@pytest.mark.parametrize("command", RUN_AS_THEY_STAND)
def test_a_cheap_command_runs_and_prints_what_the_page_shows(command: str, tmp_path, monkeypatch, capsys) -> None:
    assert command in {each.text for each in COMMANDS}
    monkeypatch.chdir(tmp_path)
    assert cli.main(command.split()[1:]) == 0
    out = capsys.readouterr().out
    shown = [block.text for block in BLOCKS if OUTPUT_OF.get((block.page, block.first)) == command]
    assert [text for text in shown if _lines(text) != _lines(out)[: len(_lines(text))]] == []


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def test_a_yaml_block_is_one_that_is_read(tmp_path: Path) -> None:
    found = [block for block in BLOCKS if block.language == "yaml"]
    assert {(block.page, block.first) for block in found} == STATED | SUITES
    for block in found:
        if (block.page, block.first) in SUITES:
            (tmp_path / "suite.yaml").write_text(block.text, encoding="utf-8")
            assert len(list(cases_of(load_preset("suite", str(tmp_path / "suite.yaml"), Suite)))) == 5
            continue
        (tmp_path / "checklist.yaml").write_text(block.text, encoding="utf-8")
        assert len(read_stated(SimpleNamespace(path=tmp_path), [key for key, *_ in ITEMS])) == len(block.text.splitlines())


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "csv"], ids=lambda block: f"{block.page} {block.number}")
def test_a_table_of_real_results_is_read(block: Block, tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text(block.text, encoding="utf-8")
    assert read_real_results(tmp_path / "real.csv")


def test_a_toml_block_announces_a_module_as_a_plugin() -> None:
    found = [block for block in BLOCKS if block.language == "toml"]
    for block in found:
        (module,) = tomllib.loads(block.text)["project"]["entry-points"]["worldsim.plugins"].values()
        assert f"`judges/{module}.py`" in (ROOT / block.page).read_text(encoding="utf-8")
    assert found


def test_every_verb_is_in_a_block_of_the_readme() -> None:
    assert {command.words[1] for command in COMMANDS if command.page == "README.md" and command.words[0] == "worldsim"} == set(VERBS)
