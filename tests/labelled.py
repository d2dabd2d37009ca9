"""A small run to label: a bright square that reaches the right side or does not, in two worlds, by two policies."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPMessage
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np

from worldsim.labelling.deck import Choice, deal, read_entries
from worldsim.labelling.label import Label, content_of
from worldsim.labelling.ledger import opened
from worldsim.labelling.question import Question
from worldsim.labelling.serve import label_server
from worldsim.labelling.sitting import Sitting
from worldsim.report.run_folder import RunFolder
from worldsim.serving.server import PageServer
from worldsim.types import Trajectory

INSTRUCTION = "push the square to the right"
HASH = "ab" * 32
SECRETS = ("secretpolicy", "otherpolicy", "imagined", "truth", "startsecret", "episodesecret", ".h5", "runsecret")


def config(instruction: str = INSTRUCTION) -> dict:
    return {
        "identity": {
            "world_model": {"name": "toy", "sha256": None, "parameters": None, "leak": None},
            "verifier": {"name": "none"},
            "task": {"id": "push", "instruction": instruction},
            "sampler": {},
            "seed": 0,
        }
    }


def clip(policy: str, world: str, start: int, instruction: str = INSTRUCTION, steps: int = 7, size: int = 64) -> Trajectory:
    frames = np.full((steps + 1, size, size, 3), (90, 110, 130), np.uint8)
    reach = steps if policy == "secretpolicy" else steps // 2
    top = 6 + 5 * start % (size - 20)
    for step, frame in enumerate(frames):
        left = 4 + (size - 20) * min(step, reach) // steps
        frame[top : top + 12, left : left + 12] = (235, 190, 60) if world == "imagined" else (240, 200, 80)
    actions = np.full((steps, 2), 1.0, np.float32)
    about = {"policy": policy, "world": world, "instruction": instruction, "fps": 8.0}
    return Trajectory("push", frames, actions, seed=start, start_id=f"startsecret{start:02d}", metadata=about)


def make_run(path: Path, starts: int = 5, worlds: tuple[str, ...] = ("imagined", "truth"), instruction: str = INSTRUCTION) -> RunFolder:
    """Two policies from each start in each world; episode ids tell nothing."""
    with RunFolder.open(path, config(instruction)) as run:
        for world in worlds:
            for policy in ("secretpolicy", "otherpolicy"):
                for start in range(starts):
                    run.add_episode(f"episodesecret-{world[0]}{policy[0]}{start:02d}", clip(policy, world, start, instruction))
    return RunFolder(path)


def give(run, rater, answers):
    """Labels of one rater by episode, as the page would keep them."""
    with opened(run, rater) as ledger:
        ledger.add([Label(episode, rater, answer, content_of(run.episode(episode)), 1.5, 2, 3) for episode, answer in answers.items()])


def imagined(run):
    return [entry.episode for entry in read_entries(run)[0] if entry.world == "imagined"]


@dataclass
class Client:
    """A browser without a screen: keeps its cookie, sends what it is told."""

    server: PageServer
    cookie: str = ""
    csrf: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.server.address).query)["token"][0]

    def ask(self, path: str, body: bytes | None = None, method: str | None = None, **headers: str) -> tuple[int, HTTPMessage, bytes]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.port}{path}", data=body, method=method)
        for name, value in {"cookie": self.cookie, **self.headers, **headers}.items():
            request.add_unredirected_header(name.replace("_", "-").capitalize(), value)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def enter(self) -> "Client":
        """Trade the token for the cookie."""
        status, headers, _ = self.ask(self.server.address.partition(str(self.server.port))[2])
        assert status == 200
        self.cookie = headers["set-cookie"].split(";")[0]
        return self


@contextmanager
def served(
    run: RunFolder, rater: str = "ann", choice: Choice | None = None, question: Question | None = None
) -> Iterator[tuple[PageServer, Sitting]]:
    """The label page of one sitting, answering on a free port until the block ends."""
    choice = choice or Choice()
    with opened(run, rater) as ledger:
        sitting = Sitting(run, deal(read_entries(run)[0], choice, rater), ledger, question or Question())
        server = label_server(sitting)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server, sitting
        finally:
            server.stop()
            thread.join(20)
            assert not thread.is_alive()


def label_many(path, rater, answers) -> None:
    """Give one answer after another; processes of their own do this, so it stands in a module that they can import."""
    run = RunFolder(path)
    episodes = imagined(run)
    with opened(run, rater) as ledger:
        for number, answer in enumerate(answers):
            ledger.add([Label(episodes[number % len(episodes)], rater, answer, HASH, order=number)])
