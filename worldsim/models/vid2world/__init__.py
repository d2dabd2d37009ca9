"""The authors' model: DynamiCrafter's U-Net made causal, its image conditioning, and their checkpoints."""

from worldsim.models.vid2world.config import Vid2WorldConfig
from worldsim.models.vid2world.loading import load_base, load_unet, read_weights
from worldsim.models.vid2world.unet import Vid2WorldUNet

__all__ = ["Vid2WorldConfig", "Vid2WorldUNet", "load_base", "load_unet", "read_weights"]
