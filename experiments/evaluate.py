"""`worldsim evaluate`: policies act in a world model, and in the truth where there is one; all is judged, ranked and reported."""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

from worldsim.data.files import digest_of
from worldsim.errors import InvalidInput
from worldsim.evaluate import (
    WHOLE,
    Clock,
    Episode,
    Shard,
    evaluate,
    judge_missing,
    note_halved,
    rounds_of,
    timed,
)
from worldsim.experiments.drift import measure_drift
from worldsim.experiments.executors import Here, executor_of
from worldsim.experiments.preflight import Pace, check_room
from worldsim.experiments.probing import probe_of, probe_setting
from worldsim.experiments.provenance import command_of, machine, versions
from worldsim.experiments.schema import EvaluateConfig
from worldsim.experiments.setting import Setting, asked_task, prepare
from worldsim.load import load_verifier
from worldsim.report.probe import probe_path
from worldsim.report.run_folder import RunFolder

SHARDS = "shards"  # folder of a run in which its shards lie, each a run folder
NOT_PLAYED = (
    "policies",
    "episodes",
    "run",
    "retry",
    "report",
    "executor",
    "ray_address",
    "workers",
    "drift",
    "shard",
    "ignore_disk",
)  # of no effect on an episode
BATCHES = 4  # in a round of imagined episodes: lanes that end early are refilled within it, and a killed run plays at most one again


def run(config: EvaluateConfig) -> Path:
    """Evaluate as configured, print the tables and return the run folder. The same command again goes on from what is finished.

    Raises:
        WorldsimError: anything about the request that cannot be met, before an episode is computed.
    """
    if config.suite:
        from worldsim.experiments.evaluate_suite import run as run_suite

        return run_suite(config)
    shard = Shard.of(config.shard) if config.shard else WHOLE
    _check_executor(config)
    setting = prepare(config)
    path = Path(config.run or f"runs/evaluate-{setting.task.id}")
    path = path / SHARDS / str(shard) if config.shard else path
    planned = planned_by_world(setting, config, shard)
    with ExitStack() as opened:
        executor = opened.enter_context(executor_of(config, setting))
        if _ids(planned) - _kept(path):
            executor.meet()  # before anything is written
        with RunFolder.open(path, _record(config, setting, path, planned)) as folder:
            restore(folder, retry=config.retry)
            check_room(folder, setting, sum(map(len, planned.values())), ignore=config.ignore_disk)
            _imagine(folder, setting, executor, planned["imagined"])
            if config.truth:
                _run_truth(folder, setting, executor, planned["truth"])
            if config.drift and not config.shard:  # both need the true episodes of all shards
                measure_drift(folder, setting, config)
            if config.probe and not config.shard:
                _run_probe(folder, setting, config, executor)
            opened.close()  # a report needs nobody
            finish(folder, report=config.report)
    if config.shard:
        print(f"when all {shard.count} shards are played type: worldsim merge {quote(str(path.parent.parent))}")
    return path


def restore(folder: RunFolder, *, retry: bool = False) -> None:
    """Put aside what is damaged, and with `retry` what broke off, so that it is made again."""
    if retry:
        folder.put_aside_broken()
    folder.put_aside_damaged()
    deque(folder.abouts(), maxlen=0)  # damaged episodes are put aside as they are met


def finish(folder: RunFolder, *, report: bool) -> None:
    """Write results.json and, if asked, the report; print the tables and where the report is."""
    from worldsim.report.judge_tables import judge_notes
    from worldsim.report.migration import read_results
    from worldsim.report.page import write_report
    from worldsim.report.results import result_tables, write_results
    from worldsim.report.terminal import print_tables, report_console

    page = write_report(folder) if report else None
    results = read_results(folder.path) if report else write_results(folder)
    console = report_console()
    print_tables(console, result_tables(results))
    for line in judge_notes(results):
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"results: {folder.path / 'results.json'}", markup=False, soft_wrap=True)
    if page:
        console.print(f"report: {page}", markup=False, soft_wrap=True)


def planned_by_world(setting: Setting, config: EvaluateConfig, shard: Shard) -> dict[str, list[Episode]]:
    """The episodes to be played here, by world, in whole rounds of the plan; of a strict run, which no batch can change, in ones."""
    found = {}
    for world, batches in (("imagined", BATCHES), ("truth", 1)):
        planned = [episode for episode in setting.planned if episode.world == world]
        size = 1 if config.determinism == "strict" else batches * config.batch
        found[world] = [episode for each in shard.part(rounds_of(planned, size)) for episode in each]
    return found


