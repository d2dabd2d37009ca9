"""One lane's episodes as mp4 files, one after another, a frame at a time. Knows nothing of Gymnasium."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np

from worldsim.errors import InvalidInput

EpisodeTrigger = Callable[[int], bool]


class Recorder:
    """The videos of one lane, one episode after another; at most one is open."""

    def __init__(self, folder: Path, name: str, fps: float, trigger: EpisodeTrigger | None) -> None:
        self._folder, self._name, self._fps = folder, name, fps
        self._trigger = trigger
        self._episode = -1
        self._file = ExitStack()
        self._write: Callable[[np.ndarray], None] | None = None
        self.recording = False

    def begin(self) -> None:
        """Finish what is open and go on to the next episode, which is recorded if the trigger wants it."""
        self.finish()
        self._episode += 1
        self.recording = self._trigger is None or bool(self._trigger(self._episode))

    def add(self, frame: np.ndarray) -> None:
        """Write one frame uint8 `[H, W, 3]`, if this episode is recorded; a video that cannot take it is thrown away."""
        if not self.recording:
            return
        self.recording = False
        with self._file as file:
            if self._write is None:
                self._write = file.enter_context(self._opened(frame))
            self._write(frame)
            self._file = file.pop_all()
        self.recording = True

    def finish(self) -> None:
        """Give the open video its name."""
        self.recording, self._write = False, None
        self._file.close()

    def _opened(self, frame: np.ndarray) -> AbstractContextManager[Callable[[np.ndarray], None]]:
        from worldsim.data.video import streamed_video  # loads PyAV

        return streamed_video(self._folder / f"{self._name}-{self._episode:06d}.mp4", *_size(frame), self._fps)


def _size(frame: np.ndarray) -> tuple[int, int]:
    """Rows and columns of a rendered frame.

    Raises:
        InvalidInput: it is not uint8 `[H, W, 3]`.
    """
    frame = np.asarray(frame)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3 or 0 in frame.shape:
        raise InvalidInput(f"render() gave {frame.dtype} {list(frame.shape)}, expected uint8 [H, W, 3]")
    return frame.shape[0], frame.shape[1]
