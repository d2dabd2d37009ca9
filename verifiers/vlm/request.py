"""What a chat-completion request holds, and the plainer forms of it for servers that refuse a field. Knows no network.

Facts: `response_format` with a JSON schema is OpenAI's, SGLang's and Ollama's way to have one of several words; `structured_outputs` with
`choice` is vLLM's since 0.12, which takes one constraint only and answers 400 where it is also given the other. Old servers ignore fields
that they do not know. `logprobs` with `top_logprobs` is OpenAI's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worldsim.errors import InvalidInput
from worldsim.verifiers.vlm.frames import data_url
from worldsim.verifiers.vlm.questions import Question

STRUCTURES = ("both", "json", "choice", "none")
LISTED = 20  # tokens whose log-probabilities are asked for at each place; OpenAI's most


@dataclass(frozen=True)
class Sampling:
    """How a model is asked, apart from the question: everything here may change an answer.

    Attributes:
        extra: fields that are added to the request; one that is null is left out of it.
    """

    model: str
    temperature: float
    max_tokens: int
    seed: int
    logprobs: bool
    structured: str
    max_side: int
    jpeg_quality: int
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def forms(self) -> tuple[tuple[str, bool], ...]:
        """(structure, logprobs) of each form of a request: the first is wanted, each next one asks a server for less."""
        plainer = {"both": ("both", "choice", "none"), "json": ("json", "none"), "choice": ("choice", "none"), "none": ("none",)}
        wanted = [(structure, self.logprobs) for structure in plainer[self.structured]]
        return tuple(wanted) if not self.logprobs else (*wanted, ("none", False))


def checked_structure(structured: str) -> str:
    """`structured` where it names a way.

    Raises:
        InvalidInput: it names none.
    """
    if structured not in STRUCTURES:
        raise InvalidInput(f"structured is {structured}, expected one of {', '.join(STRUCTURES)}")
    return structured


def body_of(question: Question, sampling: Sampling, form: tuple[str, bool]) -> dict[str, Any]:
    """The JSON of one request: pictures first, the question below them, in one message of the user."""
    structure, logprobs = form
    urls = [data_url(picture, sampling.max_side, sampling.jpeg_quality) for picture in question.pictures]
    content = [*({"type": "image_url", "image_url": {"url": url}} for url in urls), {"type": "text", "text": question.text}]
    body = {
        "model": sampling.model,
        "messages": [{"role": "user", "content": content}],
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed + question.sample,
        "stream": False,
    }
    body |= {"logprobs": True, "top_logprobs": LISTED} if logprobs and question.prompt.reply == "word" else {}
    body |= _structure(question, structure) | dict(sampling.extra)
    return {key: value for key, value in body.items() if value is not None}


def _structure(question: Question, structure: str) -> dict[str, Any]:
    """The fields that ask for one of the options, or for all sub-tasks."""
    if question.prompt.reply == "final_line" or structure == "none":
        return {}
    options = list(question.options)
    asked = ["answer"] if question.prompt.reply == "word" else [str(number + 1) for number in range(len(question.rubric))]
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", "enum": options} for name in asked},
        "required": asked,
        "additionalProperties": False,
    }
    json_field = {"response_format": {"type": "json_schema", "json_schema": {"name": "judgement", "strict": True, "schema": schema}}}
    if question.prompt.reply == "subtasks":
        return json_field if structure != "choice" else {"structured_outputs": {"json": schema}}
    choice = {"structured_outputs": {"choice": options}}
    return {"both": json_field | choice, "json": json_field, "choice": choice}[structure]
