"""docs/statistics.md prints what it says that it prints."""

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "statistics.md"


def test_what_stands_behind_a_line_is_what_it_prints():
    checked = 0
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, str(PAGE), "exec"), {"__name__": "page"})
        said = [line.split("  # ")[1] for line in block.splitlines() if line.startswith("print(")]
        assert len(said) == len(printed.getvalue().splitlines())
        for words, value in zip(said, printed.getvalue().splitlines(), strict=True):
            assert words == value or words.startswith(f"{value} (")
        checked += len(said)
    assert checked >= 20
