"""Damaged files of a finished run: read by `status` and `compare`, resumed by `evaluate`; every outcome is given a name."""

import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worldsim.data.sealed import write_sealed
from worldsim.experiments import cli
from worldsim.experiments.fault_runs import POLICIES, Ended, Process, Reference, command, contents_of, results_of
from worldsim.labelling.label import Label, content_of
from worldsim.labelling.ledger import opened
from worldsim.report.results import write_results
from worldsim.report.run_folder import RunFolder

RATER = "ann"
MOST_TOLD = 3  # refusals of one damaged run, each followed by what it says
Kind = Callable[[Path, list[Path], random.Random], None]


def _bytes(change: Callable[[bytearray, random.Random], bytes]) -> Kind:
    def damage(file: Path, others: list[Path], rng: random.Random) -> None:
        file.write_bytes(change(bytearray(file.read_bytes()), rng))

    return damage


def _flip(data: bytearray, rng: random.Random, count: int = 1) -> bytes:
    for _ in range(count if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _stretch(data: bytearray, rng: random.Random, fill: Callable[[int], bytes]) -> bytes:
    begin = rng.randrange(len(data) or 1)
    length = min(rng.randint(1, 1 + len(data) // 8), len(data) - begin)
    return bytes(data[:begin]) + fill(length) + bytes(data[begin + length :])


def _digit(data: bytearray, rng: random.Random) -> bytes:
    """One digit is another: still JSON or YAML, with another number."""
    places = [place for place, value in enumerate(data) if value in b"0123456789"]
    if places:
        place = rng.choice(places)
        data[place] = ord(str((int(chr(data[place])) + rng.randint(1, 9)) % 10))
    return bytes(data)


def _line(data: bytearray, rng: random.Random) -> bytes:
    """A line is missing."""
    lines = bytes(data).splitlines(keepends=True)
    return b"".join(line for number, line in enumerate(lines) if number != rng.randrange(len(lines)))


def _swap(file: Path, others: list[Path], rng: random.Random) -> None:
    """Two files of a kind have each other's content."""
    like = [each for each in others if each.suffix == file.suffix and each != file]
    other = rng.choice(like or [each for each in others if each != file])
    mine, theirs = file.read_bytes(), other.read_bytes()
    file.write_bytes(theirs), other.write_bytes(mine)


KINDS: dict[str, Kind] = {
    "bit flipped": _bytes(_flip),
    "40 bits flipped": _bytes(lambda data, rng: _flip(data, rng, 40)),
    "digit changed": _bytes(_digit),
    "end missing": _bytes(lambda data, rng: bytes(data[: rng.randrange(len(data) or 1)])),
    "empty": _bytes(lambda data, rng: b""),
    "stretch of zeros": _bytes(lambda data, rng: _stretch(data, rng, bytes)),
    "stretch of noise": _bytes(lambda data, rng: _stretch(data, rng, rng.randbytes)),
    "stretch missing": _bytes(lambda data, rng: _stretch(data, rng, lambda length: b"")),
    "line missing": _bytes(_line),
    "garbage": _bytes(lambda data, rng: rng.randbytes(max(1, len(data)))),
    "swapped": _swap,
    "deleted": lambda file, others, rng: file.unlink(),
}


def damage_trials(reference: Reference, count: int, seed: int) -> Counter[str]:
    """Damage `count` files in turn, every kind of file in every way, and name what comes of each."""
    rng, found = random.Random(seed), Counter({"LOST: crashed": 0, "LOST: wrong number": 0})
    _complete(reference)
    whole = _compared(reference, reference.run)
    places = sorted(path.relative_to(reference.run) for path in reference.run.rglob("*") if path.is_file() and path.name != ".lock")
    cases = [(place, kind) for place in _by_kind(places, rng) for kind in KINDS]
    rng.shuffle(cases)
    for place, kind in (cases * (1 + count // len(cases)))[:count]:
        run = reference.copy("damaged")
        others = [run / each for each in places]
        before = (run / place).read_bytes()
        KINDS[kind](run / place, others, rng)
        if (run / place).exists() and (run / place).read_bytes() == before:
            found["the damage changed nothing"] += 1
            continue
        outcome = _outcome(reference, run, whole)
        if outcome.startswith("LOST"):
            print(f"{outcome}: {place}, {kind}", flush=True)
        found[outcome] += 1
        print(f"{found.total()} of {count}: {dict(found)}", file=sys.stderr)
    return found


def _by_kind(places: list[Path], rng: random.Random) -> list[Path]:
    """As many of every kind of file: at most two of those of one folder and suffix."""
    kinds: dict[tuple[Path, str], list[Path]] = {}
    for place in places:
        kinds.setdefault((place.parent, place.suffix), []).append(place)
    return [place for each in kinds.values() for place in (rng.sample(each, 2) if len(each) > 3 else each)]


def _complete(reference: Reference) -> None:
    """Give the run what else a run folder may hold: labels of a person and the numbers of a replay."""
    folder = RunFolder(reference.run)
    labelled = [about.episode for about in folder.abouts()][:6]
    with opened(folder, RATER) as ledger:
        ledger.add(Label(each, RATER, "yn"[place % 2], content_of(folder.episode(each))) for place, each in enumerate(labelled))
    steps = [1, 2, 3]
    numbers = {"steps": steps, "psnr": [30.25, 29.5, 28.125], "copy_psnr": [27.5, 20.0, 19.0], "episodes": 4, "episodes_by_step": [4] * 3}
    write_sealed(reference.run / "open_loop.json", numbers)
    write_results(folder)
    reference.results.clear()
    reference.results.update(results_of(reference.run))
    reference.contents.update(contents_of(reference.run))
    rows = [f"{policy},{successes},10\n" for policy, successes in zip(POLICIES, (1, 8, 3), strict=True)]
    (reference.folder / "real.csv").write_text("policy,successes,episodes\n" + "".join(rows))


def _run(reference: Reference, words: list[str]) -> Ended:
    return Process(lambda: cli.main(words), reference.folder / "log").end()


def _compared(reference: Reference, run: Path) -> dict[str, Any] | Ended:
    """The numbers of `worldsim compare`, or how it refused."""
    out = reference.folder / "comparison.json"
    out.unlink(missing_ok=True)
    ended = _run(reference, ["compare", str(run), f"real={reference.folder / 'real.csv'}", f"out={out}"])
    if not out.exists():
        return ended
    numbers = json.loads(out.read_text(encoding="utf-8"))
    return {key: numbers[key] for key in ("policies", "agreement")}


def _outcome(reference: Reference, run: Path, whole: dict[str, Any] | Ended) -> str:
    """What came of a damaged run, in words."""
    status, compared = _run(reference, ["status", str(run)]), _compared(reference, run)
    resumed = _run(reference, command(run, report="false"))
    if status.crashed or resumed.crashed or (isinstance(compared, Ended) and compared.crashed):
        print(next(each.said for each in (status, resumed, compared) if isinstance(each, Ended) and each.crashed)[-1500:])
        return "LOST: crashed"
    if not isinstance(compared, Ended) and compared != whole:
        return "LOST: wrong number"
    told = 0
    while resumed.code and told < MOST_TOLD:
        if not _did_as_told(run, resumed):
            return f"LOST: wrong number (refused without saying what to do: {resumed.said.splitlines()[-1:]})"
        resumed, told = _run(reference, command(run, report="false")), told + 1
    if resumed.code:
        return "LOST: crashed" if resumed.crashed else "LOST: wrong number (refused whatever is done)"
    same = "refused in one line; the same end when done as told" if told else "found and made again: the same end"
    return _named(reference, run, same)


def _did_as_told(run: Path, refused: Ended) -> bool:
    """Do what the refusal says."""
    told = refused.said.splitlines()[-1]
    if "worldsim label" in told:
        with opened(RunFolder(run), RATER):
            pass
    elif "delete it" in told:
        Path(told.split("worldsim: ")[-1].split(" ")[0]).unlink()
    else:
        return False
    return True


def _named(reference: Reference, run: Path, same: str) -> str:
    """Equal, or equal but for what no evaluation can make again and the results say is not there."""
    if reference.equals(run):
        return same
    found, whole = results_of(run), reference.results
    labels = [{row["verifier"]: row for row in each["judges"]}.get(f"human:{RATER}", {"scored": 0}) for each in (found, whole)]
    fewer = labels[0]["scored"] < labels[1]["scored"]
    rest = [
        {**each, "open_loop": None, "judges": [row for row in each["judges"] if not row["verifier"].startswith("human:")]}
        for each in (found, whole)
    ]
    if rest[0] == rest[1] and (fewer or found["open_loop"] is None):
        return "labels or replay numbers are gone, and counted as not there"
    return "LOST: wrong number"
