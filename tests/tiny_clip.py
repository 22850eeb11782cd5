"""A tiny random CLIP: the real classes and the real layout."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny import TOKENS, WORDS, tiny_tokenizer
from transformers import CLIPConfig, CLIPModel

from artv_cli.model.weights import silent_libraries

SIDE = 16  # pixels of the picture that it sees


def tiny_clip(folder: Path, seed: int = 0) -> Path:
    """Write a CLIP model into `folder`, and return it."""
    torch.manual_seed(seed)
    layers = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = CLIPConfig(
        text_config={
            **layers,
            "vocab_size": len(WORDS),
            "max_position_embeddings": TOKENS,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        vision_config={**layers, "image_size": SIDE, "patch_size": 4},
        projection_dim=8,
    )
    with silent_libraries():
        CLIPModel(config).save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
    return folder
