"""Stable Diffusion 2 as it was first published: one file, in the layout of the LDM code.

Such a file holds weights alone: the configurations are read off their shapes. What they do not
tell, and must be said, is whether the UNet predicts noise or velocity, and the vocabulary; the
first may stand in the file's metadata, by a standard that is younger than Stable Diffusion 2.

Names: `model.diffusion_model.` the UNet, `first_stage_model.` the autoencoder,
`cond_stage_model.model.` OpenCLIP's text encoder.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import safe_open
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from artv_cli.errors import ModelError
from artv_cli.model.header import TensorInfo
from artv_cli.model.repository import first_line
from artv_cli.model.weights import bad_part, silent_libraries

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."
PREFIXES = {"unet": UNET, "vae": VAE, "text_encoder": TEXT}
# https://github.com/Stability-AI/ModelSpec: key, and our names for its values.
TOLD_PREDICTION = "modelspec.prediction_type"
TOLD = {"epsilon": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction"}
HEAD_WIDTH = 64  # of the UNet and of the text encoder alike
FAMILY = {
    "conditioner.embedders.": "Stable Diffusion XL",
    "model.diffusion_model.joint_blocks.": "Stable Diffusion 3",
    "model.diffusion_model.double_blocks.": "Flux",
    "cond_stage_model.transformer.": "Stable Diffusion 1",
}

Header = Mapping[str, TensorInfo]


def ldm_configs(header: Header, name: str) -> dict[str, dict[str, Any]]:
    """Return the configuration of every part that a checkpoint's shapes tell of.

    Raises ModelError for another family or missing weights.
    """
    for prefix, family in FAMILY.items():
        if any(key.startswith(prefix) for key in header):
            raise ModelError(
                f"{name} holds {family}; ART·V starts from Stable Diffusion 2.1",
                "Take a Stable Diffusion 2 checkpoint; of version 1, take the diffusers folder.",
            )
    try:
        return {
            "unet": _unet_config(header),
            "vae": _vae_config(header),
            "text_encoder": _text_config(header),
        }
    except (IndexError, KeyError, ValueError) as error:
        raise ModelError(
            f"{name} is no complete Stable Diffusion 2 checkpoint: it has no {error}",
            "Take one with UNet, autoencoder and text encoder, as it was published.",
        ) from None


def configs_predicting(
    prediction: str, configs: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return `ldm_configs` and what hangs on epsilon or v_prediction: the size, the scheduler."""
    side = 64 if prediction == "epsilon" else 96  # in latents
    scheduler = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "prediction_type": prediction,
    }
    return {**configs, "unet": {**configs["unet"], "sample_size": side}, "scheduler": scheduler}


def load_ldm_part(path: Path, name: str, part: str, config: Mapping[str, Any]) -> nn.Module:
    """Load one part of a checkpoint, in the dtype of the file; ModelError if it does not fit."""
    prefix = PREFIXES[part]
    place = _File(name, path)
    try:
        with safe_open(path, "pt") as file, silent_libraries():
            tensors = {key: file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}
            module = _text_encoder(tensors, config) if prefix == TEXT else _unpack(tensors, config)
    except Exception as error:  # diffusers raises many kinds for weights that do not fit
        raise bad_part(place, part, first_line(error)) from error
    for key, weight in module.named_parameters():
        if weight.is_meta:
            raise bad_part(place, part, f"{key} is missing")
        if not weight.isfinite().all():
            raise bad_part(place, part, f"{key} holds infinities or NaN")
    return module


class _File(NamedTuple):
    name: str
    path: Path


def _unpack(tensors: dict[str, Tensor], config: Mapping[str, Any]) -> nn.Module:
    """Let diffusers rename the weights; it reads their configuration from a folder alone."""
    kinds = {kind.__name__: kind for kind in (UNet2DConditionModel, AutoencoderKL)}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        return kinds[config["_class_name"]].from_single_file(
            tensors, config=folder, local_files_only=True
        )


