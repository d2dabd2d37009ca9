"""How a frame is drawn from a video diffusion network: one dataclass of options. Knows no network."""

from dataclasses import dataclass

from worldsim.diffusion.parameterize import check_prediction
from worldsim.diffusion.schedule import get_schedule
from worldsim.errors import InvalidInput, UnknownName
from worldsim.registry import did_you_mean

HISTORY_MODES = ("stream", "block", "window", "recompute")
ENDINGS = ("clean", "released")
ANCHORS = ("episode", "window")


@dataclass(frozen=True)
class Sampler:
    """How a frame is drawn.

    Attributes:
        steps: denoising steps per frame.
        guidance: scale s of `v_u + s (v_c - v_u)`; 1 is none.
        history: "stream" keeps the features of all frames and computes each once; "window" computes those of the last frames once per new
            frame, and equals "recompute", which computes them anew in every denoising step and is right for every network, also one whose
            norms pool over the clip; "block" keeps features while a window grows from half its length to all of it, then begins again
            from its last half.
        history_level: noise level in [0, 1) that past frames are held at, its noise drawn once per frame and kept.
        prediction, schedule: what the network predicts, and how noise is added.
        rescale: share of the spread from before guidance that is restored (0 is none, the paper's 0.7).
        rescale_over: "frame" takes the spread of the newest frame, "clip" of all frames in the window, as the released code does.
        eta: 0 is deterministic DDIM, 1 is ancestral sampling.
        ending: "clean" ends at level 0; "released" ends where the released sampler does, one level short of it and still shrunk.
        history_shrink: whether the dynamic rescale is applied to history, as in training; the released sampler leaves it out.
        window: frames that a new one may see, itself included; None is what the network was trained with. Not for "stream".
        anchor: the frame whose latent and image tokens the network is conditioned on, where it takes them: the first of the "episode",
            or the first of the "window", as the released long rollouts do.
    """

    steps: int = 1
    guidance: float = 1.0
    history: str = "stream"
    history_level: float = 0.02
    prediction: str = "clean"
    schedule: str = "linear"
    rescale: float = 0.0
    rescale_over: str = "frame"
    eta: float = 0.0
    ending: str = "clean"
    history_shrink: bool = True
    window: int | None = None
    anchor: str = "episode"

    def __post_init__(self) -> None:
        check_prediction(self.prediction, self.schedule)
        get_schedule(self.schedule)
        words = {"history": HISTORY_MODES, "ending": ENDINGS, "anchor": ANCHORS, "rescale_over": ("frame", "clip")}
        for key, known in words.items():
            if getattr(self, key) not in known:
                raise UnknownName(f'unknown {key} "{getattr(self, key)}"; {did_you_mean(str(getattr(self, key)), known)}')
        if self.steps < 1:
            raise InvalidInput(f"steps is {self.steps}, expected 1 or more")
        if not 0 <= self.guidance < float("inf"):
            raise InvalidInput(f"guidance is {self.guidance}, expected a number from 0 (1 is none)")
        if not 0 <= self.history_level < 1:
            raise InvalidInput(f"history_level is {self.history_level}, expected a level in [0, 1)")
        for key in ("rescale", "eta"):
            if not 0 <= getattr(self, key) <= 1:
                raise InvalidInput(f"{key} is {getattr(self, key)}, expected a number from 0 to 1")
        if self.window is not None and self.window < 2:
            raise InvalidInput(f"window is {self.window}, expected at least 2 frames: one of history and the new one")
        if self.window is not None and self.history == "stream":
            raise InvalidInput(f"window is {self.window}, and history=stream keeps what the network was trained with; type history=window")
        if self.history != "recompute" and self.rescale_over == "clip":
            raise InvalidInput(
                "the frames of a window are seen whole only with history=recompute; type history=recompute, or rescale_over=frame"
            )
        if self.history in ("stream", "block") and self.anchor == "window":
            raise InvalidInput("kept features belong to the first frame of the episode; type anchor=episode, or history=window")


RELEASED = Sampler(
    steps=50,
    guidance=2.5,
    history="recompute",
    history_level=0.04,  # timestep 39 of 1000
    prediction="v",
    schedule="zero_snr_rescaled",
    rescale=0.7,
    rescale_over="clip",
    eta=1.0,
    ending="released",
    history_shrink=False,
    anchor="window",
)
