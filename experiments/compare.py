"""`worldsim compare`: simulated success rates of a run (or of a published simulator) beside real ones, and how far they agree."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim import statistics
from worldsim.data.files import write_json
from worldsim.data.real_results import RealResults, read_real_results
from worldsim.data.references import Reference, load_reference, reference_names
from worldsim.errors import InvalidInput, UnknownName
from worldsim.experiments.schema import CompareConfig
from worldsim.registry import did_you_mean
from worldsim.report.comparison import build_comparison
from worldsim.report.comparison_tables import comparison_tables
from worldsim.report.migration import read_results
from worldsim.report.pairing import imagined_outcomes, paired_agreement
from worldsim.report.run_folder import RunFolder
from worldsim.report.sides import Side, imagined_side, published_side, robot_side, true_side

LIST = "list"
PAIRED = ("phi", "paired_episodes", "false_successes", "missed")


def run(config: CompareConfig) -> None:
    """Print both sides, their agreement and its warnings; write the numbers to `config.out` where it is given.

    Raises:
        UnknownName: no such run, reference, file or policy.
        InvalidInput: nothing to compare with, or a file of real results that cannot be read.
    """
    if config.real == LIST:
        _print_references()
        return
    if config.run is None:
        raise InvalidInput(
            "compare needs a run folder or a reference; type worldsim compare RUN (worldsim compare --real list lists references)"
        )
    if config.out and Path(config.out).is_dir():
        raise InvalidInput(
            f"out={config.out} is a folder; name the file that the numbers go to, as out={Path(config.out) / 'comparison.json'}"
        )
    names = _names(config.names)
    simulated = _simulated(config)
    real = _real(config.real) if config.real else _Real(simulated.own)
    if not real.side.rates:
        raise InvalidInput(
            f"{config.run} has no true episodes; type --real FILE.csv or --real NAME (worldsim compare --real list lists names)"
        )
    comparison = build_comparison(simulated.side, real.side, names)
    if simulated.folder:
        _pair(comparison, simulated, real)
    if real.reference:
        comparison["published"] = _published(real.reference, [row["real_name"] for row in comparison["policies"]])
    if config.out:
        write_json(config.out, comparison)
    _print(comparison, config.out)


def _names(given: Any) -> dict[str, str]:
    """Simulated to real names, from the command line."""
    if given is not None and (
        not isinstance(given, dict) or any(value is None or isinstance(value, dict | list) for value in given.values())
    ):
        raise InvalidInput(f"names is {given}, expected simulated names to real ones; type names='{{mine: rt-1-converged}}'")
    return {str(name): str(twin) for name, twin in (given or {}).items()}


@dataclass(frozen=True)
class _Simulated:
    """The simulated side, the real side that comes with it, and the run that both are from, if they are."""

    side: Side
    own: Side
    folder: RunFolder | None = None
    results: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Real:
    """The real side, and the reference or the file of trials that it comes from, if it does."""

    side: Side
    reference: Reference | None = None
    trials: RealResults | None = None


def _simulated(config: CompareConfig) -> _Simulated:
    """The simulated side that was asked for."""
    if config.run in reference_names() or (":" in config.run and not Path(config.run).exists()):
        reference = load_reference(config.run)
        setting = config.setting or next(iter(reference.simulated))
        if setting not in reference.simulated:
            raise UnknownName(f'{reference.name} has no setting "{setting}"; {did_you_mean(setting, reference.simulated)}')
        return _Simulated(published_side(reference, setting), published_side(reference, None))
    if config.setting:
        raise InvalidInput(f"setting={config.setting} chooses a simulator of a reference, and {config.run} is a run; leave it out")
    folder = RunFolder(config.run)
    results = read_results(folder.path)
    return _Simulated(imagined_side(config.run, results), true_side(config.run, results), folder, results)


def _real(real: str) -> _Real:
    """The real side that was asked for."""
    if real in reference_names():
        reference = load_reference(real)
        return _Real(published_side(reference, None), reference=reference)
    if Path(real).is_file() or real.lower().endswith(".csv"):
        trials = read_real_results(real)
        return _Real(robot_side(real, trials), trials=trials)
    raise UnknownName(f'"{real}" is neither a file of real results nor a reference; {did_you_mean(real, reference_names())}')


def _pair(comparison: dict[str, Any], simulated: _Simulated, real: _Real) -> None:
    """Add how episodes from the same start end on both sides, or a line that says why that is not known."""
    if real.side is simulated.own:
        own = simulated.results["agreement"]
        comparison["agreement"]["paired"] = {key: own[key] for key in PAIRED}
        return
    comparison["notes"].append(f"nothing checks that the run's task is that of {real.side.source}")
    if not (real.trials and real.trials.starts):
        comparison["notes"].append("real trials are not paired with imagined episodes; a file with a column start pairs them")
        return
    imagined, damaged = imagined_outcomes(simulated.folder, simulated.results["verifier"]["name"])
    names = [(row["name"], row["real_name"]) for row in comparison["policies"]]
    paired = paired_agreement(imagined, real.trials.starts, names)
    comparison["agreement"]["paired"] = paired
    trials = sum(row["real"]["scored"] for row in comparison["policies"])
    if paired["paired_episodes"] < trials:
        comparison["warnings"].append(
            f"Of {trials} real trials {paired['paired_episodes']} have a scored imagined episode from their start."
        )
    if damaged:
        comparison["warnings"].append(f"Damaged episodes, in no pair: {', '.join(damaged)}.")


def _published(reference: Reference, policies: list[str]) -> dict[str, Any]:
    """Agreement of each published simulator over these policies; empty below two."""
    chosen = [reference.policies.index(policy) for policy in policies]
    if len(chosen) < 2:
        return {}
    found = {}
    for setting, measured in reference.simulated.items():
        sides = {"simulated": [measured.rates[i] for i in chosen], "real": [reference.real.rates[i] for i in chosen]}
        found[setting] = {"pearson": statistics.pearson(**sides), "mmrv": statistics.mmrv(**sides)}
    return found


def _console() -> Any:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    return console


def _print(comparison: dict[str, Any], out: str | None) -> None:
    console = _console()
    console.print(*comparison_tables(comparison))
    for heading in ("warnings", "notes"):
        if comparison[heading]:
            console.print(heading.capitalize())
            for line in comparison[heading]:
                console.print(f"  - {line}", markup=False, soft_wrap=True)
    if out:
        console.print(f"numbers: {out}", markup=False, soft_wrap=True)


def _print_references() -> None:
    console = _console()
    for name in reference_names():
        reference = load_reference(name)
        console.print(f"{name:55}{', '.join(reference.simulated)}; {reference.recipe}", markup=False, soft_wrap=True)
