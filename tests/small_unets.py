"""The four video U-Nets of diffusers, a few channels wide, with random weights."""

import torch

GROUPED = {"block_out_channels": (8, 16), "layers_per_block": 1, "cross_attention_dim": 8, "norm_num_groups": 4}
WITH_3D = {"down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"), "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D")}
CONFIGS = {
    "UNetSpatioTemporalConditionModel": {
        "down_block_types": ("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        "up_block_types": ("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        "block_out_channels": (32, 64),  # its blocks have 32 groups, always
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 24,
        "layers_per_block": 1,
        "cross_attention_dim": 8,
        "num_attention_heads": (2, 4),
    },
    "UNet3DConditionModel": {**GROUPED, **WITH_3D, "attention_head_dim": 4},
    "I2VGenXLUNet": {**GROUPED, **WITH_3D, "attention_head_dim": 4},
    "UNetMotionModel": {
        **GROUPED,
        "down_block_types": ("CrossAttnDownBlockMotion", "DownBlockMotion"),
        "up_block_types": ("UpBlockMotion", "CrossAttnUpBlockMotion"),
        "num_attention_heads": 2,
        "motion_num_attention_heads": 2,
    },
}


def stirred(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """`net` with noise added to every weight, in place, so that layers that begin at zero say something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator).to(parameter))
    return net.eval()


def unet(name: str, seed: int = 0) -> torch.nn.Module:
    """A U-Net as diffusers makes it, bidirectional, in float64."""
    import diffusers

    torch.manual_seed(seed)
    return stirred(getattr(diffusers, name)(**CONFIGS[name]).double(), seed)
