"""`worldsim bench`: what a frame costs on this machine, in the model, in the environments around it and in a whole evaluation.

Each part can be run alone (`parts=[frames]`) and adds its own keys to one JSON file.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from worldsim.data.files import write_json
from worldsim.experiments.provenance import command_of, machine, versions
from worldsim.experiments.schema import BenchConfig
from worldsim.experiments.setting import use_torch

Numbers = dict[str, Any]


def run(config: BenchConfig) -> Numbers:
    """Time, print tables and write `config.out`. Returns the numbers.

    Raises:
        InvalidInput: nothing that can be timed, or a peer of another size than ours.
    """
    from rich.console import Console

    from worldsim.experiments.bench.tables import tables

    use_torch(config.threads, config.device)
    numbers: Numbers = {"command": command_of("bench", config), "versions": versions(), "machine": _machine(config)}
    for part, measure in _parts(config):
        numbers |= measure()
        numbers["parts"] = [*numbers.get("parts", []), part]
        write_json(config.out, numbers)  # what is measured stays, whatever becomes of the next part
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    for shown in tables(numbers):
        console.print(shown, markup=False, soft_wrap=isinstance(shown, str))
    console.print(f"timings: {Path(config.out)}", markup=False, soft_wrap=True)
    return numbers


def _parts(config: BenchConfig) -> Iterator[tuple[str, Callable[[], Numbers]]]:
    """The parts asked for in the order in which they are measured: memory first, whose peak is one of the whole process."""
    from worldsim.experiments.bench.engine import measure_decoder, measure_engine
    from worldsim.experiments.bench.evaluation import measure_evaluation
    from worldsim.experiments.bench.frames import measure_frames
    from worldsim.experiments.bench.memory import measure_memory
    from worldsim.experiments.bench.others import measure_peers
    from worldsim.experiments.bench.play import measure_play
    from worldsim.experiments.bench.scaling import measure_scaling
    from worldsim.experiments.bench.subject import subject_of, world_model_of
    from worldsim.experiments.bench.surroundings import measure_env

    measures = {
        "memory": lambda: measure_memory(world_model_of(config), config),
        "frames": lambda: measure_frames(subject_of(config), config),
        "env": lambda: measure_env(world_model_of(config), config),
        "evaluation": lambda: measure_evaluation(config),
        "scaling": lambda: measure_scaling(config),
        "engine": lambda: measure_engine(config),
        "decoder": lambda: measure_decoder(config),
        "play": lambda: measure_play(config),
        "peers": lambda: measure_peers(config),
    }
    yield from ((part, measure) for part, measure in measures.items() if part in config.parts)


def _machine(config: BenchConfig) -> Numbers:
    """The machine, and what else ran on it when the timing began."""
    import os

    import torch

    on_gpu = torch.device(config.device).type == "cuda"
    return machine() | {
        "device": torch.cuda.get_device_name(config.device) if on_gpu else "cpu",
        "load": os.getloadavg()[0],
    }
