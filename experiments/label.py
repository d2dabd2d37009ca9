"""`worldsim label`: people judge clips of a run on a local page; their labels are kept, compared, written to files and read from them."""

import getpass
import shlex
from pathlib import Path

from worldsim.errors import InvalidInput
from worldsim.experiments.page import announce
from worldsim.experiments.schema import LabelConfig
from worldsim.labelling.deck import Choice, chosen, deal, read_entries
from worldsim.labelling.label import check_rater
from worldsim.labelling.ledger import all_labels, opened
from worldsim.labelling.question import Question, question
from worldsim.report.printable import printable
from worldsim.report.run_folder import About, RunFolder


def run(config: LabelConfig) -> None:
    """Label, or only summarize, export or import.

    Raises:
        InvalidInput: a request that cannot be met, or a file of labels that is not right in every row.
        KeyboardInterrupt: interrupted with clips left; every label is on disk.
    """
    asked = {"summary=true": config.summary, "export=FILE": config.export, "import=FILE": config.import_}
    if len(given := [key for key, value in asked.items() if value]) > 1:
        raise InvalidInput(f"{' and '.join(given)} are separate commands; type them one after another")
    folder = RunFolder(config.run)
    if config.export:
        _export(folder, config)
    elif config.import_:
        _import(folder, config)
    elif config.summary:
        _summarize(folder, config)
    else:
        _label(folder, config)


def _export(folder: RunFolder, config: LabelConfig) -> None:
    from worldsim.labelling.transfer import export_labels

    count = export_labels(folder, config.export, config.rater)
    _say(f"{count} labels written to {config.export}")


def _import(folder: RunFolder, config: LabelConfig) -> None:
    from worldsim.labelling.transfer import import_labels

    added, known = import_labels(folder, config.import_, config.rater)
    _say(f"{added} labels read from {config.import_}; {known} were there already")


def _label(folder: RunFolder, config: LabelConfig) -> None:
    """Serve the page until the rater is done or interrupts; then print the summary."""
    from worldsim.labelling.serve import label_server
    from worldsim.labelling.sitting import Sitting

    choice, asked, rater = _choice(config), _question(folder, config), _rater(config)
    entries = _entries(folder)
    cards = deal(entries, choice, rater)
    if not cards:
        raise InvalidInput(f"{folder.path} has no {_worlds(choice)} to label; type world=both, or evaluate first")
    with opened(folder, rater) as ledger:
        sitting = Sitting(folder, cards, ledger, asked)
        _say(f"{rater}: {sitting.done} of {sitting.total} clips labelled. Saved at once, each; ctrl-C ends, the same command goes on.")
        try:
            server = label_server(sitting, config.port)
            announce(server.address, open_browser=config.open)
            server.run()
        except KeyboardInterrupt:
            if sitting.next():
                _say(f"{rater}: {sitting.done} of {sitting.total} clips labelled and saved")
                raise
    _summarize(folder, config)


def _choice(config: LabelConfig) -> Choice:
    return Choice(config.world, config.count, config.seed, config.layout, _only(config))


def _only(config: LabelConfig) -> frozenset[str] | None:
    """The ids in the file `config.episodes`, one a line.

    Raises:
        InvalidInput: it is not there, or names none or an episode that the run does not have.
    """
    if config.episodes is None:
        return None
    try:
        ids = frozenset(Path(config.episodes).read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"episodes={config.episodes} cannot be read; name a file with one episode id a line") from error
    strangers = sorted(ids - set(RunFolder(config.run).episode_ids()))
    if strangers or not ids:
        found = f"names {printable(strangers[0])[:80]}, which {config.run} does not have" if strangers else "names no episode"
        raise InvalidInput(f"episodes={config.episodes} {found}; worldsim calibrate {config.run} --against human writes such a file")
    return ids


def _worlds(choice: Choice) -> str:
    return {"imagined": "imagined episode", "truth": "true episode", "both": "episode"}[choice.world]


def _question(folder: RunFolder, config: LabelConfig) -> Question:
    return question(config.rule or str(folder.identity.get("task", {}).get("success_rule", "last_step")), config.rubric, config.layout)


def _rater(config: LabelConfig) -> str:
    try:
        return check_rater(config.rater if config.rater is not None else getpass.getuser())
    except (KeyError, OSError) as error:
        raise InvalidInput("nobody is logged in under a name; type rater=NAME") from error


def _entries(folder: RunFolder) -> list[About]:
    """All readable episodes of a run. Those that are left out are named."""
    entries, damaged = read_entries(folder)
    for episode, reason in damaged.items():
        _say(f"left out: episode {episode} ({reason})")
    if broken := sum(bool(entry.fault) for entry in entries):
        _say(f"left out: {broken} episodes that broke off, of which nobody can tell how they would have ended")
    return entries


def _summarize(folder: RunFolder, config: LabelConfig) -> None:
    """Print who labelled what, and how far raters agree."""
    from rich.console import Console

    from worldsim.labelling.summary import summarize
    from worldsim.labelling.summary_tables import summary_notes, summary_tables

    labels = all_labels(folder)
    if not labels:
        raise InvalidInput(f"nobody has labelled {folder.path} yet; type: worldsim label {folder.path}")
    summary = summarize(chosen(read_entries(folder)[0], _choice(config)), labels)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    console.print(*summary_tables(summary))
    for line in summary_notes(summary):
        _say(line)
    _say(f"to score the run by these labels: worldsim score {shlex.quote(str(folder.path))} verifier=human")


def _say(line: str) -> None:
    print(printable(line), flush=True)
