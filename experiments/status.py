"""How far a run is, read from its files alone: episodes, verdicts and the number planned. Loads no model and judges nothing."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from worldsim.errors import DamagedFile, InvalidInput
from worldsim.experiments.schema import StatusConfig


@dataclass(frozen=True)
class Status:
    """What lies in a run folder.

    Attributes:
        planned: number of episodes that the run was begun for, None where its configuration does not say.
        episodes: finished episodes by (policy, world).
        verdicts: (scored, unscored) by verifier.
        damaged: episode files that cannot be read.
    """

    planned: int | None
    episodes: Counter[tuple[str, str]]
    verdicts: dict[str, tuple[int, int]]
    damaged: list[Path] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Every planned episode is there."""
        return self.planned is not None and self.episodes.total() >= self.planned


def run(config: StatusConfig) -> None:
    """Print the status of `config.run`."""
    _show(config.run, status_of(config.run))


def status_of(run: str | Path) -> Status:
    """The status of the run folder `run`.

    Raises:
        InvalidInput: the folder is not there or holds no run.
        DamagedFile: its configuration or a verdict cannot be read.
    """
    run = Path(run)
    planned = _planned(run / "config.yaml")
    episodes: Counter[tuple[str, str]] = Counter()
    damaged = []
    for path in sorted(run.joinpath("episodes").rglob("[!.]*.h5")):
        try:
            episodes[_labels(path)] += 1
        except (OSError, KeyError, ValueError):
            damaged.append(path)
    verdicts = {path.stem: _verdicts(path) for path in sorted(run.joinpath("verdicts").glob("*.jsonl"))}
    return Status(planned, episodes, verdicts, damaged)


def _planned(path: Path) -> int | None:
    import yaml

    if not path.exists():
        raise InvalidInput(
            f'"{path.parent}" holds no run (there is no {path.name} in it); begin one with: worldsim evaluate run={path.parent}'
        )
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DamagedFile(f"{path} is not YAML; delete it and type the command that began the run again") from error
    planned = config.get("planned") if isinstance(config, dict) else None
    return planned if isinstance(planned, int) else None


def _labels(path: Path) -> tuple[str, str]:
    """(policy, world) of one episode file, from its attributes; the frames are not read."""
    import h5py

    with h5py.File(path, "r") as file:
        metadata = json.loads(file.attrs["metadata"])
    return str(metadata.get("policy", "unnamed")), str(metadata.get("world", "unnamed"))


def _verdicts(path: Path) -> tuple[int, int]:
    """(scored, unscored) of one verdict file. A last line without its newline is still being written and does not count."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    try:
        scores = [json.loads(line)["score"] for line in lines]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise DamagedFile(f"{path} holds a line that is no verdict; delete it and type: worldsim score run={path.parents[1]}") from error
    unscored = sum(score is None for score in scores)
    return len(scores) - unscored, unscored


def _show(run: str, status: Status) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(soft_wrap=True, highlight=False)
    done = f"{status.episodes.total()} of {'an unknown number of' if status.planned is None else status.planned} episodes"
    advice = "complete" if status.complete else "type the command that began it again to go on"
    console.print(f"{run}: {done}; {advice}", markup=False)
    table = Table("policy", "world", "episodes")
    for (policy, world), count in sorted(status.episodes.items()):
        table.add_row(escape(policy), escape(world), str(count))
    if status.episodes:
        console.print(table)
    for name, (scored, unscored) in status.verdicts.items():
        console.print(f"verdicts of {name}: {scored} scored, {unscored} could not tell", markup=False)
    for path in status.damaged:
        console.print(f"damaged: {path}; delete it and type the command that began the run again", markup=False)
