"""What the tests of `worldsim compare` share: run folders made by hand, files of real results, and the command with its numbers."""

import json
from pathlib import Path

import jsonschema
import numpy as np

from worldsim.experiments import cli
from worldsim.report.recipe import Recipe
from worldsim.report.results import write_results
from worldsim.report.run_folder import RunFolder
from worldsim.report.sides import Rate, Side
from worldsim.types import Trajectory, Verdict

CLOSE = "simpler:google_robot/close_drawer"
OUTCOMES = {  # successes of eight starts, imagined and true; "?" is an episode that nobody could judge
    "good": ("11111110", "11111100"),
    "fair": ("11110000", "11100001"),
    "poor": ("1000000?", "10000000"),
    "bad": ("00000000", "01000000"),
}


def config_of(task: str, **facts: object) -> dict:
    return {
        "identity": {
            "world_model": {"name": "toy", "sha256": "ab" * 32, "parameters": 12, "leak": None},
            "verifier": {"name": "classifier"},
            "task": {"id": task, "instruction": f"{task} the block", **facts},
            "sampler": {"steps": 4, "guidance": 1.0, "history": "window", "precision": "fp32"},
            "seed": 0,
        },
        "command": "worldsim evaluate world_model=toy",
        "policies": {},
    }


def make_run(path: Path, outcomes=OUTCOMES, *, truth: bool = True, task: str = "push", **facts: object) -> Path:
    """A run folder with these outcomes, whose judge agrees with the truth wherever there is one."""
    with RunFolder.open(path, config_of(task, **facts)) as run:
        for policy, strings in outcomes.items():
            for world, string in zip(("imagined", "truth"), strings if truth else strings[:1], strict=False):
                verdicts = {}
                for start, digit in enumerate(string):
                    metadata = {"policy": policy, "world": world, "instruction": "push", "fps": 4}
                    frames, actions = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((1, 2), np.float32)
                    episode = f"{policy}-{world}-{start}"
                    run.add_episode(episode, Trajectory(task, frames, actions, seed=start, start_id=f"s{start}", metadata=metadata))
                    verdicts[episode] = Verdict(None if digit == "?" else float(digit), "by hand")
                for judge in ("classifier",) if world == "imagined" else ("classifier", "state"):
                    run.add_verdicts(judge, verdicts)
        write_results(run)
    return path


def several(tmp_path: Path, capsys, *words: object) -> tuple[dict, str]:
    """Compare on the command line: what it wrote, which fits its own schema, and what it printed."""
    out = tmp_path / "out.json"
    assert cli.main(["compare", *map(str, words), f"out={out}"]) == 0, capsys.readouterr().err
    document = json.loads(out.read_text())
    jsonschema.validate(document, json.loads((tmp_path / "out.schema.json").read_text()))
    return document, capsys.readouterr().out


def refusal(capsys, *words: object) -> str:
    """The one line with which the command refuses these words."""
    assert cli.main(["compare", *map(str, words)]) in (1, 2)
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    return err


def csv_of(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def trials_csv(path: Path, *, starts: bool) -> Path:
    """The true outcomes of the run as a file of real trials."""
    rows = [f"{policy},{digit}" + f",s{start}" * starts for policy, (_, true) in OUTCOMES.items() for start, digit in enumerate(true)]
    return csv_of(path, "\n".join(["policy,success" + ",start" * starts, *rows]))


def counts_csv(path: Path, rename=None) -> Path:
    rows = [f"{(rename or {}).get(policy, policy)},8,{true.count('1')}" for policy, (_, true) in OUTCOMES.items()]
    return csv_of(path, "\n".join(["policy,episodes,successes", *rows]))


def side(rates: dict[str, float | None], trials: int = 20, recipe: Recipe | None = None, **facts) -> Side:
    """A side by hand, whose rates are counts of so many trials."""
    found = {name: Rate(rate, None if rate is None else round(rate * trials), trials) for name, rate in rates.items()}
    return Side("by hand", found, recipe or Recipe("one"), **facts)
