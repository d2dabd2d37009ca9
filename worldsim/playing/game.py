"""One person at play: from starts and actions to moments, alone in an imagined world or beside the true one. Knows no web.

The same actions from the same moment give the same frames bit for bit: a moment holds the world model's whole state, and every draw
follows from its seed.
"""

from collections.abc import Sequence

import numpy as np

from worldsim.errors import InvalidInput, UnknownName
from worldsim.playing.beside import Beside
from worldsim.playing.controls import Command, controls_of
from worldsim.playing.moments import Moment, Story, TrueMoment
from worldsim.playing.pilots import YOU, Pilots
from worldsim.playing.tuning import Tunable, Tuning
from worldsim.types import State, Task, Truth, WorldModel


class Game:
    """The world, what happened in it so far, and how its next frames are drawn.

    Args:
        model: the world model.
        task: where games begin.
        pilots: policies to hand over to.
        truth: a true world to go beside it; None is none.
        start: number of the start of the first game.
        seed: of the first game.
        most: moments held at a time.
    """

    def __init__(
        self, model: WorldModel, task: Task, pilots: Pilots, truth: Truth | None = None, *, start: int = 0, seed: int = 0, most: int = 1000
    ) -> None:
        self.world, self.task, self.pilots = Tunable(model), task, pilots
        self.controls, self.story = controls_of(model.spec.action), Story(most)
        self.tuning = self.world.own
        self._beside = None if truth is None else Beside(truth)
        self.latest = self.begin(start, seed)

    @property
    def has_truth(self) -> bool:
        """Whether a true world goes beside the imagined one."""
        return self._beside is not None

    def begin(self, start: int | None = None, seed: int | None = None) -> Moment:
        """A new game at the task's start of that number; None is the one after the latest. `seed` None is that of the latest game.

        Raises:
            UnknownName: the task has no such start.
            WorldsimError: what the model says of it.
        """
        number = (self.latest.number + 1) % len(self.task.starts) if start is None else start
        if not 0 <= number < len(self.task.starts):
            raise UnknownName(f'task "{self.task.id}" has starts 0 to {len(self.task.starts) - 1}, not {number}')
        self.story.make_room(None)
        id, chosen, seed = self.story.new_id(), self.task.starts[number], self.latest.seed if seed is None else seed
        state = self.world.start(chosen.frames, seed, self.tuning)
        truth = self._beside and self._beside.start(id, chosen)
        frame = chosen.frames[-1]
        made = (state, frame, state.faults[0], truth, _apart(frame, truth))
        return self._kept(Moment(id, None, 0, number, chosen, seed, None, "", self.tuning, *made))

    def step(self, at: int, by: str = YOU, command: Command | None = None) -> Moment:
        """The moment after `at`, by what a person presses or by a policy's choice.

        Raises:
            UnknownName, InvalidInput: no such moment, policy or control; the world broke there, or no room is left.
            WorldsimError: the policy failed.
        """
        line = self.story.line(at)
        here = line[-1]
        if here.fault:
            raise InvalidInput(f"the world broke here ({here.fault}); go back to an earlier frame or take a new start")
        self.story.make_room(at)
        action = self.controls.action(command or Command()) if by == YOU else self.pilots.act(by, line, self.task)
        state, frame = self.world.step(self._ready(line, self.tuning), action, self.tuning)
        id = self.story.new_id()
        truth = self._beside and self._beside.step(line, action, id)
        if by != YOU:
            self.pilots.led_to(by, id)
        made = (state, frame, state.faults[0], truth, _apart(frame, truth))
        return self._kept(Moment(id, at, here.step + 1, here.number, here.start, here.seed, action, by, self.tuning, *made))

    def tune(self, tuning: Tuning) -> Tuning:
        """Draw all later frames so. Raises InvalidInput where the model cannot."""
        self.tuning = self.world.check(tuning)
        return tuning

    def denoising(self, at: int) -> list[np.ndarray]:
        """How the frame of a moment came out of noise, drawn once more: see `Tunable.denoising`.

        Raises:
            InvalidInput: a start, which was given, or a model that does not say.
        """
        here = self.story.moment(at)
        if here.parent is None:
            raise InvalidInput("the first frame was given, not drawn; take a step first")
        before = self.story.line(here.parent)
        return self.world.denoising(self._ready(before, here.tuning), here.action, here.tuning)

    def _ready(self, line: Sequence[Moment], tuning: Tuning | None) -> State:
        """The state of the last moment as this tuning can go on with it."""
        here = line[-1]
        if tuning is None or here.tuning.history == tuning.history:
            return here.state
        if here.parent is None:
            return self.world.start(here.start.frames, here.seed, tuning)
        return self.world.carried([each.frame for each in line], [each.action for each in line[1:]], here.seed, tuning)

    def _kept(self, moment: Moment) -> Moment:
        self.latest = self.story.add(moment)
        return moment


def _apart(frame: np.ndarray, truth: TrueMoment | None) -> float | None:
    """The mean difference between a frame and the true one, in grey levels."""
    return None if truth is None else float(np.abs(frame.astype(np.int16) - truth.frame).mean())
