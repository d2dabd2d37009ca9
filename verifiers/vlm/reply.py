"""The envelope of a chat completion: from the bytes of a response to words, or one line that says why there are none. Knows no meaning.

Facts: OpenAI's Chat Completions wire; vLLM, SGLang and Ollama answer alike.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worldsim.verifiers.vlm.logprobs import Token, p_yes, tokens_of
from worldsim.verifiers.vlm.questions import Opinion
from worldsim.verifiers.vlm.text import shown
from worldsim.verifiers.vlm.words import read_words

FINISHED = (None, "stop", "eos", "eos_token", "end_turn", "stop_sequence")
LONGEST = 20_000  # characters of an answer


class NoAnswer(Exception):
    """Nobody answered, or not with an answer.

    Attributes:
        again: asking again at once may help.
        fault: it is the server's or the network's doing and not the model's; asking again another day may help.
        wait: seconds that the server asks to be left alone; None where it does not say.
        refused: the server takes the request's form for wrong.
    """

    def __init__(self, reason: str, *, again: bool = False, fault: bool = True, wait: float | None = None, refused: bool = False) -> None:
        super().__init__(reason)
        self.again, self.fault, self.wait, self.refused = again, fault, wait, refused


@dataclass(frozen=True)
class Reply:
    """A model's words, the probabilities of their first tokens where given, and (in, out) tokens where counted."""

    text: str
    tokens: Sequence[Token] = ()
    usage: tuple[int, int] | None = None


def read_reply(body: bytes) -> Reply:
    """The reply in the body of a response.

    Raises:
        NoAnswer: no chat completion, or one without words: cut off, filtered, a tool call, a refusal, empty.
    """
    try:
        found = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise NoAnswer(f'the server sent no JSON but "{shown(body[:200].decode("utf-8", "replace"), most=60)}"', again=True) from error
    choices = found.get("choices") if isinstance(found, dict) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise NoAnswer(f"the server sent no chat completion with one choice{_complaint(found)}", again=True)
    choice = choices[0]
    message, finish = choice.get("message"), choice.get("finish_reason")
    if not isinstance(message, dict):
        raise NoAnswer("the server sent a choice without a message", again=True)
    text = _words(message)
    if finish not in FINISHED:
        raise NoAnswer(f'the answer ended with "{shown(str(finish), most=40)}" after "{shown(text, most=60)}"', fault=False)
    return Reply(text, tokens_of(choice.get("logprobs")), _usage(found.get("usage")))


def read_opinion(reply: Reply, form: str, parts: int, temperature: float) -> Opinion:
    """What a reply says. Its words decide whether it says anything; where they say yes or no, its log-probabilities say how surely.

    Without temperature the words are the likeliest ones: where the probabilities say the opposite, neither is believed.
    """
    words = read_words(reply.text, form, parts)
    sure = p_yes(reply.tokens) if words.p is not None and form == "word" else None
    if sure is None:
        return words
    if temperature == 0 and (sure > 0.5) != (words.p > 0.5) and sure != 0.5:
        return Opinion(None, "its words say one thing and its log-probabilities the other")
    return Opinion(sure, source="logprobs")


def _words(message: dict[str, Any]) -> str:
    content = message.get("content")
    if message.get("refusal"):
        raise NoAnswer(f'the model refused: "{shown(str(message["refusal"]), most=80)}"', fault=False)
    if message.get("tool_calls") or message.get("function_call"):
        raise NoAnswer("the model called a tool instead of answering", fault=False)
    if content is not None and not isinstance(content, str):
        raise NoAnswer(f"the answer is {type(content).__name__}, expected text", fault=False)
    if not content or not content.strip():
        raise NoAnswer("the answer is empty", again=True, fault=False)
    if len(content) > LONGEST:
        raise NoAnswer(f"the answer has {len(content)} characters, expected at most {LONGEST}", fault=False)
    return content


def _usage(usage: Any) -> tuple[int, int] | None:
    counts = [usage.get(key) for key in ("prompt_tokens", "completion_tokens")] if isinstance(usage, dict) else [None]
    return tuple(counts) if all(type(count) is int and 0 <= count < 10**9 for count in counts) else None


def _complaint(found: Any) -> str:
    error = found.get("error") if isinstance(found, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return f' but "{shown(message, most=80)}"' if isinstance(message, str) else ""
