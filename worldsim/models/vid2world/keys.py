"""Our names of the U-Net's tensors and the official ones, by one table of rules.

The base (DynamiCrafter) and the released Vid2World checkpoints differ by an infix in the convolutions that were made causal.
"""

import re
from collections.abc import Iterable

PREFIX = "model.diffusion_model."
OLD_FPS = "framestride_embed"  # what bases of 256 x 256 call the frame-rate MLP

# Applied in this order to the whole name; (ours, official).
RULES = (
    (r"^level_mlp\.", "time_embed."),
    (r"^fps_mlp\.", "fps_embedding."),
    (r"^action_mlp\.", "action_emb_proj."),
    (r"^action_table\.", "action_emb_preprocess."),
    (r"^init_attention\.", "init_attn.0."),
    (r"^inputs\.", "input_blocks."),
    (r"^middle\.", "middle_block."),
    (r"^outputs\.", "output_blocks."),
    (r"^out_norm\.", "out.0."),
    (r"^out_conv\.", "out.2.conv2d."),
    (r"\.in_norm\.", ".in_layers.0."),
    (r"\.in_conv\.", ".in_layers.2."),
    (r"\.embed\.", ".emb_layers.1."),
    (r"\.out_norm\.", ".out_layers.0."),
    (r"\.out_conv\.", ".out_layers.3."),
    (r"\.skip\.", ".skip_connection."),
    (r"\.over_time\.stages\.0\.norm\.", ".temopral_conv.conv1.0."),
    (r"\.over_time\.stages\.0\.conv\.", ".temopral_conv.conv1.2.conv3d."),
    (r"\.over_time\.stages\.1\.norm\.", ".temopral_conv.conv2.0."),
    (r"\.over_time\.stages\.1\.conv\.", ".temopral_conv.conv2.3.conv3d."),
    (r"\.over_time\.stages\.2\.norm\.", ".temopral_conv.conv3.0."),
    (r"\.over_time\.stages\.2\.conv\.", ".temopral_conv.conv3.3.conv3d."),
    (r"\.over_time\.stages\.3\.norm\.", ".temopral_conv.conv4.0."),
    (r"\.over_time\.stages\.3\.conv\.", ".temopral_conv.conv4.3.conv3d."),
    (r"\.block\.", ".transformer_blocks.0."),
    (r"\.first\.", ".attn1."),
    (r"\.second\.", ".attn2."),
    (r"\.to_(k|v)_image\.", r".to_\1_ip."),
    (r"\.to_out\.", ".to_out.0."),
    (r"\.feed\.expand\.", ".ff.net.0.proj."),
    (r"\.feed\.contract\.", ".ff.net.2."),
    (r"\.shrink\.", ".op."),
    (r"\.grow\.", ".conv."),
)


def official_name(ours: str, *, base: bool = False) -> str:
    """The official name, without prefix, of one of our tensors; that of DynamiCrafter with `base`."""
    for pattern, replacement in RULES:
        ours = re.sub(pattern, replacement, ours)
    return re.sub(r"\.conv[23]d\.", ".", ours) if base else ours


def official_names(ours: Iterable[str], *, base: bool = False) -> dict[str, str]:
    """Official name to ours, for every tensor."""
    return {official_name(name, base=base): name for name in ours}


def is_action(official: str) -> bool:
    """Whether a tensor embeds actions, which a base does not have."""
    return official.startswith(("action_emb_proj.", "action_emb_preprocess."))
