"""From episodes that end to a run folder: each kept as it comes, and judged. Knows no world and no policy."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from worldsim.evaluate.clock import Clock
from worldsim.evaluate.planning import Episode
from worldsim.report.run_folder import About, RunFolder
from worldsim.types import Trajectory, Verdict, Verifier
from worldsim.wrappers import Halving


def evaluate(
    run: RunFolder,
    played: Iterable[tuple[Episode, Trajectory]],
    clock: Clock,
    *,
    watch: Callable[[Episode], None] = lambda episode: None,
) -> None:
    """Keep every episode of `played` that the run folder lacks, as soon as it comes.

    Args:
        run: where episodes are kept.
        played: episodes and what became of them, in any order; some may be there already.
        clock: told of every episode that is kept.
        watch: told of it too.
    """
    for episode, trajectory in played:
        if not run.has_episode(episode.id):
            run.add_episode(episode.id, trajectory)
            clock.rollouts, clock.frames = clock.rollouts + 1, clock.frames + len(trajectory)
            watch(episode)


def judge_missing(run: RunFolder, verifier_id: str, verifier: Verifier, worlds: Sequence[str], clock: Clock, *, batch: int = 64) -> None:
    """Judge every episode of `worlds` on disk that this verifier has not judged yet, at most `batch` at a time.

    An episode that broke off is not shown to the verifier: nobody can tell how it would have ended. Played again, it is judged anew.
    Where the memory is too small for that, half as many at a time.
    A verifier with `revisable` may say something else each time, so it judges all again; what it has said already is not written twice.
    """
    held = run.verdicts(verifier_id)
    revisable = getattr(verifier, "revisable", False)
    known = {} if revisable else {episode: verdict.details.get("fault", "") for episode, verdict in held.items()}
    waiting = [about for about in run.abouts() if about.world in worlds and known.get(about.episode) != about.fault]

    calls = Halving("the verifier", "episode", "give it a machine with more, or name another verifier=", batch)
    calls.over(len(waiting), lambda part: _judge(run, verifier_id, verifier, waiting[part], clock, held))
    if calls.halved and calls.size:
        clock.halved[f"verifier {verifier_id}"] = calls.size


def _judge(run: RunFolder, verifier_id: str, verifier: Verifier, few: Sequence[About], clock: Clock, held: Mapping[str, Verdict]) -> None:
    """Judge these episodes in one call, and keep what was not held already."""
    sound = {about.episode: run.episode(about.episode) for about in few if not about.fault}
    said = clock.measure("verifier", lambda: verifier.judge(list(sound.values()))) if sound else []
    verdicts = dict(zip(sound, said, strict=True))
    broken = {about.episode: Verdict(None, about.fault, {"fault": about.fault}) for about in few if about.fault}
    run.add_verdicts(verifier_id, {id: verdict for id, verdict in (verdicts | broken).items() if held.get(id) != verdict})
