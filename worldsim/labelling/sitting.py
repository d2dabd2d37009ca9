"""One rater at work: which clip comes next, and what was said of each. Knows no web."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

from worldsim.labelling.clips import Clip, clip_of
from worldsim.labelling.deck import Card
from worldsim.labelling.label import SCORES, Label, content_of
from worldsim.labelling.ledger import Ledger
from worldsim.labelling.question import Question
from worldsim.report.printable import printable
from worldsim.report.run_folder import RunFolder

KEPT = 16  # clips held in memory


@dataclass(frozen=True)
class Shown:
    """What the page is told of a clip. `label` is the answer that it has already; `before` and `after` name its neighbours."""

    id: str
    place: int
    instruction: str
    reference: bool
    label: str | None
    before: str | None
    after: str | None


class Sitting:
    """The cards of one rater with what was said of them. Calls from several threads are safe.

    A label that the rater gave earlier counts only while the episode still shows what it was given for.
    """

    def __init__(self, run: RunFolder, cards: Sequence[Card], ledger: Ledger, question: Question) -> None:
        self._run, self._ledger, self.question = run, ledger, question
        self._cards = list(cards)
        self._by_id = {card.id: card for card in self._cards}
        self._lock = Lock()
        self._clips = lru_cache(KEPT)(lambda episode: clip_of(run.episode(episode)))
        self._answers = {card.id: label.answer for card in self._cards if (label := self._given(card))}

    def _given(self, card: Card) -> Label | None:
        label = self._ledger.labels.get(card.entry.episode)
        return label if label and label.content == content_of(self._run.episode(card.entry.episode)) else None

    @property
    def rater(self) -> str:
        """Who labels."""
        return self._ledger.rater

    @property
    def total(self) -> int:
        """How many clips there are to label."""
        return len(self._cards)

    @property
    def done(self) -> int:
        """How many are labelled."""
        return len(self._answers)

    @property
    def counts(self) -> dict[str, int]:
        """How often each answer was given."""
        found = Counter(self._answers.values())
        return {answer: found[answer] for answer in SCORES}

    def card(self, id: str) -> Card:
        """The card that goes by this name on the page.

        Raises:
            KeyError: there is none.
        """
        return self._by_id[id]

    def next(self) -> Card | None:
        """The first card without a label; None when all have one."""
        return next((card for card in self._cards if card.id not in self._answers), None)

    def last(self) -> Card:
        """The last card in the order."""
        return self._cards[-1]

    def clip(self, episode: str) -> Clip:
        """What is shown of an episode.

        Raises:
            DamagedFile: it cannot be read any more.
        """
        return self._clips(episode)

    def shown(self, card: Card) -> Shown:
        """What the page is told of a card.

        Raises:
            DamagedFile: its episode cannot be read any more.
        """
        neighbours = [self._cards[place].id if 0 <= place < self.total else None for place in (card.place - 2, card.place)]
        instruction = printable(self.clip(card.entry.episode).instruction)
        return Shown(card.id, card.place, instruction, card.reference is not None, self._answers.get(card.id), *neighbours)

    def record(self, card: Card, answer: str, seconds: float, replays: int) -> None:
        """Keep an answer, with the hash of what was shown; it is on disk when this returns.

        Raises:
            InvalidInput: an answer or a number that cannot be one.
            DamagedFile: the episode cannot be read any more.
            OSError: the answer cannot be written; it does not count then.
        """
        episode = card.entry.episode
        label = Label(episode, self.rater, answer, self.clip(episode).content, round(seconds, 2), replays, card.place, self.question.digest)
        with self._lock:
            self._ledger.add([label])
            self._answers[card.id] = answer
