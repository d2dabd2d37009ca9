"""The recipes of `worldsim reproduce`, with commands that take no time: each step asks for what is there, and none is done twice."""

from pathlib import Path

import pytest

from worldsim.experiments import collect, reproduce, reproduce_table, train, train_policy, train_verifier
from worldsim.experiments.cli import _check
from worldsim.experiments.presets import load_preset
from worldsim.experiments.reproduce_table import TASKS, panel
from worldsim.experiments.schema import VERBS, ReproduceConfig
from worldsim.experiments.suites import Suite

WORLDS = ("drawer", "table", "fetch")


def made(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").touch()


class Commands:
    """`collect`, `train`, `train-policy` and `train-verifier`: they check what they are given, note it and write empty results."""

    def __init__(self, monkeypatch):
        self.asked = []
        self.seeds = set()
        commands = {"collect": collect, "train": train, "train-policy": train_policy, "train-verifier": train_verifier}
        for verb, module in commands.items():
            monkeypatch.setattr(module, "run", lambda config, verb=verb: self.run(verb, config))

    def run(self, verb: str, config) -> None:
        _check(VERBS[verb], vars(config), partial=False)
        self.asked.append(verb)
        getattr(self, verb.replace("-", "_"))(config)

    def collect(self, config) -> None:
        for policy in config.policies:
            assert not isinstance(policy, str) or policy == "random" or Path(policy, "config.json").exists(), policy
        seeds = {(config.out, config.split, config.seed + index) for index in range(config.episodes)}
        assert not seeds & self.seeds  # a file that is there is kept, so a seed asked for twice would be an episode too few
        self.seeds |= seeds
        Path(config.out).mkdir(parents=True, exist_ok=True)

    def train(self, config) -> None:
        assert Path(config.data).exists()
        assert config.autoencoder is None or Path(config.autoencoder, "config.json").exists()
        made(Path(config.out, config.stage))

    def train_policy(self, config) -> None:
        assert Path(config.data).exists()
        assert all(grade < config.steps for grade in config.save_at)
        for name in (config.name, *(f"{config.name}-{grade}" for grade in config.save_at)):
            made(Path(config.out, name))

    def train_verifier(self, config) -> None:
        assert Path(config.data).exists()
        assert config.world_model is None or Path(config.world_model, "config.json").exists()
        made(Path(config.out))


def needed(world: str, out: Path) -> list[Path]:
    """The folders that `suite=fetch` opens, or that `install=true` copies."""
    if world == "fetch":
        cases = load_preset("suite", "fetch", Suite).cases
        named = [name for case in cases.values() for name in (case["world_model"], case["verifier"], *case["policies"])]
        return [out / Path(name).relative_to("build/fetch") for name in named]
    if world == "table":
        named = [f"policies/{task}-{source}" for task in TASKS for source in panel(task).values()]
        return [out / name for name in (*named, *(f"judges/table-{task}" for task in TASKS), "world_model/self-context")]
    named = [f"policies/panel-{steps}" if steps < 2000 else "policies/panel" for steps in reproduce.PANEL.values()]
    return [out / name for name in (*named, "classifier", "world_model/self-context")]


@pytest.mark.parametrize("world", WORLDS)
def test_a_recipe_makes_what_is_asked_of_it_once(world, tmp_path, monkeypatch):
    written = []
    for module in (reproduce, reproduce_table):
        monkeypatch.setattr(module, "starts", lambda path, *_: written.append(path.name))
    commands = Commands(monkeypatch)
    config = ReproduceConfig(world=world, out=str(tmp_path))
    reproduce.run(config)
    assert [folder for folder in needed(world, tmp_path) if not (folder / "config.json").exists()] == []
    assert len(written) == {"drawer": 2, "table": len(TASKS), "fetch": 0}[world]

    collections = commands.asked.count("collect")
    commands.asked, commands.seeds = [], set()
    reproduce.run(config)  # what was recorded is asked for again, and `collect` keeps the files that are there
    assert commands.asked == ["collect"] * collections != []
