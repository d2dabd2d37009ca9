"""The worst episodes of a run as film strips beside a page: those that end otherwise in imagination than in truth. Knows no HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from worldsim.data.files import written_whole
from worldsim.report import figures
from worldsim.report.episode_index import FALSE_SUCCESS, MISSED, Line, in_turn, lines_of, replay_command
from worldsim.report.migration import read_results
from worldsim.report.outcomes import read_outcomes
from worldsim.report.run_folder import RunFolder
from worldsim.report.tables import counted

FOLDER = "strips"
SHOWN = 3  # strips of a run, at most
COLUMNS = 8  # frames of a strip, at most
RULE = (
    f"Shown of each case, up to {SHOWN}: the first false success of every policy, that with the widest gap between imagined and true rate "
    "first; then the first missed success of every policy; then the second ones."
)


@dataclass(frozen=True)
class Strip:
    """One start in both worlds: its film strip, a PNG file given relative to the page, and what plays the imagined episode again."""

    line: Line
    file: str
    command: str

    def row(self) -> dict[str, str]:
        """As JSON: policy, start, what is wrong, the episode id in each world, the file."""
        first, episodes = self.line.first, {world: outcome.episode for world, outcome in self.line.sides.items()}
        return {"policy": first.policy, "start": first.start, "kind": self.line.kind, **episodes, "strip": self.file}


@dataclass(frozen=True)
class Worst:
    """What is shown of a run: how many of its paired episodes (both ends known) end otherwise in imagination, and strips of a few."""

    paired: int
    differing: int
    strips: Sequence[Strip]

    def __str__(self) -> str:
        if not self.paired:
            return "No episode has both an imagined and a true verdict."
        of = counted(self.paired, "paired episode", "paired episodes")
        if not self.differing:
            return f"No episode differs: imagination and truth end alike in {of}."
        shown = f", {len(self.strips)} shown" if len(self.strips) < self.differing else ""
        return f"Imagination and truth end differently in {self.differing} of {of}{shown}."


def worst_lines(lines: Mapping[str, Sequence[Line]]) -> list[Line]:
    """The episodes to show, by `RULE`; `lines` are those of every policy, widest gap first."""
    columns = [[line for line in each if line.kind == kind] for kind in (FALSE_SUCCESS, MISSED) for each in lines.values()]
    return list(islice(in_turn(columns), SHOWN))


def write_worst(path: Path, page: Path, name: str) -> Worst:
    """Write the film strips of the run at `path` to strips/NAME-1.png and so on in the folder `page`, truth above imagination.

    Raises:
        UnknownName: the run has no results yet.
        DamagedFile: its results, verdicts or an episode that is shown cannot be read.
    """
    run = RunFolder(path)
    outcomes = read_outcomes(run)
    lines = {policy: lines_of(outcomes, policy) for policy in by_gap(read_results(path)["policies"])}
    paired = [line for each in lines.values() for line in each if line.scored]
    strips = [_strip(run, line, page, f"{FOLDER}/{name}-{place}.png") for place, line in enumerate(worst_lines(lines), start=1)]
    return Worst(len(paired), sum(bool(line.kind) for line in paired), strips)


def by_gap(policies: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the policies of results.json that have both rates, widest gap between them first; equal ones by rank."""
    both = [each for each in policies if each["scored"] and each["real"] and each["real"]["scored"]]
    return [each["name"] for each in sorted(both, key=lambda each: -round(abs(each["success_rate"] - each["real"]["success_rate"]), 9))]


def _strip(run: RunFolder, line: Line, page: Path, file: str) -> Strip:
    frames = [run.episode(outcome.episode).frames for outcome in line.sides.values()]
    image = figures.film_strip(frames, list(line.sides), figures.stride(frames, COLUMNS))
    with written_whole(page / file) as aside:
        aside.write_bytes(figures.png_of(image))
    return Strip(line, file, replay_command(run.path, line.first.episode))