def _kept(path: Path) -> set[str]:
    """Ids of the episodes that lie in a run folder, which need not be there."""
    return {file.stem for file in path.glob("episodes/[!.]*.h5")}


def _ids(planned: dict[str, list[Episode]]) -> set[str]:
    return {episode.id for each in planned.values() for episode in each}


def _record(config: EvaluateConfig, setting: Setting, path: Path, planned: dict[str, list[Episode]]) -> dict[str, Any]:
    """What config.yaml says of the run: its identity, the policies, and what else made the numbers."""
    whole = {"episodes": len(setting.planned), "digest": digest_of([episode.id for episode in setting.planned])}
    return {
        "part": "run",
        "identity": setting.identity,
        "policies": setting.facts,
        "planned": len(_kept(path) | _ids(planned)),
        "plan": whole | ({"shard": config.shard, "batch": config.batch} if config.shard else {}),
        "settings": _settings(config),
        "specs": setting.specs,
        "command": command_of("evaluate", config),
        "versions": versions(),
        "machine": machine(),
    }


def _check_executor(config: EvaluateConfig) -> None:
    """Refuse keys of an executor that is not the one asked for, or that cannot be had.

    Raises:
        InvalidInput, MissingDependency: before anything is loaded.
    """
    if config.executor == "ray":
        from worldsim.experiments.ray_cluster import check_ray

        check_ray(config.ray_address, config.device)
    elif config.ray_address is not None:
        raise InvalidInput(f'ray_address is "{config.ray_address}" and the executor is {config.executor}; type executor=ray beside it')


def _settings(config: EvaluateConfig) -> dict[str, Any]:
    """How episodes are played, for playing one again. Unset keys stay away, so that an earlier session's stand."""
    played = vars(config) | {"task": asked_task(config)}  # an imagined episode is played again without the truth that names its task
    return {key: value for key, value in played.items() if key not in NOT_PLAYED and value is not None}


def _imagine(folder: RunFolder, setting: Setting, executor: Here, planned: list[Episode]) -> None:
    """The imagined episodes and what the verifier says of them."""
    rounds = executor.ready(folder, planned, BATCHES)
    with timed(folder) as clock, _progress(folder, planned, "imagined", executor.at_once("imagined", rounds)) as watch:
        with closing(executor.play(setting, "imagined", rounds, clock)) as played:
            evaluate(folder, played, clock, watch=watch)
        executor.judge(folder, setting, "imagined", clock)


def _run_truth(folder: RunFolder, setting: Setting, executor: Here, planned: list[Episode]) -> None:
    """The true episodes, judged by the state and by the verifier. Their time is not counted among the world model's."""
    clock = Clock()
    rounds = executor.ready(folder, planned, 1)
    progress = _progress(folder, planned, "truth", executor.at_once("truth", rounds))
    with progress as watch, closing(executor.play(setting, "truth", rounds, clock)) as played:
        evaluate(folder, played, clock, watch=watch)
    judge_missing(folder, "state", load_verifier("state"), ["truth"], clock)
    executor.judge(folder, setting, "truth", clock)
    note_halved(folder, clock)


def _run_probe(folder: RunFolder, setting: Setting, config: EvaluateConfig, executor: Here) -> None:
    """What must fail, played and judged like everything else, in a run folder inside the run's."""
    probe = probe_of(folder, setting, config)
    probing = probe_setting(probe, setting, config)
    planned = planned_by_world(probing, config, WHOLE)
    record = {
        "part": "probe",
        "identity": setting.identity,
        "policies": probe.facts,
        "left_out": probe.left_out,
        "planned": len(probing.planned),
        "settings": _settings(config),
    }
    with RunFolder.open(probe_path(folder), record) as inner:
        restore(inner, retry=config.retry)
        _imagine(inner, probing, executor, planned["imagined"])
        if config.truth:
            _run_truth(inner, probing, executor, planned["truth"])


@contextmanager
def _progress(folder: RunFolder, planned: list[Episode], world: str, at_once: int) -> Iterator[Callable[[Episode], None]]:
    """A line that counts episodes, names the policy and says how long it will take; that last also once to a log that shows no bars."""
    from tqdm import tqdm

    done = sum(folder.has_episode(episode.id) for episode in planned)
    pace = Pace(world, len(planned) - done, at_once)
    with tqdm(total=len(planned), initial=done, desc=world, unit="episode") as bar:

        def watch(episode: Episode) -> None:
            bar.set_postfix_str(episode.policy, refresh=False)
            bar.update()
            if line := pace.line():
                bar.write(line, file=sys.stderr)

        yield watch
