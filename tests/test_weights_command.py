"""`worldsim weights`: tiny checkpoints under the official names, converted, saved, read back and refused."""

import json

import numpy as np
import pytest
import tiny_vid2world as tiny
import torch
from safetensors.torch import load_file, save_file

from worldsim.data.files import sha256_of
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.experiments import cli
from worldsim.models.vid2world import convert as conversion
from worldsim.models.vid2world.buffers import schedule_buffers, schedule_differences
from worldsim.models.vid2world.convert import Choices, convert
from worldsim.models.vid2world.loading import official_weights
from worldsim.models.vid2world.pretrained import Vid2WorldParts

pytestmark = pytest.mark.slow  # as a file

RT1 = Choices("rt1")


def silent(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def weights():
    """A whole Vid2World RT1 checkpoint, tiny."""
    torch.manual_seed(0)
    return tiny.checkpoint()


@pytest.fixture(scope="module")
def ckpt(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("official") / "tiny.ckpt"
    torch.save({"state_dict": weights, "epoch": 1}, path)
    return path


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(conversion, "unet_config", tiny.unet_config)


@pytest.fixture(scope="module")
def parts(ckpt):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "unet_config", tiny.unet_config)
        return convert(ckpt, RT1, say=silent)


@pytest.fixture(scope="module")
def folder(parts, tmp_path_factory):
    path = tmp_path_factory.mktemp("converted") / "model"
    parts.save_pretrained(path)
    return path


def without(weights, prefix: str):
    return {key: value for key, value in weights.items() if not key.startswith(prefix)}


def saved(path, weights):
    save_file({key: value.contiguous() for key, value in weights.items()}, path)
    return path


def modules(parts: Vid2WorldParts):
    return {"unet": parts.unet, "resampler": parts.resampler, "image": parts.image_encoder, "vae": parts.autoencoder}


def refusal(capsys, *argv) -> tuple[int, str]:
    """(exit code, the one line on stderr) of a command that fails."""
    code = cli.main(["weights", *map(str, argv)])
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return code, err


def test_every_value_of_the_source_is_kept(weights, parts):
    assert torch.equal(parts.resampler.latents, weights["image_proj_model.latents"])
    assert torch.equal(parts.autoencoder.net.quant_conv.bias, weights["first_stage_model.quant_conv.bias"])
    assert torch.equal(parts.image_encoder.state_dict()["pre_layrnorm.bias"], weights["embedder.model.visual.ln_pre.bias"])
    assert sum(each.numel() for each in parts.unet.parameters()) == sum(each.numel() for each in conversion.part(weights, "U-Net").values())
    frames = torch.rand(2, 16, 24, 3) * 2 - 1
    assert parts.conditioner()(frames).shape == (2, tiny.LENGTH + tiny.RESAMPLER.tokens, tiny.TEXT)


def test_what_is_saved_is_what_is_read(parts, folder):
    again = Vid2WorldParts.from_pretrained(folder)
    assert again.facts == parts.facts
    assert torch.equal(again.empty_text, parts.empty_text)
    for name, module in modules(parts).items():
        expected, found = module.state_dict(), modules(again)[name].state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(value, found[key]) and value.dtype == found[key].dtype for key, value in expected.items()), name
    frames = torch.rand(1, 16, 24, 3) * 2 - 1
    assert torch.equal(again.conditioner()(frames), parts.conditioner()(frames))
    assert torch.equal(again.autoencoder.encode(frames), parts.autoencoder.encode(frames))


def test_the_libraries_read_their_folders(parts, folder):
    from diffusers import AutoencoderKL
    from transformers import CLIPVisionModel

    autoencoder, tower = AutoencoderKL.from_pretrained(folder / "vae"), CLIPVisionModel.from_pretrained(folder / "image_encoder")
    assert autoencoder.config.scaling_factor == 0.18215
    assert torch.equal(autoencoder.decoder.conv_in.weight, parts.autoencoder.net.decoder.conv_in.weight)
    pixels = torch.randn(1, 3, 12, 12)
    assert torch.equal(tower(pixels).last_hidden_state, parts.image_encoder(pixels).last_hidden_state)


