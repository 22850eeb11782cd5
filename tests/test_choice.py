"""Which clips are kept."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artv_cli.prepare.choice import Choice
from artv_cli.prepare.records import Clip, Record
from artv_cli.prepare.report import KEPT, POOR_CAPTION, TOO_STILL, TOO_WILD


def record(*scores: float | None, motion: float = 5.0) -> Record:
    is_moving = 1 <= motion <= 20
    clips = [
        Clip(0, 8, 64, 64, motion, score if is_moving else None, is_moving) for score in scores
    ]
    return Record("a", "a cat", tuple(clips))


def outcomes(records: Sequence[Record], share: float) -> list[str]:
    choice = Choice(records, share, (1.0, 20.0))
    return [outcome for _, told in choice.outcomes(records) for outcome in told]


def test_the_top_share_is_that_of_all_videos_together() -> None:
    records = [record(0.1, 0.4), record(0.3), record(0.2)]
    assert outcomes(records, 0.5) == [POOR_CAPTION, KEPT, KEPT, POOR_CAPTION]


def test_without_scores_all_that_moves_is_kept() -> None:
    records = [record(None), record(None, motion=0.5), record(None, motion=21.0)]
    assert outcomes(records, 0.5) == [KEPT, TOO_STILL, TOO_WILD]


def test_what_does_not_move_takes_no_place_in_the_share() -> None:
    records = [record(0.9, motion=0.0), record(0.2), record(0.1)]
    assert outcomes(records, 0.5) == [TOO_STILL, KEPT, POOR_CAPTION]


def test_of_equal_clips_the_earlier_ones_are_kept() -> None:
    assert outcomes([record(0.2, 0.2), record(0.2, 0.2)], 0.5) == [KEPT] * 2 + [POOR_CAPTION] * 2


@pytest.mark.parametrize("share", [0.01, 0.34, 1.0])
@given(scores=st.lists(st.sampled_from([0.1, 0.2, 0.25, 0.3]), min_size=1, max_size=12))
def test_the_share_is_exact_and_nothing_better_is_left_out(
    share: float, scores: list[float]
) -> None:
    told = outcomes([record(*scores)], share)
    kept = [s for s, outcome in zip(scores, told, strict=True) if outcome == KEPT]
    left = [s for s, outcome in zip(scores, told, strict=True) if outcome != KEPT]
    assert len(kept) == max(1, round(share * len(scores)))
    assert not left or max(left) <= min(kept)
