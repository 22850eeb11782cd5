"""A whole model at 32 channels, from seed 0: every part real, nothing trained, nothing silent."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from artv_cli.diffusion.schedule import Schedule
from artv_cli.model.artv import ArtV
from artv_cli.model.codec import Autoencoder, TextEncoder
from artv_cli.model.folder import Preferences
from artv_cli.model.unet import ConditionedUNet
from artv_cli.model.weights import Model, save_model
from artv_cli.settings import Guidance, Sampling
from artv_cli.train.examples import Clips

SIZE = (32, 32)  # pixels
LATENT = (4, 8, 8)
TEXT_WIDTH, TOKENS = 16, 8
WORDS = ("<pad>", "<start>", "<end>", "<unknown>", "a", "the", "cat", "rocket", "walks", "flies")

PREFERENCES = Preferences(
    size=SIZE,
    sampling=Sampling(
        sampler="dpmpp_2m",
        steps=3,
        guidance=Guidance(text=3.0, reference=0.25, anchor=0.25, on="dynamic"),
        noise_level=200,
    ),
)
TINY_UNET: dict[str, Any] = {
    "sample_size": LATENT[1],
    "in_channels": LATENT[0],
    "out_channels": LATENT[0],
    "block_out_channels": [32, 64],
    "attention_head_dim": [1, 2],  # diffusers' name for the number of heads
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": TEXT_WIDTH,
    "use_linear_projection": True,
}


def tiny_model() -> Model:
    """Return a model in which every condition has a say."""
    torch.manual_seed(0)
    networks = tiny_networks()
    wake(networks)
    vae, text = tiny_vae(), tiny_text()
    for module in (networks, vae, text):
        module.requires_grad_(False).eval()
    return Model(networks, vae, text, Schedule.scaled_linear(), "exact")


def tiny_folder(parent: Path) -> Path:
    """Write a complete model folder into `parent`."""
    folder = parent / "tiny"
    save_model(folder, tiny_model(), PREFERENCES)
    return folder


def tiny_networks() -> ArtV:
    """Return both networks as they are before training: adapters and anchors are silent."""
    return ArtV(ConditionedUNet(TINY_UNET), ConditionedUNet({**TINY_UNET, "out_channels": 1}))


def tiny_vae() -> Autoencoder:
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[8, 8, 8],
        norm_num_groups=4,
        latent_channels=LATENT[0],
        mid_block_add_attention=False,
        scaling_factor=0.5,
    )


def tiny_text(more: Sequence[str] = ()) -> TextEncoder:
    words = [*WORDS, *more]
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=TEXT_WIDTH,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return TextEncoder(tiny_tokenizer(words), CLIPTextModel(config))


def tiny_tokenizer(words: Sequence[str] = WORDS) -> PreTrainedTokenizerFast:
    pad, start, end, unknown, *_ = words
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, 1), (end, 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=start,
        eos_token=end,
        pad_token=pad,
        unk_token=unknown,
        model_max_length=TOKENS,
    )


def wake(module: nn.Module) -> None:
    """Give every parameter that starts at zero a value, as training would."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=generator)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class SolidClips(Clips):
    """Clips of frames that all differ: `latents(clip)[frame]` starts at `100 * clip + frame`."""

    def __init__(self, lengths: Sequence[int] = (12, 14), shape: tuple[int, ...] = LATENT) -> None:
        self.clips = [
            noise(length, *shape, seed=clip) * 0.01
            + 100 * clip
            + torch.arange(length)[:, None, None, None]
            for clip, length in enumerate(lengths)
        ]

    def __len__(self) -> int:
        return len(self.clips)

    def latents(self, clip: int) -> Tensor:
        return self.clips[clip]

    def caption(self, clip: int, frame: int, rng: Any, *, complete: bool) -> str:
        return f"{'a' if complete else 'the'} cat walks"


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Have a JSON file hold what `change` makes of its object."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
