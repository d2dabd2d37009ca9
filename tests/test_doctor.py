"""`worldsim doctor`: each finding, with what it looks at put in its place, and the report that names nobody."""

import getpass
import json
import platform
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import worldsim
from worldsim.data.files import sha256_of, write_json
from worldsim.experiments import cli, doctor, installed, machinery
from worldsim.experiments.findings import Finding, size
from worldsim.experiments.schema import DoctorConfig


def by_name(findings) -> dict:
    return {finding.what: finding for finding in findings}


def only(findings) -> Finding:
    (found,) = findings
    return found


def test_packages_are_those_that_are_installed():
    assert by_name(installed.base_packages({}))["numpy"] == Finding("numpy", np.__version__)
    assert by_name(installed.base_packages({"numpy": np.__version__}))["numpy"].state == "good"
    other = by_name(installed.base_packages({"numpy": "1.0"}))["numpy"]
    assert (other.state, other.found) == ("note", f"numpy {np.__version__}, tested with 1.0")
    assert by_name(installed.base_packages({"torch": torch.__version__.split("+")[0]}))["torch"].state == "good"  # a build is no version


def test_the_tested_set_is_read(tmp_path):
    (tmp_path / "c.txt").write_text("# a set\nNumPy==2.4.6\nsetuptools>=77\n")
    assert installed.pinned_set(tmp_path / "c.txt") == {"numpy": "2.4.6"}
    assert installed.pinned_set(tmp_path / "none.txt") == {}
    assert installed.pinned_set()["torch"] == "2.13.0"


def test_extras_are_one_line_each(monkeypatch):
    known = [("mujoco", "mujoco"), ("openai", "vlm"), ("transformers", "vlm"), ("pyarrow", "lerobot-data"), ("numpy", None)]
    monkeypatch.setattr(installed, "_requirements", lambda: known)
    monkeypatch.setattr(installed, "_version", lambda package: {"transformers": "5.0", "pyarrow": "26"}.get(package))
    found = by_name(installed.extras({"pyarrow": "26"}))
    assert list(found) == ["extra mujoco", "extra vlm", "extra lerobot-data"]
    assert found["extra mujoco"].state == "bad"  # the demo needs it
    advice = 'pip install -c constraints.txt -e ".[vlm]"'
    assert found["extra vlm"] == Finding("extra vlm", "without openai; for vision-language models as judges", "optional", advice)
    assert found["extra lerobot-data"] == Finding("extra lerobot-data", "pyarrow 26")
    assert by_name(installed.base_packages({}))["numpy"] == Finding("numpy", "not installed", "bad", "pip install -c constraints.txt -e .")


def test_weights_have_hashes_and_are_missed(tmp_path):
    assert only(installed.weights(tmp_path)).state == "bad"
    model = tmp_path / "drawer" / "model.safetensors"
    model.parent.mkdir()
    model.write_bytes(b"weights")
    write_json(model.with_name("config.json"), {"sha256": (digest := sha256_of(model))})
    assert only(installed.weights(tmp_path)) == Finding("weights drawer", f"7 B, sha256 {digest[:12]}")
    model.write_bytes(b"weighty")
    assert only(installed.weights(tmp_path)).found.startswith("damaged, sha256 ")
    model.unlink()
    missing = only(installed.weights(tmp_path))
    assert (missing.found, missing.state, missing.fix.split(" -- ")[0]) == ("missing", "bad", "git checkout")
    model.with_name("config.json").write_text("[torn")
    assert only(installed.weights(tmp_path)).state == "bad"


@pytest.mark.parametrize(
    ("code", "said", "state", "words"),
    [
        (0, "rendered osmesa 212", "good", "rendered by osmesa"),
        (0, "rendered osmesa 0", "bad", "one colour"),
        (1, "Traceback\nMissingDependency: no OpenGL", "bad", "MissingDependency: no OpenGL"),
        (-11, "", "bad", "ended with code -11"),
    ],
)
def test_opengl_is_what_renders_a_frame(monkeypatch, code, said, state, words):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    found = only(machinery.opengl(render=lambda: (code, said)))
    assert (found.state, words in found.found) == (state, True)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    found = only(machinery.opengl(render=lambda: (code, said)))
    assert ("unset MUJOCO_GL (it is egl)" in found.fix) == (state == "bad" and doctor.platform.system() == "Linux")


def test_codecs_write_and_read():
    real = by_name(machinery.codecs())
    assert real["video H.264"].state == "good"
    assert "4 frames written by libx264" in real["video H.264"].found

    def broken(writer, reader):
        raise ValueError("not built in")

    none = by_name(machinery.codecs(convert=broken))
    assert [none[f"video {name}"].state for name in ("H.264", "MPEG-4", "AV1")] == ["bad", "note", "note"]
    assert by_name(machinery.codecs(convert=lambda writer, reader: 0))["video H.264"].state == "bad"


