"""What an evaluation will need of the disk, said and refused before anything is computed. Plays nothing."""

import shutil
import sys
import zlib

from worldsim.errors import WorldsimError
from worldsim.experiments.setting import Setting
from worldsim.report.run_folder import RunFolder

OVERHEAD = 8192  # bytes of an episode file beside its frames
SPARE = 4 * 2**20  # for verdicts, results and report


def check_room(folder: RunFolder, setting: Setting, planned: int, *, ignore: bool = False) -> None:
    """Print in one line what is to be played and what it takes.

    Raises:
        WorldsimError: the disk cannot hold it; not with `ignore`.
    """
    sizes = [folder.episode_path(episode).stat().st_size for episode in folder.episode_ids()]
    left = max(0, planned - len(sizes))
    each = sum(sizes) // len(sizes) if sizes else episode_bytes(setting)
    need, free = left * each + SPARE, shutil.disk_usage(folder.path).free
    source = "as those here" if sizes else "as its first frame compresses"
    held = f"memory {_resident() / 2**30:.1f} GiB with all parts loaded"
    line = f"{left} of {planned} episodes to play, {each / 1024:.0f} KiB each ({source}): {_size(need)} of {_size(free)} free; {held}"
    if left and need > free and not ignore:
        raise WorldsimError(
            f"the disk of {folder.path} is too small: {line}; free some space, use another run=PATH, or type ignore_disk=true"
        )
    print(f"worldsim: {line}", file=sys.stderr)


def episode_bytes(setting: Setting) -> int:
    """Bytes that one episode will take, from how its first frame compresses."""
    frame = setting.task.starts[0].frames[-1]
    return len(zlib.compress(frame.tobytes(), 1)) * (setting.task.horizon + 1) + OVERHEAD


def _resident() -> int:
    """The most memory that this process has held, in bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
