"""`worldsim score`: judge the episodes of a run again, or rebuild its results and report from the verdicts that are there."""

from typing import Any

from worldsim.data.files import digest_of
from worldsim.errors import InvalidInput
from worldsim.evaluate import Clock, judge_missing
from worldsim.experiments.evaluate import finish, restore
from worldsim.experiments.schema import ScoreConfig
from worldsim.experiments.setting import chosen_verifier, verifier_facts
from worldsim.load import load_verifier
from worldsim.report.probe import has_probe, probe_path
from worldsim.report.run_folder import WORLDS, RunFolder


def run(config: ScoreConfig) -> None:
    """Rewrite results.json and the report of `config.run`. Another judge's verdicts are kept beside those of the run's own.

    The run keeps its own judge in config.yaml: the command that began it still resumes it, and rebuilding goes back to it.
    """
    held = RunFolder(config.run).config
    if not config.verifier:
        with RunFolder.open(config.run, held) as folder:
            restore(folder)
            finish(folder, report=True)
        return
    spec = chosen_verifier(config.verifier, {})
    facts, verifier = verifier_facts(spec), load_verifier(spec, config.run)
    name = _verdict_name(facts, held)
    with RunFolder.open(config.run, held | {"judges": held.get("judges", {}) | {name: facts}}) as folder:
        restore(folder)
        judge_missing(folder, name, verifier, WORLDS, Clock())
        if has_probe(folder):
            with RunFolder.open(probe_path(folder), RunFolder(probe_path(folder)).config) as probe:
                judge_missing(probe, name, verifier, WORLDS, Clock())
        folder.config["identity"]["verifier"] = facts | {"name": name}
        finish(folder, report=True)


def _verdict_name(facts: dict[str, Any], held: dict[str, Any]) -> str:
    """The name that verdicts are kept under: the judge's, if the user chose it or no weights and options distinguish it from another.

    Else a judge that is not the run's own carries the digest of its weights and options.

    Raises:
        InvalidInput: another judge of the chosen name has judged the run.
    """
    own, name = held["identity"]["verifier"], facts["name"]
    if facts == own or facts.keys() == {"name"}:
        return name
    if "kind" not in facts:
        return f"{name}-{digest_of(facts)[:8]}"
    if held.get("judges", {}).get(name, own if name == own["name"] else facts) != facts:
        raise InvalidInput(f'another judge called "{name}" has judged this run already; give this one a name of its own: as: OTHER')
    return name
