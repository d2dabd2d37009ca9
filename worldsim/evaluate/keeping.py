"""From episodes that end to a run folder: each kept as it comes, and judged. Knows no world and no policy."""

from collections.abc import Callable, Iterable, Sequence

from worldsim.evaluate.clock import Clock
from worldsim.evaluate.planning import Episode
from worldsim.report.run_folder import RunFolder
from worldsim.types import Trajectory, Verdict, Verifier


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
    A verifier with `revisable` may say something else each time, so it judges all again; what it has said already is not written twice.
    """
    held = run.verdicts(verifier_id)
    revisable = getattr(verifier, "revisable", False)
    known = {} if revisable else {episode: verdict.details.get("fault", "") for episode, verdict in held.items()}
    waiting = [about for about in run.abouts() if about.world in worlds and known.get(about.episode) != about.fault]

    for begin in range(0, len(waiting), batch):
        few = waiting[begin : begin + batch]
        sound = {about.episode: run.episode(about.episode) for about in few if not about.fault}
        said = clock.measure("verifier", lambda shown=sound: verifier.judge(list(shown.values()))) if sound else []
        verdicts = dict(zip(sound, said, strict=True))
        broken = {about.episode: Verdict(None, about.fault, {"fault": about.fault}) for about in few if about.fault}
        run.add_verdicts(verifier_id, {id: verdict for id, verdict in (verdicts | broken).items() if held.get(id) != verdict})
