"""`python -m worldsim.experiments.physics_proofs out=FOLDER`: put the claims of docs/physics.md to the test in the drop world.

Every model, and every row that is done, is kept below `out`; the same command again goes on where it was stopped.
"""

import sys
from pathlib import Path

from worldsim.data.files import written_whole
from worldsim.errors import InvalidInput, RunMismatch, UnknownName, WorldsimError
from worldsim.experiments.proofs.all_claims import CLAIMS
from worldsim.experiments.proofs.models import SCALES, Models
from worldsim.experiments.proofs.rows import Row, kept, table
from worldsim.experiments.setting import use_torch
from worldsim.registry import did_you_mean

KEYS = {"out": "runs/physics-proofs", "scale": "small", "seeds": "0", "claims": ",".join(CLAIMS), "threads": "1"}


def run(out: Path, scale: str, seeds: list[int], claims: list[str], threads: int) -> list[Row]:
    """The rows of some claims for some seeds; they are printed as they come, and the table is written to `out`.

    Raises:
        UnknownName: no such scale or claim.
        RunMismatch: `out` holds rows of another scale.
    """
    for name, known in [(scale, SCALES), *((claim, CLAIMS) for claim in claims)]:
        if name not in known:
            raise UnknownName(f'unknown name "{name}"; {did_you_mean(name, known)}')
    use_torch(threads, "cpu")
    _remember(out / "scale.txt", scale)
    rows = []
    for seed in seeds:
        models = Models(out, SCALES[scale], seed, threads)
        for claim in claims:
            row = kept(out / f"seed-{seed}" / "rows" / f"{claim}.json", lambda claim=claim, models=models: CLAIMS[claim](models))
            print(
                f"{row.claim} (seed {seed}): {row.verdict}, {row.value:.4g} [{row.low:.4g}, {row.high:.4g}], line: {row.line}", flush=True
            )
            rows.append(row)
    with written_whole(out / "table.md") as aside:
        aside.write_text(table(rows) + "\n", encoding="utf-8")
    return rows


def _remember(path: Path, scale: str) -> None:
    if path.exists() and (before := path.read_text(encoding="utf-8").strip()) != scale:
        raise RunMismatch(f"{path.parent} was made with scale={before}, not {scale}; choose another out=")
    with written_whole(path) as aside:
        aside.write_text(scale + "\n", encoding="utf-8")


def main(words: list[str]) -> int:
    """Read `key=value` words and run; the exit status."""
    try:
        given = dict(KEYS, **dict(word.split("=", 1) if "=" in word else (word, "") for word in words))
        if unknown := sorted(given.keys() - KEYS.keys()):
            raise UnknownName(f'unknown key "{unknown[0]}"; {did_you_mean(unknown[0], KEYS)}')
        seeds, threads = [_number(each) for each in given["seeds"].split(",")], _number(given["threads"])
        print(table(run(Path(given["out"]), given["scale"], seeds, given["claims"].split(","), threads)))
        return 0
    except WorldsimError as error:
        print(f"worldsim: {error}", file=sys.stderr)
        return 2 if isinstance(error, InvalidInput | UnknownName) else 1


def _number(text: str) -> int:
    if not text.isdigit():
        raise InvalidInput(f'"{text}" is no whole number; type seeds=0,1,2 and threads=1')
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
