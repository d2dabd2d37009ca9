"""Episodes to look at: film strips inside the page and mp4 files beside it, chosen by fixed rules. Knows frames and outcomes, no HTML."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL import Image

from worldsim.data.video import write_video
from worldsim.report import figures
from worldsim.report.episode_index import FALSE_SUCCESS, MISSED, UNSCORED, Line, in_turn, lines_of, replay_command
from worldsim.report.outcomes import Outcome
from worldsim.report.run_folder import RunFolder

COLUMNS = 6  # frames of a film strip, at most
PAIRED = 12  # policies shown by a clip
OF_A_KIND = 3  # examples of each kind of fault
DEFAULT_FPS = 5.0
HEIGHT = 256  # pixels of a clip, about


@dataclass(frozen=True)
class Clip:
    """One episode, beside its true twin where it has one; `strip` and `poster` are data addresses, `video` a link beside the page."""

    line: Line
    strip: str
    poster: str
    video: str
    size: tuple[int, int]
    command: str


def paired_clips(run: RunFolder, outcomes: Sequence[Outcome], ranked: Sequence[str]) -> list[Clip]:
    """For each of the policies the first start that both worlds have, or its first imagined episode; of many policies a spread."""
    places = np.linspace(0, len(ranked) - 1, min(PAIRED, len(ranked))).round().astype(int)
    clips = []
    for place in places:
        lines = [line for line in lines_of(outcomes, ranked[place]) if line.imagined]
        both = [line for line in lines if line.truth]
        clips += [_clip(run, line, f"policy-{place + 1}") for line in (both or lines)[:1]]
    return clips


def fault_clips(run: RunFolder, outcomes: Sequence[Outcome], ranked: Sequence[str]) -> dict[str, list[Clip]]:
    """A few false successes, missed successes and unscored episodes: the first of every policy by rank, then the second of every policy."""
    lines = {policy: lines_of(outcomes, policy) for policy in ranked}
    found = {}
    for kind in (FALSE_SUCCESS, MISSED, UNSCORED):
        chosen = islice(in_turn([[line for line in each if line.kind == kind] for each in lines.values()]), OF_A_KIND)
        found[kind] = [_clip(run, line, f"{kind.replace(' ', '-')}-{place}") for place, line in enumerate(chosen, start=1)]
    return found


def _clip(run: RunFolder, line: Line, name: str) -> Clip:
    """Make the film strip, and write the mp4 under this name: truth at the left and imagination at the right, or the one there is."""
    episodes = [run.episode(outcome.episode) for outcome in line.sides.values()]
    frames = [episode.frames for episode in episodes]
    both = figures.side_by_side(*frames, height=HEIGHT) if len(frames) == 2 else figures.enlarge(frames[0], HEIGHT)
    link = f"videos/{name}.mp4"
    write_video(run.path / "report" / link, both, float(episodes[-1].metadata.get("fps") or DEFAULT_FPS))
    strip = figures.film_strip(frames, list(line.sides), figures.stride(frames, COLUMNS))
    return Clip(
        line=line,
        strip=_inline(figures.png_of(strip), "png"),
        poster=_inline(_jpeg(both[-1]), "jpeg"),
        video=link,
        size=(both.shape[2], both.shape[1]),
        command=replay_command(run.path, line.first.episode),
    )


def _jpeg(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="jpeg", quality=80)
    return stream.getvalue()


def _inline(content: bytes, form: str) -> str:
    return f"data:image/{form};base64,{base64.b64encode(content).decode()}"
