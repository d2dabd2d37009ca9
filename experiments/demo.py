"""`worldsim demo`: the shipped policies in the shipped drawer world, ranked and checked against the truth; judge and world checked too."""

from pathlib import Path

from worldsim.experiments.calibrate import run as calibrate
from worldsim.experiments.evaluate import run as evaluate
from worldsim.experiments.schema import CalibrateConfig, DemoConfig, EvaluateConfig

EPISODES = 50  # per policy: enough for a ranking, little enough for four minutes on two cores
PROBE = 12  # episodes of each kind that must fail
DRIFT = 25  # true episodes whose actions are replayed open loop: one batch


def run(config: DemoConfig) -> Path:
    """Rank the panel, probe it with what must fail, replay true actions, calibrate the judge by the state. Returns the run folder.

    Raises:
        MissingDependency: MuJoCo or OpenGL is missing; nothing has been computed then.
    """
    episodes = config.episodes or EPISODES
    few = {"probe": min(PROBE, episodes), "drift": min(DRIFT, episodes)}
    path = evaluate(
        EvaluateConfig(world_model="drawer", task="drawer", truth="drawer", episodes=episodes, run=config.run, report=False, **few)
    )
    calibrate(CalibrateConfig(run=str(path), against="state"))
    return path
