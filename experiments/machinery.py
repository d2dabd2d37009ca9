"""What the machine can do: GPU, bf16, threads, memory, disk, OpenGL, codecs, browser. Knows nothing of packages' versions."""

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from worldsim.errors import INSTALL
from worldsim.experiments.findings import Finding, size

DISK_NEEDED = 5 * 2**30  # bytes: the tested set of packages and a run with its videos
MEMORY_NEEDED = 4 * 2**30  # bytes: the demo with its workers
GL_SECONDS = 60
OSMESA = "apt-get install -y --no-install-recommends libosmesa6"
ONE_FRAME = """
import os, numpy as np
from worldsim.load import load_truth
from worldsim.types import Start
frame = load_truth("drawer").reset([Start("0", np.zeros((1, 64, 64, 3), np.uint8), 7)])[0]
print("rendered", os.environ.get("MUJOCO_GL", "the system's own"), int(frame.max()) - int(frame.min()))
"""
CODECS = {"H.264": ("libx264", "h264"), "MPEG-4": ("mpeg4", "mpeg4"), "AV1": ("libsvtav1", "av1")}  # what writes it, what reads it
WRITTEN = "H.264"  # what worldsim's own videos are
AV = f"{INSTALL} --force-reinstall av"


def graphics(driver: Callable[[], tuple[str, str] | None] | None = None) -> Iterator[Finding]:
    """The GPUs that torch sees, and a driver that it does not use."""
    import torch

    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
    found = (driver or nvidia_driver)()
    if not torch.cuda.is_available():
        yield Finding("GPU", f"none that torch sees; torch is {build}", *_unused(found, torch.version.cuda))
        return
    bf16 = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bf16: precision=fp32"
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        about = f"{card.name}, {size(card.total_memory)}, {bf16}; torch is {build}" + (f", driver {found[0]}" if found else "")
        yield Finding(f"GPU {index}", about)


def _unused(driver: tuple[str, str] | None, build: str | None) -> tuple[str, str]:
    """State and fix where torch sees no GPU: good without a driver."""
    if driver is None:
        return "good", ""
    number, newest = driver
    if build is None:
        return "note", f"driver {number} is there (CUDA up to {newest}): install a CUDA build of torch to use it"
    return "note", f"driver {number} takes CUDA up to {newest}: update it, or install a torch built for CUDA {newest} or older"


def nvidia_driver() -> tuple[str, str] | None:
    """Version of the NVIDIA driver and the newest CUDA that it takes, as nvidia-smi says; None without one."""
    try:
        said = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"Driver Version: *([\d.]+).*CUDA Version: *([\d.]+)", said)
    return (found[1], found[2]) if found else None


def bfloat16(cpuinfo: str = "/proc/cpuinfo") -> Iterator[Finding]:
    """Whether the processor multiplies bf16 in hardware; without it bf16 is slower than fp32, which precision=auto then takes."""
    if not Path(cpuinfo).exists():
        yield Finding("bf16 on the CPU", "unknown on this system")
        return
    flags = set(Path(cpuinfo).read_text(encoding="utf-8").split())
    found = sorted(flags & {"avx512_bf16", "amx_bf16"})
    yield Finding("bf16 on the CPU", ", ".join(found) or "none, so precision=auto takes fp32")


def threads() -> Iterator[Finding]:
    """Cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = os.environ.get("OMP_NUM_THREADS")
    yield Finding("threads", f"{cores} cores, OMP_NUM_THREADS={limit or 'unset'}")


def memory(total: int | None = None) -> Iterator[Finding]:
    """Bytes of memory in the machine."""
    total = total or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    enough = total >= MEMORY_NEEDED
    yield Finding("memory", size(total), "good" if enough else "note", "" if enough else "batch=5 workers=1 where a run is too large")


def disk(free: Callable[[str], int] = lambda path: shutil.disk_usage(path).free) -> Iterator[Finding]:
    """Free bytes here, and where runs/ is, if that is elsewhere."""
    places = {"here": "."} | ({"in runs/": "runs"} if Path("runs").is_dir() and os.stat("runs").st_dev != os.stat(".").st_dev else {})
    for words, path in places.items():
        left = free(path)
        enough = left >= DISK_NEEDED
        fix = "" if enough else f"free {size(DISK_NEEDED - left)} on this disk"
        yield Finding(f"disk {words}", f"{size(left)} free", "good" if enough else "note", fix)


def opengl(render: Callable[[], tuple[int, str]] | None = None) -> Iterator[Finding]:
    """Whether a frame of the true world can be rendered, by rendering one in a process of its own: a wrong driver may end that."""
    code, said = (render or _render)()
    backend, spread = said.rsplit("rendered ", 1)[1].rsplit(" ", 1) if code == 0 and "rendered " in said else ("", "0")
    chosen = os.environ.get("MUJOCO_GL")
    if int(spread):
        yield Finding("OpenGL", f"a frame was rendered by {backend}" + (" (MUJOCO_GL)" if chosen else ""))
        return
    reason = "the picture is of one colour" if backend else (said.strip().splitlines() or [f"ended with code {code}"])[-1]
    fix = f"unset MUJOCO_GL (it is {chosen}), or {OSMESA}" if chosen else OSMESA
    yield Finding("OpenGL", f"no frame could be rendered: {reason[:160]}", "bad", fix if sys.platform == "linux" else "")


def _render() -> tuple[int, str]:
    """Exit code and last words of a process that renders one frame."""
    try:
        done = subprocess.run([sys.executable, "-c", ONE_FRAME], capture_output=True, text=True, timeout=GL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return 1, f"nothing after {GL_SECONDS} s"
    return done.returncode, done.stdout.strip() if done.returncode == 0 else done.stderr


def codecs(convert: Callable[[str, str], int] | None = None) -> Iterator[Finding]:
    """For each kind of video that is met: whether frames can be written and read again."""
    os.environ.setdefault("SVT_LOG", "1")  # AV1's encoder says errors only
    for name, (writer, reader) in CODECS.items():
        try:
            frames = (convert or _there_and_back)(writer, reader)
            found, good = f"{frames} frames written by {writer} and read again", frames > 0
        except Exception as error:  # FFmpeg's own kinds, and a codec that is not built in
            found, good = f"{writer} does not work: {error}"[:120], False
        yield Finding(f"video {name}", found, "good" if good else "bad" if name == WRITTEN else "note", "" if good else AV)


def _there_and_back(writer: str, reader: str) -> int:
    """How many of four frames come back."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(writer, rate=5)
        stream.height = stream.width = 64
        stream.pix_fmt = "yuv420p"
        for level in (0, 80, 160, 240):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        if container.streams.video[0].codec_context.codec.canonical_name != reader:
            return 0
        return sum(1 for _ in container.decode(video=0))


def browser(which: Callable[[str], str | None] = shutil.which) -> Iterator[Finding]:
    """The browser that some tests need."""
    program = next((name for name in ("chromium", "google-chrome") if which(name)), None)
    missing = ([] if program else ["chromium"]) + ([] if which("chromedriver") else ["chromedriver"])
    if missing:
        fix = "apt-get install -y --no-install-recommends chromium chromium-driver"
        yield Finding("browser for tests", f"no {' and no '.join(missing)}", "optional", fix)
    else:
        yield Finding("browser for tests", f"{program}, chromedriver")
