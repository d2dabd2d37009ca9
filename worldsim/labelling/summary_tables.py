"""A summary of labels as tables and lines for the terminal. Text from elsewhere is made printable here."""

from collections.abc import Iterator

from rich import box
from rich.markup import escape
from rich.table import Table

from worldsim.labelling.label import SCORES, WORDS
from worldsim.labelling.summary import PairAgreement, Summary
from worldsim.report.printable import printable
from worldsim.report.tables import number, span


def summary_tables(summary: Summary) -> list[Table]:
    """Who labelled how much, how far every two raters agree, and what they disagree on where all are done."""
    tables = [_counts(summary)]
    tables += [_agreement(summary)] if summary.pairs else []
    return tables + ([_disagreements(summary)] if summary.disagreements else [])


def summary_notes(summary: Summary) -> Iterator[str]:
    """What stands below the tables, line by line."""
    if summary.disagreements is None and summary.pairs:
        yield "Disagreements are listed once every rater is done with all clips of this world, count and seed."
    elif summary.disagreements == [] and summary.pairs:
        yield "There is no disagreement."
    if any(not pair.asked_alike for pair in summary.pairs):
        yield "Some raters were not asked the same question (rule, rubric or layout differ, or are not known): their agreement says less."


def _plain(text: str) -> str:
    return escape(printable(text))


def _table(title: str, first: str, *headings: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, caption_justify="left")
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    return table


def _counts(summary: Summary) -> Table:
    table = _table("Labels", "rater", *WORDS.values(), "labelled")
    for rater, counts in summary.counts.items():
        table.add_row(_plain(rater), *(str(counts[answer]) for answer in SCORES), f"{sum(counts.values())} of {summary.total}")
    return table


def _agreement(summary: Summary) -> Table:
    headings = ("both labelled", "same answer", "95% interval", "both decided", "kappa", "95% interval")
    table = _table("Agreement between raters", "raters", *headings)
    for pair in summary.pairs:
        table.add_row(_plain(f"{pair.first}, {pair.second}"), *map(escape, _cells(pair)))
    lines = ["Kappa is Cohen's, over the clips that both called a success or a failure; the same answer may also be: cannot tell."]
    if summary.alpha is not None:
        lines.append(f"Krippendorff's alpha over all raters: {number(summary.alpha)}.")
    table.caption = "\n".join(lines)
    return table


def _cells(pair: PairAgreement) -> list[str]:
    kappa = pair.kappa
    share = pair.same / pair.shared if pair.shared else None
    cells = [str(pair.shared), number(share), span(pair.same_interval), str(pair.decided)]
    return [*cells, number(kappa.value if kappa else None), span(kappa.interval if kappa else None)]


def _disagreements(summary: Summary) -> Table:
    raters = list(summary.counts)
    table = _table("Disagreements", "episode", "policy", "world", "start", *(_plain(rater) for rater in raters))
    for each in summary.disagreements or []:
        about = (each.entry.episode, each.entry.policy, each.entry.world, each.entry.start)
        table.add_row(*map(_plain, about), *(WORDS[each.answers[rater]] if rater in each.answers else "–" for rater in raters))
    return table