def test_a_driver_that_torch_does_not_use_is_noted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    assert only(machinery.graphics(driver=lambda: None)).state == "good"
    cpu = only(machinery.graphics(driver=lambda: ("570.1", "12.8")))
    assert (cpu.state, "CUDA build of torch" in cpu.fix) == ("note", True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    old = only(machinery.graphics(driver=lambda: ("570.1", "12.8")))
    assert (old.state, "update it, or install a torch built for CUDA 12.8" in old.fix) == ("note", True)


def test_cards_are_named_with_memory_and_bf16(monkeypatch):
    card = type("Card", (), {"name": "Card 9", "total_memory": 80 * 2**30})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    found = by_name(machinery.graphics(driver=lambda: ("580.2", "13.0")))
    assert list(found) == ["GPU 0", "GPU 1"]
    assert found["GPU 0"].found.startswith("Card 9, 80.0 GiB, bf16; ")
    assert found["GPU 0"].found.endswith("driver 580.2")


def test_processor_memory_disk_and_browser(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: fpu avx512_bf16 sse\n")
    assert only(machinery.bfloat16(str(cpuinfo))).found == "avx512_bf16"
    cpuinfo.write_text("flags\t\t: fpu avx2\n")
    assert only(machinery.bfloat16(str(cpuinfo))) == Finding("bf16 on the CPU", "none, so precision=auto takes fp32")
    assert (only(machinery.memory(2**30)).state, only(machinery.memory(2**34)).state) == ("note", "good")
    low = only(machinery.disk(lambda path: 2**30))
    assert (low.found, low.state, low.fix) == ("1.0 GiB free", "note", "free 4.0 GiB on this disk")
    assert only(machinery.disk(lambda path: 2**40)).state == "good"
    assert "cores" in only(machinery.threads()).found
    lacking = only(machinery.browser(lambda name: None))
    assert (lacking.found, lacking.state) == ("no chromium and no chromedriver", "optional")
    assert only(machinery.browser(lambda name: f"/bin/{name}")).state == "good"
    assert [size(count) for count in (7, 2048, 3 * 2**20, 5 * 2**30)] == ["7 B", "2 KiB", "3 MiB", "5.0 GiB"]


def test_a_report_names_no_person_no_machine_and_no_folder():
    text = f"{Path(worldsim.__file__).parent}/x {Path.home()}/y {getpass.getuser()} {platform.node()} {Path.cwd()}/z"
    hidden = doctor.private(text)
    for secret in (str(Path(worldsim.__file__).parent), platform.node(), str(Path.cwd())):
        assert secret not in hidden
    assert getpass.getuser() not in hidden.replace("<user>", "").split()


def test_the_table_is_printed_written_and_fails_on_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("spoon", f"none [here] in {Path.home()}/x", "bad", "type [x]")])
    assert cli.main(["doctor", f"out={tmp_path / 'found.json'}"]) == 1
    out, err = capsys.readouterr()
    assert "none [here]" in out
    assert "type [x]" in out
    assert err.startswith("worldsim: missing: spoon")
    assert json.loads((tmp_path / "found.json").read_text())["findings"] == [
        {"what": "spoon", "found": "none [here] in ~/x", "state": "bad", "fix": "type [x]"}
    ]
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("spoon", "silver")])
    doctor.run(DoctorConfig())
    assert "ok" in capsys.readouterr().out


def test_the_last_line_says_what_to_look_at():
    good, absent, old = Finding("a", "1"), Finding("b", "none", "optional"), Finding("c", "0.1", "note")
    assert doctor.summary([good]) == "Everything that the demo needs is here."
    assert doctor.summary([good, absent]) == "Everything that the demo needs is here. Absent, for some uses only: b."
    assert doctor.summary([good, absent, old]).endswith("is here. Look at: c. Absent, for some uses only: b.")


def test_every_extra_says_what_it_is_for():
    extras = {extra for _, extra in installed._requirements() if extra}
    assert extras - set(installed.NEEDED_EXTRAS) == set(installed.USES)


@pytest.mark.slow
def test_a_machine_with_what_the_demo_installs_and_nothing_else_has_no_trouble(monkeypatch, capsys):
    needed = {package for package, extra in installed._requirements() if extra in (None, *installed.NEEDED_EXTRAS)}
    real = installed._version
    monkeypatch.setattr(installed, "_version", lambda package: real(package) if package in needed else None)
    monkeypatch.setattr(machinery, "browser", partial(machinery.browser, lambda name: None))
    monkeypatch.setattr(machinery, "DISK_NEEDED", 0)
    monkeypatch.setattr(machinery, "MEMORY_NEEDED", 0)
    found = by_name(doctor.examine())
    assert {finding.state for finding in found.values()} == {"good", "optional"}
    assert all(f"extra {extra}" in {what for what, finding in found.items() if finding.state == "optional"} for extra in installed.USES)
    monkeypatch.setattr(doctor, "examine", lambda: found.values())
    assert cli.main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert not [word for word in ("missing", "note", "damaged", "warning", "error", "Look at") if word in out]


@pytest.mark.slow
def test_this_machine_can_do_what_the_tests_need():
    found = by_name(doctor.examine())
    assert [finding for finding in found.values() if finding.state == "bad"] == []
    assert found["OpenGL"].found.startswith("a frame was rendered by")
