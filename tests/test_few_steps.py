"""What experiments/few_steps.py measures, by hand; and that it draws what replay and evaluate wrote."""

import json

import numpy as np
import pytest
import tiny

from worldsim.experiments import few_steps


def test_distance_and_sharpness_by_hand():
    flat, slope = np.full((2, 8, 8, 3), 7, np.uint8), np.tile(np.arange(8, dtype=np.uint8)[:, None, None], (1, 8, 3))
    assert few_steps.distance(flat, flat + 3) == pytest.approx(3)
    assert few_steps.sharpness(flat) == few_steps.sharpness(slope) == 0
    board = 10 * (np.indices((8, 8)).sum(0) % 2).astype(np.uint8)[..., None].repeat(3, -1)
    assert few_steps.sharpness(board) == 40  # a pixel and its four neighbours differ by 10


def test_points_are_drawn(tmp_path):
    psnr = [30.0 - step for step in range(24)]
    (tmp_path / "open_loop.json").write_text(json.dumps({"sampler": {"steps": 2}, "psnr": psnr}))
    found = {"pearson": 0.9, "mmrv": 0.1, "bias": 0.05, "mean_absolute_error": 0.1, "phi": 0.8, "intervals": {}}
    (tmp_path / "results.json").write_text(json.dumps({"agreement": found}))
    few_steps.main(["draw", str(tmp_path / "out.png"), f"shipped 2={tmp_path}:{tmp_path}", f"student 2={tmp_path}"])
    points = json.loads((tmp_path / "out.json").read_text())
    assert points[0]["psnr"] == {"1": 30.0, "4": 27.0, "8": 23.0, "16": 15.0, "24": 7.0}
    assert (points[0]["mmrv"], "mmrv" in points[1]) == (0.1, False)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_the_first_sampler_is_no_distance_from_itself(tmp_path):
    data, world = tiny.recordings(tmp_path / "data", lengths=(24, 24)), tiny.world_model(tmp_path / "world")
    few_steps.main(["measure", str(tmp_path / "out.json"), str(data), f"four={world}:4", f"one={world}:1"])
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["four"]["to_first"] == 0 < found["one"]["to_first"]
    assert found["one"]["to_truth"] > 0
