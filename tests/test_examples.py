"""From clips to examples: which frames stand where, and how often a condition is blank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tiny import LATENT, SolidClips
from torch import Tensor

from artv_cli.errors import ArtvError
from artv_cli.train.examples import (
    NO_DROPS,
    Clips,
    Drops,
    Examples,
    UnreadableClip,
    clip_at,
    gather_examples,
    pick_frames,
)

COUNT = 400


def draw(drops: Drops = NO_DROPS, count: int = COUNT, seed: int = 0) -> Examples:
    return draw_from(SolidClips(), drops, count, seed)


def draw_from(clips: Clips, drops: Drops, count: int, seed: int = 0) -> Examples:
    rngs = [np.random.default_rng((seed, place)) for place in range(count)]
    picks = [pick_frames(clips, n % len(clips), drops, rng) for n, rng in enumerate(rngs)]
    return gather_examples(clips, picks, drops, rngs)


def places(frames: Tensor) -> list[tuple[int, int]]:
    """Return (clip, frame) of each of the clips' frames, which say it themselves."""
    return [divmod(round(value), 100) for value in frames.flatten(1).mean(1).tolist()]


def share(flags: Tensor) -> float:
    return flags.float().mean().item()


def test_references_are_the_two_frames_before_or_the_first_one_twice() -> None:
    examples = draw()
    first, second = examples.references.split(LATENT[0], dim=1)
    assert torch.equal(first, examples.previous)
    rows = zip(places(examples.target), places(first), places(second), strict=True)
    for (clip, frame), previous, earlier in rows:
        assert previous == (clip, frame - 1)
        assert earlier == (clip, max(frame - 2, 0))


def test_every_frame_of_every_clip_but_the_first_is_drawn() -> None:
    drawn = set(places(draw().target))
    assert drawn == {(0, f) for f in range(1, 12)} | {(1, f) for f in range(1, 14)}


@pytest.mark.parametrize("window", [1, 3, 10])
def test_anchor_lies_before_the_frame_within_its_window(window: int) -> None:
    examples = draw(Drops(references=0, anchor=0, text=0, anchor_window=window))
    distances = set()
    for (clip, frame), (anchor_clip, anchor) in zip(
        places(examples.target), places(examples.anchor), strict=True
    ):
        assert anchor_clip == clip
        distances.add(frame - anchor)
    assert distances == set(range(1, window + 1))


def test_conditions_are_dropped_each_on_its_own_as_often_as_said() -> None:
    drops = Drops(references=0.5, anchor=0.25, text=0.1)
    examples = draw(drops, count=2000)
    has_text = torch.tensor([bool(caption) for caption in examples.captions])
    no_reference, no_anchor = (
        examples.has_reference.flatten() == 0,
        examples.has_anchor.flatten() == 0,
    )
    for blank, rate in ((no_reference, 0.5), (no_anchor, 0.25), (~has_text, 0.1)):
        assert share(blank) == pytest.approx(rate, abs=0.04)
    assert share(no_reference & no_anchor) == pytest.approx(0.125, abs=0.04)


def test_blank_conditions_are_zeros_and_empty_captions() -> None:
    examples = draw(Drops(references=0.5, anchor=0.5, text=0.5))
    has_reference, has_anchor = examples.has_reference.flatten(), examples.has_anchor.flatten()
    assert torch.equal(examples.references.flatten(1).any(1), has_reference.bool())
    assert torch.equal(examples.anchor.flatten(1).any(1), has_anchor.bool())
    assert "" in examples.captions


def test_key_frames_have_neither_references_nor_anchor_and_may_be_the_first_frame() -> None:
    examples = draw(Drops(references=0, anchor=0, text=0, key_frames=1))
    assert not examples.references.any() and not examples.anchor.any()
    assert {frame for _, frame in places(examples.target)} >= {0, 11}


def test_key_frames_may_be_asked_for_from_the_opening_of_a_clip_alone() -> None:
    key_frames = Drops(references=0, anchor=0, text=0, key_frames=1, opening=2)
    assert {frame for _, frame in places(draw(key_frames).target)} == {0, 1}
    others = draw(Drops(references=0, anchor=0, text=0, opening=2))
    assert {frame for _, frame in places(others.target)} == {*range(1, 14)}


def test_frames_in_which_a_motion_begins_are_drawn_more_often_if_asked() -> None:
    examples = draw(Drops(references=0, anchor=0, text=0, beginnings=0.5), count=2000)
    first = torch.tensor([frame == 1 for _, frame in places(examples.target)])
    assert share(first) == pytest.approx(0.5 + 0.5 / 11, abs=0.04)


def test_captions_name_the_character_where_no_reference_shows_it() -> None:
    examples = draw(Drops(references=0.5, anchor=0, text=0))
    for caption, has_reference in zip(examples.captions, examples.has_reference, strict=True):
        assert caption == ("the cat walks" if has_reference else "a cat walks")


def test_the_generator_alone_decides_what_is_drawn() -> None:
    once, again, other = draw(Drops()), draw(Drops()), draw(Drops(), seed=1)
    assert torch.equal(once.target, again.target) and once.captions == again.captions
    assert not torch.equal(once.target, other.target)


def test_half_precision_clips_become_single_precision_examples() -> None:
    clips = SolidClips()
    clips.clips = [clip.half() for clip in clips.clips]
    examples = draw_from(clips, NO_DROPS, 4)
    assert {examples.target.dtype, examples.references.dtype} == {torch.float32}


def test_each_round_shows_every_clip_once_in_an_order_of_its_own() -> None:
    rounds = [[clip_at(number, 7, seed=0) for number in range(7 * n, 7 * n + 7)] for n in range(3)]
    assert all(sorted(order) == list(range(7)) for order in rounds)
    assert rounds[0] != rounds[1] != rounds[2]
    assert [clip_at(number, 7, seed=1) for number in range(7)] != rounds[0]
    assert clip_at(16, 7, seed=0) == rounds[2][2]  # wherever one begins


class Torn(SolidClips):
    """The first clip cannot be read."""

    def load(self, clip: int, frames: Sequence[int]) -> Tensor:
        if clip == 0:
            raise UnreadableClip("torn")
        return super().load(clip, frames)


def test_an_unreadable_clip_is_replaced_by_the_same_one_whenever_it_is_drawn() -> None:
    once, again = draw_from(Torn(), NO_DROPS, 8), draw_from(Torn(), NO_DROPS, 8)
    assert {clip for clip, _ in places(once.target)} == {1}
    assert torch.equal(once.target, again.target)


def test_nothing_but_unreadable_clips_is_an_error() -> None:
    torn = Torn(lengths=[5])
    with pytest.raises(ArtvError, match="in a row cannot be read"):
        draw_from(torn, NO_DROPS, 1)
