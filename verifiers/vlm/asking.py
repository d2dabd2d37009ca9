"""What both VLM verifiers are told the same way, and how they judge: episodes to questions, answers to verdicts. Knows no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

from worldsim.errors import InvalidInput
from worldsim.types import Trajectory, Verdict
from worldsim.verifiers.vlm.frames import RULES, blank, checked_count, picked, windows
from worldsim.verifiers.vlm.prompts import Prompt, load_prompt, ordered_options, refuse_rubric
from worldsim.verifiers.vlm.questions import Answer, Question
from worldsim.verifiers.vlm.ruling import Hearing, Rule, verdict_of

CREDITS = ("share", "all")
DEFAULTS = {"frames": 1, "stride": None, "both_orders": True, "samples": 1, "temperature": 0.0, "max_tokens": 16}
TELLING = ("rule", "window", "control", "abstain", "credit", "max_side", "rubric", "instruction")  # options that change a verdict


@dataclass(kw_only=True)
class Asking:
    """What is shown and asked, and how answers become a verdict. What is null is as the prompt has it.

    Attributes:
        prompt: name of a shipped prompt (careful, subtasks, five_votes, same_motion) or a file.
        rubric: lines that say what counts as done; for a prompt by sub-tasks, these.
        instruction: what the robot was asked, where an episode does not say; else the task's id.
        frames: "last", or how many frames are shown.
        stride: frames between those shown, counted back from the last; null spreads them from first to last.
        rule: last_step, or ever: at any of the frames shown.
        window: frames shown together under `ever`; each frame ends one window.
        both_orders: ask with yes first and with no first, and take the mean.
        samples: answers to each question; more than one needs a temperature above 0.
        control: ask the same about blank pictures too; a model that then says yes is not believed.
        abstain: from and to which p(yes) the verdict is "could not tell"; [0.5, 0.5] is a tie.
        credit: what sub-tasks score: all is 1 where all are met, else 0; share is the share that is met, so that half is a success.
        max_side: pixels of the longer side of a picture; larger ones are shrunk.
    """

    prompt: str = "careful"
    rubric: list[str] = field(default_factory=list)
    instruction: str | None = None
    frames: Any = None
    stride: int | None = None
    rule: str = "last_step"
    window: int = 1
    both_orders: bool | None = None
    samples: int | None = None
    control: bool = True
    abstain: Any = (0.5, 0.5)
    credit: str = "all"
    max_side: int = 512

    @cached_property
    def told(self) -> Prompt:
        """The prompt.

        Raises:
            UnknownName, DamagedFile: there is none.
        """
        return load_prompt(str(self.prompt))

    def setting(self, name: str) -> Any:
        """An option as given here, else as the prompt has it, else the default."""
        given = getattr(self, name, None)
        return self.told.settings.get(name, DEFAULTS[name]) if given is None else given

    def asking_facts(self) -> dict[str, Any]:
        """What identifies these options, as JSON."""
        asked = {name: self.setting(name) for name in ("frames", "stride", "both_orders", "samples")}
        return {"prompt": self.told.facts} | asked | {name: _plain(getattr(self, name)) for name in TELLING}

    def check(self) -> None:
        """Stop at options that make no sense.

        Raises:
            InvalidInput: with the first of them.
        """
        checked_count(self.setting("frames"))
        refuse_rubric(self.told, self.rubric)
        refuse_other_than_bool(both_orders=self.setting("both_orders"), control=self.control)
        if self.instruction is not None and not isinstance(self.instruction, str):
            raise InvalidInput(f"instruction is {self.instruction}, expected text")
        for name, least in (("stride", 1), ("samples", 1), ("window", 1), ("max_side", 16)):
            value = self.setting(name) if name in DEFAULTS else getattr(self, name)
            if not (name == "stride" and value is None) and (type(value) is not int or value < least):
                raise InvalidInput(f"{name} is {value}, expected a whole number of at least {least}")
        for name, value, known in (("rule", self.rule, RULES), ("credit", self.credit, CREDITS)):
            if value not in known:
                raise InvalidInput(f"{name} is {value}, expected {' or '.join(known)}")
        if self.rule == "ever" and self.told.reply == "subtasks":
            raise InvalidInput("rule is ever, but a prompt by sub-tasks already looks at all frames; leave rule out")
        band = self.abstain
        if not isinstance(band, list | tuple) or len(band) != 2 or not all(_is_share(each) for each in band) or band[0] > band[1]:
            raise InvalidInput(f"abstain is {self.abstain}, expected two numbers from 0 to 1 in order, as in [0.4, 0.6]")

    def hearing(self, trajectory: Trajectory) -> Hearing:
        """All that is asked about an episode."""
        told, frames = self.told, trajectory.frames
        task = str(trajectory.metadata.get("instruction") or self.instruction or trajectory.task_id)
        indices = picked(len(frames), checked_count(self.setting("frames")), self.setting("stride"))
        shown = windows(indices, self.rule, self.window)
        orders = ordered_options()[: 2 if self.setting("both_orders") else 1]

        def question(options: Sequence[str], window: Sequence[int], sample: int) -> Question:
            return Question(told, task, self.rubric, options, [frames[index] for index in window], sample)

        asked = [[[question(order, each, n) for n in range(self.setting("samples"))] for order in orders] for each in shown]
        grey = [blank(frames[0])] * len(shown[-1])
        controls = [Question(told, task, self.rubric, order, grey) for order in orders] if self.control else []
        return Hearing(asked, controls, shown)


class Answerer(Protocol):
    """Somebody who answers questions and never raises for one of them."""

    def ask(self, questions: Sequence[Question]) -> list[Answer]: ...


class VlmJudge:
    """Judges episodes by what a vision-language model says of their frames. `facts` stand in the details of each verdict."""

    def __init__(self, asking: Asking, answerer: Answerer, facts: Mapping[str, Any]) -> None:
        self._asking, self._answerer = asking, answerer
        self._rule = Rule((float(asking.abstain[0]), float(asking.abstain[1])), asking.credit)
        self._facts = {"prompt": f"{asking.told.name} {asking.told.version}", **facts}

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]:
        """A verdict on each. A question whose content was asked before, for whichever episode, is not asked again.

        A verdict with "fault" in its details was lost to the server or the network, and an evaluation that is resumed asks for it anew.
        """
        hearings = [self._asking.hearing(trajectory) for trajectory in trajectories]
        questions = {question.key: question for hearing in hearings for question in hearing.questions}
        answers = dict(zip(questions, self._answerer.ask(list(questions.values())), strict=True))
        return [verdict_of(hearing, _charged(hearing, answers), self._rule, self._facts) for hearing in hearings]


def _charged(hearing: Hearing, answers: dict[str, Answer]) -> dict[str, Answer]:
    """The answers that an episode has; from now on they cost nothing more, so that one that several share is paid for once."""
    own = {question.key: answers[question.key] for question in hearing.questions}
    for key, answer in own.items():
        answers[key] = replace(answer, kept=not answer.fault, cost=None if answer.cost is None else 0.0)
    return own


def refuse_other_than_bool(**values: Any) -> None:
    """Stop where one of these options is neither true nor false.

    Raises:
        InvalidInput: with the first of them.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            raise InvalidInput(f"{name} is {value!r}, expected true or false")


def _is_share(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value <= 1


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
