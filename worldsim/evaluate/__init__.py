"""Let policies act in a world, many episodes at a time, and keep each as it ends. It speaks protocols only and knows no model or policy."""

from worldsim.evaluate.cast import Cast
from worldsim.evaluate.clock import Clock, timed
from worldsim.evaluate.keeping import evaluate, judge_missing
from worldsim.evaluate.lanes import roll_out
from worldsim.evaluate.planning import WHOLE, Episode, Round, Shard, missing, missing_rounds, plan, rounds_of
from worldsim.evaluate.worlds import Genuine, Imagined, World

__all__ = [
    "WHOLE",
    "Cast",
    "Clock",
    "Episode",
    "Genuine",
    "Imagined",
    "Round",
    "Shard",
    "World",
    "evaluate",
    "judge_missing",
    "missing",
    "missing_rounds",
    "plan",
    "roll_out",
    "rounds_of",
    "timed",
]