def _text_encoder(tensors: dict[str, Tensor], config: Mapping[str, Any]) -> nn.Module:
    """Rename OpenCLIP's weights and leave out its last layer: the last but one is what is heard."""
    known = {"architectures", "model_type"}
    settings = CLIPTextConfig(**{k: v for k, v in config.items() if k not in known})
    model, found = CLIPTextModel.from_pretrained(
        None,
        config=settings,
        state_dict=dict(_transformers_names(tensors, settings.num_hidden_layers)),
        output_loading_info=True,
    )
    if wrong := [*sorted(found["missing_keys"]), *sorted(map(str, found["mismatched_keys"]))]:
        raise ValueError(f"{wrong[0]} is missing or of another shape")
    return model


def _transformers_names(tensors: dict[str, Tensor], layers: int) -> Iterator[tuple[str, Tensor]]:
    outside = {
        "token_embedding.weight": "embeddings.token_embedding.weight",
        "positional_embedding": "embeddings.position_embedding.weight",
        "ln_final.weight": "final_layer_norm.weight",
        "ln_final.bias": "final_layer_norm.bias",
    }
    inside = {
        "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj",
        "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
    }  # fmt: skip
    for theirs, ours in outside.items():
        yield f"text_model.{ours}", tensors[TEXT + theirs]
    for layer in range(layers):
        old, new = f"{TEXT}transformer.resblocks.{layer}.", f"text_model.encoder.layers.{layer}."
        for kind in ("weight", "bias"):
            for theirs, ours in inside.items():
                yield f"{new}{ours}.{kind}", tensors[f"{old}{theirs}.{kind}"]
            stacked = tensors[f"{old}attn.in_proj_{kind}"].chunk(3)
            for letter, tensor in zip("qkv", stacked, strict=True):
                yield f"{new}self_attn.{letter}_proj.{kind}", tensor.clone()


def _unet_config(header: Header) -> dict[str, Any]:
    blocks = _count(header, UNET + r"input_blocks\.(\d+)\.")
    widths: list[int] = []
    attends: list[bool] = []
    depth = 0  # residual blocks of the level at hand
    for block in range(1, blocks):
        stem = f"{UNET}input_blocks.{block}."
        if f"{stem}0.op.weight" in header:
            depth = 0
            continue
        if depth == 0:
            widths.append(header[f"{stem}0.out_layers.3.weight"].shape[0])
            attends.append(f"{stem}1.proj_in.weight" in header)
        depth += 1
    attention = f"{UNET}middle_block.1."
    text = header[f"{attention}transformer_blocks.0.attn2.to_k.weight"]
    down = ["CrossAttnDownBlock2D" if cross else "DownBlock2D" for cross in attends]
    up = ["CrossAttnUpBlock2D" if cross else "UpBlock2D" for cross in reversed(attends)]
    return {
        "_class_name": "UNet2DConditionModel",
        "in_channels": header[f"{UNET}input_blocks.0.0.weight"].shape[1],
        "out_channels": header[f"{UNET}out.2.weight"].shape[0],
        "block_out_channels": widths,
        "layers_per_block": depth,
        "down_block_types": down,
        "up_block_types": up,
        "attention_head_dim": [max(1, width // HEAD_WIDTH) for width in widths],
        "cross_attention_dim": text.shape[1],
        "use_linear_projection": len(header[f"{attention}proj_in.weight"].shape) == 2,
    }


def _vae_config(header: Header) -> dict[str, Any]:
    levels = _count(header, VAE + r"encoder\.down\.(\d+)\.")
    widths = [header[f"{VAE}encoder.down.{i}.block.0.conv2.weight"].shape[0] for i in range(levels)]
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": widths,
        "layers_per_block": _count(header, VAE + r"encoder\.down\.0\.block\.(\d+)\."),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "latent_channels": header[f"{VAE}post_quant_conv.weight"].shape[1],
        "sample_size": 768,
        "scaling_factor": 0.18215,
    }


def _text_config(header: Header) -> dict[str, Any]:
    vocabulary, width = header[f"{TEXT}token_embedding.weight"].shape
    return {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": header[f"{TEXT}transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_hidden_layers": _count(header, TEXT + r"transformer\.resblocks\.(\d+)\.") - 1,
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "max_position_embeddings": header[f"{TEXT}positional_embedding"].shape[0],
        "hidden_act": "gelu",
        "projection_dim": width // 2,
        "pad_token_id": 0,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
    }


def _count(header: Header, pattern: str) -> int:
    """Return how many different numbers stand at the group of `pattern` in the names."""
    return len({found.group(1) for key in header if (found := re.match(pattern, key))})
