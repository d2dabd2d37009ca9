"""One question about one stretch of an episode, as a value with a key: the same content is asked once. Knows no model."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from worldsim.data.files import digest_of
from worldsim.verifiers.vlm.prompts import Prompt


@dataclass(frozen=True, eq=False)
class Question:
    """What a model is asked.

    Attributes:
        prompt: what it is told.
        task: the instruction that the robot had, as somebody wrote it.
        rubric: what counts, or the sub-tasks.
        options: the allowed answers, in the order in which they are offered.
        pictures: frames uint8 `[H, W, 3]`, in the order of time.
        sample: which of several answers to the same question.
    """

    prompt: Prompt
    task: str
    rubric: Sequence[str]
    options: Sequence[str]
    pictures: Sequence[np.ndarray]
    sample: int = 0

    @cached_property
    def text(self) -> str:
        """What stands below the pictures."""
        return self.prompt.filled(self.task, self.rubric, len(self.pictures), self.options)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """All that an answer can depend on, but for the model and its settings, as JSON."""
        digest = hashlib.sha256()
        for picture in self.pictures:
            digest.update(repr(picture.shape).encode() + np.ascontiguousarray(picture).tobytes())
        return {"prompt": self.prompt.facts, "text": self.text, "pictures": digest.hexdigest(), "sample": self.sample}

    @cached_property
    def key(self) -> str:
        """A name for its content."""
        return digest_of(self.facts)


@dataclass(frozen=True)
class Opinion:
    """What one answer comes to.

    Attributes:
        p: probability of yes, or the share of sub-tasks that are met; None where the answer says neither.
        reason: why there is no `p`, one line.
        source: "logprobs", "words" or "logits": what `p` was read from.
        met: which sub-tasks are said to be met, where they were asked for.
    """

    p: float | None
    reason: str = ""
    source: str = "words"
    met: tuple[bool, ...] | None = None


@dataclass(frozen=True)
class Answer:
    """What came of one question.

    Attributes:
        opinion: what it says.
        said: the beginning of its words, safe to show.
        fault: why nobody answered, one line; asking again later may help. Empty where somebody did.
        tokens: (in, out), where the server counted them.
        cost: what the tokens cost, where a price is known; nothing for an answer that was kept.
        seconds: how long it took when it was asked.
        kept: whether it was kept from an earlier time.
    """

    opinion: Opinion
    said: str = ""
    fault: str = ""
    tokens: tuple[int, int] | None = None
    cost: float | None = None
    seconds: float = 0.0
    kept: bool = False
