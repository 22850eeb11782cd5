"""Tiny random Stable Diffusions: the real classes and the real layouts, at 32 channels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from artv_cli.model.weights import silent_libraries

SIDE = 64  # pixels: 8 latents
TEXT_WIDTH, TOKENS = 64, 8
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PREFIX = "cond_stage_model.model."

UNET: dict[str, Any] = {
    "sample_size": SIDE // 8,
    "block_out_channels": (32, 32, 64, 128),
    "attention_head_dim": (1, 1, 1, 2),  # diffusers' name for the number of heads
    "layers_per_block": 2,
    "cross_attention_dim": TEXT_WIDTH,
    "use_linear_projection": True,
}
SECOND_WIDTH, TIME_WIDTH = 32, 8  # of SDXL: its other text encoder, and what it knows of sizes
XL_UNET: dict[str, Any] = {
    "sample_size": SIDE // 8,
    "block_out_channels": (32, 64, 64),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 3),
    "attention_head_dim": (1, 2, 2),
    "layers_per_block": 2,
    "cross_attention_dim": TEXT_WIDTH + SECOND_WIDTH,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": TIME_WIDTH,
    "projection_class_embeddings_input_dim": SECOND_WIDTH + 6 * TIME_WIDTH,
}
VERSION_1 = {"use_linear_projection": False, "attention_head_dim": 2}


def tiny_base(
    folder: Path, *, prediction: str = "epsilon", unet: dict[str, Any] | None = None, **save: Any
) -> StableDiffusionPipeline:
    """Write a base in the diffusers manner and return it."""
    torch.manual_seed(0)
    with silent_libraries():
        pipeline = StableDiffusionPipeline(
            vae=_vae(),
            text_encoder=_text_encoder(),
            tokenizer=_tokenizer(),
            unet=UNet2DConditionModel(**{**UNET, **(unet or {})}),
            scheduler=_scheduler(prediction),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        pipeline.save_pretrained(folder, **save)
    return pipeline


def tiny_sdxl(folder: Path, **save: Any) -> StableDiffusionXLPipeline:
    """Write a pipeline of SDXL's layout in the diffusers manner and return it."""
    torch.manual_seed(0)
    second = {"hidden_size": SECOND_WIDTH, "projection_dim": SECOND_WIDTH}
    with silent_libraries():
        pipeline = StableDiffusionXLPipeline(
            vae=_vae(),
            text_encoder=_text_encoder(),
            text_encoder_2=CLIPTextModelWithProjection(_text_config(**second)),
            tokenizer=_tokenizer(),
            tokenizer_2=_tokenizer(),
            unet=UNet2DConditionModel(**XL_UNET),
            scheduler=EulerDiscreteScheduler(**BETAS, timestep_spacing="leading", steps_offset=1),
            add_watermarker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        pipeline.save_pretrained(folder, **save)
    return pipeline


def save_as_ldm(pipeline: StableDiffusionPipeline, path: Path) -> None:
    """Write a base as one file in the layout of the LDM code; renamed here by rules of our own."""
    tensors = {
        **{f"model.diffusion_model.{_unet_name(k)}": v for k, v in _state(pipeline.unet)},
        **{f"first_stage_model.{_vae_name(k)}": _as_conv(k, v) for k, v in _state(pipeline.vae)},
        **_open_clip(dict(_state(pipeline.text_encoder)), pipeline.text_encoder.config),
    }
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, path)


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[32, 32, 32, 32],
        layers_per_block=1,
        latent_channels=4,
        sample_size=768,
    )


def _text_encoder() -> CLIPTextModel:
    return CLIPTextModel(_text_config())


def _text_config(**change: Any) -> CLIPTextConfig:
    settings = {
        "vocab_size": WORDS,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "max_position_embeddings": TOKENS,
        "hidden_act": "gelu",
        "projection_dim": 32,
        "pad_token_id": 0,
        "bos_token_id": WORDS - 2,
        "eos_token_id": WORDS - 1,
    }
    return CLIPTextConfig(**{**settings, **change})


_LETTERS = "!abcdefghijklmnopqrstuvwxyz"
_VOCABULARY = [*_LETTERS, *(f"{c}</w>" for c in _LETTERS), "<|startoftext|>", "<|endoftext|>"]
WORDS = len(_VOCABULARY)


def _tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer(
        vocab={word: i for i, word in enumerate(_VOCABULARY)},
        merges=[],
        pad_token="!",
        model_max_length=TOKENS,
    )


