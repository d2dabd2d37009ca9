"""LeRobotDataset v2.0, v2.1 and v3.0: parquet rows, mp4 videos, and the metadata that says which of them make an episode.

    PATH/meta/info.json           version, frames per second, features, splits, and patterns of the paths below
    PATH/meta/...                 episodes and tasks: JSON lines (v2), parquet (v3)
    PATH/data/...parquet          one row per frame: action, state, timestamp, and pictures that are no video
    PATH/videos/...mp4            one video per camera and episode (v2), or many episodes behind one another (v3)

The facts are from huggingface/lerobot at 7427f31 (`src/lerobot/datasets`) and its script that converts v2.1 to v3.0.
"""

from worldsim.data.lerobot.reader import read_lerobot

__all__ = ["read_lerobot"]
