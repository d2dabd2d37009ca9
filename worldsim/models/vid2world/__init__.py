"""The Vid2World method whole: its U-Net, the towers around it, and its released weights."""

from worldsim.models.vid2world.config import Vid2WorldConfig
from worldsim.models.vid2world.files import read_weights
from worldsim.models.vid2world.loading import load_base, load_unet, official_weights
from worldsim.models.vid2world.surgery import make_causal
from worldsim.models.vid2world.unet import Vid2WorldUNet

__all__ = ["Vid2WorldConfig", "Vid2WorldUNet", "load_base", "load_unet", "make_causal", "official_weights", "read_weights"]
