"""A converted Vid2World on disk: one folder with everything that imagining needs, each weight in the precision it came in.

    config.json           what it is, sizes, source, hashes
    model.safetensors     U-Net (`unet/`), image projector (`resampler/`) and the empty text (`text/empty`)
    vae/                  the autoencoder, as diffusers stores it
    image_encoder/        the image tower, as transformers stores it
    README.md             the model card

The folder is written aside and renamed, so it exists whole or not at all. Knows nothing of the official checkpoints.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from worldsim.data.files import sha256_of, write_json
from worldsim.errors import DamagedFile, InvalidInput
from worldsim.models.autoencoders import FrameAutoencoder
from worldsim.models.checkpoint import FORMAT, load_checkpoint, parameter_count
from worldsim.models.vid2world.config import Vid2WorldConfig
from worldsim.models.vid2world.resampler import ResamplerConfig
from worldsim.models.vid2world.towers import Conditioner, filled, load_autoencoder, load_image_encoder, transformers

KIND = "vid2world"
TOWERS = {"vae": "diffusion_pytorch_model.safetensors", "image_encoder": "model.safetensors"}  # the libraries' file names


@dataclass(frozen=True)
class Vid2WorldParts:
    """Everything that a Vid2World model consists of.

    Attributes:
        unet: the causal video U-Net.
        resampler: the image projector.
        image_encoder: the frozen CLIP image tower.
        autoencoder: frames to latents and back.
        empty_text: `[77, 1024]`, what the text tower says about the empty string.
        facts: where it comes from, as plain values: domain, base, transfer, source, schedule, leak (None where nobody has measured it).
    """

    unet: nn.Module
    resampler: nn.Module
    image_encoder: nn.Module
    autoencoder: FrameAutoencoder
    empty_text: Tensor
    facts: Mapping[str, Any]

    @property
    def title(self) -> str:
        """One line: what it is and what was done to it."""
        facts = self.facts
        made = f"DynamiCrafter made causal ({facts['transfer']}), to be trained" if facts["base"] else "Vid2World"
        return f"{made}, domain {facts['domain']}, norm {facts['norm']}, head {facts['head']}, image tokens {facts['image_tokens']}"

    def conditioner(self) -> Conditioner:
        """First frame to context tokens."""
        return Conditioner(self.image_encoder, self.resampler, self.empty_text)

    def save_pretrained(self, folder: str | Path) -> str:
        """Write the folder and return the hash of `model.safetensors`.

        Raises:
            InvalidInput: there is something at `folder` already.
        """
        with _written_whole(Path(folder)) as aside:
            save_file(self._tensors(), aside / "model.safetensors")
            with _quiet():
                self.autoencoder.net.save_pretrained(aside / "vae")
                self.image_encoder.save_pretrained(aside / "image_encoder")
            config = self._config(aside)
            (aside / "README.md").write_text(card(config), encoding="utf-8")
            write_json(aside / "config.json", config)
        return config["sha256"]

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Vid2WorldParts":
        """Read the folder, checking every hash.

        Raises:
            InvalidInput: no such folder, or one that holds something else.
            DamagedFile: a file is missing, torn, or not the one that `config.json` names.
        """
        checkpoint = load_checkpoint(folder, KIND)
        config, tensors = checkpoint.config, checkpoint.tensors
        if tensors.keys() != {"unet", "resampler", "text"}:
            raise DamagedFile(f"{folder} holds {', '.join(sorted(tensors))}, expected resampler, text, unet; convert the source again")
        towers = {name: _read_tower(Path(folder) / name, file, config["towers"][name]) for name, file in TOWERS.items()}
        return cls(
            unet=filled(Vid2WorldConfig(**config["unet"]).build, tensors["unet"], "U-Net"),
            resampler=filled(ResamplerConfig(**config["resampler"]).build, tensors["resampler"], "image projector"),
            image_encoder=_image_encoder(*towers["image_encoder"]),
            autoencoder=load_autoencoder(*towers["vae"]),
            empty_text=tensors["text"]["empty"],
            facts=config["facts"],
        )

    def _tensors(self) -> dict[str, Tensor]:
        modules = {"unet": self.unet, "resampler": self.resampler}
        found = {f"{name}/{key}": tensor for name, module in modules.items() for key, tensor in module.state_dict().items()}
        return {key: tensor.detach().cpu().contiguous() for key, tensor in (found | {"text/empty": self.empty_text}).items()}

    def _config(self, folder: Path) -> dict[str, Any]:
        """What `config.json` says about the files in `folder`."""
        counted = {"unet": self.unet, "resampler": self.resampler, "image_encoder": self.image_encoder, "vae": self.autoencoder}
        return {
            "format": FORMAT,
            "kind": KIND,
            "sha256": sha256_of(folder / "model.safetensors"),
            "towers": {name: sha256_of(folder / name / file) for name, file in TOWERS.items()},
            "dtype": str(next(self.unet.parameters()).dtype).removeprefix("torch."),
            "parameters": {name: parameter_count(module) for name, module in counted.items()},
            "unet": asdict(self.unet.config),
            "resampler": asdict(self.resampler.config),
            "facts": dict(self.facts),
        }


def refuse_taken(folder: str | Path) -> None:
    """Let nothing be overwritten.

    Raises:
        InvalidInput: there is something at `folder` already.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"{folder} is there already; remove it or choose another folder")


