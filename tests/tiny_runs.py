"""Evaluations of tiny parts in the current folder, by the command line; and a true world called slide, while it lasts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tiny

from worldsim.experiments import cli
from worldsim.registry import TRUTHS


def parts(folder: Path, policies: str = "a") -> Path:
    """A folder with the parts of an evaluation: `world`, one policy for each letter, `judge` and `task.h5` with five starts."""
    tiny.world_model(folder / "world")
    for seed, name in enumerate(policies, start=1):
        tiny.policy(folder / name, seed=seed)
    tiny.classifier(folder / "judge")
    tiny.task_file(folder / "task.h5")
    return folder


@contextmanager
def slide() -> Iterator[None]:
    """The tiny true world under the name "slide"."""
    TRUTHS.register("slide")(tiny.SlideConfig)
    try:
        yield
    finally:
        del TRUTHS._parts["slide"]


def evaluate(*more: str, task: str = "task.h5", policies: str = "[a,random]", episodes: int = 5, run: str = "run") -> int:
    """Exit code of an evaluation of the parts in this folder."""
    words = ["evaluate", "world_model=world", f"policies={policies}", f"task={task}", "verifier=judge", f"episodes={episodes}", "workers=1"]
    return cli.main([*words, f"run={run}", "report=false", *more])
