"""`worldsim doctor`: what this machine has for worldsim, what it lacks and what to type. Measures no speed and changes nothing."""

import getpass
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import worldsim
from worldsim.data.files import write_json
from worldsim.errors import WorldsimError
from worldsim.experiments import installed, machinery
from worldsim.experiments.findings import Finding
from worldsim.experiments.schema import DoctorConfig

MARKS = {"good": "[green]ok[/]", "optional": "[dim]optional[/]", "note": "[yellow]note[/]", "bad": "[red]missing[/]"}


def run(config: DoctorConfig) -> None:
    """Print the table and, if asked, write it to `config.out`, without names of people and machines.

    Raises:
        WorldsimError: something that the demo or every command needs is missing.
    """
    findings = list(examine())
    _show(findings)
    if config.out:
        write_json(config.out, report(findings))
        print(f"written without names of people and machines: {config.out}")
    bad = [finding.what for finding in findings if finding.state == "bad"]
    if bad:
        raise WorldsimError(f"missing: {', '.join(bad)}; the last column says what to type")
    print(summary(findings))


def summary(findings: Sequence[Finding]) -> str:
    """The last line, where nothing is missing: what to look at, and what could be added."""

    def named(state: str) -> str:
        return ", ".join(finding.what for finding in findings if finding.state == state)

    notes = f" Look at: {named('note')}." if named("note") else ""
    absent = f" Absent, for some uses only: {named('optional')}." if named("optional") else ""
    return f"Everything that the demo needs is here.{notes}{absent}"


def examine() -> Iterator[Finding]:
    """All findings; those that need torch only where it is installed."""
    base = list(installed.base_packages())
    yield from installed.python()
    yield from base
    yield from installed.extras()
    if all(finding.state != "bad" for finding in base):
        yield from machinery.graphics()
        yield from machinery.codecs()
        yield from machinery.opengl()
    for check in (machinery.bfloat16, machinery.threads, machinery.memory, machinery.disk, installed.weights, machinery.browser):
        yield from check()


def report(findings: Sequence[Finding]) -> dict:
    """What goes into a bug report, as JSON."""
    rows = [{key: private(value) for key, value in asdict(finding).items()} for finding in findings]
    return {"worldsim": worldsim.__version__, "system": private(platform.platform(terse=True)), "findings": rows}


def private(text: str) -> str:
    """The text with paths shortened and without the names of the user and the machine."""
    folders = {Path(worldsim.__file__).parent: "<worldsim>", Path.cwd(): ".", Path.home(): "~"}
    for folder, short in folders.items():
        if folder != Path(folder.anchor):
            text = text.replace(str(folder), short)
    for name, short in ((_user(), "<user>"), (platform.node(), "<host>")):
        text = re.sub(rf"\b{re.escape(name)}\b", short, text) if name else text
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # one without a name
        return ""


def _show(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    columns = [Column(name, overflow="fold") for name in ("", "what", "found", "what to type")]
    table = Table(*columns, title=f"worldsim {worldsim.__version__} on {platform.platform(terse=True)}")
    for finding in findings:
        table.add_row(MARKS[finding.state], escape(finding.what), escape(finding.found), escape(finding.fix))
    console = Console()
    if not console.is_terminal:
        console.width = 140
    console.print(table)
