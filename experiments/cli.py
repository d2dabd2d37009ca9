"""The command line: `worldsim VERB key=value ...`. Turns words into a config dataclass and failures into one line.

Knows nothing of what the commands do. Each is imported only when its configuration is complete and correct, and Hydra only
when there is one to compose, so a wrong key costs no waiting. Every argument after the verb is `key=value`; `--key value` says the same, as
does `--key` of a key that is true or false, and a verb's leading keys may go without their names; where the last of them is
a list it takes all words that are left. `--help`, `--cfg job` and `--peer NAME=FOLDER` are no keys.
"""

import os
import select
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import Field, fields
from importlib import import_module
from keyword import iskeyword
from typing import Any

from worldsim import __version__
from worldsim.data.files import trouble_with_files
from worldsim.errors import InvalidInput, UnknownName, WorldsimError
from worldsim.experiments.help import keys_of, overview, type_name
from worldsim.experiments.quoting import always_quoted, quoted
from worldsim.experiments.schema import REQUIRED, VERBS, Verb
from worldsim.experiments.stopping import leaving_quickly
from worldsim.registry import did_you_mean
from worldsim.report.printable import printable

A_LIST = "; a list looks like '[a,b]', with quotes around an element that holds = or a quote"
A_PART = "; a part with options looks like '{name: NAME, key: value}', without quotes around its keys"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 for a failure, 2 for a wrong request, 130 for Ctrl-C, 143 for SIGTERM."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with leaving_quickly(lambda code: _interrupted(arguments, code=code)):
            _command(list(arguments))
            sys.stdout.flush()  # a closed pipe shows here, not while Python exits
    except KeyboardInterrupt as error:
        return _interrupted(arguments, code=getattr(error, "code", 130))
    except (InvalidInput, UnknownName) as error:
        return _say(error, code=2)
    except WorldsimError as error:
        return _say(error, code=1)
    except BrokenPipeError:
        if not _reader_left():
            raise
        return 1
    except OSError as error:
        if (line := trouble_with_files(error)) is None:
            raise
        return _say(line, code=1)
    return 0


def _interrupted(arguments: Sequence[str], *, code: int) -> int:
    return _say(f"interrupted; to go on from what is finished type: {shlex.join(['worldsim', *arguments])}", code=code)


def _say(message: object, *, code: int) -> int:
    print(f"worldsim: {printable(' '.join(str(message).split()))}", file=sys.stderr)
    return code


def _reader_left() -> bool:
    """True when whoever read our output has closed it, as `| head` does. The rest of the output then goes nowhere, quietly."""
    left = False
    for stream in (sys.stdout, sys.stderr):
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            left = True
    return left


def _command(arguments: list[str]) -> None:
    if not arguments:
        raise InvalidInput("no command given; worldsim --help lists them")
    if arguments[0] in ("--help", "-h"):
        print(overview())
        return
    if arguments[0] == "--version":
        print(f"worldsim {__version__}")
        return
    verb = _verb(arguments.pop(0))
    if "--help" in arguments or "-h" in arguments:
        print(keys_of(verb))
        return
    _name_peers(arguments)
    show = _take_cfg(arguments)
    values, text = _compose(verb, list(_keyed(verb, arguments)))
    _check(verb, values, partial=show)
    if show:
        print(text, end="")
        return
    import_module(verb.module).run(verb.config(**values))


def _verb(name: str) -> Verb:
    if name not in VERBS:
        raise UnknownName(f'unknown command "{name}"; {did_you_mean(name, VERBS)} (worldsim --help lists them)')
    return VERBS[name]


def _take_cfg(arguments: list[str]) -> bool:
    """Remove `--cfg job` from `arguments` and say whether it was there."""
    if "--cfg" not in arguments:
        return False
    place = arguments.index("--cfg")
    if arguments[place + 1 : place + 2] != ["job"]:
        raise InvalidInput('--cfg shows one thing, the resolved configuration; type "--cfg job"')
    del arguments[place : place + 2]
    return True


def _name_peers(arguments: list[str]) -> None:
    """Turn `--peer NAME=FOLDER` into `peer_NAME=FOLDER`, which verbs without peers refuse like any other key."""
    while "--peer" in arguments:
        place = arguments.index("--peer")
        given = arguments[place + 1 : place + 2]
        if not given or "=" not in given[0]:
            raise InvalidInput('--peer names a peer and where its checkout is; type "--peer diamond=FOLDER"')
        arguments[place : place + 2] = [f"peer_{given[0]}"]


