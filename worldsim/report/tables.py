"""Results as tables for the terminal, each number beside its n and its interval. Knows only the form of results.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from worldsim.report.printable import plain

FEW = 4  # with n policies no ranking has a permutation p value below 1/n!, and 1/3! is above 0.05
LONGEST = 10  # rows of the open-loop table
MEASURES = (
    ("pearson", "Pearson r"),
    ("mmrv", "MMRV"),
    ("bias", "bias (simulated - real)"),
    ("mean_absolute_error", "mean absolute error"),
    ("phi", "phi of paired episodes, policies pooled"),
)


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table, a dash for None; never "-0.000"."""
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def span(interval: Sequence[float] | None, digits: int = 3) -> str:
    """An interval in brackets, nothing for None."""
    return "" if interval is None else f"[{number(interval[0], digits)}, {number(interval[1], digits)}]"


def counted(count: int, one: str, many: str) -> str:
    """How many there are of what: "1 policy", "2 policies"."""
    return f"{count} {one if count == 1 else many}"


def warning_of(agreement: dict[str, Any]) -> str:
    """The caution that belongs under the agreement of so few policies; empty from four on."""
    n = agreement["policies"]
    if n >= FEW:
        return ""
    return f"Only {counted(n, 'policy', 'policies')}: with fewer than {FEW} no correlation can reach significance at 0.05."


def results_table(results: dict[str, Any]) -> Table:
    """The ranking: simulated and real success rate of every policy."""
    table = Table(title="Success rates", box=box.SIMPLE_HEAD, caption=plain(_ranking_caption(results)), caption_justify="left")
    table.add_column("policy")
    for heading in ("success", f"{results['level']:.0%} interval", "scored", "unscored", "letters", "real", "interval", "n real", "phi"):
        table.add_column(heading, justify="right", no_wrap=True)
    for policy in results["policies"]:
        real = policy["real"] or {"success_rate": None, "interval": None, "scored": 0}
        table.add_row(
            plain(policy["name"]),
            number(policy["success_rate"]),
            plain(span(policy["interval"])),
            str(policy["scored"]),
            str(policy["unscored"]),
            policy["letters"] or "–",
            number(real["success_rate"]),
            plain(span(real["interval"])),
            str(real["scored"]),
            number(policy["phi"], 2),
        )
    return table


def agreement_table(results: dict[str, Any]) -> Table:
    """Agreement with the truth, r and MMRV beside what a perfect simulator would reach with the same trials."""
    table = Table(title="Agreement with the truth", box=box.SIMPLE_HEAD, caption_justify="left")
    table.add_column("measure")
    for heading in ("value", f"{results['level']:.0%} interval", "noise ceiling (5% to 95%)"):
        table.add_column(heading, justify="right", no_wrap=True)
    agreement = results["agreement"]
    if agreement is None:
        table.caption = "This run has no scored true episodes, so nothing is known of its agreement."
        return table
    for key, label in MEASURES:
        interval, ceiling = plain(span(agreement["intervals"][key])), ceiling_text(agreement, key)
        table.add_row(label, number(agreement[key]), interval, plain(ceiling))
    table.add_row("phi within policies", number(agreement["phi_within"]), "", "")
    table.add_row("Spearman", number(agreement["spearman"]), "", "")
    table.add_row("regret of the first choice", number(agreement["regret"]), "", "")
    table.caption = "\n".join(line for line in (agreement_note(agreement), warning_of(agreement)) if line)
    return table


def open_loop_table(results: dict[str, Any]) -> Table:
    """How close imagined frames stay to recorded ones when the recorded actions are replayed, beside copying the last real frame.

    A long horizon is thinned out evenly; its last step always stays.
    """
    block = results["open_loop"]
    table = Table(
        title=f"Open loop, {block['episodes']} episodes",
        box=box.SIMPLE_HEAD,
        caption=plain(_open_loop_caption(block)),
        caption_justify="left",
    )
    for heading in ("step", "PSNR (dB)", "95% interval", "copying (dB)", "95% interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    columns = [block[key] for key in ("steps", "psnr", "copy_psnr")]
    spans = [block.get(f"{key}_interval") or [None] * len(block["steps"]) for key in ("psnr", "copy_psnr")]
    rows = list(zip(*columns, *spans, strict=True))
    stride = max(1, -(-len(rows) // LONGEST))
    for step, psnr, copy, psnr_span, copy_span in rows[(len(rows) - 1) % stride :: stride]:
        table.add_row(str(step), number(psnr, 2), plain(span(psnr_span, 2)), number(copy, 2), plain(span(copy_span, 2)))
    return table


def _open_loop_caption(block: dict[str, Any]) -> str:
    """Whose actions they were, and whether the judge sees the same outcome in what was made of them."""
    lines = [f"Actions of: {block['data']}." if block.get("data") else ""]
    if agreement := block.get("success_agreement"):
        share = span([agreement["low"], agreement["high"]]) if agreement["scored"] else ""
        lines.append(
            f"{agreement['verifier']} reads the true outcome off {agreement['agree']} of {agreement['scored']} last frames {share}".strip()
            + "."
        )
    return "\n".join(line for line in lines if line)


def ceiling_text(agreement: dict[str, Any], key: str) -> str:
    """The noise ceiling of r or MMRV in words; empty for the other measures."""
    band = (agreement["noise_ceiling"] or {}).get(key)
    return f"{number(band['median'])} [{number(band['low'])}, {number(band['high'])}]" if band else ""


def agreement_note(agreement: dict[str, Any]) -> str:
    """The counts and conventions behind the agreement, in one sentence."""
    policies = counted(agreement["policies"], "policy", "policies")
    return f"{policies}; {paired_counts(agreement)}; MMRV tie rule {agreement['tie_rule']}, gap {agreement['gap']}."


def paired_counts(found: Mapping[str, int]) -> str:
    """How many episodes are paired, and how many of them end otherwise than in truth."""
    paired = counted(found["paired_episodes"], "paired episode", "paired episodes")
    return f"{paired}: {counted(found['false_successes'], 'false success', 'false successes')}, {found['missed']} missed"


def _ranking_caption(results: dict[str, Any]) -> str:
    lines = ["Policies that share a letter do not differ significantly (McNemar, Holm)."]
    unscored = sum(policy["unscored"] for policy in results["policies"])
    if unscored:
        lines.append(f"Unscored episodes: {unscored}; rates are over scored episodes only.")
    lines += [f"Among them {count}: {fault}." for fault, count in results["faults"].items()]
    if results["quarantined"]:
        lines.append(f"Damaged episodes put aside and not counted: {len(results['quarantined'])}.")
    return "\n".join(lines)
