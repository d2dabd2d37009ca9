"""Text that somebody else wrote, made safe to show and to quote. Knows no prompt and no server."""

import json
import unicodedata

SHOWN = 160  # characters of an answer that are kept
LONGEST_TASK = 400  # characters of an instruction that are shown to a model
LEFT_OUT = "..."


def shown(text: str, secret: str | None = None, most: int = SHOWN) -> str:
    """`text` on one line, without control and invisible characters (Unicode's classes C, Zl and Zp) and the secret, cut to `most`."""
    open_text = text.replace(secret, "[key]") if secret else text
    plain = "".join(" " if unicodedata.category(letter) in UNSEEN else letter for letter in open_text[: 20 * most])
    line = " ".join(plain.split())
    line = line.replace(secret, "[key]") if secret else line
    return line if len(line) <= most else line[: most - len(LEFT_OUT)] + LEFT_OUT


UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def quoted(text: str, most: int = LONGEST_TASK) -> str:
    """Somebody's instruction as one JSON string on one line: whatever is in it cannot end the quotation."""
    return json.dumps(shown(text, most=most), ensure_ascii=False)
