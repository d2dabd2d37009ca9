"""What raters are asked: the rule that says when a task counts as done, a rubric, and what they compare with. Knows no clips."""

from dataclasses import dataclass
from pathlib import Path

from worldsim.data.files import digest_of
from worldsim.errors import InvalidInput

RULES = {
    "last_step": "Success means that the task is done in the last frame; done and undone again is a failure.",
    "ever": "Success means that the task was done at some moment of the clip, even if it was undone again.",
}
LONGEST_RUBRIC = 20_000  # characters


@dataclass(frozen=True)
class Question:
    """The rule by its name, the rubric as text (empty where there is none), the layout. The instruction is each clip's own."""

    rule: str = "last_step"
    rubric: str = ""
    layout: str = "single"

    @property
    def rule_text(self) -> str:
        """The rule in words."""
        return RULES[self.rule]

    @property
    def digest(self) -> str:
        """A short name of the question, kept with every answer, so that answers to different questions are told apart."""
        return digest_of([self.rule, self.rule_text, self.rubric, self.layout])


def question(rule: str, rubric: str | None, layout: str = "single") -> Question:
    """The question that a rule and a rubric make; a rubric that names a file is read from it.

    Raises:
        InvalidInput: a rule that nobody knows, a file that is not text, or a rubric that nobody would read.
    """
    if rule not in RULES:
        raise InvalidInput(f'the success rule of this run is "{rule}", of which there are no words; type rule={" or rule=".join(RULES)}')
    text = rubric or ""
    if text and len(text) < 1000 and Path(text).is_file():
        try:
            text = Path(text).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(f"rubric {rubric} is not UTF-8 text ({error.reason} at byte {error.start}); save it in UTF-8") from error
    if len(text) > LONGEST_RUBRIC:
        raise InvalidInput(f"the rubric has {len(text)} characters, expected at most {LONGEST_RUBRIC}; shorten it")
    return Question(rule, text.strip(), layout)
