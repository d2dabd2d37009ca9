"""Questions to an OpenAI-compatible server: kept answers first, several at once, in pace, with bounded retries. Knows no episode."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from worldsim.data.files import digest_of
from worldsim.verifiers.vlm.cache import Cache
from worldsim.verifiers.vlm.pace import LONGEST_WAIT, Pace
from worldsim.verifiers.vlm.questions import Answer, Opinion, Question
from worldsim.verifiers.vlm.reply import NoAnswer, Reply, read_opinion, read_reply
from worldsim.verifiers.vlm.request import Sampling, body_of
from worldsim.verifiers.vlm.text import shown
from worldsim.verifiers.vlm.wire import Wire


@dataclass(frozen=True)
class Access:
    """How a server is reached and treated. None of it changes an answer.

    Attributes:
        base_url: where it is.
        server: what stands for that in the key of kept answers; None is base_url.
        secret: its key, or None.
        timeout: seconds for one request.
        retries: how often a request that failed is made again.
        backoff: seconds before the first of those; each next time twice as long.
        concurrency: requests at once.
        give_up: after so many questions in a row without an answer, the rest of a batch is not asked.
        price: of 1,000 tokens (in, out), in the user's currency; None where unknown.
    """

    base_url: str
    server: str | None = None
    secret: str | None = None
    timeout: float = 60.0
    retries: int = 3
    backoff: float = 1.0
    concurrency: int = 4
    give_up: int = 16
    price: tuple[float, float] | None = None


class Endpoint:
    """Answers questions. It never raises for what a server does: each question has its answer, or its reason for none."""

    def __init__(self, access: Access, sampling: Sampling, cache: Cache, pace: Pace) -> None:
        self._access, self._sampling, self._cache, self._pace = access, sampling, cache, pace
        self._form = 0  # of the forms of a request, the first that this server is known to take
        self._lost = 0  # questions in a row that nobody answered

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """An answer for each question, in their order."""
        kept = [self._kept(question) for question in questions]
        missing = [row for row, answer in enumerate(kept) if answer is None]
        self._lost = 0
        if missing:
            access = self._access
            with Wire(access.base_url, access.secret, access.timeout) as wire, ThreadPoolExecutor(access.concurrency) as pool:
                fresh = pool.map(lambda row: self._fresh(wire, questions[row]), missing)
                kept = {**dict(enumerate(kept)), **dict(zip(missing, fresh, strict=True))}
        return [kept[row] for row in range(len(questions))]

    def _facts(self, question: Question) -> dict[str, Any]:
        return {"server": self._access.server or self._access.base_url, "sampling": asdict(self._sampling), "question": question.facts}

    def _kept(self, question: Question) -> Answer | None:
        found = self._cache.get(digest_of(self._facts(question)))
        return self._answer(question, *found, kept=True) if found else None

    def _fresh(self, wire: Wire, question: Question) -> Answer:
        if self._lost >= self._access.give_up:
            reason = f"not asked, since {self._access.give_up} questions in a row had no answer from the server"
            return Answer(Opinion(None, reason), fault=reason)
        answer = self._asked(wire, question)
        self._lost = self._lost + 1 if answer.fault else 0  # threads may count one too few; it is no exact number
        return answer

    def _asked(self, wire: Wire, question: Question) -> Answer:
        started = time.monotonic()
        try:
            reply = self._persistent(wire, question)
            seconds = time.monotonic() - started
            facts = self._facts(question)
            self._cache.put(digest_of(facts), facts, reply, seconds)
            return self._answer(question, reply, seconds)
        except NoAnswer as error:
            reason, fault = shown(str(error), self._access.secret), error.fault
        except Exception as error:  # one question must not cost the others their answers
            reason, fault = shown(f"asking failed ({type(error).__name__}: {error})", self._access.secret), True
        return Answer(Opinion(None, reason), fault=reason if fault else "", seconds=time.monotonic() - started)

    def _answer(self, question: Question, reply: Reply, seconds: float, *, kept: bool = False) -> Answer:
        opinion = read_opinion(reply, question.prompt.reply, len(question.rubric), self._sampling.temperature)
        price, usage = self._access.price, reply.usage
        cost = None if price is None or usage is None else 0.0 if kept else sum(p * n for p, n in zip(price, usage, strict=True)) / 1000
        return Answer(opinion, shown(reply.text, self._access.secret), "", usage, cost, seconds, kept)

    def _persistent(self, wire: Wire, question: Question) -> Reply:
        """A reply, after as many tries as are allowed.

        Raises:
            NoAnswer: of the last try.
        """
        for tried in range(self._access.retries + 1):
            try:
                return self._formed(wire, question)
            except NoAnswer as error:
                if not error.again or tried == self._access.retries:
                    raise
                if error.wait is not None:
                    self._pace.hold(error.wait)
                else:
                    self._pace.rest(min(self._access.backoff * 2**tried, LONGEST_WAIT))
        raise AssertionError("a loop of at least one try ended")

    def _formed(self, wire: Wire, question: Question) -> Reply:
        """A reply to the fullest form of the request that the server takes; a plainer form that it took is used from then on."""
        forms = self._sampling.forms
        for number in range(self._form, len(forms)):
            self._pace.take_turn()
            try:
                body = wire.post(body_of(question, self._sampling, forms[number]))
            except NoAnswer as error:
                if not error.refused or number == len(forms) - 1:
                    raise
                continue
            self._form = max(self._form, number)
            return read_reply(body)
        raise AssertionError("a server has at least one form")
