"""`worldsim ablate`: all variants on a tiny world, resumed, and the table from numbers worked out by hand."""

import json
from pathlib import Path

import pytest
import tiny

from worldsim.experiments import cli
from worldsim.experiments.ablation_report import markdown, summarise, write_report

pytestmark = pytest.mark.slow  # as a file


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "validation"):
        tiny.recordings(folder / split, lengths=(8, 8, 8))
    return folder


def test_every_variant_is_trained_once_and_the_same_command_resumes(tmp_path, data, capsys):
    words = ["ablate", f"data={data}", f"out={tmp_path / 'out'}", f"world_model={tiny.world_model(tmp_path / 'world')}"]
    words += ["transfers=[shift,extrapolative]", "seeds=2", "pretrain_steps=2", "steps=2", "batch=2", "clip=4", "episodes=2", "threads=1"]
    assert cli.main(words) == 0
    files = sorted((tmp_path / "out" / "variants").glob("*.json"))
    assert len(files) == 2 * (2 * 2 + 1)
    times = [file.stat().st_mtime_ns for file in files]
    assert cli.main(words) == 0
    assert [file.stat().st_mtime_ns for file in files] == times
    numbers = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert len(numbers["rows"]) == 2 * (1 + 3) + 3  # guided variants at three scales, plain ones at one
    assert numbers["recipe"]["steps"] == 2
    assert (tmp_path / "out" / "ablation.png").stat().st_size > 1000
    assert "| extrapolative | none |" in capsys.readouterr().out
    assert cli.main([*words, "learning_rate=0.5"]) == 1
    assert "was made with learning_rate=0.001, now 0.5; choose another out=" in capsys.readouterr().err


def variant(transfer: str, seed: int, psnr: list[float], **options) -> dict:
    rollouts = {"1": {name: {"episodes": psnr, "steps": psnr} for name in ("psnr", "ssim")}}
    return {"transfer": transfer, "guided": False, "seed": seed, "held_out_loss": {"0": 0.4, "10": 0.1}, "rollouts": rollouts} | options


def test_the_table_by_hand(tmp_path):
    """Two seeds: means 21 and 23 against 20 and 20, so a difference of 2 with Student's interval 2 +- 12.706 * 1."""
    found = [variant("shift", 0, [20.0, 22.0]), variant("shift", 1, [22.0, 24.0])]
    found += [variant("extrapolative", seed, [20.0, 20.0]) for seed in (0, 1)]
    numbers = summarise(found)
    shift, reference = numbers["rows"]
    assert shift["psnr"]["mean"] == 22
    assert shift["psnr_difference"]["mean"] == 2
    assert shift["psnr_difference"]["interval"] == pytest.approx([2 - 12.7062, 2 + 12.7062], abs=1e-3)
    assert reference["psnr_difference"] is None
    assert (shift["loss_before"], shift["loss_after"]) == (0.4, 0.1)
    assert "| shift | none | 0.4000 / 0.1000 | 22.00 [9.29, 34.71] |" in markdown(numbers)
    assert write_report(tmp_path, numbers) == (tmp_path / "ablation.md").read_text()


def test_one_seed_has_no_interval():
    numbers = summarise([variant("shift", 0, [20.0, 22.0])])
    assert numbers["rows"][0]["psnr"]["interval"] is None
    assert "| 21.00 |" in markdown(numbers)


def test_the_cost_of_training_the_authors_model_is_measured(tmp_path):
    from worldsim.experiments.vid2world_cost import main

    main([f"out={tmp_path / 'cost.json'}", "device=cpu", "size=tiny"])
    found = json.loads((tmp_path / "cost.json").read_text())
    assert len(found["training_step"]["seconds"]) == 3