def _scheduler(prediction: str) -> PNDMScheduler | DDIMScheduler:
    """Return what stands in the published folders."""
    kind, only = (PNDMScheduler, {"skip_prk_steps": True}) if prediction == "epsilon" else (
        DDIMScheduler, {"clip_sample": False}
    )  # fmt: skip
    return kind(
        **BETAS,
        prediction_type=prediction,
        set_alpha_to_one=False,
        steps_offset=1,
        **only,
    )


def _state(module: torch.nn.Module) -> list[tuple[str, Tensor]]:
    return list(module.state_dict().items())


def _unet_name(name: str) -> str:
    """Count the blocks as LDM does: every layer and every resampler is one."""
    layers = UNET["layers_per_block"]

    def block(found: re.Match[str]) -> str:
        side, level, kind, layer = found.groups()
        at = int(level) * (layers + 1)
        if side == "down":
            number = 1 + at + (layers if kind == "downsamplers" else int(layer))
            inner = {"resnets": "0", "attentions": "1", "downsamplers": "0"}[kind]
            return f"input_blocks.{number}.{inner}"
        number = at + (layers if kind == "upsamplers" else int(layer))
        # The noisiest level has no attention, so its upsampler stands where that would.
        upsampler = "1" if level == "0" else "2"
        inner = {"resnets": "0", "attentions": "1", "upsamplers": upsampler}[kind]
        return f"output_blocks.{number}.{inner}"

    name = re.sub(
        r"^(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)", block, name
    )
    name = name.replace("mid_block.resnets.0", "middle_block.0")
    name = name.replace("mid_block.attentions.0", "middle_block.1")
    name = name.replace("mid_block.resnets.1", "middle_block.2")
    if name.startswith("input_blocks"):
        name = re.sub(r"\.0\.conv\.(weight|bias)$", r".0.op.\1", name)
    for old, new in (
        ("time_embedding.linear_1", "time_embed.0"), ("time_embedding.linear_2", "time_embed.2"),
        ("conv_in.", "input_blocks.0.0."), ("conv_norm_out.", "out.0."), ("conv_out.", "out.2."),
    ):  # fmt: skip
        name = re.sub(f"^{re.escape(old)}", new, name)
    for old, new in (
        ("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("time_emb_proj", "emb_layers.1"),
        ("norm2", "out_layers.0"), ("conv2", "out_layers.3"), ("conv_shortcut", "skip_connection"),
    ):  # fmt: skip
        place = r"^((?:in|out)put_blocks\.\d+\.0|middle_block\.[02])"
        name = re.sub(rf"{place}\.{old}", rf"\1.{new}", name)
    return name


def _vae_name(name: str) -> str:
    levels = 4
    name = name.replace("down_blocks.", "down.").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"up_blocks\.(\d)", lambda m: f"up.{levels - 1 - int(m.group(1))}", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m.group(1)) + 1}", name)
    name = name.replace("samplers.0.", "sample.").replace(".resnets.", ".block.")
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("conv_norm_out", "norm_out")
    for old, new in (
        ("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"),
        ("to_out.0", "proj_out"),
    ):  # fmt: skip
        name = name.replace(f"attn_1.{old}", f"attn_1.{new}")
    return name


def _as_conv(name: str, weight: Tensor) -> Tensor:
    """LDM's autoencoder attends with 1x1 convolutions."""
    return weight[:, :, None, None] if "attentions" in name and weight.ndim == 2 else weight


def _open_clip(state: dict[str, Tensor], config: CLIPTextConfig) -> dict[str, Tensor]:
    """OpenCLIP stacks queries, keys and values, and has a last layer that is not heard."""
    state = {name.removeprefix("text_model."): weight for name, weight in state.items()}
    named = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": torch.randn(TEXT_WIDTH, config.projection_dim),
        "logit_scale": torch.ones(()),
    }
    layers = config.num_hidden_layers
    for layer in range(layers + 1):
        for kind in ("weight", "bias"):
            theirs, ours = f"transformer.resblocks.{layer}.", f"encoder.layers.{layer % layers}."
            named[f"{theirs}attn.in_proj_{kind}"] = torch.cat(
                [state[f"{ours}self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            )
            for old, new in (
                ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2"), ("attn.out_proj", "self_attn.out_proj"),
            ):  # fmt: skip
                named[f"{theirs}{old}.{kind}"] = state[f"{ours}{new}.{kind}"]
    return {PREFIX + name: weight for name, weight in named.items()}
