"""Names of the official checkpoints for our parameters: one table, read from left to right. Knows no file and no tensor.

The official names below stand under `model.diffusion_model.`. Causal ones carry `.conv3d` and `.conv2d`; the base's do not.
"""

import re
from collections.abc import Iterable

from worldsim.errors import InvalidInput

PREFIX = "model.diffusion_model."
INFIXES = (".conv3d", ".conv2d")
ACTION_NAMES = ("action_emb_preprocess.", "action_emb_proj.")
OLD_NAMES = {"framestride_embed.": "fps_embedding."}  # of the first 256 x 256 bases

# Part of our name, as a pattern -> part of the official name. The first that fits where the last ended is taken; what none fits stays.
# {after}: 3 behind two transformers, 1 otherwise.
RULES = (
    ("time_mlp", "time_embed"),
    ("fps_mlp", "fps_embedding"),
    (r"action_mlp\.table", "action_emb_preprocess"),
    (r"action_mlp\.mlp", "action_emb_proj"),
    (r"down\.0\.enter", "input_blocks.0.0"),
    (r"down\.0\.time", "init_attn.0"),
    (r"down\.(\d+)\.shrink", r"input_blocks.\1.0.op"),
    (r"down\.(\d+)\.res", r"input_blocks.\1.0"),
    (r"down\.(\d+)\.space", r"input_blocks.\1.1"),
    (r"down\.(\d+)\.time", r"input_blocks.\1.2"),
    (r"middle\.res", "middle_block.0"),
    (r"middle\.space", "middle_block.1"),
    (r"middle\.time", "middle_block.2"),
    (r"middle\.after", "middle_block.3"),
    (r"up\.(\d+)\.res", r"output_blocks.\1.0"),
    (r"up\.(\d+)\.space", r"output_blocks.\1.1"),
    (r"up\.(\d+)\.time", r"output_blocks.\1.2"),
    (r"up\.(\d+)\.grow", r"output_blocks.\1.{after}.conv"),
    (r"head\.norm", "out.0"),
    (r"head\.conv", "out.2.conv2d"),
    # in a residual block
    ("norm_in", "in_layers.0"),
    ("conv_in", "in_layers.2"),
    ("embed", "emb_layers.1"),
    ("norm_out", "out_layers.0"),
    ("conv_out", "out_layers.3"),
    ("skip", "skip_connection"),
    (r"temporal\.steps\.0\.norm", "temopral_conv.conv1.0"),
    (r"temporal\.steps\.0\.conv", "temopral_conv.conv1.2.conv3d"),
    *((rf"temporal\.steps\.{i - 1}\.norm", f"temopral_conv.conv{i}.0") for i in (2, 3, 4)),
    *((rf"temporal\.steps\.{i - 1}\.conv", f"temopral_conv.conv{i}.3.conv3d") for i in (2, 3, 4)),
    # in a transformer
    ("enter", "proj_in"),
    ("leave", "proj_out"),
    (r"block\.first", "transformer_blocks.0.attn1"),
    (r"block\.second", "transformer_blocks.0.attn2"),
    (r"block\.mlp\.enter", "transformer_blocks.0.ff.net.0.proj"),
    (r"block\.mlp\.leave", "transformer_blocks.0.ff.net.2"),
    (r"block\.norm(\d)", r"transformer_blocks.0.norm\1"),
    ("query", "to_q"),
    ("key", "to_k"),
    ("value", "to_v"),
    ("image_key", "to_k_ip"),
    ("image_value", "to_v_ip"),
    ("out", "to_out.0"),
)
COMPILED = tuple((re.compile(rf"{ours}(?=\.|$)"), theirs) for ours, theirs in RULES)


def official_names(names: Iterable[str], *, causal: bool) -> dict[str, str]:
    """The official name of each parameter of a network, one to one.

    Args:
        names: all parameter names of a `Vid2WorldUNet`.
        causal: True for Vid2World's names, False for those of the DynamiCrafter base.

    Raises:
        InvalidInput: two parameters would share a name.
    """
    names = list(names)
    attending = {match[1] for name in names if (match := re.match(r"up\.(\d+)\.space\.", name))}
    table = {}
    for name in names:
        block = re.match(r"up\.(\d+)\.", name)
        official = _translated(name).replace("{after}", "3" if block and block[1] in attending else "1")
        table[name] = official if causal else base_name(official)
    if len(set(table.values())) < len(table):
        raise InvalidInput("two of the given names have the same official name, expected the parameters of one network")
    return table


def base_name(official: str) -> str:
    """The name that the DynamiCrafter base gives to a Vid2World tensor."""
    for infix in INFIXES:
        official = official.replace(infix, "")
    return official


def _translated(name: str) -> str:
    done, at = [], 0
    while at < len(name):
        for pattern, theirs in COMPILED:
            if match := pattern.match(name, at):
                done.append(match.expand(theirs))
                at = match.end() + 1
                break
        else:
            part = name[at:].partition(".")[0]
            done.append(part)
            at += len(part) + 1
    return ".".join(done)
