"""The numbers of a benchmark for people. Measures nothing."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Numbers = Mapping[str, Any]


def tables(numbers: Numbers) -> Iterator["Table | str"]:
    """What was measured, part by part, and a line for all that was skipped."""
    makers = {"frame_ms": _frames, "env_fps": _env, "peak_mib": _memory, "evaluation": _evaluation}
    makers |= {"engine_ms": _engine, "decoder_ms": _decoder, "play_fps": _play, "scaling": _scaling}
    for key, make in makers.items():
        if key in numbers:
            yield make(numbers)
    if "evaluation_skipped" in numbers:
        yield f"evaluation skipped: {numbers['evaluation_skipped']}"
    if "scaling_skipped" in numbers:
        yield f"scaling skipped: {numbers['scaling_skipped']}"
    if "play_browser_skipped" in numbers:
        yield f"play in a browser skipped: {numbers['play_browser_skipped']}"
    yield from _peers(numbers)


def _table(title: str, *headings: str) -> "Table":
    from rich.table import Table

    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _frames(numbers: Numbers) -> "Table":
    about = f"{numbers['frames_model']['name']}, {numbers['frames_in_window']} frames in the window, {numbers['batch']} lanes"
    how = f"guidance {numbers['guidance']:g}, {numbers['frames_precision']}, {numbers['machine']['threads']} threads"
    table = _table(
        f"One frame of {about}, {how}, {numbers['machine']['device']}",
        *("history", "steps", "CPU ms", "wall ms", "GFLOP", "TFLOP/s", "times recompute"),
    )
    for mode, by_steps in numbers["frame_cpu_ms"].items():
        for steps, cpu in by_steps.items():
            measured = (f"{cpu:.2f}", f"{numbers['frame_wall_ms'][mode][steps]:.2f}")
            work = (f"{numbers['frame_gflop'][mode][steps]:.2f}", f"{numbers['tflops'][mode][steps]:.3f}")
            table.add_row(mode, steps, *measured, *work, _ratio(numbers["speedup"], mode, steps))
    for mode, by_steps in numbers.get("composed_ms", {}).items():
        for steps, each in by_steps.items():
            table.add_row(mode, f"{steps} (composed)", f"{each:.2f}", "", "", "", _ratio(numbers["composed_speedup"], mode, steps))
    return table


def _ratio(ratios: Numbers, mode: str, steps: str) -> str:
    return f"{ratios[mode][steps]:.1f}x" if mode in ratios else ""


def _env(numbers: Numbers) -> "Table":
    how = numbers["env_sampler"]
    about = f"{how['steps']} steps, {how['history']}, guidance {how['guidance']:g}"
    share = f"environment {numbers['overhead']:.2%} of the model's time at {numbers['overhead_lanes']} lanes"
    table = _table(f"worldsim/World-v0, {about}; {share}", "lanes", "frames per second", "by the clock", "times the first")
    for lanes, fps in numbers["env_fps"].items():
        table.add_row(lanes, f"{fps:.1f}", f"{numbers['env_fps_wall'][lanes]:.1f}", f"{numbers['env_speedup'][lanes]:.2f}x")
    return table


def _memory(numbers: Numbers) -> "Table":
    cache = numbers["cache"]
    expected = cache["values_formula"]
    kept = f"{cache['bytes_per_lane']:,} bytes, {cache['values_per_lane']:,} numbers"
    kept += f" (by the formula {expected:,})" if expected else ""
    table = _table(f"Kept features of a lane: {kept}", "lanes", f"peak MiB of {numbers['peak_of']}")
    for lanes, peak in numbers["peak_mib"].items():
        table.add_row(lanes, f"{peak:.0f}")
    return table


def _evaluation(numbers: Numbers) -> "Table":
    found = numbers["evaluation"]
    about = f"{found['rollouts_per_hour']:,.0f} rollouts per hour, {found['frames_per_second']:.0f} frames per second"
    table = _table(f"A whole evaluation: {about}", "part", "seconds", "share")
    for part, seconds in found["seconds"].items():
        table.add_row(part, f"{seconds:.2f}", f"{found['shares'][part]:.1%}")
    return table


def _scaling(numbers: Numbers) -> "Table":
    found = numbers["scaling"]
    low, high = found["load"]
    about = f"{found['rollouts']} rollouts, {found['batch']} in a round, {found['cores']} cores, load {low:.1f} to {high:.1f}"
    table = _table(f"Workers of one thread each: {about}", "workers", "rollouts per hour", "times the first")
    for way, rate in found["rollouts_per_hour"].items():
        table.add_row(way, f"{rate:,.0f}", f"{found['speedup'][way]:.2f}x")
    return table


def _engine(numbers: Numbers) -> "Table":
    ways = numbers["engine_ms"]
    lanes = list(next(iter(ways.values())))
    table = _table("The world model run in several ways: ms per frame and lane", "way", *(f"{each} lanes" for each in lanes))
    for way, by_lanes in ways.items():
        table.add_row(way, *(f"{by_lanes[each]:.2f} ({numbers['engine_speedup'][way][each]:.2f}x)" for each in lanes))
    return table


def _decoder(numbers: Numbers) -> "Table":
    table = _table("One 320 x 512 frame decoded", "decoder", "parameters", "ms")
    for name, each in numbers["decoder_ms"].items():
        table.add_row(name, f"{numbers['decoder_parameters'][name]:,}", f"{each:.0f}")
    return table


def _play(numbers: Numbers) -> "Table":
    table = _table(f"worldsim play, {' and '.join(numbers['play_worlds'])}", "way", "frames/s")
    for way, fps in numbers["play_fps"].items():
        table.add_row(way, f"{fps:.1f}")
    return table


def _peers(numbers: Numbers) -> Iterator["Table | str"]:
    from worldsim.experiments.peers import quality_table, table

    for found in numbers.get("peers", {}).values():
        yield table(found)
        if shown := quality_table(found):
            yield shown
    for name, reason in numbers.get("peers_skipped", {}).items():
        yield f"{name} skipped: {reason}"
