"""Small recordings in the layouts of other projects, written by the tests that read them."""

import io
import pickle
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from worldsim.data.csgo_actions import CLICKS, KEYS, MOUSE_X, MOUSE_Y, Press, encode

JPEG_OFF = 12  # levels by which a smooth picture differs after JPEG


def some_pictures(count: int, seed: int = 0, side: int = 8) -> np.ndarray:
    """Smooth pictures uint8 `[count, side, 3/2 side, 3]`, each and each channel different."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 100, (count, 1, 1, 3))
    across = np.linspace(0, 100, side * 3 // 2)[None, None, :, None]
    return (start + across + np.linspace(0, 40, side)[None, :, None, None]).astype(np.uint8)


def some_actions(count: int, seed: int = 0) -> np.ndarray:
    """Random CS:GO actions float32 `[count, 51]`."""
    rng = np.random.default_rng(seed)

    def press() -> Press:
        keys = tuple(key for key in KEYS if rng.random() < 0.3)
        return Press(keys, tuple(c for c in CLICKS if rng.random() < 0.3), float(rng.choice(MOUSE_X)), float(rng.choice(MOUSE_Y)))

    return np.stack([encode(press()) for _ in range(count)])


def drive(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A random drive: positions `[6, 2]` and yaw `[6]`."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(0, 0.2, (6, 2)), axis=0), np.cumsum(rng.normal(0, 0.5, 6))


def write_csgo(path: Path, pictures: np.ndarray, actions: np.ndarray, events: np.ndarray | None = None) -> None:
    """One file as Pearce and Zhu's script writes it: blue first, actions float64."""
    path.parent.mkdir(parents=True, exist_ok=True)
    events = np.zeros((len(pictures), 2)) if events is None else events
    with h5py.File(path, "w") as file:
        for i, (picture, action, event) in enumerate(zip(pictures, actions, events, strict=True)):
            file[f"frame_{i}_x"] = picture[..., ::-1]
            file[f"frame_{i}_xaux"] = np.zeros(54)
            file[f"frame_{i}_y"] = action.astype(np.float64)
            file[f"frame_{i}_helperarr"] = event.astype(np.float64)


def as_jpeg(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=95, subsampling=0)
    return stream.getvalue()


def write_recon_hdf5(path: Path, pictures: np.ndarray, position: np.ndarray, yaw: np.ndarray, *, kind: str = "S") -> None:
    """One drive as RECON was released; `path` without the ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = [as_jpeg(picture) for picture in pictures]
    longest = max(len(each) for each in encoded)
    with h5py.File(path.with_suffix(".hdf5"), "w") as file:
        if kind == "vlen":
            stored = file.create_dataset("images/rgb_left", len(encoded), h5py.vlen_dtype(np.uint8))
            for i, each in enumerate(encoded):
                stored[i] = np.frombuffer(each, np.uint8)
        else:
            file["images/rgb_left"] = np.array([each.ljust(longest, b"\0") for each in encoded], dtype={"S": "S", "opaque": "V"}[kind])
        file["jackal/position"] = np.concatenate([position, np.zeros((len(position), 1))], axis=1)
        file["jackal/yaw"] = yaw
        for name, values in commands(len(yaw)).items():
            file[name] = values


def commands(count: int) -> dict[str, np.ndarray]:
    """What the robot was told and where its satellites saw it: numbers of which no two are alike."""
    steps = np.arange(1, count + 1)
    latlong = 37.9 + steps[:, None] * np.array([1e-5, -1e-5])
    return {"commands/linear_velocity": steps / 7, "commands/angular_velocity": -steps / 11, "gps/latlong": latlong}


def write_recon_folder(path: Path, pictures: np.ndarray, position: np.ndarray, yaw: np.ndarray) -> None:
    """One drive as the pipeline of NWM and Vid2World takes it apart."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "traj_data.pkl").write_bytes(pickle.dumps({"position": position, "yaw": yaw}))
    for i, picture in enumerate(pictures):
        (path / f"{i}.jpg").write_bytes(as_jpeg(picture))
