"""One answer of one rater to one clip, and the verdict that a run folder keeps of it. Knows no files.

A label carries `content`, a hash of what was shown. So it is known what a label belongs to wherever the episode lies: a verifier sees
trajectories and no ids, an episode may be played again under its old id, and a run may be copied.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import numpy as np

from worldsim.errors import DamagedFile, InvalidInput
from worldsim.report.printable import printable
from worldsim.report.run_folder import PEOPLE as PREFIX
from worldsim.types import Trajectory, Verdict

SCHEMA = 1
SCORES = {"y": 1.0, "n": 0.0, "u": None}
WORDS = {"y": "success", "n": "failure", "u": "cannot tell"}
LONGEST_NAME = 200  # bytes of a rater's file name
MOST_SECONDS, MOST_REPLAYS, MOST_ORDER = 1e6, 10**6, 10**9
HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Label:
    """An answer y (success), n (failure) or u (cannot tell), and how it came about.

    Attributes:
        episode: id within the run.
        rater: who said it.
        answer: y, n or u.
        content: hash of what was shown, `content_of` the trajectory.
        seconds: how long the clip was looked at; 0 where that is not known.
        replays: how often it was begun again after its end.
        order: its place, from 1, in the rater's order; 0 where that is not known.
        asked: short hash of the question that was put: rule and rubric; empty where that is not known.

    Raises:
        InvalidInput: a value that none of these can have.
    """

    episode: str
    rater: str
    answer: str
    content: str
    seconds: float = 0.0
    replays: int = 0
    order: int = 0
    asked: str = ""

    def __post_init__(self) -> None:
        check_rater(self.rater)
        if self.answer not in SCORES:
            raise InvalidInput(f'label is "{printable(self.answer)[:40]}"; write y (success), n (failure) or u (cannot tell)')
        if not HASH.fullmatch(self.content):
            raise InvalidInput(f'content is "{printable(self.content)[:40]}", expected 64 hexadecimal digits')
        for name, most in (("seconds", MOST_SECONDS), ("replays", MOST_REPLAYS), ("order", MOST_ORDER)):
            if not 0 <= getattr(self, name) <= most:
                raise InvalidInput(f"{name} is {getattr(self, name)}, expected a number from 0 to {most:.0f}")
        if not re.fullmatch(r"[0-9a-f]{0,64}", self.asked):
            raise InvalidInput(f'asked is "{printable(self.asked)[:40]}", expected hexadecimal digits or nothing')

    def verdict(self) -> Verdict:
        """The label as a run folder keeps it."""
        details = {"schema": SCHEMA, "rater": self.rater, "label": self.answer, "content": self.content, "seconds": self.seconds}
        details |= {"replays": self.replays, "order": self.order, "asked": self.asked}
        return Verdict(SCORES[self.answer], f"rater {self.rater}: {WORDS[self.answer]}", details)

    @classmethod
    def of_verdict(cls, episode: str, verdict: Verdict) -> Self:
        """The label that a verdict keeps.

        Raises:
            DamagedFile: it keeps none of this form.
        """
        details: dict[str, Any] = dict(verdict.details)
        try:
            if details.pop("schema") != SCHEMA:
                raise InvalidInput(f"its schema is not {SCHEMA}")
            label = cls(episode, answer=details.pop("label"), **details)
        except (InvalidInput, KeyError, TypeError) as error:
            raise DamagedFile(f"a verdict on episode {printable(episode)} is no label ({error}); delete its line") from error
        if verdict.score != SCORES[label.answer]:
            raise DamagedFile(f"episode {printable(episode)} has label {label.answer} and score {verdict.score}; delete that line")
        return label


def verifier_of(rater: str) -> str:
    """The name that a rater's verdicts are kept under."""
    return f"{PREFIX}{rater}"


def check_rater(name: str) -> str:
    """The name of a rater, once it is known that it can be printed, typed and made a file of.

    Raises:
        InvalidInput: it cannot.
    """
    if not isinstance(name, str) or not name or name != name.strip() or not name.isprintable():
        raise InvalidInput(f'rater "{printable(name)[:40]}" is no name; type rater=NAME, printable and without spaces around it')
    if len(quote(verifier_of(name), safe="")) > LONGEST_NAME:
        raise InvalidInput(f'rater "{printable(name)[:40]}..." is too long a name; type a shorter rater=NAME')
    return name


def content_of(trajectory: Trajectory) -> str:
    """Hash of what a rater is shown of an episode: the task, what was asked, and every frame.

    Actions, policy and world are no part of it, because the rater does not see them: clips that look alike are labelled alike.
    """
    digest = hashlib.sha256()
    asked = str(trajectory.metadata.get("instruction", ""))
    for part in _framed([trajectory.task_id, asked, str(trajectory.frames.shape)]):
        digest.update(part)
    digest.update(np.ascontiguousarray(trajectory.frames).tobytes())
    return digest.hexdigest()


def _framed(texts: Iterable[str]) -> Iterable[bytes]:
    """Each text after its length, so that no two lists run into the same bytes."""
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        yield len(encoded).to_bytes(8, "big") + encoded
