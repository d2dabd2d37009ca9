"""What one process of a Ray cluster does: hold a world, policies and a judge, play rounds of episodes and judge them. Writes nothing."""

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.data.files import digest_of
from worldsim.errors import WorldsimError
from worldsim.evaluate import Cast, Clock, Round, roll_out
from worldsim.experiments.schema import EvaluateConfig
from worldsim.experiments.setting import Setting, prepare
from worldsim.load import load_policy
from worldsim.types import Trajectory, Verdict


@dataclass(frozen=True)
class Played:
    """What became of a round: its episodes by id, where the time went, and what was warned of on the way."""

    trajectories: dict[str, Trajectory]
    clock: Clock
    warnings: list[str]


class Player:
    """An evaluation's parts, held by one process. Every call gives what it would have given in the process that asks."""

    def prepare(self, config: EvaluateConfig, folder: str, parts: Mapping[str, Any]) -> None:
        """Load everything as `config` says, in `folder`.

        Raises:
            WorldsimError: the folder is not on this machine, or what was loaded is not what the asking process loaded, `parts`.
        """
        host = socket.gethostname()
        if not Path(folder).is_dir():
            raise WorldsimError(f"{folder} is not on {host}; machines of a Ray cluster need the same files in the same places")
        os.chdir(folder)
        self._heard = _Heard()
        logging.getLogger("worldsim").addHandler(self._heard)
        self._setting, self._strict = prepare(config), config.determinism == "strict"
        mine = parts_of(self._setting)
        if different := [name for name, value in parts.items() if mine[name] != value]:
            (first, *_) = different
            raise WorldsimError(
                f"{host} has another {first} ({mine[first]}) than the machine that asks ({parts[first]}); "
                "give all machines the same files, or type what differs"
            )
        self._casts = {0: self._setting.cast}

    def play(self, world: str, cast: tuple[int, dict[str, Any]], episodes: Round, batch: int) -> Played:
        """Play these episodes in `world` with the policies that `cast` numbers and says how to load."""
        number, specs = cast
        place, clock = self._setting.worlds[world], Clock()
        if number not in self._casts:
            policies = {name: load_policy(spec, self._setting.world.action) for name, spec in specs.items()}
            self._casts[number] = Cast(policies, one_by_one=self._strict)
        played = roll_out(place, self._casts[number], self._setting.task, episodes, clock, batch=batch)
        trajectories = {episode.id: trajectory for episode, trajectory in played}
        clock.lanes = min(clock.lanes or 0, place.limit or batch) or None
        clock.halved |= self._casts[number].halved
        return Played(trajectories, clock, self._heard.taken())

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Verdict]:
        """What the judge says; of a strict run one episode at a time."""
        verifier = self._setting.verifier
        if not self._strict:
            return verifier.judge(list(trajectories))
        return [verdict for each in trajectories for verdict in verifier.judge([each])]


def parts_of(setting: Setting) -> dict[str, Any]:
    """What two processes must have alike to play the same episodes, as JSON values by name."""
    return setting.identity | {"policies": digest_of(setting.facts), "plan": digest_of([episode.id for episode in setting.planned])}


class _Heard(logging.Handler):
    """Keeps what is warned of, for another process to say."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())

    def taken(self) -> list[str]:
        """What was said since the last time."""
        lines, self._lines = self._lines, []
        return lines
