"""Eq. 8, the branches that it needs, and guidance rescaled."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from artv_cli.diffusion.guidance import Branch, guidance_branches, guide, rescale
from artv_cli.settings import Guidance

PAPER = Guidance(text=6.5, reference=0.25, anchor=0.25, on="composed")
ALL = (Branch.FULL, Branch.NO_REFERENCE, Branch.NO_ANCHOR, Branch.NO_TEXT)
scales = st.floats(0, 50)


def test_the_paper_s_scales_need_four_branches():
    assert guidance_branches(PAPER, has_reference=True, has_anchor=True) == ALL


@pytest.mark.parametrize(
    ("has_reference", "has_anchor", "expected"),
    [
        (False, True, (Branch.FULL, Branch.NO_ANCHOR, Branch.NO_TEXT)),
        (True, False, (Branch.FULL, Branch.NO_REFERENCE, Branch.NO_TEXT)),
        (False, False, (Branch.FULL, Branch.NO_TEXT)),
    ],
)
def test_a_blank_condition_makes_no_branch(has_reference, has_anchor, expected):
    branches = guidance_branches(PAPER, has_reference=has_reference, has_anchor=has_anchor)
    assert branches == expected


@given(scales, scales, scales)
def test_a_branch_runs_only_if_its_scale_is_not_zero(text, reference, anchor):
    guidance = Guidance(text=text, reference=reference, anchor=anchor, on="composed")
    branches = guidance_branches(guidance, has_reference=True, has_anchor=True)
    assert branches[0] is Branch.FULL
    assert (Branch.NO_TEXT in branches) == (text != 0)
    assert (Branch.NO_REFERENCE in branches) == (reference != 0)
    assert (Branch.NO_ANCHOR in branches) == (anchor != 0)


def test_eq_8_by_hand():
    full, no_reference, no_anchor, no_text = (torch.tensor([v]) for v in (2.0, 1.0, 4.0, 1.5))
    # 2 + 0.25 (2 - 1) + 0.25 (2 - 4) + 6.5 (2 - 1.5) = 2 + 0.25 - 0.5 + 3.25
    guided = guide([full, no_reference, no_anchor, no_text], ALL, PAPER)
    assert guided.item() == pytest.approx(5.0)


@given(scales)
def test_with_text_alone_it_is_the_usual_guidance_of_one_plus_the_scale(text):
    guidance = Guidance(text=text, reference=0, anchor=0, on="composed")
    full, blank = torch.tensor([0.5, -1.0], dtype=torch.float64).split(1)
    guided = guide([full, blank], (Branch.FULL, Branch.NO_TEXT), guidance)
    torch.testing.assert_close(guided, blank + (1 + text) * (full - blank))


def test_one_branch_is_returned_as_it_is():
    full = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(guide([full], (Branch.FULL,), PAPER), full)
    assert torch.equal(guide([full], (Branch.FULL,), PAPER, limit=1.5), full)


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(0.1, 3))
def test_the_limit_bounds_the_distance_from_the_full_branch_on_both_sides(full, blank, limit):
    outputs = [torch.tensor([value], dtype=torch.float64) for value in (full, blank)]
    branches = (Branch.FULL, Branch.NO_TEXT)
    free = guide(outputs, branches, PAPER)
    limited = guide(outputs, branches, PAPER, limit=limit)
    expected = min(max(free.item(), full - limit), full + limit)
    assert limited.item() == pytest.approx(expected, abs=1e-12)


def samples(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


FULL, BLANK = samples(1, 3, 4, 5, 6), samples(2, 3, 4, 5, 6)
TEXT_BRANCHES = (Branch.FULL, Branch.NO_TEXT)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_rescaling_is_that_of_diffusers(share):
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    guided = guide([FULL, BLANK], TEXT_BRANCHES, PAPER) + 0.5
    expected = rescale_noise_cfg(guided, FULL, guidance_rescale=share)
    torch.testing.assert_close(rescale(guided, FULL, share), expected, rtol=1e-12, atol=1e-12)


def test_rescaled_wholly_each_sample_has_the_deviation_of_its_own_full_branch():
    scales = torch.tensor([0.1, 1, 10], dtype=torch.float64).view(3, 1, 1, 1)
    outputs = [FULL * scales, BLANK]
    wild = guide(outputs, TEXT_BRANCHES, PAPER)
    tame = guide(outputs, TEXT_BRANCHES, replace(PAPER, rescale=1.0))
    expected = outputs[0].std((1, 2, 3))
    torch.testing.assert_close(tame.std((1, 2, 3)), expected)
    assert (wild.std((1, 2, 3)) > 2 * expected).all(), "nothing to tame: it would prove nothing"


def test_what_is_limited_is_limited_first_and_then_rescaled():
    guidance = replace(PAPER, rescale=0.7)
    limited = guide([FULL, BLANK], TEXT_BRANCHES, PAPER, limit=1.5)
    expected = rescale(limited, FULL, 0.7)
    assert torch.equal(guide([FULL, BLANK], TEXT_BRANCHES, guidance, limit=1.5), expected)
    late = rescale(guide([FULL, BLANK], TEXT_BRANCHES, PAPER), FULL, 0.7)
    assert not torch.allclose(late, expected)


@pytest.mark.parametrize("share", [0.7, 1.0])
def test_one_branch_is_not_rescaled_not_even_by_rounding(share):
    full = FULL.float()
    assert torch.equal(guide([full], (Branch.FULL,), replace(PAPER, rescale=share)), full)


def test_a_sample_without_deviation_stays_as_it_is():
    flat = torch.full_like(FULL, 0.25)
    assert torch.equal(rescale(flat, FULL, 1.0), flat)
