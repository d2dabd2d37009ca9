"""The tutorials of ranking and of judges, typed one after the other as a reader would, with tiny settings in place of theirs."""

import json
import os
import shutil
from pathlib import Path

import pytest
from pages import Command, blocks_of, commands_of

from worldsim.experiments import cli
from worldsim.load import shipped_folder
from worldsim.registry import VERIFIERS

pytestmark = pytest.mark.slow
TINY = {
    "collect": ["episodes=2", "workers=1"],
    "train-policy": ["steps=4", "save_at=[2]"],
    "evaluate": ["episodes=2", "workers=1", "report=false"],
}


def commands(page: str) -> list[Command]:
    """The `worldsim` lines of a page, but those of a policy that is served by another process, which tests/test_serve_policy.py plays."""
    lines = [command for block in blocks_of(page) if block.language == "" for command in commands_of(block)]
    return [line for line in lines if line.words[0] == "worldsim" and "port" not in line.text]


def typed(command: Command) -> int:
    """Run a line with the tiny settings of its verb; the exit code."""
    _, verb, *words = command.words
    instead = {word.partition("=")[0]: word for word in TINY.get(verb, ())}
    kept = [word for word in words if word.partition("=")[0] not in instead]
    return cli.main([verb, *(word.replace("probe=20", "probe=2") for word in kept), *instead.values()])


def register_judge(page: str) -> None:
    """Run the page's first Python block under the name of an installed module."""
    block = next(block for block in blocks_of(page) if block.language == "python")
    exec(compile(block.text, page, "exec"), {"__name__": "my_judges"})


def test_ranking_and_judging_as_the_pages_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    VERIFIERS.names()
    monkeypatch.setattr(VERIFIERS, "_parts", dict(VERIFIERS._parts))
    rank, judge = commands("docs/tutorial-rank.md"), commands("docs/tutorial-verifier.md")
    for command in rank:
        if command.words[1] == "compare":
            csv = next(block for block in blocks_of(command.page) if block.language == "csv")
            Path("real.csv").write_text(csv.text, encoding="utf-8")
        assert typed(command) == 0, (command.text, capsys.readouterr().err)
        if command.words[1] == "train-policy":  # four steps teach nothing, and a run without a success cannot be calibrated
            assert {"mine", "mine-2"} < set(os.listdir("checkpoints/policies"))
            shutil.copytree(shipped_folder("policies", "converged"), "checkpoints/policies/mine", dirs_exist_ok=True)
            shutil.move("checkpoints/policies/mine-2", "checkpoints/policies/mine-200")
    register_judge("docs/tutorial-verifier.md")
    for command in judge:
        assert typed(command) == 0, (command.text, capsys.readouterr().err)
    results = json.loads(Path("runs/rank/results.json").read_text())
    rates = {policy["name"]: policy for policy in results["policies"]}
    assert set(rates) == {"begin", "mine-200", "mine"}
    assert results["verifier"]["name"] == "cream"
    assert (rates["mine"]["successes"], rates["begin"]["successes"]) == (2, 0)
    assert Path("runs/rank/calibration/cream.json").is_file()
