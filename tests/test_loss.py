"""The loss, judged with networks whose answer is known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, get_args

import pytest
import torch
from tiny import LATENT, TEXT_WIDTH, TOKENS, noise, tiny_networks, wake
from torch import Tensor

from artv_cli.diffusion.schedule import Schedule
from artv_cli.settings import StaticNoise
from artv_cli.train.examples import Examples
from artv_cli.train.loss import Draw, masked_diffusion_loss

COUNT = 6
CHANNELS = LATENT[0]
SCHEDULE = Schedule.scaled_linear()
TEXT = noise(COUNT, TOKENS, TEXT_WIDTH, seed=7)
FLAGS = torch.ones(COUNT, 1, 1, 1)


def examples(**change: Any) -> Examples:
    frames = [noise(COUNT, *LATENT, seed=seed) for seed in range(4)]
    whole = Examples(
        target=frames[0],
        references=torch.cat(frames[1:3], dim=1),
        previous=frames[1],
        anchor=frames[3],
        captions=["a cat walks"] * COUNT,
        has_reference=FLAGS,
        has_anchor=FLAGS,
    )
    return replace(whole, **change)


def draw(batch: Examples, seed: int = 0) -> Draw:
    return Draw.for_examples(
        batch, SCHEDULE, 550, [torch.Generator().manual_seed(seed)] * len(batch.target)
    )


@dataclass
class Oracle:
    """Stands for both networks: answers what it is told to, and keeps what it was asked."""

    mask: Tensor
    dynamic: Tensor
    seen: dict[str, Any] = field(default_factory=dict)

    def prepare_text(self, text: Tensor) -> Tensor:
        return text

    def prepare(self, references: Tensor, anchor: Tensor, text: Tensor, level: Tensor) -> str:
        self.seen |= {"references": references, "anchor": anchor, "text": text, "level": level}
        return "prepared"

    def __call__(self, y_t: Tensor, timestep: Tensor, conditions: str) -> tuple[Tensor, Tensor]:
        assert conditions == "prepared"
        self.seen |= {"y_t": y_t, "timestep": timestep}
        return self.mask, self.dynamic


def loss_of(oracle: Any, batch: Examples, drawn: Draw, form: StaticNoise = "exact") -> Tensor:
    loss, _ = masked_diffusion_loss(oracle, batch, TEXT, drawn, SCHEDULE, form)
    assert loss.shape == (COUNT,)
    return loss


def test_a_network_that_knows_the_noise_and_draws_all_anew_has_no_loss() -> None:
    batch = examples()
    drawn = draw(batch)
    oracle = Oracle(mask=torch.zeros(COUNT, 1, 8, 8), dynamic=drawn.noise)
    assert not loss_of(oracle, batch, drawn).any()


def test_copying_a_frame_that_stands_still_has_no_loss_whatever_else_is_said() -> None:
    batch = examples()
    still = replace(batch, target=batch.previous)
    drawn = draw(still)
    oracle = Oracle(mask=torch.ones(COUNT, 1, 8, 8), dynamic=torch.full_like(drawn.noise, 9.0))
    assert loss_of(oracle, still, drawn).max() < 1e-5


def test_half_a_mask_has_a_quarter_of_the_loss() -> None:
    batch = examples()
    still = replace(batch, target=batch.previous)
    drawn = draw(still)
    wrong = drawn.noise + 1
    for mask, loss in ((0.0, 1.0), (0.5, 0.25), (0.75, 0.0625)):
        oracle = Oracle(mask=torch.full((COUNT, 1, 8, 8), mask), dynamic=wrong)
        torch.testing.assert_close(loss_of(oracle, still, drawn), torch.full((COUNT,), loss))


@pytest.mark.parametrize("form", get_args(StaticNoise))
def test_a_full_mask_predicts_the_static_noise_in_each_form(form: StaticNoise) -> None:
    batch = examples()
    drawn = draw(batch)
    oracle = Oracle(mask=torch.ones(COUNT, 1, 8, 8), dynamic=drawn.noise)
    loss = loss_of(oracle, batch, drawn, form)
    abar = SCHEDULE.alphas_cumprod[drawn.timestep].float()[:, None, None, None]
    y_t = abar.sqrt() * batch.target + (1 - abar).sqrt() * drawn.noise  # Eq. 3
    static = {
        "exact": (y_t - abar.sqrt() * batch.previous) / (1 - abar).sqrt(),
        "input_minus_reference": y_t - batch.previous,
        "reference_minus_input": batch.previous - y_t,
    }[form]
    expected = (drawn.noise - static).square().mean((1, 2, 3))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(oracle.seen["y_t"], y_t)


def test_mean_mask_of_each_example_is_reported() -> None:
    batch = examples()
    drawn = draw(batch)
    masks = torch.linspace(0, 1, COUNT)
    oracle: Any = Oracle(mask=masks[:, None, None, None].expand(-1, 1, 8, 8), dynamic=drawn.noise)
    _, reported = masked_diffusion_loss(oracle, batch, TEXT, drawn, SCHEDULE)
    torch.testing.assert_close(reported, masks)


# ---------------------------------------------------------------- what is drawn


def test_levels_lie_within_0_and_550_and_timesteps_span_the_schedule() -> None:
    many = Examples(*[torch.zeros(20_000, 1, 1, 1)] * 4, [], FLAGS, FLAGS)
    drawn = draw(many)
    assert (drawn.noise_level.min(), drawn.noise_level.max()) == (0, 550)
    assert (drawn.timestep.min(), drawn.timestep.max()) == (0, 999)
    assert drawn.noise_level.float().mean() == pytest.approx(275, abs=5)
    assert drawn.timestep.float().mean() == pytest.approx(499.5, abs=8)


def test_a_shift_draws_noisy_timesteps_more_often() -> None:
    many = Examples(*[torch.zeros(20_000, 1, 1, 1)] * 4, [], FLAGS, FLAGS)
    generators = [torch.Generator().manual_seed(0)] * 20_000
    drawn = Draw.for_examples(many, SCHEDULE, 550, generators, shift=2.0)
    assert (drawn.timestep.min(), drawn.timestep.max()) == (0, 999)
    assert drawn.timestep.median() == pytest.approx(1000 * 2 / 3, abs=10)


def test_noises_are_standard_normal_and_independent() -> None:
    batch = examples()
    drawn = draw(batch)
    assert drawn.reference_noise.shape == (COUNT, 2 * CHANNELS, *LATENT[1:])
    noises = [drawn.noise, drawn.anchor_noise, *drawn.reference_noise.split(CHANNELS, dim=1)]
    flat = torch.stack([values.flatten() for values in noises])
    torch.testing.assert_close(torch.cov(flat), torch.eye(4), atol=0.1, rtol=0)


def test_the_generator_alone_decides_what_is_drawn() -> None:
    batch = examples()
    assert torch.equal(draw(batch).noise, draw(batch).noise)
    assert not torch.equal(draw(batch).noise, draw(batch, seed=1).noise)


# ---------------------------------------------------------------- what the networks see


def test_conditions_are_noised_to_their_level_before_they_are_prepared() -> None:
    batch = examples()
    drawn = draw(batch)
    oracle = Oracle(torch.zeros(COUNT, 1, 8, 8), drawn.noise)
    loss_of(oracle, batch, drawn)
    abar = SCHEDULE.alphas_cumprod[drawn.noise_level].float()[:, None, None, None]
    for seen, clean, added in (
        (oracle.seen["references"], batch.references, drawn.reference_noise),
        (oracle.seen["anchor"], batch.anchor, drawn.anchor_noise),
    ):
        torch.testing.assert_close(seen, abar.sqrt() * clean + (1 - abar).sqrt() * added)
    assert torch.equal(oracle.seen["level"], drawn.noise_level)
    assert torch.equal(oracle.seen["text"], TEXT)


def test_dropped_conditions_stay_blank_noise_and_all() -> None:
    kept = torch.tensor([1.0, 0, 1, 0, 1, 0])[:, None, None, None]
    batch = examples(has_reference=kept, has_anchor=1 - kept)
    drawn = draw(batch)
    oracle = Oracle(torch.zeros(COUNT, 1, 8, 8), drawn.noise)
    loss_of(oracle, batch, drawn)
    has_reference = oracle.seen["references"].flatten(1).any(1)
    has_anchor = oracle.seen["anchor"].flatten(1).any(1)
    assert torch.equal(has_reference, kept.flatten().bool())
    assert torch.equal(has_anchor, ~kept.flatten().bool())


def test_a_dropped_reference_leaves_nothing_to_copy_and_both_networks_learn() -> None:
    torch.manual_seed(0)
    networks = tiny_networks()
    wake(networks)
    half = torch.tensor([1.0, 0, 1, 0, 1, 0])[:, None, None, None]
    batch = examples(has_reference=half)
    loss, masks = masked_diffusion_loss(networks, batch, TEXT, draw(batch), SCHEDULE)
    loss.sum().backward()
    assert torch.equal(masks > 0, half.flatten().bool())
    for network in (networks.dynamic, networks.mask):
        assert all(parameter.grad is not None for parameter in network.parameters())
