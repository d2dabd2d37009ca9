"""docs/reference.md is what the code says now, whole, and its links lead somewhere."""

import re
from dataclasses import dataclass, field, fields

import pytest
from pages import ROOT

from worldsim.data.recording import RECORDING_FORMATS
from worldsim.experiments import help as help_pages
from worldsim.experiments import reference, reference_parts
from worldsim.experiments.reference_words import anchor, cell
from worldsim.experiments.schema import VERBS
from worldsim.posttraining.feedback import FEEDBACK
from worldsim.registry import ADAPTERS, POLICIES, TASKS, TRUTHS, VERIFIERS

PAGE = ROOT / "docs" / "reference.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    return re.split(r"\n##+ ", page.split(f"\n### {title}\n", 1)[1])[0]


def test_the_page_is_what_the_code_says(page):
    assert page == reference.page(), "type: python -m worldsim.experiments.reference docs/reference.md"


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
def test_every_key_of_a_verb_is_there(page, verb):
    shared = "".join(section(page, title) for config, title in reference.SHARED.items() if issubclass(verb.config, config))
    written = section(page, f"worldsim {verb.name}") + shared
    for each in fields(verb.config):
        (row,) = re.findall(rf"^\| `{each.name.rstrip('_')}` \|.*$", written, re.MULTILINE)
        assert cell(each.metadata["meaning"]) in row
        assert all(choice in row for choice in each.metadata["choices"])


def test_every_part_is_there_and_every_option_is_explained(page):
    for registry in (POLICIES, ADAPTERS, VERIFIERS, TASKS, TRUTHS, FEEDBACK, RECORDING_FORMATS):
        for name in registry.names():
            if registry.part(name).__module__.startswith("worldsim."):
                assert f"\n**`{name}`** " in page
    assert re.findall(r"^\|.*\|\s*\|$", page, re.MULTILINE) == []


def test_links_lead_to_headings(page):
    headings = {anchor(title) for title in re.findall(r"^#+ (.*)$", page, re.MULTILINE)}
    links = set(re.findall(r"\]\(#([^)]*)\)", page))
    assert len(links) > len(VERBS)
    assert links <= headings


def test_a_table_cell_keeps_its_bars_and_brackets():
    assert cell("a|b <c>\n *d* `<e>`") == r"a\|b \<c> \*d\* `<e>`"
    assert anchor("worldsim train-policy") == "worldsim-train-policy"


@dataclass
class Base:
    """What they share.

    Attributes:
        kept: as it was.
        told: of the base; None asks.
    """

    kept: int = 1
    told: str | None = None


@dataclass
class Part(Base):
    """A part, None of them special.

    Attributes:
        wide, high: in pixels,
            both of them.

    Raises:
        Nothing: at all.
    """

    told: str | None = "so"
    wide: int = 2
    high: list[int] = field(default_factory=lambda: [1, 2])


def test_options_are_read_off_dataclasses_and_docstrings():
    assert reference_parts._summary(Part) == "A part, null of them special."
    assert reference_parts._meanings(Part) == {
        "kept": "as it was.",
        "told": "of the base; null asks.",
        "wide": "in pixels, both of them.",
        "high": "in pixels, both of them.",
    }
    assert [each.name for each in reference_parts._own(Part, [Base])] == ["told", "wide", "high"]
    rows = "\n".join(reference_parts._options(Part, fields(Part)))
    assert "| `told` | str \\| null | `so` | of the base; null asks. |" in rows
    assert "| `high` | list[int] | `[1,2]` | in pixels, both of them. |" in rows


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (0.5, "0.5"),
        ("", '""'),
        ("a b", "a b"),
        ("a\nb", r'"a\nb"'),
        (["x", "y"], "[x,y]"),
        ((1, None), "[1,null]"),
    ],
)
def test_a_default_is_written_as_it_is_typed(value, words):
    assert help_pages.written(value) == words


def test_it_is_printed_or_written(tmp_path, capsys):
    reference.main([])
    reference.main([str(tmp_path / "page.md")])
    assert capsys.readouterr().out == (tmp_path / "page.md").read_text(encoding="utf-8")
