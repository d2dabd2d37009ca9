"""The pages of the repository and their code blocks, read as a reader would. Knows nothing of what the commands in them do."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "experiments/**/*.md", "worldsim/**/*.md", "envs/**/*.md", "policies/**/*.md", "verifiers/**/*.md")
    for path in ROOT.glob(pattern)
)
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


class Block(NamedTuple):
    """A fenced code block: the page it stands on, its number there, the word after its fence, and what is between the fences."""

    page: str
    number: int
    language: str
    text: str

    @property
    def first(self) -> str:
        """Its first line, without the blanks around it."""
        return self.text.strip().splitlines()[0].strip()


class Command(NamedTuple):
    """One line that a reader types, its comment left out, and where it stands."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


def blocks_of(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```([^\n`]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(page, number, language.strip(), body) for number, (language, body) in enumerate(found)]


BLOCKS = [block for name in NAMES for block in blocks_of(name)]


def commands_of(block: Block) -> list[Command]:
    r"""The lines of a block of commands; a line that ends in \ goes on in the next one."""
    lines = [re.split(r"(?:^|\s+)#(?:\s|$)", line)[0].strip() for line in block.text.replace("\\\n", " ").splitlines()]
    return [Command(block.page, line) for line in lines if line and not line.startswith("#")]  # what #! and #SBATCH say is for others


COMMANDS = [command for block in BLOCKS if block.language in ("", "bash") for command in commands_of(block)]


def spoken_of(page: str) -> list[str]:
    """Every `worldsim ...` that stands in a sentence of the page, between single backquotes."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(said.split()) for said in re.findall(r"`(worldsim [^`]+)`", text)]
