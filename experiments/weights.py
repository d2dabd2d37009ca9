"""`worldsim weights`: official checkpoints to a folder that worldsim reads, and what a file or a folder is. Knows no key and no layout."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldsim.data.files import sha256_of
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.experiments.schema import WeightsConfig

if TYPE_CHECKING:
    from worldsim.models.vid2world.convert import Choices, Weights


def run(config: WeightsConfig) -> None:
    """Convert or check, as configured, and print what came of it."""
    if config.action == "check":
        for name, found in check(config.source, _choices(config)):
            print(f"{name}: {found}")
        return
    if config.out is None:
        raise InvalidInput("weights action=convert needs out=FOLDER, where the converted model is written to")
    from worldsim.models.vid2world.convert import convert
    from worldsim.models.vid2world.pretrained import refuse_taken

    refuse_taken(config.out)  # before ten gigabytes are read rather than after
    parts = convert(config.source, _choices(config), towers=config.towers, empty_text=config.empty_text, say=_say)
    _say(f"writing {config.out}")
    sha256 = parts.save_pretrained(config.out)
    print(
        f"{config.out}: {parts.title}, model.safetensors {sha256[:12]}; look at it with: worldsim weights action=check source={config.out}"
    )


def check(source: str | Path, choices: "Choices") -> Iterator[tuple[str, str]]:
    """(what, finding) about a checkpoint file or a converted folder; parts that do not fit are findings, not errors.

    Raises:
        InvalidInput: there is nothing at `source`, or nothing that is known.
        DamagedFile: it cannot be read, or a hash is wrong.
    """
    yield from _folder(Path(source)) if Path(source).is_dir() else _file(Path(source), choices)


def _folder(folder: Path) -> Iterator[tuple[str, str]]:
    from worldsim.models.checkpoint import read_config
    from worldsim.models.vid2world.pretrained import KIND, Vid2WorldParts

    config = read_config(folder, KIND)
    parts = Vid2WorldParts.from_pretrained(folder)
    yield str(folder), f"{parts.title}, converted from {parts.facts['source']['name']}"
    yield from (("source sha256", parts.facts["source"]["sha256"]), ("sha256", config["sha256"]))
    for name, count in config["parameters"].items():
        yield name, f"{count:,} parameters"
    yield "precision", config["dtype"]
    yield "files", "complete, every hash is right"


def _file(path: Path, choices: "Choices") -> Iterator[tuple[str, str]]:
    from worldsim.models.vid2world import convert
    from worldsim.models.vid2world.buffers import schedule_differences, schedule_line
    from worldsim.models.vid2world.files import read_weights

    weights = read_weights(path)
    choices = convert.as_it_is(weights, choices)
    yield str(path), convert.kind_of(weights) or "neither Vid2World nor DynamiCrafter"
    yield "sha256", sha256_of(path)
    yield "all", convert.counted(weights)
    for name in convert.PREFIXES:
        found = convert.part(weights, name)
        yield name, f"{convert.counted(found)}; {_fit(lambda name=name: convert.check_part(name, weights, choices))}" if found else "absent"
    yield from _rest(weights, tuple(convert.PREFIXES.values()))
    yield "schedule", _fit(lambda: schedule_line(weights, schedule_differences(weights)))


def _rest(weights: "Weights", known: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    others = [key for key in weights if not key.startswith(known)]
    if others:
        yield "other", f"{len(others)} tensors, the first: {', '.join(others[:3])}"


def _fit(attempt: Callable[[], Any]) -> str:
    """What `attempt` says, or the line of its refusal."""
    try:
        return attempt() or "every name and shape fits"
    except (DamagedFile, InvalidInput) as error:
        return str(error)


def _choices(config: WeightsConfig) -> "Choices":
    from worldsim.models.vid2world.convert import Choices

    return Choices(config.domain, config.base, config.transfer, config.norm, config.head, config.image_tokens)


def _say(line: str) -> None:
    print(line, flush=True)
