"""Plans: roles, references, anchors, seeds, sizes, and what an edit touches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sample_plans import JUMP, ROCKET, WALK, frame_keys, plan
from standin import MODEL, SAMPLING, story

from artv_cli.engine import PictureRequest
from artv_cli.errors import UsageError
from artv_cli.keys import frame_seed, key_of
from artv_cli.plan import FramePlan, make_plan
from artv_cli.settings import Settings
from artv_cli.storyboard import parse_storyboard


def test_frames_follow_the_paper_two_references_and_the_first_frame_as_anchor() -> None:
    k, a, b, c = plan(WALK).frames
    assert [f.role for f in (k, a, b, c)] == ["key", "next", "next", "next"]
    assert (k.references, k.anchor, k.parents) == (None, None, ())
    assert a.references == (k.key, k.key), "the key frame stands in for a missing one"
    assert b.references == (a.key, k.key)
    assert c.references == (b.key, a.key)
    assert {f.anchor for f in (a, b, c)} == {k.key}
    assert c.parents == (b.key, a.key, k.key)
    assert [f.index for f in (k, a, b, c)] == [f.chain_index for f in (k, a, b, c)] == [0, 1, 2, 3]


def test_a_key_frame_is_drawn_as_the_model_likes_and_a_person_overrules_it() -> None:
    rich = replace(MODEL, key_sampling=replace(SAMPLING, steps=30))
    board = story(WALK, ROCKET | {"settings": {"steps": 5}})

    def steps(frames: Sequence[FramePlan]) -> list[int]:
        return [frame.request.sampling.steps for frame in frames if frame.request]

    assert steps(make_plan(board, rich, {}).frames) == [30, 8, 8, 8, 5, 5, 5, 5, 5]
    assert steps(make_plan(board, rich, {}, over=Settings(steps=3)).frames) == [3] * 9
    assert steps(make_plan(board, MODEL, {}).frames) == [8, 8, 8, 8, 5, 5, 5, 5, 5]


def test_a_later_segment_is_anchored_to_the_last_frame_before_it() -> None:
    frames = plan(WALK, JUMP).frames
    assert len(frames) == 7
    assert {f.anchor for f in frames[4:]} == {frames[3].key}
    assert frames[4].references == (frames[3].key, frames[2].key)
    assert [f.segment for f in frames] == [0, 0, 0, 0, 1, 1, 1]
    assert [f.request.prompt for f in frames[3:5] if f.request] == ["a cat walks", "the cat jumps"]


def test_a_cut_begins_a_new_chain_with_its_own_key_frame() -> None:
    frames = plan(WALK, ROCKET, JUMP).frames
    key = frames[4]
    assert (key.role, key.chain_index, key.parents) == ("key", 0, ())
    assert frames[5].references == (key.key, key.key)
    assert {f.anchor for f in frames[5:9]} == {key.key}
    assert frames[9].chain_index == 5, "a segment that continues counts on from the cut"
    assert frames[9].anchor == frames[8].key


@pytest.mark.parametrize(
    ("anchor", "index"),
    [("previous", 8), ("first", 0), ("key", 4), ({"segment": 1, "frame": 3}, 2), (None, 8)],
)
def test_an_anchor_is_the_frame_that_the_storyboard_names(anchor: Any, index: int) -> None:
    frames = plan(WALK, ROCKET, JUMP | {"anchor": anchor}).frames
    assert {f.anchor for f in frames[9:]} == {frames[index].key}


def test_a_cut_may_still_be_anchored_to_what_stands_before_it() -> None:
    frames = plan(WALK, ROCKET | {"anchor": "previous"}).frames
    assert frames[4].parents == ()
    assert {f.anchor for f in frames[5:]} == {frames[3].key}


def test_in_the_first_segment_every_word_for_an_anchor_means_its_key_frame() -> None:
    keys_of = {anchor: frame_keys(WALK | {"anchor": anchor}) for anchor in ("first", "key")}
    keys_of["previous"] = frame_keys(WALK | {"anchor": "previous"})
    assert keys_of["first"] == keys_of["key"] == keys_of["previous"] == frame_keys(WALK)


@pytest.mark.parametrize(
    "anchor", [{"segment": 3, "frame": 1}, {"segment": 2, "frame": 1}, {"segment": 1, "frame": 5}]
)
def test_an_anchor_that_does_not_exist_yet_is_refused(anchor: Any) -> None:
    with pytest.raises(UsageError, match="segment 2: its anchor, frame . of segment .,") as caught:
        plan(WALK, JUMP | {"anchor": anchor}, JUMP)
    assert caught.value.remedy


def test_an_anchor_beyond_the_end_of_its_segment_is_not_a_frame_of_the_next_one() -> None:
    with pytest.raises(UsageError, match="segment 3: its anchor, frame 5 of segment 1,"):
        plan(WALK, JUMP, JUMP | {"anchor": {"segment": 1, "frame": 5}})


def test_a_cut_may_be_anchored_to_its_own_key_frame_by_number() -> None:
    assert frame_keys(WALK, ROCKET | {"anchor": {"segment": 2, "frame": 1}}) == frame_keys(
        WALK, ROCKET
    )


def test_an_image_that_thousands_of_segments_are_anchored_to_is_not_sought_among_all_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = itertools.count()

    class Key(str):
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            next(compared)
            return str.__eq__(self, other)

        def __ne__(self, other: object) -> bool:
            return not self == other

    monkeypatch.setattr("artv_cli.plan.key_of", lambda made_of: Key(key_of(made_of)))
    made = plan(*[WALK] * 300, *[WALK | {"anchor": "dog.png"}] * 300)
    assert sum(not target.is_shown for target in made.targets) == 1
    assert next(compared) < 3 * len(made.targets)


def test_a_given_image_is_the_key_frame() -> None:
    first, second, *_ = plan(WALK, image="cat.png").frames
    assert (first.role, first.image, first.request) == ("image", "cat.png", None)
    assert second.references == (first.key, first.key)
    cut = plan(WALK, ROCKET | {"image": "dog.png"}, image="cat.png").frames[4]
    assert (cut.role, cut.image) == ("image", "dog.png")


def test_an_anchor_image_is_made_before_it_is_needed_and_not_shown() -> None:
    story_plan = plan(WALK, JUMP | {"anchor": "dog.png"}, JUMP | {"anchor": "dog.png"})
    (image,) = (t for t in story_plan.targets if t.index < 0)
    assert (image.role, image.image, len(story_plan.frames)) == ("image", "dog.png", 10)
    assert (image.index, image.chain_index) == (-1, 0)
    assert {f.anchor for f in story_plan.frames[4:]} == {image.key}
    assert [f.index for f in story_plan.frames] == list(range(10))
    assert story_plan.frames[4].references == (story_plan.frames[3].key, story_plan.frames[2].key)
    made: set[str] = set()
    for target in story_plan.targets:
        assert made.issuperset(target.parents)
        made.add(target.key)


def test_an_anchor_image_that_is_a_frame_already_is_not_made_twice() -> None:
    story_plan = plan(WALK, JUMP | {"anchor": "copy.png"}, image="cat.png")
    assert len(story_plan.targets) == len(story_plan.frames) == 7
    assert story_plan.frames[4].anchor == story_plan.frames[0].key


def test_a_cut_of_one_frame_needs_no_anchor_image() -> None:
    story_plan = plan(WALK, ROCKET | {"frames": 1, "anchor": "dog.png"})
    assert len(story_plan.targets) == 5


def test_more_frames_in_the_last_segment_leave_every_key_as_it_was() -> None:
    before, after = frame_keys(WALK, JUMP), frame_keys(WALK, JUMP | {"frames": 11})
    assert after[:7] == before
    assert len(set(after)) == 15


def test_an_edit_changes_every_key_from_there_on_and_none_before() -> None:
    before = frame_keys(WALK, JUMP, JUMP)
    after = frame_keys(WALK, JUMP | {"prompt": "the cat sits"}, JUMP)
    assert after[:4] == before[:4]
    assert not set(after[4:]) & set(before)


def test_an_edit_before_a_cut_changes_no_key_after_it() -> None:
    after_cut = frame_keys(WALK, ROCKET, JUMP)[4:]
    assert frame_keys(WALK | {"prompt": "a dog runs"}, ROCKET, JUMP)[4:] == after_cut
    assert frame_keys(WALK | {"frames": 9}, ROCKET, JUMP)[9:] == after_cut
    assert frame_keys(ROCKET, JUMP) == after_cut, "nor does what stands before it at all"


def test_a_storyboard_that_begins_alike_shares_its_beginning() -> None:
    assert frame_keys(WALK, JUMP, ROCKET, title="Another")[:7] == frame_keys(WALK, JUMP, JUMP)[:7]


def test_two_seeds_share_nothing() -> None:
    one, two = (set(frame_keys(WALK, ROCKET, settings={"seed": seed})) for seed in (1, 2))
    assert not one & two


def test_an_image_key_frame_depends_on_its_bytes_and_not_on_prompt_seed_or_path() -> None:
    base = frame_keys(WALK, image="cat.png")
    seeded = frame_keys(WALK, image="cat.png", settings={"seed": 5})
    assert seeded[0] == base[0]
    assert not set(seeded[1:]) & set(base[1:])
    assert frame_keys(WALK | {"prompt": "x"}, image="cat.png")[0] == base[0]
    assert frame_keys(WALK, image="copy.png") == base
    assert not set(frame_keys(WALK, image="dog.png")) & set(base)


def test_a_frames_seed_is_a_63_bit_digest_of_seed_and_place_in_the_chain() -> None:
    seeds = {frame_seed(seed, index) for seed in range(50) for index in range(50)}
    assert len(seeds) == 2500
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert frame_seed(1, 23) != frame_seed(12, 3)
    assert plan(WALK, settings={"seed": 7}).frames[3].request.seed == frame_seed(7, 3)  # type: ignore[union-attr]


def test_flags_win_over_segment_over_storyboard_over_files_over_the_model() -> None:
    def steps(**layers: Any) -> list[int]:
        walk = WALK | {"settings": {"steps": 30}} if layers.pop("segment", False) else WALK
        return [f.request.sampling.steps for f in plan(walk, JUMP, **layers).frames if f.request]

    under, film, over = Settings(steps=10), {"steps": 20}, Settings(steps=40)
    assert set(steps()) == {8}
    assert set(steps(under=under)) == {10}
    assert set(steps(under=under, settings=film)) == {20}
    assert steps(under=under, settings=film, segment=True) == [30] * 4 + [20] * 3
    assert set(steps(under=under, settings=film, segment=True, over=over)) == {40}


def test_messages_call_a_target_by_what_it_is_and_count_from_one() -> None:
    drawn = plan(WALK, ROCKET | {"anchor": "cat.png"})
    assert drawn.frames[4].name == "frame 5 (segment 2)"
    assert [t.name for t in drawn.targets if not t.is_shown] == ["the anchor image of segment 2"]
    drawing = PictureRequest("f" * 64, "a cat", 0, (32, 16), (64, 64), "float32")
    picture = replace(drawn.targets[0], drawing=drawing)
    assert picture.name == "the picture for segment 1"


def test_a_plan_knows_size_frame_rate_and_model() -> None:
    default = plan(WALK)
    assert (default.size, default.fps, default.dtype) == ((32, 16), Fraction(8), "float32")
    assert default.fingerprint == MODEL.fingerprint
    told = plan(WALK, settings={"size": (64, 24), "fps": 24, "dtype": "bfloat16"})
    assert (told.size, told.fps, told.dtype) == ((64, 24), Fraction(24), "bfloat16")
    assert {f.request.size for f in told.frames if f.request} == {(64, 24)}


def test_a_size_that_the_model_cannot_make_is_refused_with_the_nearest_ones() -> None:
    with pytest.raises(UsageError, match="100x64 does not suit the model") as caught:
        plan(WALK, settings={"size": (100, 64)})
    assert caught.value.remedy == "Use 96x64 or 104x64."
    for width in (97, 103):
        with pytest.raises(UsageError) as caught:
            plan(WALK, settings={"size": (width, 64)})
        assert caught.value.remedy == "Use 96x64 or 104x64."
    with pytest.raises(UsageError) as caught:
        plan(WALK, model=replace(MODEL, size_multiple=64))
    assert caught.value.remedy == "Use 64x64."


def test_a_cut_may_be_anchored_at_the_only_frame_before_it() -> None:
    frames = plan(WALK | {"frames": 1}, ROCKET | {"anchor": "previous"}).frames
    assert {f.anchor for f in frames[2:]} == {frames[0].key}


def test_a_plan_never_changes() -> None:
    made = plan(WALK)
    for part in (made, made.frames[0], MODEL):
        with pytest.raises(FrozenInstanceError):
            part.fingerprint = ""  # type: ignore[misc, union-attr]


def test_a_size_is_refused_where_the_storyboard_says_it_unless_a_flag_did() -> None:
    text = "seed: 1\nsize: 100x64\nsegments:\n- prompt: a cat\n  frames: 1\n"
    board = parse_storyboard(text, name="cat.yaml", folder=Path())
    with pytest.raises(UsageError, match="^cat.yaml:2:7: size: 100x64 does not suit"):
        make_plan(board, MODEL, {})
    with pytest.raises(UsageError, match="^size: 9x8 does not suit"):
        make_plan(board, MODEL, {}, over=Settings(size=(9, 8)))