@contextmanager
def _written_whole(folder: Path) -> Iterator[Path]:
    """A folder beside `folder`; when the block ends without an error it is flushed to disk and renamed."""
    refuse_taken(folder)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        aside.mkdir(parents=True)
        yield aside
        for path in aside.rglob("*"):
            if path.is_file():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of transformers inside the block."""
    logging = transformers().utils.logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _read_tower(folder: Path, file: str, sha256: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(config, weights) of one tower's folder."""
    try:
        if (found := sha256_of(folder / file)) != sha256:
            raise DamagedFile(
                f"{folder / file} has hash {found[:12]}, expected {sha256[:12]}: damaged or replaced; convert the source again"
            )
        return json.loads((folder / "config.json").read_text(encoding="utf-8")), load_file(folder / file)
    except (FileNotFoundError, ValueError, SafetensorError) as error:
        raise DamagedFile(f"{folder} cannot be read ({error}); convert the source again") from error


def _image_encoder(config: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:

    return load_image_encoder(transformers().CLIPVisionConfig.from_dict(config), weights)


def card(config: Mapping[str, Any]) -> str:
    """The model card of a converted folder, in Markdown, from the values of its `config.json`."""
    facts, sizes = config["facts"], config["parameters"]
    source = facts["source"]
    origin = (
        f"DynamiCrafter, made causal with the {facts['transfer']} weight transfer and not trained since: its action embedding is untrained"
        if facts["base"]
        else f"Vid2World, converted name by name without changing a value (trained from the {facts['transfer']} weight transfer)"
    )
    leak = "not measured" if facts["leak"] is None else ", ".join(f"{name} {value:g}" for name, value in facts["leak"].items())
    rows = [
        ("weights", origin),
        ("source", f"`{source['name']}`, sha256 `{source['sha256']}`"),
        ("domain", f"{facts['domain']}, actions of {facts['action_size']} numbers"),
        ("sizes", ", ".join(f"{name} {count:,}" for name, count in sizes.items()) + f" parameters, {config['dtype']}"),
        ("model.safetensors", f"sha256 `{config['sha256']}`"),
        ("future seen by the past", leak),
        ("licence", "unverified: the source names none for its weights that we know of; ask its authors before you pass them on"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"""# Vid2World, {facts["domain"]}

A video diffusion model that predicts the next frame from past frames and actions (arXiv 2505.14357), in worldsim's layout.

| | |
|---|---|
{table}

Load it with

```python
from worldsim.models.vid2world.pretrained import Vid2WorldParts

parts = Vid2WorldParts.from_pretrained("FOLDER")
context = parts.conditioner()(first_frames)  # [B, H, W, 3] in [-1, 1] to [B, tokens, width]
latents = parts.autoencoder.encode(first_frames)
```

or check it with `worldsim weights action=check source=FOLDER`.
"""
