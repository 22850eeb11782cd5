"""The masked diffusion model: the mask, and conditions that are prepared once and recombined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch
from tiny import LATENT, TEXT_WIDTH, TOKENS, noise, tiny_networks, wake
from torch import Tensor

from artv_cli.diffusion.schedule import Schedule
from artv_cli.model.artv import ArtV, Conditions, stack

CHANNELS, HEIGHT, WIDTH = LATENT
REFERENCES = noise(1, 2 * CHANNELS, HEIGHT, WIDTH, seed=1)
ANCHOR = noise(1, CHANNELS, HEIGHT, WIDTH, seed=2)
TEXT, NO_TEXT = (noise(1, TOKENS, TEXT_WIDTH, seed=seed) for seed in (3, 4))
LEVEL = torch.tensor([200])


@pytest.fixture(scope="module")
def networks() -> ArtV:
    torch.manual_seed(0)
    networks = tiny_networks().requires_grad_(False).eval()
    wake(networks)
    return networks


def prepare(
    networks: ArtV,
    references: Tensor = REFERENCES,
    anchor: Tensor = ANCHOR,
    text: Tensor = TEXT,
    level: Tensor = LEVEL,
) -> Conditions:
    return networks.prepare(references, anchor, networks.prepare_text(text), level)


def tensors(conditions: Any) -> list[Tensor]:
    """Return every tensor of (nested) conditions in a fixed order."""
    if conditions is None:
        return []
    if isinstance(conditions, Tensor):
        return [conditions]
    if is_dataclass(conditions):
        conditions = [getattr(conditions, field.name) for field in fields(conditions)]
    return [tensor for part in conditions for tensor in tensors(part)]


def assert_same(ours: Conditions, direct: Conditions) -> None:
    for one, other in zip(tensors(ours), tensors(direct), strict=True):
        torch.testing.assert_close(one, other)


# ---------------------------------------------------------------- the mask


def test_mask_lies_between_0_and_1_and_covers_one_channel(networks: ArtV) -> None:
    mask, dynamic = networks(ANCHOR * 50, torch.tensor([999]), prepare(networks))
    assert mask.shape == (1, 1, HEIGHT, WIDTH)
    assert dynamic.shape == (1, *LATENT)
    assert mask.min() >= 0 and mask.max() <= 1 and mask.std() > 0


def test_mask_is_0_exactly_where_the_references_are_blank(networks: ArtV) -> None:
    conditions = prepare(
        networks,
        torch.cat([REFERENCES, torch.zeros_like(REFERENCES)]),
        ANCHOR.repeat(2, 1, 1, 1),
        TEXT.repeat(2, 1, 1),
        LEVEL.repeat(2),
    )
    mask, _ = networks(ANCHOR.repeat(2, 1, 1, 1), torch.tensor([500, 500]), conditions)
    assert mask[0].min() > 0
    assert not mask[1].any()


def test_both_networks_see_the_noised_frame_and_the_timestep(networks: ArtV) -> None:
    conditions = prepare(networks)
    before = networks(ANCHOR, torch.tensor([500]), conditions)
    for y_t, timestep in ((ANCHOR + 1, 500), (ANCHOR, 100)):
        for one, other in zip(
            before, networks(y_t, torch.tensor([timestep]), conditions), strict=True
        ):
            assert not torch.allclose(one, other)


# ---------------------------------------------------------------- prepared conditions


BLANK_REFERENCES, BLANK_ANCHOR = torch.zeros_like(REFERENCES), torch.zeros_like(ANCHOR)
BRANCHES: dict[str, tuple[Callable[[Conditions, Conditions], Conditions], dict[str, Tensor]]] = {
    "without references": (Conditions.without_references, {"references": BLANK_REFERENCES}),
    "without anchor": (Conditions.without_anchor, {"anchor": BLANK_ANCHOR}),
}


@pytest.mark.parametrize(("drop", "inputs"), BRANCHES.values(), ids=BRANCHES)
def test_dropping_a_condition_equals_preparing_without_it(
    networks: ArtV, drop: Callable[..., Conditions], inputs: dict[str, Tensor]
) -> None:
    blank = prepare(networks, BLANK_REFERENCES, BLANK_ANCHOR, NO_TEXT)
    assert_same(drop(prepare(networks), blank), prepare(networks, **inputs))


def test_another_prompt_equals_preparing_with_it(networks: ArtV) -> None:
    changed = prepare(networks).with_text(networks.prepare_text(NO_TEXT))
    assert_same(changed, prepare(networks, text=NO_TEXT))


def test_recombining_changes_only_the_condition_that_it_names(networks: ArtV) -> None:
    full, blank = prepare(networks), prepare(networks, BLANK_REFERENCES, BLANK_ANCHOR, NO_TEXT)
    before = [tensor.clone() for tensor in tensors(full)]
    full.without_references(blank), full.without_anchor(blank)
    assert all(torch.equal(one, other) for one, other in zip(before, tensors(full), strict=True))


def test_stacked_branches_equal_a_batch_that_is_prepared_directly(networks: ArtV) -> None:
    full, blank = prepare(networks), prepare(networks, BLANK_REFERENCES, BLANK_ANCHOR, NO_TEXT)
    rows = [
        full,
        full.without_references(blank),
        full.without_anchor(blank),
        full.with_text(networks.prepare_text(NO_TEXT)),
    ]
    direct = prepare(
        networks,
        torch.cat([REFERENCES, BLANK_REFERENCES, REFERENCES, REFERENCES]),
        torch.cat([ANCHOR, ANCHOR, BLANK_ANCHOR, ANCHOR]),
        torch.cat([TEXT, TEXT, TEXT, NO_TEXT]),
        LEVEL.repeat(4),
    )
    assert_same(stack(rows, masks=4), direct)


def test_masks_may_be_asked_for_the_first_rows_alone(networks: ArtV) -> None:
    full = prepare(networks)
    rows = [full, full.with_text(networks.prepare_text(NO_TEXT))]
    y_t, timesteps = ANCHOR.repeat(2, 1, 1, 1), torch.tensor([500, 500])
    masks, noises = networks(y_t, timesteps, stack(rows, masks=2))
    first_mask, same_noises = networks(y_t, timesteps, stack(rows, masks=1))
    torch.testing.assert_close(first_mask, masks[:1])
    torch.testing.assert_close(same_noises, noises)


def test_a_velocity_becomes_the_noise_that_it_means(networks: ArtV) -> None:
    schedule = Schedule.scaled_linear()
    y_t, timestep = noise(1, 4, HEIGHT, WIDTH), torch.tensor([600])
    _, velocity = networks(y_t, timestep, prepare(networks))
    speaking = ArtV(networks.dynamic, networks.mask, velocity=schedule)
    _, epsilon = speaking(y_t, timestep, prepare(networks))
    signal_scale, noise_scale = schedule.coefficients(timestep, y_t)
    y_0 = (y_t - noise_scale * epsilon) / signal_scale  # Eq. 3
    torch.testing.assert_close(velocity, signal_scale * epsilon - noise_scale * y_0)
