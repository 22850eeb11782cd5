"""The networks at the paper's size, with random weights, on any device.

Nothing here trains or loads: times, memory and counts do not depend on what a network knows. What
is timed drawing has no weight at zero, though, since a chip is faster on zeros.

Legend: b frames in a batch, c latent channels, h w latent size, n text tokens, d text width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet3DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from artv_cli.model.adapter import REFERENCE_COUNT
from artv_cli.model.artv import MASK_UNET, SD21_UNET, ArtV
from artv_cli.model.codec import TextEncoder
from artv_cli.model.unet import ConditionedUNet
from artv_cli.storybook.tokenizer import build_tokenizer

FRAMES = 16  # in a batch of Table 3
CHANNELS, TEXT_TOKENS, TEXT_WIDTH = 4, 77, 1024
PIXELS_PER_LATENT = 8
TIMESTEP, NOISE_LEVEL = 500, 200

# As published with the weights of ModelScope's text-to-video model of 1.7 B parameters.
MODELSCOPE_UNET: dict[str, Any] = {
    "sample_size": 32,
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "down_block_types": [*["CrossAttnDownBlock3D"] * 3, "DownBlock3D"],
    "up_block_types": ["UpBlock3D", *["CrossAttnUpBlock3D"] * 3],
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "cross_attention_dim": TEXT_WIDTH,
    "attention_head_dim": 64,
}
SD_AUTOENCODER: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": CHANNELS,
    "scaling_factor": 0.18215,
}
SD21_TEXT: dict[str, Any] = {  # OpenCLIP ViT-H without its last layer
    "hidden_size": TEXT_WIDTH,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "max_position_embeddings": TEXT_TOKENS,
}

Pass = Callable[[], Any]  # one forward pass, its inputs bound


def build_artv() -> ArtV:
    """Return both networks of Table 2 as they are before training."""
    return ArtV(ConditionedUNet(SD21_UNET), ConditionedUNet(MASK_UNET))


def build_modelscope() -> UNet3DConditionModel:
    """Return the network that Table 3 compares with."""
    return UNet3DConditionModel(**MODELSCOPE_UNET)


def build_autoencoder() -> AutoencoderKL:
    """Return Stable Diffusion's autoencoder."""
    return AutoencoderKL(**SD_AUTOENCODER)


def build_text_encoder() -> TextEncoder:
    """Return a text encoder of Stable Diffusion 2.1's size that reads the storybook's words."""
    tokenizer = build_tokenizer()
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    special = {name: getattr(tokenizer, name) for name in names}
    return TextEncoder(tokenizer, CLIPTextModel(CLIPTextConfig(**SD21_TEXT, **special)))


def wake(module: nn.Module) -> None:
    """Give every parameter that starts at zero small random values."""
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)


def modelscope_pass(network: nn.Module, side: int) -> Pass:
    """Return a pass over one batch of 16 frames of `side` latents each way."""
    random = _random_like(network)
    x = random(1, CHANNELS, FRAMES, side, side)
    return partial(network, x, _constant(x, TIMESTEP), random(1, TEXT_TOKENS, TEXT_WIDTH))


def artv_pass(networks: nn.Module, side: int, frames: int = FRAMES) -> Pass:
    """Return a pass over `frames` frames, the preparation of their conditions included."""
    assert isinstance(networks, ArtV)
    random = _random_like(networks)
    x = random(frames, CHANNELS, side, side)
    references = random(frames, REFERENCE_COUNT * CHANNELS, side, side)
    anchor, text = random(*x.shape), random(frames, TEXT_TOKENS, TEXT_WIDTH)
    timestep, level = _constant(x, TIMESTEP), _constant(x, NOISE_LEVEL)

    def run() -> tuple[Tensor, Tensor]:
        prepared = networks.prepare_text(text)
        return networks(x, timestep, networks.prepare(references, anchor, prepared, level))

    return run


def artv_step(networks: nn.Module, side: int, frames: int = FRAMES) -> Pass:
    """Return a denoising step of `frames` frames whose conditions stand prepared."""
    assert isinstance(networks, ArtV)
    random = _random_like(networks)
    x = random(frames, CHANNELS, side, side)
    with torch.no_grad():
        conditions = networks.prepare(
            random(frames, REFERENCE_COUNT * CHANNELS, side, side),
            random(*x.shape),
            networks.prepare_text(random(frames, TEXT_TOKENS, TEXT_WIDTH)),
            _constant(x, NOISE_LEVEL),
        )
    return partial(networks, x, _constant(x, TIMESTEP), conditions)


def _random_like(module: nn.Module) -> Callable[..., Tensor]:
    weight = next(module.parameters())
    return partial(torch.randn, device=weight.device, dtype=weight.dtype)


def _constant(x: Tensor, value: int) -> Tensor:
    return torch.full((len(x),), value, device=x.device)