def _keyed(verb: Verb, arguments: Sequence[str]) -> Iterator[str]:
    """Every argument as `key=value`, where it is not yet: words in their places, `--key value`, `--key`.

    Raises:
        InvalidInput: a key without a value.
        UnknownName: the verb has no such key.
    """
    known = {field.name: field for field in fields(verb.config)}
    places, rest, gathered = iter(verb.positional), iter(arguments), []
    for argument in rest:
        if not argument.startswith("--"):
            place = None if "=" in argument else next(places, verb.gathers)
            key, equals, value = argument.partition("=")
            if place and place == verb.gathers:
                gathered.append(argument)
                continue
            yield f"{place}={argument}" if place else f"{_field_name(key)}{equals}{value}"
            continue
        key, equals, value = argument.lstrip("-").partition("=")
        key = _field_name(key.replace("-", "_"))
        if key not in known:
            raise UnknownName(f'{verb.name} has no key "{key}"; {did_you_mean(key, known)}')
        if not equals:
            value = "true" if known[key].type is bool else next(rest, None)
        if value is None:
            raise InvalidInput(f"--{key} needs a value; type {key}=VALUE")
        yield f"{key}={value}"
    if gathered:
        several = ",".join(map(always_quoted, gathered))
        alone = len(gathered) == 1 and not str(known[verb.gathers].type).startswith("list")
        yield f"{verb.gathers}={gathered[0] if alone else f'[{several}]'}"


def _field_name(key: str) -> str:
    """The field that a key is kept in: no field can be called `import`, so that one is `import_`."""
    return f"{key}_" if iskeyword(key) else key


def _override(verb: Verb, argument: str) -> str:
    """`argument` in Hydra's grammar. Where text may be meant it is quoted, so paths with spaces, `=` or brackets need no second quoting.

    Raises:
        InvalidInput: it is not `key=value`.
        UnknownName: the verb has no such key.
    """
    known = {field.name: field for field in fields(verb.config)}
    key, equals, value = argument.partition("=")
    if not known:
        raise InvalidInput(f'{verb.name} takes no keys, got "{argument}"')
    if not equals:
        raise InvalidInput(f'expected key=value, got "{argument}"; for example {next(iter(known))}={argument}')
    if key not in known:
        raise UnknownName(f'{verb.name} has no key "{key}"; {did_you_mean(key.lstrip("+~"), known)}')
    return f"{key}={quoted(value)}" if known[key].type in (str, str | None, Any) else argument


def _compose(verb: Verb, arguments: list[str]) -> tuple[dict[str, Any], str]:
    """The values of the verb's keys with `arguments` applied, and the same as YAML.

    Raises:
        InvalidInput: a value is not of its key's type; the line names the first such argument and leaves out Hydra's reasons.
    """
    overrides = {argument: _override(verb, argument) for argument in arguments}  # a wrong key is refused before Hydra is loaded

    from hydra import compose, initialize_config_module
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    refusals = (HydraException, OmegaConfBaseException)
    ConfigStore.instance().store(name=f"{verb.stem}_schema", node=verb.config)

    def build(chosen: list[str]) -> tuple[dict[str, Any], str]:
        composed = compose(verb.stem, overrides=[overrides[argument] for argument in chosen])
        return OmegaConf.to_container(composed, resolve=True), OmegaConf.to_yaml(composed, resolve=True)

    def refused(argument: str) -> bool:
        try:
            build([argument])
        except refusals:
            return True
        return False

    with initialize_config_module("worldsim.experiments.configs", version_base="1.3"):
        try:
            return build(arguments)
        except refusals as error:
            culprit = next(filter(refused, arguments), None)
            if culprit is None:
                raise
            raise InvalidInput(_type_error(verb, culprit)) from error


def _type_error(verb: Verb, argument: str) -> str:
    key, _, value = argument.partition("=")
    field = next(field for field in fields(verb.config) if field.name == key)
    advice = A_LIST if str(field.type).startswith("list") else A_PART if field.type is Any else ""
    return f'{key} takes {type_name(field)}, got "{value}"{advice} (worldsim {verb.name} --help)'


def _check(verb: Verb, values: dict[str, Any], *, partial: bool) -> None:
    """Refuse a missing value unless `partial`, a word that is not among the choices and a number below the least."""
    for field in fields(verb.config):
        given = values[field.name]
        if given != REQUIRED:
            for value in given if isinstance(given, list) else [given]:
                _check_value(field, value)
        elif not partial:
            raise InvalidInput(f"{verb.name} needs {field.name}={type_name(field)}, {field.metadata['meaning']}")


def _check_value(field: Field, value: Any) -> None:
    choices, least = field.metadata["choices"], field.metadata["least"]
    if value is None:
        return
    if choices and value not in choices:
        raise UnknownName(f'unknown {field.name} "{value}"; {did_you_mean(value, choices)}')
    if least is not None and not value >= least:  # NaN is refused too
        raise InvalidInput(f"{field.name} is {value}, expected at least {least:g}")


if __name__ == "__main__":
    sys.exit(main())
