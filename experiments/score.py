"""`worldsim score`: judge the episodes of a run again, or rebuild its results and report from the verdicts that are there."""

from typing import Any

from worldsim.data.files import digest_of
from worldsim.evaluate import Clock, judge_missing
from worldsim.experiments.evaluate import finish
from worldsim.experiments.schema import ScoreConfig
from worldsim.experiments.setting import verifier_facts
from worldsim.load import load_verifier
from worldsim.report.run_folder import WORLDS, RunFolder


def run(config: ScoreConfig) -> None:
    """Rewrite results.json and the report of `config.run`. Another judge's verdicts are kept beside those of the run's own.

    The run keeps its own judge in config.yaml: the command that began it still resumes it, and rebuilding goes back to it.
    """
    held = RunFolder(config.run).config
    facts = verifier_facts(config.verifier) if config.verifier else held["identity"]["verifier"]
    verifier = load_verifier(config.verifier, config.run) if config.verifier else None
    with RunFolder.open(config.run, held) as folder:
        if verifier is not None:
            name = _verdict_name(facts, held["identity"]["verifier"])
            judge_missing(folder, name, verifier, WORLDS, Clock())
            folder.config["identity"]["verifier"] = facts | {"name": name}
        finish(folder, report=True)


def _verdict_name(facts: dict[str, Any], own: dict[str, Any]) -> str:
    """The name that verdicts are kept under: a judge with weights or options that is not the run's own carries their digest."""
    return facts["name"] if facts == own or facts.keys() == {"name"} else f"{facts['name']}-{digest_of(facts)[:8]}"
