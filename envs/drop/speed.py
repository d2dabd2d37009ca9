"""`python -m worldsim.envs.drop.speed`: frames a second of the drop world on all cores, physics included. Measures and keeps nothing."""

import multiprocessing
import os
import time

import numpy as np

STEPS = 1500


def main() -> None:
    """Print frames a second and per second of processor time, with and without depth and segmentation."""
    workers = os.cpu_count() or 1
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for depth, what in ((False, "colour"), (True, "colour, depth and segmentation")):
            seconds, busy = np.mean(pool.map(_timed, [depth] * workers, chunksize=1), axis=0)
            rate, ideal = workers * STEPS / seconds, workers * STEPS / busy
            print(f"{what}: {rate:.0f} frames/s on {workers} cores, {ideal:.0f} if they were free")


def _timed(depth: bool) -> tuple[float, float]:  # noqa: FBT001 (what Pool.map hands over)
    """Seconds by the clock and of the processor that `STEPS` frames take."""
    os.environ.setdefault("LP_NUM_THREADS", "0")  # each process renders on its own core
    from worldsim.envs.drop.physics import DropStart
    from worldsim.envs.drop.truth import DropTruth

    truth, action = DropTruth(depth=depth), np.array([[1.0, 0.5]], np.float32)
    truth.place([DropStart(0.0, 1.2)])
    truth.step(action)  # opens OpenGL
    clock, busy = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        truth.step(action)
    spent = time.perf_counter() - clock, time.process_time() - busy
    truth.close()
    return spent


if __name__ == "__main__":
    main()
