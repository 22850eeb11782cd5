"""Training on one consumer card: small matrices beside weights that stay as they are.

The matrices are peft's (arXiv 2106.09685). What is fresh in a model, such as its mask network, has
nothing to stay as it is: `whole` names what is trained in full.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from artv_cli.errors import UsageError
from artv_cli.files.output import replacing
from artv_cli.model.artv import ArtV
from artv_cli.train.training_recipe import LoraForm

if TYPE_CHECKING:
    from peft import PeftModel


def add_adapter(networks: ArtV, form: LoraForm, seed: int = 0) -> PeftModel:
    """Put matrices beside the targets, in place, and leave only what is trained trainable.

    The seed decides how they start. Return peft's view of the networks. Raises UsageError where
    peft is missing, or nothing bears a name that the form gives.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise UsageError(
            f"lora needs a library that is missing: {error}",
            'Install it: `pip install "artv[train]"`.',
        ) from None
    _require_names("whole", form.whole, "[mask, adapter, anchor]", networks)
    _require_names("targets", form.targets, "[to_q, to_k, to_v, to_out.0]", networks)
    whole = [module for name, module in networks.named_modules() if _ends(name, form.whole)]
    inside = "|".join(map(re.escape, form.whole))
    config = LoraConfig(
        r=form.rank,
        lora_alpha=form.rank if form.alpha is None else form.alpha,
        target_modules=list(form.targets),
        exclude_modules=rf"(.*\.)?({inside})(\..*)?" if whole else None,
    )
    networks.requires_grad_(False)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            adapted: Any = get_peft_model(networks, config)
    except ValueError as error:
        raise UsageError(
            f"lora cannot stand beside {', '.join(form.targets)}: {str(error).split('. ')[0]}",
            "Correct `lora: targets`, such as [to_q, to_k, to_v, to_out.0].",
        ) from None
    for module in whole:
        module.float().requires_grad_(True)
    return adapted


def _require_names(key: str, wanted: tuple[str, ...], example: str, networks: ArtV) -> None:
    names = [name for name, _ in networks.named_modules()]
    for one in wanted:
        if not any(_ends(name, (one,)) for name in names):
            raise UsageError(
                f"nothing in the model is called {one}",
                f"Correct `lora: {key}`, such as {example}.",
            )


def save_adapter(adapted: PeftModel, folder: Path) -> None:
    """Write the matrices in peft's layout, whole or not at all."""
    with replacing(folder) as part:
        adapted.save_pretrained(str(part), save_embedding_layers=False)


def merged(networks: ArtV, form: LoraForm, weights: dict[str, torch.Tensor]) -> ArtV:
    """Return untouched networks with trained `weights` put in: matrices and what was whole.

    `weights` bear the names that the networks' parameters have under an adapter.
    """
    adapted = add_adapter(networks, form)
    unknown = networks.load_state_dict(weights, strict=False).unexpected_keys
    assert not unknown, unknown
    result: Any = adapted.merge_and_unload()
    return result


def _ends(name: str, endings: tuple[str, ...]) -> bool:
    return any(name == ending or name.endswith(f".{ending}") for ending in endings)


def count_trained(module: nn.Module) -> tuple[int, int]:
    """Return how many of a module's parameters are trained, and how many there are."""
    counts = [(p.numel() * p.requires_grad, p.numel()) for p in module.parameters()]
    trained, there = (sum(column) for column in zip(*counts, strict=True))
    return trained, there
