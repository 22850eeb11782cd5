"""The masked diffusion model's denoiser: Eq. 5 to 7, and guidance in its two places."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artv_cli.diffusion.denoiser import (
    DYNAMIC_LIMIT,
    Denoiser,
    Prediction,
    compose_noise,
    static_noise,
)
from artv_cli.diffusion.guidance import Branch, guidance_branches, guide
from artv_cli.diffusion.noise import INITIAL, gaussian, step_noise
from artv_cli.diffusion.sampler import initial_state, sample
from artv_cli.diffusion.schedule import Schedule
from artv_cli.settings import Guidance

SCHEDULE = Schedule.scaled_linear()
SHAPE = (2, 4, 3, 5)
UNGUIDED = Guidance(text=0, reference=0, anchor=0, on="composed")
PAPER = Guidance(text=6.5, reference=0.25, anchor=0.25, on="composed")
ON_DYNAMIC = Guidance(text=6.5, reference=0.25, anchor=0.25, on="dynamic")
FORMS = ("exact", "input_minus_reference", "reference_minus_input")
SIGMAS = [SCHEDULE.sigmas[t].item() for t in (0, 19, 200, 979, 999)]


def draw(purpose, shape=SHAPE):
    return gaussian(1, purpose, shape).double()


class Networks:
    """Fixed predictions for each branch, and a record of what was asked."""

    def __init__(self, branches, batch=SHAPE[0], mask=None):
        n = len(branches)
        self.noise = draw("noise", (n * batch, *SHAPE[1:]))
        self.masks = draw("mask", (n * batch, 1, *SHAPE[2:])).sigmoid()
        if mask is not None:
            self.masks = torch.full_like(self.masks, mask)
        self.asked = []

    def __call__(self, y_t, timestep):
        self.asked.append((y_t, timestep))
        return Prediction(self.masks[: len(y_t)], self.noise[: len(y_t)])


def build(guidance=UNGUIDED, *, reference=True, mask=None, form="exact"):
    branches = guidance_branches(guidance, has_reference=reference, has_anchor=True)
    networks = Networks(branches, mask=mask)
    denoiser = Denoiser(
        predict=networks,
        schedule=SCHEDULE,
        guidance=guidance,
        branches=branches,
        reference=draw("reference") if reference else None,
        static_noise=form,
    )
    return denoiser, networks


X = draw("x") * 3


@pytest.mark.parametrize("guidance", [UNGUIDED, ON_DYNAMIC])
@pytest.mark.parametrize("sigma", SIGMAS)
def test_mask_1_gives_the_reference_exactly(sigma, guidance):
    denoiser, _ = build(guidance, mask=1.0)
    assert torch.equal(denoiser(X, sigma), denoiser.reference)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sigma", SIGMAS)
def test_mask_0_gives_the_dynamic_prediction_exactly(sigma, form):
    denoiser, networks = build(mask=0.0, form=form)
    assert torch.equal(denoiser(X, sigma), X - sigma * networks.noise)


def test_a_key_frame_is_the_dynamic_prediction_whatever_the_mask_says():
    denoiser, networks = build(reference=False, mask=1.0)
    assert torch.equal(denoiser(X, 1.0), X - quantised(1.0) * networks.noise)


def quantised(sigma):
    return SCHEDULE.sigmas[SCHEDULE.nearest_timestep(sigma)].item()


def noise_form(x, sigma, mask, noise, reference, form):
    """Eq. 7 as it is written, on noise, with the division that the denoiser avoids."""
    signal = 1 / math.sqrt(1 + sigma**2)
    static = static_noise(x * signal, reference, signal, sigma * signal, form)
    return x - sigma * (mask * static + (1 - mask) * noise)


@pytest.mark.parametrize("form", FORMS)
@given(sigma=st.floats(0.03, 14.6))
def test_blending_denoised_values_equals_blending_noise(form, sigma):
    denoiser, networks = build(form=form)
    expected = noise_form(
        X, quantised(sigma), networks.masks, networks.noise, denoiser.reference, form
    )
    torch.testing.assert_close(denoiser(X, sigma), expected, rtol=0, atol=1e-10)


@given(st.integers(0, 999))
def test_exact_static_noise_is_the_noise_of_a_pixel_that_did_not_move(timestep):
    latents, noise = draw("latents"), draw("eps")
    y_t = SCHEDULE.add_noise(latents, noise, timestep)
    scales = SCHEDULE.coefficients(timestep, latents)
    torch.testing.assert_close(static_noise(y_t, latents, *scales, "exact"), noise)


def test_the_two_unscaled_forms_are_opposite_differences():
    y_t, reference = draw("y_t"), draw("reference")
    difference = static_noise(y_t, reference, 0.8, 0.6, "input_minus_reference")
    assert torch.equal(difference, y_t - reference)
    assert torch.equal(static_noise(y_t, reference, 0.8, 0.6, "reference_minus_input"), -difference)


def test_eq_7_by_hand():
    mask = torch.tensor([[[[0.25]]]])
    static, dynamic = torch.full((1, 4, 1, 1), 2.0), torch.full((1, 4, 1, 1), -2.0)
    # 0.25 * 2 + 0.75 * -2
    assert torch.equal(compose_noise(mask, static, dynamic), torch.full((1, 4, 1, 1), -1.0))


@pytest.mark.parametrize("on", ["composed", "dynamic"])
def test_without_scales_one_branch_runs_and_its_output_is_the_result(on):
    guidance = Guidance(text=0, reference=0, anchor=0, on=on)
    denoiser, networks = build(guidance)
    sigma = SIGMAS[2]
    dynamic = X - sigma * networks.noise
    expected = compose_noise(networks.masks, denoiser.reference, dynamic)
    assert torch.equal(denoiser(X, sigma), expected)
    ((y_t, _),) = networks.asked
    assert y_t.shape == SHAPE


def test_every_branch_runs_in_one_batch_branch_by_branch():
    denoiser, networks = build(PAPER)
    denoiser(X, 1.0)
    ((y_t, timestep),) = networks.asked
    assert y_t.shape == (4 * SHAPE[0], *SHAPE[1:])
    assert timestep == SCHEDULE.nearest_timestep(1.0)
    for branch_input in y_t.chunk(4):
        torch.testing.assert_close(branch_input, X / math.sqrt(1 + quantised(1.0) ** 2))


def test_composed_guidance_is_eq_8_on_the_composed_noise_with_each_branch_s_own_mask():
    denoiser, networks = build(PAPER)
    sigma = SIGMAS[3]
    signal = 1 / math.sqrt(1 + sigma**2)
    static = static_noise(X * signal, denoiser.reference, signal, sigma * signal, "exact")
    composed = [
        noise if branch is Branch.NO_REFERENCE else compose_noise(mask, static, noise)
        for branch, mask, noise in zip(
            denoiser.branches, networks.masks.chunk(4), networks.noise.chunk(4), strict=True
        )
    ]
    expected = X - sigma * guide(composed, denoiser.branches, PAPER)
    torch.testing.assert_close(denoiser(X, sigma), expected)


def test_dynamic_guidance_moves_the_dynamic_part_alone_by_at_most_the_limit():
    denoiser, networks = build(ON_DYNAMIC)
    sigma = SIGMAS[3]
    dynamic = [X - sigma * noise for noise in networks.noise.chunk(4)]
    push = guide(dynamic, denoiser.branches, ON_DYNAMIC) - dynamic[0]
    assert (push.abs() > DYNAMIC_LIMIT).any(), "nothing to clip: the test would prove nothing"
    guided = dynamic[0] + push.clamp(-DYNAMIC_LIMIT, DYNAMIC_LIMIT)
    mask = networks.masks.chunk(4)[0]
    expected = mask * denoiser.reference + (1 - mask) * guided
    torch.testing.assert_close(denoiser(X, sigma), expected)


def test_on_dynamic_the_full_branch_s_mask_is_all_that_is_read():
    denoiser, networks = build(ON_DYNAMIC)
    expected = denoiser(X, 1.0)
    networks.masks = networks.masks[: SHAPE[0]]
    assert torch.equal(denoiser(X, 1.0), expected)


@pytest.mark.parametrize("guidance", [UNGUIDED, PAPER, ON_DYNAMIC])
def test_whoever_watches_sees_the_full_branch_s_mask_once_in_each_evaluation(guidance):
    denoiser, networks = build(guidance)
    unseen, seen = denoiser(X, 1.0), []
    watched = replace(denoiser, watch=lambda *evaluation: seen.append(evaluation))
    assert torch.equal(watched(X, 1.0), unseen)
    ((timestep, mask),) = seen
    assert timestep == SCHEDULE.nearest_timestep(1.0)
    assert torch.equal(mask, networks.masks[: SHAPE[0]])
    watched(X, SIGMAS[3])
    assert [timestep for timestep, _ in seen[1:]] == [979]


@pytest.mark.parametrize("guidance", [PAPER, ON_DYNAMIC])
def test_outside_the_interval_the_full_branch_alone_is_asked_for_and_is_the_result(guidance):
    denoiser, networks = build(replace(guidance, interval=(200, 900)))
    unguided, _ = build(UNGUIDED)
    everywhere, _ = build(guidance)
    for sigma in SIGMAS:
        timestep, rows = SCHEDULE.nearest_timestep(sigma), networks.asked
        result = denoiser(X, sigma)
        if timestep == 200:
            assert len(rows[-1][0]) == 4 * SHAPE[0]
            assert torch.equal(result, everywhere(X, sigma))
        else:
            assert len(rows[-1][0]) == SHAPE[0]
            full = Prediction(networks.masks[: SHAPE[0]], networks.noise[: SHAPE[0]])
            alone = replace(unguided, predict=lambda y_t, timestep, full=full: full)
            assert torch.equal(result, alone(X, sigma))
    assert len(networks.asked) == len(SIGMAS)


@pytest.mark.parametrize(("interval", "rows"), [((200, 200), 4), ((0, 199), 1), ((201, 999), 1)])
def test_both_ends_of_the_interval_are_in_it(interval, rows):
    denoiser, networks = build(replace(ON_DYNAMIC, interval=interval))
    denoiser(X, SIGMAS[2])
    assert len(networks.asked[0][0]) == rows * SHAPE[0]


@pytest.mark.parametrize("guidance", [UNGUIDED, PAPER, ON_DYNAMIC])
def test_where_all_is_guided_and_nothing_rescaled_not_a_bit_changes(guidance):
    plain, asked = build(guidance)
    told, told_asked = build(replace(guidance, rescale=0.0, interval=(0, 999)))
    for sigma in SIGMAS:
        assert torch.equal(told(X, sigma), plain(X, sigma))
    assert [y_t.shape for y_t, _ in told_asked.asked] == [y_t.shape for y_t, _ in asked.asked]
    if guidance is UNGUIDED:
        tamed, _ = build(replace(guidance, rescale=0.7, interval=(200, 300)))
        assert torch.equal(tamed(X, 1.0), plain(X, 1.0)), "where nothing is guided, neither counts"


def test_on_dynamic_what_is_rescaled_is_the_dynamic_part_and_on_composed_the_blend():
    sigma = SIGMAS[3]
    for guidance in (ON_DYNAMIC, PAPER):
        denoiser, networks = build(replace(guidance, rescale=1.0))
        full = X - sigma * networks.noise[: SHAPE[0]]
        mask = networks.masks[: SHAPE[0]]
        result = denoiser(X, sigma)
        if guidance.on == "dynamic":
            result = (result - mask * denoiser.reference) / (1 - mask)
        else:
            full = mask * denoiser.reference + (1 - mask) * full
        torch.testing.assert_close(result.std((1, 2, 3)), full.std((1, 2, 3)))


def test_what_is_copied_is_never_guided_on_dynamic_but_is_on_composed():
    sigma = SIGMAS[2]
    on_dynamic, _ = build(ON_DYNAMIC, mask=1.0)
    on_composed, _ = build(PAPER, mask=1.0)
    assert torch.equal(on_dynamic(X, sigma), on_dynamic.reference)
    assert not torch.allclose(on_composed(X, sigma), on_composed.reference)


def test_a_sigma_between_two_timesteps_is_moved_to_the_nearest():
    denoiser, networks = build(reference=False)
    low, high = SCHEDULE.sigmas[500].item(), SCHEDULE.sigmas[501].item()
    result = denoiser(X, low + 0.4 * (high - low))
    assert torch.equal(result, X - low * networks.noise)
    assert networks.asked[0][1] == 500


@pytest.mark.parametrize("guidance", [PAPER, ON_DYNAMIC])
def test_networks_and_references_in_half_precision_leave_the_state_s_dtype(guidance):
    denoiser, networks = build(guidance)
    networks.noise, networks.masks = networks.noise.bfloat16(), networks.masks.bfloat16()
    assert denoiser(X.float(), 1.0).dtype == torch.float32


DEVIATION, MEAN = 0.5, 0.3


def gaussian_predictor(y_t, timestep):
    """The ideal noise predictor of data ~ N(MEAN, DEVIATION^2), with nothing to copy."""
    alpha = SCHEDULE.alphas_cumprod[timestep].item()
    variance = alpha * DEVIATION**2 + 1 - alpha
    noise = math.sqrt(1 - alpha) * (y_t - math.sqrt(alpha) * MEAN) / variance
    return Prediction(torch.zeros_like(y_t[:, :1]), noise)


@pytest.mark.parametrize(
    ("name", "steps"), [("dpmpp_2s_ancestral", 50), ("dpmpp_2m", 50), ("euler", 200)]
)
def test_an_ideal_predictor_through_denoiser_and_sampler_reproduces_the_data(name, steps):
    shape = (1, 4, 64, 64)
    sigmas = SCHEDULE.sampling_sigmas(steps)
    denoiser = Denoiser(
        predict=gaussian_predictor,
        schedule=SCHEDULE,
        guidance=UNGUIDED,
        branches=(Branch.FULL,),
        reference=None,
    )
    x = initial_state(gaussian(3, INITIAL, shape), sigmas)
    result = sample(name, denoiser, x, sigmas, step_noise(3, shape))
    # The last step is one evaluation at the last sigma: the posterior mean, narrower than the data.
    narrowed = DEVIATION**2 / math.hypot(DEVIATION, sigmas[-2])
    # The walk starts from a mean of 0: at timestep 999 a little of the data's is still in y_t.
    assert result.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert result.std().item() == pytest.approx(narrowed, rel=0.015)


def test_the_same_seed_gives_the_same_bits():
    shape, sigmas = (1, 4, 8, 8), SCHEDULE.sampling_sigmas(5)
    denoiser = Denoiser(
        predict=gaussian_predictor,
        schedule=SCHEDULE,
        guidance=UNGUIDED,
        branches=(Branch.FULL,),
        reference=None,
    )

    def render():
        x = initial_state(gaussian(3, INITIAL, shape), sigmas)
        return sample("dpmpp_2s_ancestral", denoiser, x, sigmas, step_noise(3, shape))

    first = render()
    torch.rand(100)
    assert torch.equal(render(), first)
