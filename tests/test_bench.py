"""`worldsim bench`: what it writes, at tiny size. No timing is asserted."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import tiny
import torch

from worldsim.experiments import cli
from worldsim.experiments.bench import engine
from worldsim.experiments.bench.frames import composed
from worldsim.experiments.bench.memory import cache_formula, kept_values
from worldsim.experiments.bench.subject import noise_frames, subject_of
from worldsim.experiments.bench.timing import Job, alternate, flops_per_frame
from worldsim.experiments.peers import PEERS
from worldsim.experiments.schema import BenchConfig

AUTHORS = """
kind: vid2world
network: {model_channels: 32, channel_mult: [1, 2], num_res_blocks: 1, attention_at: [1], head_channels: 16, context_dim: 8,
  tokens_per_frame: 1, frames: 4, text_tokens: 2, latent_height: 4, latent_width: 4, window: 4}
prediction: v
schedule: zero_snr_rescaled
sampler: {steps: 50, guidance: 2.5, history: recompute, rescale: 0.7, rescale_over: clip, eta: 1.0, ending: released, anchor: window}
"""


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """A folder with a world, policies, a judge and a task of their size; commands run inside it."""
    monkeypatch.chdir(tmp_path)
    tiny.world_model(tmp_path / "world")
    tiny.policy(tmp_path / "policy")
    tiny.classifier(tmp_path / "judge")
    tiny.task_file(tmp_path / "task.h5")
    return tmp_path


def bench(*argv: str) -> dict:
    assert cli.main(["bench", "out=times.json", "repeats=1", "threads=1", *argv]) == 0
    return json.loads(Path("times.json").read_text())


def test_every_part_writes_its_keys(inside, capsys):
    evaluation = ["policies=[policy]", "task=task.h5", "verifier=judge", "episodes=2", "evaluation_batch=2"]
    found = bench("world_model=world", "lanes=[1,2]", "steps=[1,3]", "composed=[50]", "guidance=2", "precision=fp32", *evaluation)
    modes = {"stream", "block", "window", "recompute"}
    for key in ("frame_ms", "frame_cpu_ms", "frame_wall_ms", "frame_gflop", "tflops"):
        assert found[key].keys() == modes
        assert all(each.keys() == {"1", "3"} and min(each.values()) > 0 for each in found[key].values())
    assert found["speedup"].keys() == found["composed_speedup"].keys() == modes - {"recompute"}
    assert (found["composed_from"], found["frames_in_window"], found["guidance"]) == ([1, 3], 5, 2.0)
    assert found["env_fps"].keys() == found["env_fps_wall"].keys() == found["peak_mib"].keys() == {"1", "2"}
    assert min(found["overhead"], found["overhead_ms"], *found["env_fps"].values(), *found["peak_mib"].values()) > 0
    cache = found["cache"]
    assert cache["bytes_per_lane"] == 4 * cache["values_per_lane"] == 4 * cache["values_formula"]
    assert set(found["evaluation"]["shares"]) == {"world_model", "policy", "verifier", "other"}
    assert found["evaluation"]["rollouts_per_hour"] > 0
    assert found["peers_skipped"].keys() == set(PEERS)
    assert {"cpu", "cores", "threads", "torch", "device", "load"} <= found["machine"].keys()
    out = capsys.readouterr().out
    assert "times recompute" in out
    assert "diamond skipped: no checkout of diamond was given; type peer_diamond=FOLDER" in out


def test_a_part_alone_leaves_the_others_out(inside):
    found = bench("world_model=world", "parts=[env]", "lanes=[1]")
    assert "env_fps" in found
    assert not {"frame_ms", "peak_mib", "evaluation", "evaluation_skipped", "peers", "peers_skipped"} & found.keys()


def test_the_engine_is_timed_way_by_way(inside, monkeypatch):
    plain = {name: options for name, options in engine.WAYS.items() if "compile" not in options}
    monkeypatch.setattr(engine, "WAYS", plain)
    found = bench("world_model=world", "parts=[engine]", "lanes=[1,2]")
    assert found["engine_ms"].keys() == found["engine_speedup"].keys() == plain.keys()
    assert all(each.keys() == {"1", "2"} and min(each.values()) > 0 for each in found["engine_ms"].values())
    assert set(found["engine_speedup"][next(iter(plain))].values()) == {1.0}


def test_a_full_and_a_tiny_decoder_are_timed(inside, monkeypatch):
    monkeypatch.setattr(engine, "DECODED", (2, 2))
    found = bench("parts=[decoder]")
    assert found["decoder_ms"].keys() == {"full", "tiny"}
    assert found["decoder_parameters"]["full"] > 30 * found["decoder_parameters"]["tiny"]


def test_a_world_of_another_size_has_no_evaluation(inside):
    assert "64 x 64" in bench("world_model=world", "parts=[evaluation]")["evaluation_skipped"]


def test_a_preset_is_timed_on_random_weights_none_of_them_silent(inside):
    found = bench("preset=tiny", "parts=[frames]", "steps=[1]", "peak_tflops=790")
    assert found["frames_model"]["random"]
    assert found["share_of_peak"]["stream"]["1"] == pytest.approx(found["tflops"]["stream"]["1"] / 790)
    assert all(parameter.any() for parameter in subject_of(BenchConfig(preset="tiny")).network.parameters())


def test_the_authors_network_is_timed_too(inside):
    Path("authors.yaml").write_text(AUTHORS)
    found = bench("preset=authors.yaml", "steps=[1]", "histories=[stream,recompute]", "parts=[frames]")
    assert found["frame_ms"].keys() == {"stream", "recompute"}
    assert found["frames_cache"]["values_formula"] is None
    assert "vid2world" in found["frames_cache"]["formula_reason"]


def test_the_prototype_has_the_size_that_the_ratios_are_asked_of():
    with torch.device("meta"):
        from worldsim.experiments.model_presets import model_preset
        from worldsim.models.networks import build_network

        net = build_network({"network": model_preset("dynamicrafter_small").network | {"latent_channels": 4}})
    assert (net.latent_shape, net.window) == ((32, 32, 4), 15)
    assert sum(parameter.numel() for parameter in net.parameters()) == pytest.approx(26e6, rel=0.05)


@pytest.mark.parametrize("frames", [2, 9])
def test_the_formula_counts_what_is_kept(frames):
    subject = subject_of(BenchConfig(preset="tiny", precision="fp32"))
    model = subject.world()
    state = model.start(noise_frames(subject.spec, 3, frames), [0, 1, 2])
    assert kept_values(state.cache) == cache_formula(subject.network)


def test_steps_are_composed_of_a_fixed_part_and_equal_evaluations():
    measured = {"stream": {"1": 5.0, "4": 11.0, "10": 23.0}}
    assert composed(measured, [50]) == {"stream": {"50": 103.0}}
    assert composed(measured, []) == composed({"stream": {"4": 11.0}}, [50]) == {}


def test_jobs_take_turns_after_a_first_run_that_does_not_count():
    calls = []
    jobs = {name: Job(lambda name=name: calls.append(name), 2) for name in "ab"}
    assert alternate(jobs, repeats=2).keys() == {"a", "b"}
    assert calls == list("ababab")


def test_a_product_and_its_sum_are_two_operations():
    left, right = torch.ones(3, 5), torch.ones(5, 7)
    assert flops_per_frame(Job(lambda: left @ right, 2)) == 3 * 5 * 7


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["preset=drawr", "parts=[frames]"], 'unknown world model "drawr"'),
        (["preset=unet", "parts=[frames]"], "expected a preset"),
        (["parts=[frame]"], 'unknown parts "frame"'),
        (["parts=[peers]", "quality_seconds=1"], "type quality_data=FOLDER"),
        (["--peer", "diamond"], 'type "--peer diamond=FOLDER"'),
        (["--peer", "dimond=here"], 'bench has no key "peer_dimond"'),
        (["compile=cudagraphs", "preset=tiny", "parts=[frames]"], "needs a GPU"),
    ],
)
def test_what_cannot_be_timed_is_refused_in_one_line(inside, capsys, argv, message):
    Path("unet").mkdir()
    Path("unet/config.json").write_text('{"_class_name": "UNetSpatioTemporalConditionModel"}')
    assert cli.main(["bench", *argv]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_checkout_is_skipped_with_its_line(inside):
    found = bench("parts=[peers]", "--peer", "diamond=nowhere")
    assert "nowhere" in found["peers_skipped"]["diamond"]
    assert found["peers"] == {}


RECORDER = """#!/bin/sh
if [ "$2" = worldsim.experiments.cli ]; then
    shift 2
    echo "$@" >> "$CALLS"
    touch "${2#out=}"
fi
"""


@pytest.mark.parametrize(("job", "benches"), [("drawer_bench", 4), ("vid2world_bench", 6)])
def test_the_jobs_for_a_gpu_ask_for_what_there_is_and_only_once(tmp_path, capsys, job, benches):
    recorder = tmp_path / "python"
    recorder.write_text(RECORDER)
    recorder.chmod(0o755)
    given = {"PYTHON": str(recorder), "CALLS": str(tmp_path / "calls"), "OUT": str(tmp_path / "out")}
    script = Path(__file__).parents[1] / "experiments" / "gpu" / f"{job}.sh"
    for _ in range(2):
        subprocess.run(["bash", str(script)], env={**os.environ, **given}, check=True, capture_output=True)
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert len(calls) == benches
    assert all("device=cuda" in call and cli.main([*call, "--cfg", "job"]) == 0 for call in calls)
    assert len(list((tmp_path / "out").glob("*.json"))) == benches
