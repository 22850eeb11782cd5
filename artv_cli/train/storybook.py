"""The embedded model: its networks before training, and the model folder that comes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from artv_cli.diffusion.schedule import Schedule
from artv_cli.errors import UsageError
from artv_cli.files.output import replacing
from artv_cli.model.artv import ArtV
from artv_cli.model.codec import TextEncoder
from artv_cli.model.folder import ModelFolder, Preferences
from artv_cli.model.unet import ConditionedUNet
from artv_cli.model.weights import Model, load_model, save_model
from artv_cli.settings import Guidance, Sampling
from artv_cli.storybook.characters import EVERYBODY, Cast
from artv_cli.storybook.tokenizer import MAX_TOKENS, build_tokenizer
from artv_cli.train.examples import Drops
from artv_cli.train.learner import Learner
from artv_cli.train.loop import Trainer
from artv_cli.train.recipe import Recipe

TEXT_WIDTH = 128
TEXT_LOUDNESS = 4.0
WORDS = "token_embedding.weight"  # in a text encoder
SHARD = 15 * 2**20  # bytes: with its header a file stays below 16 MiB

PREFERENCES = Preferences(
    size=(128, 128),
    static_noise="exact",
    dtype="float32",
    # Most of a frame is there already in the two before it: each step asks the networks once, and
    # the prompt pulls gently, or night falls until nobody is seen. A story hangs on its key frames:
    # they get more, and noise put back between their steps, which lets so small a network mend what
    # it began wrong (without it, a character is often drawn twice over).
    sampling=Sampling(
        sampler="dpmpp_2m",
        steps=6,
        guidance=Guidance(text=0.75, reference=0.0, anchor=0.0, on="dynamic"),
        noise_level=150,
    ),
    key_frame=Sampling(
        sampler="dpmpp_2s_ancestral",
        steps=20,
        guidance=Guidance(text=2.0, reference=0.0, anchor=0.0, on="dynamic"),
        noise_level=300,
    ),
)

RECIPE = Recipe(
    samples=300_000,
    batch_size=32,
    learning_rate=3e-4,
    warmup=100,
    decay_share=0.4,
    ema_decay=0.9992,
    loss_of="velocity",
    shift=2.0,
    max_grad_norm=4.0,
    # Where a motion goes on, its references show it; where it begins, words alone do. Drawn as
    # often as all others, such frames are too rare: the model learns to go on, and never to begin.
    # A key frame opens a motion: drawn like the middle of a walk, it leaves no room to walk on, and
    # who has left the picture comes back as somebody else.
    drops=Drops(key_frames=0.3, opening=2, beginnings=0.45),
)


@dataclass(frozen=True)
class UNetSize:
    """The width of each level of a UNet, and how many heads attend there."""

    channels: tuple[int, ...]
    heads: tuple[int, ...]


@dataclass(frozen=True)
class NetworkSizes:
    """How large both networks are."""

    dynamic: UNetSize = UNetSize((128, 128, 128), (2, 2, 2))
    mask: UNetSize = UNetSize((32, 32, 64), (1, 1, 2))


SMALL = NetworkSizes()


def build_learner(
    latent_channels: int = 4, seed: int = 0, sizes: NetworkSizes = SMALL, cast: Cast = EVERYBODY
) -> Learner:
    """Return fresh networks of the embedded model, and a text encoder of random weights.

    It has a word for everything that clips of the `cast` show.
    """
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(cast)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    # Trained along, this encoder soon answered every prompt alike: at first the networks' errors
    # are the same whatever the words, and states that all move together drown the difference.
    # Left as it is, each word keeps a state of its own, and the networks learn what it means.
    nn.init.normal_(text.get_input_embeddings().weight)
    nn.init.constant_(text.final_layer_norm.weight, TEXT_LOUDNESS)
    text.requires_grad_(False)
    dynamic = ConditionedUNet(_unet(latent_channels, latent_channels, sizes.dynamic))
    mask = ConditionedUNet(_unet(latent_channels, 1, sizes.mask))
    return Learner(ArtV(dynamic, mask, Schedule.scaled_linear()), TextEncoder(tokenizer, text))


def _unet(in_channels: int, out_channels: int, size: UNetSize) -> dict[str, Any]:
    # No attention at the full latent resolution: on a CPU it costs more than all the rest.
    return {
        "sample_size": 16,
        "in_channels": in_channels,
        "out_channels": out_channels,
        "block_out_channels": list(size.channels),
        "attention_head_dim": list(size.heads),  # diffusers' name for the number of heads
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1,
        "norm_num_groups": 8,  # 32 groups are ten times slower in channels-last on a CPU
        "cross_attention_dim": TEXT_WIDTH,
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 4,
        "use_linear_projection": True,
    }


def take_over(learner: Learner, folder: ModelFolder) -> None:
    """Start from a model's weights; words that it never heard keep the states they have here.

    Raises UsageError where its networks or its text encoder are of another size.
    """
    model = load_model(folder)
    _require_same_sizes(learner, model, folder.name)
    learner.networks.load_state_dict(model.networks.state_dict())
    states = model.text.model.state_dict()
    name = next(key for key in states if key.endswith(WORDS))
    known, here = model.text.tokenizer.get_vocab(), learner.text.tokenizer.get_vocab()
    shared = sorted(known.keys() & here.keys())
    words = learner.text.model.get_input_embeddings().weight.detach().clone()
    words[[here[word] for word in shared]] = states[name][[known[word] for word in shared]]
    learner.text.model.load_state_dict({**states, name: words})


def _require_same_sizes(learner: Learner, model: Model, name: str) -> None:
    """Compare all but the words, of which there may be more or fewer."""
    for part, there, here in (
        ("networks", model.networks, learner.networks),
        ("words", model.text.model, learner.text.model),
    ):
        sizes = [
            {key: value.shape for key, value in module.state_dict().items() if WORDS not in key}
            for module in (there, here)
        ]
        if sizes[0] != sizes[1]:
            raise UsageError(
                f"{name} cannot be started from: its {part} are of another size than the preset's",
                "Start from a model of the same preset.",
            )


def export(trainer: Trainer, vae: AutoencoderKL, path: Path) -> None:
    """Write the averaged weights as a model folder in half precision, whole or not at all.

    Raises UsageError where nothing was trained yet, StorageError.
    """
    if trainer.step == 0:
        raise UsageError(f"{trainer.folder} holds no trained networks", "Train them first.")
    trainer.average.copy_to(trainer.learner)
    learner, form = trainer.learner, trainer.recipe.static_noise
    write_model(
        path, Model(learner.networks, vae, learner.text, trainer.schedule, form), PREFERENCES
    )


def write_model(path: Path, model: Model, preferences: Preferences) -> None:
    """Write a model folder in half precision, whole or not at all; the model itself becomes half.

    No file of weights is larger than 16 MiB. Raises StorageError.
    """
    half = replace(
        model, networks=model.networks.half(), vae=model.vae.half(), text=model.text.half()
    )
    # A tokenizer would write down how it was used last, and be another one for it.
    half.text.tokenizer.backend_tokenizer.no_padding()
    half.text.tokenizer.backend_tokenizer.no_truncation()
    with replacing(path) as folder:
        save_model(folder, half, preferences, SHARD)
