"""`python -m worldsim.experiments.faults`: kill, race, damage and starve real evaluations, and count what was lost. Nothing is simulated.

Every evaluation is a process of its own, forked from one that has loaded torch but computed nothing, and plays shipped policies in
the shipped world with determinism=strict. "Equal" means: results.json byte for byte, without its throughput and hash, and the content
of every episode.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from worldsim.data.files import write_json
from worldsim.experiments.fault_damage import damage_trials
from worldsim.experiments.fault_runs import Reference
from worldsim.experiments.fault_trials import disk_trial, kill_trials, race_trials

MEANINGS = {
    "kills": "SIGKILLs at random moments, each resumed by the same command",
    "races": "times that several processes are started for one run folder",
    "damaged": "files of a run folder damaged, one at a time, then read and resumed",
    "disk": "size in KiB of a small disk that an evaluation fills",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for, print a table of counts, and return 1 if anything was lost."""
    options = _options(argv)
    with tempfile.TemporaryDirectory(dir=options.where) as folder:
        reference = Reference.made(Path(folder))
        trials: dict[str, Callable[[], Counter[str]]] = {
            "kills": lambda: kill_trials(reference, options.kills, options.seed),
            "races": lambda: race_trials(reference, options.races, options.processes, options.seed),
            "damaged": lambda: damage_trials(reference, options.damaged, options.seed),
            "disk": lambda: disk_trial(reference, options.disk),
        }
        found = {name: dict(trial()) for name, trial in trials.items() if getattr(options, name)}
    for name, counts in found.items():
        print(f"{name}: {MEANINGS[name]}")
        for what, count in counts.items():
            print(f"  {count:6d}  {what}")
    lost = sum(count for counts in found.values() for what, count in counts.items() if what.startswith("LOST"))
    print(f"{lost} lost, doubled, wrong or crashed")
    if options.out:
        write_json(options.out, {"seed": options.seed, "counts": found, "lost": lost})
    return 1 if lost else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worldsim.experiments.faults", description=__doc__)
    defaults: dict[str, Any] = {"kills": 200, "races": 50, "damaged": 500, "disk": 320}
    for name, meaning in MEANINGS.items():
        parser.add_argument(f"--{name}", type=int, default=defaults[name], help=f"{meaning}; 0 is none (default {defaults[name]})")
    parser.add_argument("--processes", type=int, default=4, help="processes in a race (default 4)")
    parser.add_argument("--seed", type=int, default=0, help="every random moment and place follows from it (default 0)")
    parser.add_argument("--where", default=None, help="folder for the runs; they are removed at the end")
    parser.add_argument("--out", default=None, help="file for the counts as JSON")
    given = [word for each in (sys.argv[1:] if argv is None else argv) for word in _dashed(each)]
    return parser.parse_args(given)


def _dashed(word: str) -> list[str]:
    """`key=value`, as everywhere else, or what argparse knows."""
    key, equals, value = word.partition("=")
    return [f"--{key.lstrip('-')}", value] if equals else [word]


if __name__ == "__main__":
    sys.exit(main())
