"""Which sides the words of `worldsim compare` mean: runs, published tables and files of real results, joined by task. Compares nothing."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from worldsim.data.real_results import read_real_results
from worldsim.data.references import Reference, family_names, load_reference, reference_names
from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean
from worldsim.report.migration import read_results
from worldsim.report.pairing import RunTrials, read_trials
from worldsim.report.recipe import same_task
from worldsim.report.run_folder import RunFolder
from worldsim.report.sides import Side, imagined_side, published_side, robot_side, true_side

LIST = "list"


@dataclass(frozen=True)
class Simulated:
    """A simulated side, the real one that comes with it, and the run or the reference that both are from."""

    side: Side
    own: Side
    reference: Reference | None = None
    setting: str | None = None
    folder: RunFolder | None = None
    trials: RunTrials | None = None

    @property
    def kind(self) -> str:
        """What the rates are: a task of its own, a part of one, an average, a partial success."""
        return self.reference.kind if self.reference else "task"


@dataclass(frozen=True)
class Real:
    """A real side, and the reference or the folder of the file that it is from."""

    side: Side
    reference: Reference | None = None
    folder: Path | None = None


def simulated_sides(words: Sequence[str], setting: str | None) -> list[Simulated]:
    """The simulated side of every run, reference, and table of a family, in order.

    Raises:
        UnknownName: no such run, reference or setting.
        InvalidInput: a setting for a run.
        DamagedFile: results that cannot be read.
    """
    found = []
    for word in words:
        if word in reference_names():
            found.append(_published(load_reference(word), setting))
        elif not Path(word).exists() and family_names(word):
            found += _family(word, setting)
        elif ":" in word and not Path(word).exists():
            load_reference(word)  # refuses it
        elif setting:
            raise InvalidInput(f"setting={setting} chooses a simulator of a reference, and {word} is a run; leave it out")
        else:
            found.append(_of_run(word))
    return found


def _published(reference: Reference, setting: str | None) -> Simulated:
    setting = setting or next(iter(reference.simulated))
    if setting not in reference.simulated:
        raise UnknownName(f'{reference.name} has no setting "{setting}"; {did_you_mean(setting, reference.simulated)}')
    return Simulated(published_side(reference, setting), published_side(reference, None), reference, setting)


def _family(word: str, setting: str | None) -> list[Simulated]:
    """All tables of a family, in every setting they have or in the one that was asked for."""
    tables = [load_reference(name) for name in family_names(word)]
    known = dict.fromkeys(each for table in tables for each in table.simulated)
    if setting and setting not in known:
        raise UnknownName(f'no table of {word} has a setting "{setting}"; {did_you_mean(setting, known)}')
    return [_published(table, each) for each in ([setting] if setting else known) for table in tables if each in table.simulated]


def _of_run(path: str) -> Simulated:
    folder = RunFolder(path)
    results = read_results(folder.path)
    trials = read_trials(folder, results["verifier"]["name"])
    sides = (
        make(path, results, trials.rate_hz, trials.outcomes[world]) for make, world in ((imagined_side, "imagined"), (true_side, "truth"))
    )
    return Simulated(*sides, folder=folder, trials=trials)


def real_sides(real: str) -> list[Real]:
    """The real sides that a file, a reference or a family gives, one per task.

    Raises:
        UnknownName: no such file or reference.
        InvalidInput: a file that cannot be read.
    """
    if real in reference_names():
        return [Real(published_side(load_reference(real), None), load_reference(real))]
    if Path(real).is_file() or real.lower().endswith(".csv"):
        return [Real(robot_side(real, each), folder=Path(real).parent) for each in read_real_results(real)]
    if family_names(real):
        return [Real(published_side(load_reference(name), None), load_reference(name)) for name in family_names(real)]
    raise UnknownName(f'"{real}" is neither a file of real results nor a reference; {did_you_mean(real, reference_names())}')


def joined(simulated: Sequence[Simulated], real: str | None, tasks: Mapping[str, str]) -> tuple[list[tuple[Simulated, Real]], list[str]]:
    """Every simulated side with the real one of its task, and notes on real tasks that nobody simulated.

    Args:
        simulated: as `simulated_sides` gives them.
        real: file, reference or family; None takes what comes with each simulated side.
        tasks: what simulated tasks are called on the real side, where they are called otherwise.

    Raises:
        UnknownName, InvalidInput: a task without a twin, or with several.
    """
    _check_tasks(tasks, [each.side.recipe.task for each in simulated])
    if real is None:
        if tasks:
            raise InvalidInput("tasks joins simulated tasks to those of --real, which is not given; leave it out")
        return [(each, _own(each)) for each in simulated], []
    candidates = real_sides(real)
    twins = [_twin(each, candidates, tasks, several=len(simulated) > 1) for each in simulated]
    left = [each.side.recipe.task for each in candidates if not any(each is twin for twin in twins)]
    notes = [f"tasks of {real} without a simulated side, left out: {', '.join(map(str, left))}"] if left else []
    return [(each, _renamed(twin, each.side.recipe.task, tasks)) for each, twin in zip(simulated, twins, strict=True)], notes


def _renamed(real: Real, task: str | None, tasks: Mapping[str, str]) -> Real:
    """The real side under its simulated twin's name, where the user said that they are one task."""
    if task is None or _wanted(task, tasks) is None:
        return real
    note = f"task {real.side.recipe.task} of {real.side.source} was given as the twin of {task}"
    return replace(real, side=replace(real.side, recipe=replace(real.side.recipe, task=task), notes=(*real.side.notes, note)))


def _wanted(task: str, tasks: Mapping[str, str]) -> str | None:
    return next((twin for name, twin in tasks.items() if same_task(name, task)), None)


def _own(simulated: Simulated) -> Real:
    if not simulated.own.rates:
        raise InvalidInput(
            f"{simulated.side.source} has no true episodes; type --real FILE.csv or --real NAME (worldsim compare --real list lists names)"
        )
    return Real(simulated.own, simulated.reference)


def _check_tasks(tasks: Mapping[str, str], known: Collection[str | None]) -> None:
    for task in tasks:
        if not any(name and same_task(task, name) for name in known):
            raise UnknownName(f'tasks: no simulated task is called "{task}"; {did_you_mean(task, [name for name in known if name])}')


def _twin(simulated: Simulated, candidates: Sequence[Real], tasks: Mapping[str, str], *, several: bool) -> Real:
    """The real side of a simulated one's task."""
    task, source = simulated.side.recipe.task or "", candidates[0].side.source
    names = [each.side.recipe.task for each in candidates if each.side.recipe.task]
    wanted = _wanted(task, tasks)
    if wanted is not None:
        twin = next((each for each in candidates if each.side.recipe.task and same_task(each.side.recipe.task, wanted)), None)
        if twin is None:
            raise UnknownName(f'tasks: {source} has no task "{wanted}"; {did_you_mean(wanted, names) if names else "it names no task"}')
        return twin
    if len(candidates) == 1:
        if several and not names:
            raise InvalidInput(f"{source} names no task, and several are compared; give it a column task, or compare one at a time")
        return candidates[0]
    found = [each for each in candidates if same_task(each.side.recipe.task or "", task)]
    if len(found) != 1:
        which = "several of these" if found else "none of these"
        raise InvalidInput(
            f"{simulated.side.source} is of task {task or '?'}, and {which}: {', '.join(names)} ({source}); "
            f"say which, as tasks='{{{task or 'mine'}: {names[0]}}}'"
        )
    return found[0]
