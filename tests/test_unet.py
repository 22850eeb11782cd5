"""The conditioned UNet: the paper's sizes, and diffusers' own forward pass as the oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from tiny import TEXT_WIDTH, TINY_UNET, noise, wake
from torch import Tensor, nn

from artv_cli.model.artv import MASK_UNET, SD21_UNET
from artv_cli.model.unet import ConditionedUNet, NetworkConditions

SD_AT_TINY_WIDTH: dict[str, Any] = {
    **SD21_UNET,
    "block_out_channels": [8, 16, 16, 16],
    "attention_head_dim": [1, 2, 2, 2],
    "norm_num_groups": 4,
    "cross_attention_dim": TEXT_WIDTH,
}
WITH_TEXT_EMBEDDING = {
    **TINY_UNET,
    "addition_embed_type": "text",
    "addition_embed_type_num_heads": 2,
}
CONV_PROJECTION = {**TINY_UNET, "use_linear_projection": False}
ROWS, TEXT_TOKENS = 2, 77
LEVEL = torch.tensor([200, 37])
TIMESTEP = torch.tensor([999, 3])


def fresh(config: dict[str, Any]) -> ConditionedUNet:
    torch.manual_seed(0)
    return ConditionedUNet(config).requires_grad_(False).eval()


def prepare(network: ConditionedUNet, size: tuple[int, int] = (8, 8), **other: Tensor) -> Any:
    """Prepare conditions of noise, or of what `other` holds."""
    conditions = {
        "references": noise(ROWS, 8, *size, seed=1),
        "anchor": noise(ROWS, 4, *size, seed=2),
        "text": noise(ROWS, TEXT_TOKENS, TEXT_WIDTH, seed=3),
        "level": LEVEL,
        **other,
    }
    return NetworkConditions(
        network.prepare_references(conditions["references"]),
        network.prepare_anchor(conditions["anchor"]),
        network.prepare_text(conditions["text"]),
        network.prepare_level(conditions["level"]),
    )


def diffusers_forward(unet: UNet2DConditionModel, x: Tensor, **more: Any) -> Tensor:
    text = noise(ROWS, TEXT_TOKENS, TEXT_WIDTH, seed=3)
    return unet(x, TIMESTEP, text, class_labels=LEVEL, **more).sample


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# ---------------------------------------------------------------- the paper's sizes


@pytest.mark.parametrize(
    ("config", "total", "unet", "adapter"),
    [
        pytest.param(SD21_UNET, 1_167_694_948, 865_910_724, 76_839_360, id="dynamic"),
        pytest.param(MASK_UNET, 51_184_289, 38_798_849, 3_079_872, id="mask"),
    ],
)
def test_networks_have_the_papers_numbers_of_parameters(
    config: dict[str, Any], total: int, unet: int, adapter: int
) -> None:
    with torch.device("meta"):
        network = ConditionedUNet(config)
    assert parameters(network) == total
    assert parameters(network.unet) - parameters(network.unet.class_embedding) == unet
    assert parameters(network.adapter) == adapter


def test_stable_diffusions_own_weights_fit_into_the_inner_unet() -> None:
    with torch.device("meta"):
        theirs = UNet2DConditionModel(**SD21_UNET).state_dict()
        ours = ConditionedUNet(SD21_UNET).unet.state_dict()
    assert {name: ours[name].shape for name in theirs} == {
        name: weight.shape for name, weight in theirs.items()
    }
    assert ours.keys() - theirs.keys() == {"class_embedding.weight"}


# ---------------------------------------------------------------- a fresh network


@pytest.mark.parametrize(
    "config", [TINY_UNET, CONV_PROJECTION, SD_AT_TINY_WIDTH, WITH_TEXT_EMBEDDING]
)
@pytest.mark.parametrize("size", [(8, 16), (13, 9)])
def test_fresh_network_predicts_what_diffusers_own_unet_predicts(
    config: dict[str, Any], size: tuple[int, int]
) -> None:
    network = fresh(config)
    x = noise(ROWS, 4, *size)
    ours = network(x, TIMESTEP, prepare(network, size))
    torch.testing.assert_close(ours, diffusers_forward(network.unet, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("condition", ["references", "anchor", "level"])
def test_fresh_network_does_not_hear_what_the_paper_adds(condition: str) -> None:
    network = fresh(TINY_UNET)
    x = noise(ROWS, 4, 8, 8)
    other = LEVEL + 1 if condition == "level" else noise(ROWS, 8, 8, 8, seed=9)
    changed = prepare(network, **{condition: other[:, :4] if condition == "anchor" else other})
    assert torch.equal(network(x, TIMESTEP, prepare(network)), network(x, TIMESTEP, changed))


# ---------------------------------------------------------------- conditions


@pytest.mark.parametrize("size", [(8, 8), (12, 20)])
def test_reference_features_join_the_encoder_where_t2i_adapters_do(size: tuple[int, int]) -> None:
    network = fresh(SD_AT_TINY_WIDTH)
    wake(network.adapter)
    x = noise(ROWS, 4, *size)
    conditions = prepare(network, size)
    silent = diffusers_forward(network.unet, x)
    # diffusers consumes the list that it is given.
    theirs = diffusers_forward(
        network.unet, x, down_intrablock_additional_residuals=list(conditions.references)
    )
    assert not torch.allclose(theirs, silent)
    torch.testing.assert_close(network(x, TIMESTEP, conditions), theirs, rtol=1e-4, atol=1e-5)


def test_noise_level_is_added_to_the_time_embedding() -> None:
    network = fresh(TINY_UNET)
    wake(network.unet.class_embedding)
    x = noise(ROWS, 4, 8, 8)
    ours = network(x, TIMESTEP, prepare(network))
    torch.testing.assert_close(ours, diffusers_forward(network.unet, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [TINY_UNET, SD_AT_TINY_WIDTH])
@pytest.mark.parametrize(
    ("condition", "other"),
    [
        ("references", noise(ROWS, 8, 8, 8, seed=9)),
        ("anchor", noise(ROWS, 4, 8, 8, seed=9)),
        ("text", noise(ROWS, TEXT_TOKENS, TEXT_WIDTH, seed=9)),
        ("level", LEVEL + 1),
    ],
)
def test_every_condition_changes_the_output_of_an_awake_network(
    config: dict[str, Any], condition: str, other: Tensor
) -> None:
    network = fresh(config)
    wake(network)
    x = noise(ROWS, 4, 8, 8)
    changed = network(x, TIMESTEP, prepare(network, **{condition: other}))
    assert not torch.allclose(network(x, TIMESTEP, prepare(network)), changed, atol=1e-4)


def test_rows_of_a_batch_do_not_see_each_other() -> None:
    network = fresh(TINY_UNET)
    wake(network)
    x = noise(ROWS, 4, 8, 8)
    alone = prepare(
        network,
        references=noise(ROWS, 8, 8, 8, seed=1)[:1],
        anchor=noise(ROWS, 4, 8, 8, seed=2)[:1],
        text=noise(ROWS, TEXT_TOKENS, TEXT_WIDTH, seed=3)[:1],
        level=LEVEL[:1],
    )
    first = network(x[:1], TIMESTEP[:1], alone)
    torch.testing.assert_close(network(x, TIMESTEP, prepare(network))[:1], first)


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize("config", [TINY_UNET, CONV_PROJECTION, SD_AT_TINY_WIDTH])
def test_gradients_reach_every_parameter_once_the_silent_layers_have_moved(
    config: dict[str, Any],
) -> None:
    network = fresh(config).requires_grad_(True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    size = (16, 16)  # so that attention has several tokens to choose from at the lowest level too
    x, target = noise(ROWS, 4, *size), noise(ROWS, 4, *size, seed=4)
    for _ in range(2):
        optimizer.step()
        optimizer.zero_grad()
        (network(x, TIMESTEP, prepare(network, size)) - target).square().mean().backward()
    deaf = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not deaf
