"""A random vision-language model of a few thousand numbers, saved as transformers saves: LLaVA with a tiny CLIP eye and a tiny Llama."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

SIDE, PATCH = 16, 8
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}[reply]{% endif %}"
)
WORDS = ["<pad>", "<unk>", "<image>", "[reply]", "picture", "task", "drawer", "close", "open", "done", "robot", "if", "the", "it", "a", ","]


def tokenizer_of(spellings: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, in which yes and no have these spellings."""
    vocabulary = {word: number for number, word in enumerate([*WORDS, *spellings])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "additional_special_tokens": ["<image>", "[reply]"]}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="left", **special)


def save_tiny_vlm(folder: Path, *, seed: int = 0, spellings: tuple[str, ...] = ("yes", "no"), template: str | None = TEMPLATE) -> Path:
    """Build the model and save it with its processor."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(seed)
    tokenizer = tokenizer_of(spellings)
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE, patch_size=PATCH
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=2, vision_feature_layer=-1)
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
        image_token="<image>",
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def logits_by_hand(folder: Path, text: str, pictures: list[Any]) -> torch.Tensor:
    """Logits of the first token of the reply to one question, by a plain forward pass without padding."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    model = LlavaForConditionalGeneration.from_pretrained(folder, local_files_only=True).eval()
    inputs = processor(text="<image> " * len(pictures) + text + " [reply]", images=pictures, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).logits[0, -1]


def save_yes_sayer(folder: Path) -> Path:
    """Like `save_tiny_vlm`, but the model replies "yes" and ends, whatever it is shown: only the last token reaches its output."""
    from transformers import AutoProcessor

    save_tiny_vlm(folder, spellings=("yes", "no", "</s>"))
    reply, yes, end = 3, len(WORDS), len(WORDS) + 2
    model = LlavaForConditionalGeneration.from_pretrained(folder)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "language_model.layers" in name and ("o_proj" in name or "down_proj" in name):
                parameter.zero_()
        embedding = model.get_input_embeddings().weight
        embedding.copy_(torch.eye(*embedding.shape))
        model.lm_head.weight.zero_()
        model.lm_head.weight[yes, reply] = model.lm_head.weight[end, yes] = 1.0
    model.config.text_config.eos_token_id = model.generation_config.eos_token_id = end
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    processor.tokenizer.add_special_tokens({"eos_token": "</s>"})
    processor.save_pretrained(folder)
    return folder
