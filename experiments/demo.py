"""`worldsim demo`: the shipped policies in the shipped drawer world, ranked and checked against the truth."""

from pathlib import Path

from worldsim.experiments.evaluate import run as evaluate
from worldsim.experiments.schema import DemoConfig, EvaluateConfig

EPISODES = 50  # per policy: enough for a ranking, little enough for four minutes on two cores


def run(config: DemoConfig) -> Path:
    """Rank the panel and return the run folder.

    Raises:
        MissingDependency: MuJoCo or OpenGL is missing; nothing has been computed then.
    """
    episodes = config.episodes or EPISODES
    return evaluate(EvaluateConfig(world_model="drawer", task="drawer", truth="drawer", episodes=episodes, run=config.run))
