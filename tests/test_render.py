"""The loop over a plan: only what is missing is made, and resumed is the same as uninterrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest
from standin import ENVIRONMENT, MODEL, StandInEngine, story

from artv_cli.cache.store import FrameStore
from artv_cli.errors import ModelError, RenderError, StorageError
from artv_cli.latents import Latents, Pixels
from artv_cli.plan import FramePlan, RenderPlan, make_plan
from artv_cli.render import Frame, missing, render
from artv_cli.settings import Settings

WALK = {"prompt": "a cat walks", "frames": 6}
JUMP = {"prompt": "the cat jumps", "frames": 5}
ROCKET = {"prompt": "a rocket flies", "frames": 4, "start": "cut"}
IMAGES = {"cat.png": "c" * 64, "dog.png": "d" * 64}


def plan(*segments: dict[str, Any], seed: int = 0, **film: Any) -> RenderPlan:
    return make_plan(story(*segments, **film), MODEL, IMAGES, over=Settings(seed=seed))


def picture(target: FramePlan) -> Pixels:
    assert target.image is not None
    return np.full((16, 32, 3), len(target.image) + ord(target.image[0]), np.uint8)


class Studio:
    """A store and an engine, with everything about them that a test wants to know."""

    def __init__(self, root: Path, **store: Any) -> None:
        self.warnings: list[str] = []
        self.store = FrameStore(root, warn=self.warnings.append, **store)
        self.engine = StandInEngine()
        self.built = 0

    def build(self) -> StandInEngine:
        self.built += 1
        return self.engine

    def render(self, story_plan: RenderPlan) -> list[Frame]:
        """Render a story and check that what was made is what `missing` foretold."""
        foretold = len(missing(story_plan, self.store))
        before = len(self.made)
        frames = list(render(story_plan, self.store, self.build, picture))
        assert [frame.plan for frame in frames] == list(story_plan.frames)
        assert len(self.made) - before == foretold
        return frames

    @property
    def made(self) -> list[str]:
        return [call.kind for call in self.engine.calls if call.kind != "decode"]


@pytest.fixture
def studio(tmp_path: Path) -> Callable[..., Studio]:
    """Studios that share one cache, each with an engine of its own."""
    return lambda **store: Studio(tmp_path / ".artv", **store)


def digests(frames: list[Frame]) -> list[str]:
    return [frame.entry.digest for frame in frames]


Studios = Callable[..., Studio]


# ---------------------------------------------------------------- what is made


def test_every_frame_is_made_once_from_what_the_paper_says(studio: Studios) -> None:
    first = studio()
    frames = first.render(plan(WALK, ROCKET))
    assert first.made == ["key_frame"] + 5 * ["next_frame"] + ["key_frame"] + 3 * ["next_frame"]
    assert not any(frame.reused for frame in frames)
    k, a, b, c = (frame.entry.latents for frame in frames[:4])
    again, requests = StandInEngine(), [frame.plan.request for frame in frames[:4]]
    assert all(requests)
    assert k == again.key_frame(requests[0])  # type: ignore[arg-type]
    assert a == again.next_frame(requests[1], (k, k), k)  # type: ignore[arg-type]
    assert b == again.next_frame(requests[2], (a, k), k)  # type: ignore[arg-type]
    assert c == again.next_frame(requests[3], (b, a), k)  # type: ignore[arg-type]
    assert np.array_equal(frames[2].entry.pixels(), again.decode(b))


def test_no_engine_is_built_when_everything_is_cached(studio: Studios) -> None:
    fresh = studio().render(plan(WALK, JUMP))
    second = studio()
    frames = second.render(plan(WALK, JUMP))
    assert second.built == 0 and all(frame.reused for frame in frames)
    assert digests(frames) == digests(fresh)


def test_the_engine_is_built_once_and_only_when_the_first_frame_is_missing(
    studio: Studios,
) -> None:
    first = studio()
    frames = render(plan(WALK, JUMP), first.store, first.build, picture)
    assert first.built == 0
    next(frames)
    next(frames)
    assert first.built == 1 and len(first.made) == 2, "each frame is made when it is asked for"


def test_every_frame_is_in_the_cache_when_it_is_yielded(studio: Studios) -> None:
    first = studio()
    for frame in render(plan(WALK), first.store, first.build, picture):
        kept = first.store.peek(frame.plan.key)
        assert kept is not None and kept.digest == frame.entry.digest


def test_eight_more_frames_at_the_end_are_exactly_eight_to_make(studio: Studios) -> None:
    before = studio().render(plan(WALK, JUMP))
    longer = studio()
    after = longer.render(plan(WALK, JUMP | {"frames": 13}))
    assert longer.made == 8 * ["next_frame"]
    assert digests(after)[:11] == digests(before)
    assert [frame.reused for frame in after] == 11 * [True] + 8 * [False]


def test_another_prompt_in_the_last_segment_makes_exactly_that_segment(studio: Studios) -> None:
    before = studio().render(plan(WALK, JUMP))
    edited = studio()
    after = edited.render(plan(WALK, JUMP | {"prompt": "the cat sits down"}))
    assert edited.made == 5 * ["next_frame"]
    assert digests(after)[:6] == digests(before)[:6]
    assert not set(digests(after)[6:]) & set(digests(before))


def test_an_edit_before_a_cut_makes_nothing_after_it(studio: Studios) -> None:
    before = studio().render(plan(WALK, ROCKET))
    edited = studio()
    after = edited.render(plan(WALK | {"prompt": "a dog walks", "frames": 8}, ROCKET))
    assert len(edited.made) == 8
    assert digests(after)[8:] == digests(before)[6:]


def test_an_edit_undone_makes_nothing(studio: Studios) -> None:
    before = studio().render(plan(WALK, JUMP))
    studio().render(plan(WALK | {"prompt": "a dog walks"}, JUMP))
    undone = studio()
    assert digests(undone.render(plan(WALK, JUMP))) == digests(before)
    assert undone.made == []


def test_a_copied_storyboard_shares_the_frames_that_it_begins_with(studio: Studios) -> None:
    studio().render(plan(WALK, JUMP))
    copy = studio()
    copy.render(plan(WALK, ROCKET, title="A copy"))
    assert copy.made == ["key_frame"] + 3 * ["next_frame"]


def test_two_seeds_share_nothing(studio: Studios) -> None:
    one = studio().render(plan(WALK, seed=1))
    second = studio()
    two = second.render(plan(WALK, seed=2))
    assert len(second.made) == 6
    assert not set(digests(one)) & set(digests(two))


def test_two_cuts_that_are_alike_are_made_once(studio: Studios) -> None:
    first = studio()
    frames = first.render(plan(WALK, ROCKET, ROCKET))
    assert len(first.made) == 10
    assert digests(frames)[6:10] == digests(frames)[10:]


def test_images_are_encoded_and_an_anchor_image_is_not_shown(studio: Studios) -> None:
    story_plan = plan(WALK, JUMP | {"anchor": "dog.png"}, image="cat.png")
    first = studio()
    frames = first.render(story_plan)
    assert first.made == ["encode"] + 5 * ["next_frame"] + ["encode"] + 5 * ["next_frame"]
    assert len(frames) == 11
    assert frames[0].entry.latents == StandInEngine().encode(picture(story_plan.frames[0]))
    assert studio().render(story_plan)[-1].reused


# ---------------------------------------------------------------- resume and lineage


def test_a_story_stopped_at_any_frame_ends_in_the_same_bits(tmp_path: Path) -> None:
    story_plan = plan(WALK, JUMP | {"anchor": "first"}, ROCKET)
    whole = digests(Studio(tmp_path / "whole").render(story_plan))
    for stop in range(len(story_plan.frames)):
        root = tmp_path / str(stop)
        first, second = Studio(root), Studio(root)
        frames = render(story_plan, first.store, first.build, picture)
        for _ in range(stop):
            next(frames)
        frames.close()
        assert digests(second.render(story_plan)) == whole
        assert len(first.made) + len(second.made) == 15


def test_a_damaged_frame_is_made_again_alone_when_it_comes_out_as_it_was(
    studio: Studios,
) -> None:
    story_plan = plan(WALK, JUMP)
    before = studio().render(story_plan)
    path = studio().store.path(before[4].plan.key)
    path.write_bytes(path.read_bytes()[:-1])
    mended = studio()
    assert digests(mended.render(story_plan)) == digests(before)
    assert mended.made == ["next_frame"] and len(mended.warnings) == 1


@pytest.mark.parametrize("index", [0, 4])
def test_a_frame_that_comes_back_with_other_bits_takes_its_descendants_with_it(
    studio: Studios, index: int
) -> None:
    story_plan = plan(WALK, JUMP, ROCKET)
    before = studio().render(story_plan)
    studio().store.path(before[index].plan.key).unlink()
    other = studio()
    other.engine = StandInEngine(salt="another machine")
    after = list(render(story_plan, other.store, other.build, picture))
    assert len(other.made) == 11 - index, "up to the cut, and nothing after it"
    assert digests(after)[:index] == digests(before)[:index]
    assert not set(digests(after)[index:11]) & set(digests(before))
    assert digests(after)[11:] == digests(before)[11:]
    again = studio()
    assert digests(again.render(story_plan)) == digests(after) and again.made == []


def test_a_repaired_ancestor_with_other_bits_is_foretold_as_work(studio: Studios) -> None:
    story_plan = plan(WALK)
    before = studio().render(story_plan)
    other, target = studio(), before[0].plan
    latents = Latents("float32", (4, 2, 4), bytes(128))
    other.store.put(target.key, latents, other.engine.decode(latents), {})
    assert [frame.index for frame in missing(story_plan, other.store)] == [1, 2, 3, 4, 5]
    other.render(story_plan)
    assert len(other.made) == 5


def test_frames_made_from_what_will_come_out_otherwise_are_foretold_as_work(
    studio: Studios,
) -> None:
    story_plan = plan(WALK, JUMP, ROCKET)
    before = studio().render(story_plan)
    other, target = studio(), before[0].plan
    latents = Latents("float32", (4, 2, 4), bytes(128))
    other.store.put(target.key, latents, other.engine.decode(latents), {})
    assert [frame.index for frame in missing(story_plan, other.store)] == list(range(1, 11))
    other.render(story_plan)
    assert len(other.made) == 10, "the second segment knows the first frame only by its children"


def test_a_frame_that_remembers_another_parent_than_its_siblings_is_foretold_as_work(
    studio: Studios,
) -> None:
    story_plan, first = plan(WALK), studio()
    key, _, odd, *_ = first.render(story_plan)
    first.store.path(key.plan.key).unlink()
    parents = dict(odd.entry.parents) | {key.plan.key: "0" * 64}
    first.store.put(odd.plan.key, odd.entry.latents, odd.entry.pixels(), parents)
    assert [frame.index for frame in missing(story_plan, first.store)] == [0, 2]
    mended = studio()
    mended.render(story_plan)
    assert len(mended.made) == 2


def test_a_strict_render_makes_frames_of_another_environment_again(studio: Studios) -> None:
    story_plan = plan(WALK)
    studio().render(story_plan)
    elsewhere = {"engine": "stand-in 2"}
    lenient = studio(environment=elsewhere)
    lenient.render(story_plan)
    assert lenient.made == []
    assert lenient.store.foreign == {"engine stand-in 1, here stand-in 2": 6}
    strict = studio(environment=elsewhere, strict=True)
    strict.render(story_plan)
    assert len(strict.made) == 6
    again = studio(environment=elsewhere, strict=True)
    again.render(story_plan)
    assert again.made == [] and again.store.foreign == {}


def test_frames_remember_the_engines_environment_where_the_caller_named_none(
    studio: Studios,
) -> None:
    first = studio()
    frames = first.render(plan(WALK))
    assert {tuple(frame.entry.environment.items()) for frame in frames} == {
        tuple(ENVIRONMENT.items())
    }
    assert first.store.foreign == {}


# ---------------------------------------------------------------- failures


def test_values_that_are_no_numbers_are_a_render_error_and_are_not_kept(studio: Studios) -> None:
    first = studio()
    first.engine = StandInEngine(broken_after=3)
    with pytest.raises(RenderError, match=r"frame 4 \(segment 1\) .* no numbers") as caught:
        list(render(plan(WALK), first.store, first.build, picture))
    assert caught.value.remedy
    whole = studio()
    whole.render(plan(WALK))
    assert len(whole.made) == 3, "what was made before is kept"


def test_a_picture_of_the_wrong_shape_is_a_render_error(studio: Studios) -> None:
    first = studio()
    first.engine.decode = lambda latents: np.zeros((8, 8, 3), np.uint8)  # type: ignore[method-assign]
    with pytest.raises(RenderError, match="not 32x16 pixels"):
        first.render(plan(WALK))
    assert not list(first.store.entries())


def test_an_anchor_image_is_named_in_errors(studio: Studios) -> None:
    story_plan = plan(WALK, JUMP | {"anchor": "dog.png"})
    studio().render(plan(WALK))
    first = studio()
    first.engine.decode = lambda latents: np.zeros((8, 8, 3), np.uint8)  # type: ignore[method-assign]
    with pytest.raises(RenderError, match="the anchor image of segment 2"):
        list(render(story_plan, first.store, first.build, picture))


def test_other_weights_under_the_same_name_are_refused_before_anything_is_made(
    studio: Studios,
) -> None:
    first = studio()
    first.engine = StandInEngine(fingerprint="e" * 64)
    with pytest.raises(ModelError, match="not those that the plan was made for"):
        first.render(plan(WALK))
    assert first.engine.calls == []


def test_a_cache_that_cannot_be_written_is_found_before_the_model_is_loaded(
    studio: Studios, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio().render(plan(WALK))
    longer = studio()
    monkeypatch.setattr("os.access", lambda *_: False)
    frames = render(plan(WALK | {"frames": 7}), longer.store, longer.build, picture)
    assert all(next(frames).reused for _ in range(6)), "hits are served"
    with pytest.raises(StorageError, match="cannot be written"):
        next(frames)
    assert longer.built == 0


def test_memory_holds_only_the_frames_that_are_still_needed(
    studio: Studios,
) -> None:
    first = studio()
    story_plan = plan(WALK | {"frames": 40}, JUMP | {"anchor": {"segment": 1, "frame": 3}})
    alive: list[ref[Any]] = []
    for frame in render(story_plan, first.store, first.build, picture):
        alive.append(ref(frame.entry))
        del frame
        assert sum(entry() is not None for entry in alive) <= 5
