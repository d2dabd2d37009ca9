"""Small synthetic LeRobot data sets of v2.1 and v3.0 with the same content; every picture says of which camera, episode and frame it is."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

HEIGHT, WIDTH, BLOCK = 32, 64, 8
LOSSLESS = ("libx264", "yuv444p", {"crf": "0", "preset": "ultrafast", "g": "7", "bf": "2"})
H264 = ("libx264", "yuv420p", {"crf": "12", "g": "7", "bf": "3", "sc_threshold": "0"})
AV1 = ("libsvtav1", "yuv420p", {"crf": "10", "g": "6", "preset": "12", "svtav1-params": "lp=1"})
NAMES = ("shoulder.pos", "elbow.pos", "gripper.pos")
TASKS = ("pick the cube", "öffne die Lade")


@dataclass(frozen=True)
class Content:
    """What a data set holds; both versions are written of the same.

    Attributes:
        lengths: frames of each episode; their tasks alternate.
        cameras: "video" or "image" by name.
        data_files: which episodes share a parquet file (v3).
        video_files: which episodes share a video (v3).
        codec: (encoder, pixel format, options).
    """

    lengths: tuple[int, ...] = (8, 5, 9, 6, 7)
    cameras: Mapping[str, str] = None
    data_files: tuple[tuple[int, ...], ...] = ((0, 1, 2), (3, 4))
    video_files: tuple[tuple[int, ...], ...] = ((0, 1), (2, 3, 4))
    fps: int = 10
    codec: tuple[str, str, Mapping[str, str]] = LOSSLESS

    def __post_init__(self) -> None:
        object.__setattr__(self, "cameras", self.cameras or {"observation.images.top": "video", "observation.images.wrist": "video"})

    def actions(self, episode: int) -> np.ndarray:
        """float32 `[T, 3]`, no two rows alike."""
        return np.random.default_rng(episode).normal(size=(self.lengths[episode], 3)).astype(np.float32)

    def states(self, episode: int) -> np.ndarray:
        """float32 `[T, 4]`."""
        return np.random.default_rng(100 + episode).normal(size=(self.lengths[episode], 4)).astype(np.float32)

    def frames(self, camera: str, episode: int) -> np.ndarray:
        """uint8 `[T, H, W, 3]`."""
        number = list(self.cameras).index(camera)
        return np.stack([stamped(number, episode, frame) for frame in range(self.lengths[episode])])

    def task(self, episode: int) -> str:
        return TASKS[episode % 2]

    def first(self, episode: int) -> int:
        return sum(self.lengths[:episode])

    def split_of(self, episode: int) -> str:
        return "train" if episode < len(self.lengths) - 1 else "val"


def stamped(camera: int, episode: int, frame: int) -> np.ndarray:
    """A picture uint8 `[32, 64, 3]` whose blocks spell the three numbers; coloured, so that its channels differ."""
    bits = (
        [camera >> place & 1 for place in range(2)]
        + [episode >> place & 1 for place in range(6)]
        + [frame >> place & 1 for place in range(8)]
    )
    blocks = np.zeros((HEIGHT // BLOCK, WIDTH // BLOCK))
    blocks.flat[: len(bits)] = bits
    shades = np.where(blocks.repeat(BLOCK, 0).repeat(BLOCK, 1)[..., None] > 0, (220, 200, 180), (20, 40, 60))
    return shades.astype(np.uint8)


def read_stamp(picture: np.ndarray) -> tuple[int, int, int]:
    """(camera, episode, frame) of a picture, from the middles of its blocks."""
    bits = (picture[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK].mean(-1) > 120).ravel().astype(int)
    return tuple(int(sum(bit << place for place, bit in enumerate(part))) for part in (bits[:2], bits[2:8], bits[8:16]))


def write_v21(root: Path, content: Content | None = None) -> Path:
    """One parquet file and one video per camera and episode, JSON lines."""
    content = content or Content()
    rows = []
    for episode, length in enumerate(content.lengths):
        write_rows(root / f"data/chunk-{episode // 2:03d}/episode_{episode:06d}.parquet", content, [episode])
        for camera, kind in content.cameras.items():
            if kind == "video":
                path = root / f"videos/chunk-{episode // 2:03d}/{camera}/episode_{episode:06d}.mp4"
                encode(path, content.frames(camera, episode), content)
        rows.append({"episode_index": episode, "tasks": [content.task(episode)], "length": length})
    write_lines(root / "meta/episodes.jsonl", rows)
    write_lines(root / "meta/tasks.jsonl", [{"task_index": number, "task": task} for number, task in enumerate(TASKS)])
    paths = {
        "chunks_size": 2,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    write_info(root, content, "v2.1", paths)
    return root


def write_v30(root: Path, content: Content | None = None) -> Path:
    """Several episodes in each parquet file and each video, metadata in parquet files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = content or Content()
    notes = [_notes(content, episode) for episode in range(len(content.lengths))]
    for number, episodes in enumerate(content.data_files):
        write_rows(root / f"data/chunk-000/file-{number:03d}.parquet", content, episodes, groups=number == 0)
    for camera, kind in content.cameras.items():
        for number, episodes in enumerate(content.video_files if kind == "video" else ()):
            frames = np.concatenate([content.frames(camera, episode) for episode in episodes])
            encode(root / f"videos/{camera}/chunk-000/file-{number:03d}.mp4", frames, content)
    for number, part in enumerate((notes[:3], notes[3:])):
        path = root / f"meta/episodes/chunk-000/file-{number:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(part), path, write_page_checksum=True)
    tasks = pa.table({"task_index": list(range(len(TASKS))), "task": list(TASKS)})
    pq.write_table(tasks, root / "meta/tasks.parquet", write_page_checksum=True)
    paths = {
        "chunks_size": 1000,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    write_info(root, content, "v3.0", paths)
    return root


WRITERS: Mapping[str, Callable[..., Path]] = {"v2.1": write_v21, "v3.0": write_v30}


def _notes(content: Content, episode: int) -> dict[str, Any]:
    """The row of one episode in v3's metadata."""
    length, first = content.lengths[episode], content.first(episode)
    row = {"episode_index": episode, "tasks": [content.task(episode)], "length": length}
    row |= {"dataset_from_index": first, "dataset_to_index": first + length, "data/chunk_index": 0}
    row["data/file_index"] = next(number for number, file in enumerate(content.data_files) if episode in file)
    row["stats/action/min"] = content.actions(episode).min(0).tolist()
    for camera, kind in content.cameras.items():
        if kind == "video":
            number, file = next((number, file) for number, file in enumerate(content.video_files) if episode in file)
            start = sum(content.lengths[other] for other in file[: file.index(episode)]) / content.fps
            row |= {f"videos/{camera}/chunk_index": 0, f"videos/{camera}/file_index": number}
            row |= {f"videos/{camera}/from_timestamp": start, f"videos/{camera}/to_timestamp": start + length / content.fps}
    return row


def rows_of(content: Content, episode: int) -> dict[str, list]:
    """The columns of one episode."""
    length = content.lengths[episode]
    columns = {
        "action": content.actions(episode).tolist(),
        "observation.state": content.states(episode).tolist(),
        "timestamp": (np.arange(length) / content.fps).astype(np.float32).tolist(),
        "frame_index": list(range(length)),
        "episode_index": [episode] * length,
        "index": list(range(content.first(episode), content.first(episode) + length)),
        "task_index": [episode % 2] * length,
        "action.extra": [[float(episode)]] * length,  # another column whose name begins like that of the action
    }
    pictures = {name: [_png(each) for each in content.frames(name, episode)] for name, kind in content.cameras.items() if kind == "image"}
    return columns | pictures


def write_rows(path: Path, content: Content, episodes: Sequence[int], *, groups: bool = True) -> None:
    """A parquet file of these episodes, in one row group each or all in one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pa.table(rows_of(content, episode)) for episode in episodes]
    schema = tables[0].schema.set(2, pa.field("timestamp", pa.float32())).set(0, pa.field("action", pa.list_(pa.float32())))
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, schema, write_page_checksum=True) as writer:
        for table in tables if groups else [pa.concat_tables(tables)]:
            writer.write_table(table.cast(schema))


def _png(picture: np.ndarray) -> dict[str, Any]:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return {"bytes": stream.getvalue(), "path": "frame.png"}


def encode(path: Path, frames: np.ndarray, content: Content, times: Sequence[float] | None = None) -> None:
    """A video of these frames, one every 1 / fps seconds or at the given times."""
    encoder, pixels, options = content.codec
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(encoder, rate=content.fps, options=dict(options))
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number if times is None else round(times[number] * content.fps), Fraction(1, content.fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_info(root: Path, content: Content, version: str, paths: Mapping[str, Any]) -> None:
    """`meta/info.json` as lerobot writes it."""
    last = len(content.lengths) - 1
    numbers = {name: {"dtype": "int64", "shape": [1], "names": None} for name in ("frame_index", "episode_index", "index", "task_index")}
    pictures = {
        name: {"dtype": kind, "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channels"], "info": {"video.is_depth_map": False}}
        for name, kind in content.cameras.items()
    }
    info = {
        "codebase_version": version,
        "robot_type": "so100",
        "total_episodes": len(content.lengths),
        "total_frames": sum(content.lengths),
        "total_tasks": len(TASKS),
        "fps": content.fps,
        "splits": {"train": f"0:{last}", "val": f"{last}:{last + 1}"},
        **paths,
        "features": {
            "action": {"dtype": "float32", "shape": [3], "names": list(NAMES)},
            "observation.state": {"dtype": "float32", "shape": [4], "names": {"motors": ["a", "b", "c", "d"]}},
            **pictures,
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            **numbers,
        },
    }
    path = root / "meta/info.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(info, indent=4))


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def edit_info(root: Path, **changes: Any) -> None:
    """Change entries of `meta/info.json`; None takes one away."""
    path = root / "meta/info.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def edit_rows(path: Path, change: Callable[[list[dict]], list[dict]]) -> None:
    """Rewrite a parquet file or a file of JSON lines row by row."""
    if path.suffix == ".jsonl":
        write_lines(path, change([json.loads(line) for line in path.read_text().splitlines()]))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), path, write_page_checksum=True)


def of(content: Content, **changes: Any) -> Content:
    return replace(content, **changes)
