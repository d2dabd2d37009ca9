"""What is given, what is predicted and what is scored: one evaluation protocol as data. Knows nothing of models and files of episodes."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from worldsim.errors import InvalidInput, UnknownName
from worldsim.experiments.physics_keys import PhysicsKeys
from worldsim.registry import did_you_mean

METRICS = ("psnr", "ssim", "lpips", "dreamsim", "fvd", "fid")
WORDS = ("all", "predicted", "last")
MODES = ("ar", "nar")


@dataclass(frozen=True)
class Protocol:
    """One evaluation protocol; the values live in `configs/protocols/NAME.yaml`. Frames of a clip are counted from 1, the first given one.

    Attributes:
        given: real frames at the beginning of each clip.
        predicted: frames that the model makes after them.
        clips: how many clips, at most one of each episode.
        seed: what the choice of clips follows from.
        published: domain whose published clips are taken where the recordings have its names ("csgo"); "" draws them always.
        mode: "ar", frame by frame, or "nar", all predicted frames together.
        scored: frames that count: "all" (with the given ones), "predicted", "last", or a list of numbers.
        video: frames that FVD sees, said likewise.
        crop: height and width cut from the centre first; [] is the whole frame.
        size: height and width resized to then, bilinearly; [] keeps the size.
        metrics: what is measured.
        lpips_net: the network that the numbers to compare with were measured with, said in the results.
        physics: what the physics block may know of the recordings.
        ssim_border: let SSIM's window reach over the edge, as torchmetrics does and piqa does not.
    """

    given: int = MISSING
    predicted: int = MISSING
    clips: int = MISSING
    seed: int = 0
    published: str = ""
    mode: str = "ar"
    scored: Any = "predicted"
    video: Any = "predicted"
    crop: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    metrics: list[str] = field(default_factory=lambda: ["psnr", "ssim"])
    lpips_net: str = "vgg"
    ssim_border: bool = False
    physics: PhysicsKeys = field(default_factory=PhysicsKeys)

    def __post_init__(self) -> None:
        if min(self.given, self.predicted, self.clips) < 1:
            raise InvalidInput(f"given {self.given}, predicted {self.predicted}, clips {self.clips}: a protocol needs 1 or more of each")
        for kind, words, known in (("metric", self.metrics, METRICS), ("mode", [self.mode], MODES)):
            for word in words:
                if word not in known:
                    raise UnknownName(f'unknown {kind} "{word}"; {did_you_mean(word, known)}')
        for key in ("crop", "size"):
            pair = getattr(self, key)
            if len(pair) not in (0, 2) or any(side < 1 for side in pair):
                raise InvalidInput(f"{key} is {list(pair)}, expected [height,width] in pixels or []")
        self.scored_frames, self.video_frames  # noqa: B018 (each refuses what it cannot read)

    @property
    def length(self) -> int:
        """Frames of a clip."""
        return self.given + self.predicted

    @property
    def scored_frames(self) -> tuple[int, ...]:
        """Places of the frames that count, from 0."""
        return self._places("scored", self.scored)

    @property
    def video_frames(self) -> tuple[int, ...]:
        """Places of the frames that FVD sees, from 0."""
        return self._places("video", self.video)

    def _places(self, key: str, chosen: Any) -> tuple[int, ...]:
        if isinstance(chosen, str):
            if chosen not in WORDS:
                raise UnknownName(f'unknown {key} "{chosen}"; {did_you_mean(chosen, WORDS)}, or a list of frame numbers')
            begin = {"all": 0, "predicted": self.given, "last": self.length - 1}[chosen]
            return tuple(range(begin, self.length))
        if not (isinstance(chosen, list) and chosen and all(isinstance(each, int) and 1 <= each <= self.length for each in chosen)):
            raise InvalidInput(f"{key} is {chosen}, expected {', '.join(WORDS)} or a list of frame numbers from 1 to {self.length}")
        return tuple(each - 1 for each in chosen)
