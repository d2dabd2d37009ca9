"""Classes of another project, imported from its checkout without a trace: nothing is copied, and Python's own tables stay as they were."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from worldsim.errors import InvalidInput


class PeerMissing(InvalidInput):
    """There is no checkout of the peer at the given path; a benchmark may print the line and go on."""


def require_files(folder: Path, needed: str, peer: str, source: str) -> None:
    """Refuse a folder in which the file `needed` is not.

    Raises:
        PeerMissing: naming the folder, the file and where the peer is to be had.
    """
    if not (folder / needed).is_file():
        raise PeerMissing(f"{folder} holds no {needed}, expected a checkout of {peer} ({source}); type peer_{peer}=FOLDER")


@contextmanager
def importing_from(folder: Path, names: tuple[str, ...], stand_ins: Mapping[str, ModuleType] = {}) -> Iterator[None]:
    """Within it, the top-level modules `names` come from `folder`, and `stand_ins` take the place of modules that are not to be loaded.

    Afterwards `sys.path` and all modules under these names are what they were before. Nothing is written into `folder`.
    """
    own = {*names, *stand_ins}
    path, quiet, before = list(sys.path), sys.dont_write_bytecode, _under(own)
    try:
        for name in before:
            del sys.modules[name]
        sys.modules.update(stand_ins)
        sys.path.insert(0, str(folder))
        sys.dont_write_bytecode = True
        importlib.invalidate_caches()
        yield
    finally:
        for name in _under(own):
            del sys.modules[name]
        sys.modules.update(before)
        sys.path[:], sys.dont_write_bytecode = path, quiet


def _under(names: set[str]) -> dict[str, ModuleType]:
    """The loaded modules of these names and of what lies below them."""
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] in names}


def stand_in(name: str, *, folder: Path | None = None, **attributes: Any) -> ModuleType:
    """A module with these attributes and nothing else; with `folder`, a package whose submodules lie there."""
    module = ModuleType(name)
    vars(module).update(attributes)
    if folder is not None:
        module.__path__ = [str(folder)]
    return module


def imported(name: str, peer: str, commit: str, *wanted: str) -> list[Any]:
    """What a borrowed module has under the `wanted` names.

    Raises:
        InvalidInput: the module cannot be imported or has no such name: another commit than the one that this was written for.
    """
    try:
        module = importlib.import_module(name)
        return [getattr(module, each) for each in wanted]
    except (ImportError, AttributeError, SyntaxError) as error:
        raise InvalidInput(f"{peer}'s {name} cannot be used ({error}), expected commit {commit}; check that commit out") from error