def test_the_config_and_the_card_say_what_it_is(folder, ckpt):
    config = json.loads((folder / "config.json").read_text())
    assert config["kind"] == "vid2world"
    assert config["sha256"] == sha256_of(folder / "model.safetensors")
    assert config["dtype"] == "float32"
    assert config["facts"]["source"] == {"name": "tiny.ckpt", "sha256": sha256_of(ckpt)}
    assert config["facts"]["leak"] is None
    card = (folder / "README.md").read_text()
    for word in (sha256_of(ckpt), config["sha256"], "unverified", "rt1", "from_pretrained", f"{config['parameters']['unet']:,}"):
        assert word in card
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]


def test_half_precision_stays_half(weights, tmp_path):
    path = saved(tmp_path / "half.safetensors", {key: value.half() for key, value in weights.items()})
    convert(path, RT1, say=silent).save_pretrained(tmp_path / "model")
    again = Vid2WorldParts.from_pretrained(tmp_path / "model")
    assert {each.dtype for module in modules(again).values() for each in module.parameters()} == {torch.float16}
    assert again.empty_text.dtype == torch.float16
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert all(value.dtype == torch.float16 for value in stored.values())


def test_a_failed_save_leaves_nothing(parts, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("worldsim.models.vid2world.pretrained.write_json", fail)
    with pytest.raises(OSError, match="disk full"):
        parts.save_pretrained(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(parts, folder):
    before = sha256_of(folder / "config.json")
    with pytest.raises(InvalidInput, match="is there already"):
        parts.save_pretrained(folder)
    assert sha256_of(folder / "config.json") == before


@pytest.mark.parametrize("name", ["model.safetensors", "vae/diffusion_pytorch_model.safetensors", "image_encoder/model.safetensors"])
@pytest.mark.parametrize("harm", ["flip", "remove"])
def test_a_damaged_folder_is_refused(parts, tmp_path, name, harm):
    parts.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / name
    if harm == "remove":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
    with pytest.raises(DamagedFile) as refused:
        Vid2WorldParts.from_pretrained(tmp_path / "model")
    assert "\n" not in str(refused.value)


def test_the_schedule_is_compared():
    ours = {key: value.float() for key, value in schedule_buffers().items()}
    assert ours["alphas_cumprod"][-1] == 0
    assert ours["betas"][-1] == 1
    assert ours["scale_arr"].shape == (1400,)
    assert all(value < 1e-6 for value in schedule_differences(ours).values())
    ours["betas"][3] += 0.5
    del ours["scale_arr"]
    found = schedule_differences(ours)
    assert found["scale_arr"] is None
    assert found["betas"] == pytest.approx(0.5, abs=1e-6)
    assert found["alphas_cumprod"] < 1e-6
    with pytest.raises(DamagedFile, match=r"betas has shape \[7\]"):
        schedule_differences({"betas": torch.zeros(7)})


def test_betas_make_the_signal():
    buffers = schedule_buffers()
    torch.testing.assert_close(torch.cumprod(1 - buffers["betas"], 0), buffers["alphas_cumprod"])


def test_missing_towers_come_from_another_file(weights, ckpt, parts, tmp_path):
    bare = weights
    for prefix in ("embedder.", "first_stage_model.", "cond_stage_model."):
        bare = without(bare, prefix)
    path = saved(tmp_path / "bare.safetensors", bare)
    found = convert(path, RT1, towers=ckpt, say=silent)
    assert torch.equal(found.empty_text, parts.empty_text)
    assert torch.equal(found.image_encoder.state_dict()["pre_layrnorm.bias"], parts.image_encoder.state_dict()["pre_layrnorm.bias"])
    with pytest.raises(InvalidInput, match=r"lacks the autoencoder \(first_stage_model\.\.\.\.\); type towers=FILE"):
        convert(path, RT1, say=silent)


@pytest.mark.parametrize("kind", ["npy", "safetensors"])
def test_the_empty_text_may_be_a_file(weights, tmp_path, kind):
    source = saved(tmp_path / "bare.safetensors", without(weights, "cond_stage_model."))
    text = torch.randn(tiny.LENGTH, tiny.TEXT)
    path = tmp_path / f"text.{kind}"
    if kind == "npy":
        np.save(path, text.numpy())
    else:
        save_file({"empty": text}, path)
    assert torch.equal(convert(source, RT1, empty_text=path, say=silent).empty_text, text)


@pytest.mark.parametrize("shape", [(77, 5), (3, 128), (1, 77, 128)])
def test_a_wrong_empty_text_is_refused(ckpt, tmp_path, shape):
    np.save(tmp_path / "text.npy", np.zeros(shape, np.float32))
    with pytest.raises(InvalidInput, match="expected"):
        convert(ckpt, RT1, empty_text=tmp_path / "text.npy", say=silent)


@pytest.mark.parametrize(
    ("change", "choices", "reason"),
    [
        (lambda w: w, Choices("csgo"), "takes actions of 13 numbers, csgo has 51; type domain=rt1"),
        (lambda w: w, Choices("rt1", base=True), "never transformed again; type base=false"),
        (lambda w: without(w, "model.diffusion_model.action_emb"), RT1, "type base=true"),
        (lambda w: without(w, "model."), RT1, "holds no U-Net"),
        (lambda w: without(w, "image_proj_model."), RT1, "no other file can replace"),
        (lambda w: without(w, "cond_stage_model."), RT1, "or empty_text=FILE"),
        (lambda w: without(w, "image_proj_model.latents"), RT1, "image projector: latents is missing"),
        (lambda w: without(w, "model.diffusion_model.out.0.weight"), RT1, "out.0.weight"),
        (lambda w: w | {"model.diffusion_model.surprise": torch.zeros(1)}, RT1, "surprise"),
    ],
)
def test_a_file_that_is_not_what_was_said_is_refused(weights, tmp_path, change, choices, reason):
    path = saved(tmp_path / "wrong.safetensors", change(weights))
    with pytest.raises((InvalidInput, DamagedFile), match=reason) as refused:
        convert(path, choices, say=silent)
    assert "\n" not in str(refused.value)


def test_a_base_becomes_causal(tmp_path):
    weights = tiny.checkpoint(base=True)
    path = saved(tmp_path / "base.safetensors", weights)
    made = {name: convert(path, Choices("rt1", base=True, transfer=name), say=silent) for name in ("shift", "extrapolative")}
    centred = weights["model.diffusion_model.input_blocks.1.0.temopral_conv.conv1.2.weight"]
    causal = {
        name: official_weights(parts.unet)["model.diffusion_model.input_blocks.1.0.temopral_conv.conv1.2.conv3d.weight"]
        for name, parts in made.items()
    }
    torch.testing.assert_close(causal["shift"], centred)
    before, now, after = centred.unbind(2)
    torch.testing.assert_close(causal["extrapolative"], torch.stack([0 * now, before - after, now + 2 * after], 2))
    assert "made causal" in made["shift"].title
    action = "model.diffusion_model.action_emb_proj.0.weight"
    assert torch.equal(*(official_weights(parts.unet)[action] for parts in made.values()))
    made["shift"].save_pretrained(tmp_path / "model")
    again = Vid2WorldParts.from_pretrained(tmp_path / "model").unet.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in made["shift"].unet.state_dict().items())
    with pytest.raises(InvalidInput, match="type base=true"):
        convert(path, RT1, say=silent)


@torch.no_grad()
@pytest.mark.parametrize("norm", ["clip", "frame"])
def test_a_folder_that_was_read_predicts_what_it_did_before(ckpt, tmp_path, norm):
    parts = convert(ckpt, Choices("rt1", norm=norm, head="symmetric", image_tokens="per_frame"), say=silent)
    parts.save_pretrained(tmp_path / "model")
    again = Vid2WorldParts.from_pretrained(tmp_path / "model")
    assert (again.unet.config, again.unet.config.norm) == (parts.unet.config, norm)
    clip = {"x": torch.randn(1, 3, 8, 4, 4), "timesteps": torch.tensor([[39, 39, 500]]), "actions": torch.randn(1, 3, 13)}
    clip |= {"known": torch.ones(1, 3), "context": parts.conditioner()(torch.rand(1, 8, 8, 3)), "fps": torch.tensor([3])}
    assert torch.equal(again.unet(**clip), parts.unet(**clip))


@pytest.mark.parametrize(
    ("domain", "size", "kind", "window"), [("rt1", 13, "continuous", 16), ("csgo", 51, "multi_hot", 16), ("recon", 3, "continuous", 20)]
)
def test_each_domain_has_its_u_net(domain, size, kind, window):
    config = tiny.official_config(Choices(domain, norm="frame", head="symmetric", image_tokens="per_frame"))
    assert (config.action_size, config.action_kind, config.window) == (size, kind, window)
    assert (config.norm, config.head, config.image_tokens) == ("frame", "symmetric", "per_frame")
    with torch.device("meta"):
        weights = official_weights(config.build())
    assert conversion.action_size(weights) == size
    assert domain in conversion.kind_of(weights)
    assert conversion.as_it_is(weights, Choices("rt1", base=True)) == Choices(domain)
    conversion.check_kind("file", weights, Choices(domain))


def test_the_command_converts_and_checks(ckpt, tmp_path, capsys):
    out = tmp_path / "model"
    assert cli.main(["weights", "action=convert", f"source={ckpt}", f"out={out}"]) == 0
    said = capsys.readouterr().out
    for word in ("reading", "U-Net: ", "schedule: largest difference", "writing"):
        assert word in said
    assert cli.main(["weights", "action=check", f"source={out}"]) == 0
    said = capsys.readouterr().out
    assert sha256_of(ckpt) in said
    assert "every hash is right" in said


def test_the_command_says_what_a_file_is(weights, ckpt, tmp_path, capsys):
    assert cli.main(["weights", "action=check", f"source={ckpt}", "domain=csgo"]) == 0
    said = capsys.readouterr().out
    assert "Vid2World rt1" in said
    assert said.count("every name and shape fits") == 5
    assert sha256_of(ckpt) in said
    wrong = without(weights, "first_stage_model.") | {"image_proj_model.surprise": torch.zeros(1), "odd.key": torch.zeros(1)}
    assert cli.main(["weights", "action=check", f"source={saved(tmp_path / 'wrong.safetensors', wrong)}"]) == 0
    said = capsys.readouterr().out
    assert "autoencoder: absent" in said
    assert "surprise is surplus" in said
    assert "odd.key" in said


def test_the_command_refuses_in_one_line(ckpt, folder, tmp_path, capsys):
    assert refusal(capsys, "action=convert", f"source={ckpt}") == (
        2,
        "worldsim: " + "weights action=convert needs out=FOLDER, where the converted model is written to\n",
    )
    code, line = refusal(capsys, "action=convert", f"source={ckpt}", f"out={folder}")
    assert (code, "is there already" in line) == (2, True)
    code, line = refusal(capsys, "action=check", f"source={tmp_path}")
    assert (code, "holds no checkpoint" in line) == (2, True)
    code, line = refusal(capsys, "action=check", f"source={tmp_path / 'none.ckpt'}")
    assert "none.ckpt" in line
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    code, line = refusal(capsys, "action=check", f"source={tmp_path / 'text.ckpt'}")
    assert "text.ckpt" in line
