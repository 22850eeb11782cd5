"""From request to film: what is silent, what is lazy, what is kept, what is explained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Studio
from filelock import FileLock
from standin import StandInEngine
from standin import story as make_storyboard

from artv_cli import timings
from artv_cli.cache.store import FrameStore
from artv_cli.errors import ArtvError, CacheLocked, ImageError, StorageError
from artv_cli.export import Output
from artv_cli.forecast import forecast
from artv_cli.history import Change, Comparison, past_stories, recall, remember
from artv_cli.image_paths import image_paths, seen_from
from artv_cli.media.probe import read_frames, read_metadata
from artv_cli.observer import Observer, Work
from artv_cli.setting_tables import GuidanceSettings
from artv_cli.settings import Settings
from artv_cli.story import (
    Story,
    StoryRequest,
    export_story,
    open_store,
    open_story,
    render_story,
)
from artv_cli.storyboard import Storyboard

TWO = ({"prompt": "a cat walks", "frames": 4}, {"prompt": "a cat jumps", "frames": 3})


class Witness(Observer):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def warn(self, message: str) -> None:
        self.heard.append(("warn", message))

    def planned(self, work: Work) -> None:
        self.heard.append(("planned", work.cached, work.to_render))

    def loading(self, model: str) -> None:
        self.heard.append(("loading", model))

    def frame(self, frame: Any) -> None:
        self.heard.append(("frame", frame.plan.index, frame.reused))

    def encoding(self, path: Path) -> None:
        self.heard.append(("encoding", path.name))


def request(*segments: Any, over: Settings | None = None, **film: Any) -> StoryRequest:
    storyboard = make_storyboard(*(segments or TWO), **film)
    return StoryRequest(storyboard=storyboard, home=Path(), over=over or Settings())


def opened(*segments: Any, **film: Any) -> Story:
    return open_story(request(*segments, **film), Observer())


def test_the_observer_hears_everything_in_order_and_nothing_is_printed(
    studio: Studio, capsys: pytest.CaptureFixture[str]
) -> None:
    witness = Witness()
    render_story(request(), Output(path=Path("film.gif")), witness)
    assert witness.heard == [
        ("planned", 0, 7),
        ("loading", "storybook"),
        *(("frame", index, False) for index in range(7)),
        ("encoding", "film.gif"),
    ]
    assert capsys.readouterr() == ("", "")


def test_a_finished_story_renders_from_a_cache_that_cannot_be_written(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = render_story(request(), Output(path=Path("film.gif")), Observer())

    def refuse(*what: object, **how: object) -> None:
        raise StorageError("the cache cannot be written")

    monkeypatch.setattr("artv_cli.history.write_text", refuse)
    monkeypatch.setattr("artv_cli.timings.write_text", refuse)
    monkeypatch.setattr(FrameStore, "put", refuse)
    again = render_story(request(), Output(path=Path("film.gif")), Observer())
    assert (again.rendered, again.frame_digests) == (0, first.frame_digests)


def test_frames_of_another_environment_are_reused_and_said_in_one_line(studio: Studio) -> None:
    render_story(request(), Output(path=Path("film.gif")), Observer())
    studio.engine = StandInEngine(environment={"engine": "stand-in 2"})
    witness = Witness()
    longer = request(TWO[0], {"prompt": "a cat jumps", "frames": 4})
    report = render_story(longer, Output(path=Path("film.gif")), witness)
    assert (report.rendered, report.reused) == (1, 7)
    warnings = [said for kind, *said in witness.heard if kind == "warn"]
    assert len(warnings) == 1
    assert "7 frames were drawn elsewhere" in warnings[0][0]


def test_two_segments_that_are_the_same_cut_count_once(studio: Studio) -> None:
    cut = {"prompt": "a cat walks", "frames": 3, "start": "cut"}
    witness = Witness()
    report = render_story(request(cut, cut), Output(path=Path("film.gif")), witness)
    assert witness.heard[0] == ("planned", 3, 3)
    assert (report.rendered, report.reused) == (3, 3)


def test_a_fade_dissolves_in_the_film_and_not_in_the_cache(studio: Studio) -> None:
    plain = render_story(request(), Output(path=Path("plain")), Observer())
    fading = request(TWO[0], {**TWO[1], "fade": 2})
    faded = render_story(fading, Output(path=Path("faded")), Observer())
    assert faded.frame_digests == plain.frame_digests
    pairs = zip(read_frames(Path("plain")), read_frames(Path("faded")), strict=True)
    same = [bool((a == b).all()) for a, b in pairs]
    assert same == [True] * 4 + [False] * 2 + [True]


def test_a_film_says_that_it_is_made_by_ai_and_what_it_is_made_from(studio: Studio) -> None:
    render_story(request(title="A cat"), Output(path=Path("film.mp4")), Observer())
    texts = read_metadata(Path("film.mp4"))
    assert texts["AI-generated"] == "true"
    recipe = json.loads(texts["comment"])
    assert recipe["settings"]["steps"] == 8
    assert recipe["settings"]["seed"] == 0
    assert "a cat jumps" in recipe["storyboard"]


def test_flags_are_in_the_recipe_and_this_machine_is_not(studio: Studio) -> None:
    over = Settings(steps=3, device="cpu", cache=Path("elsewhere"))
    segment = {"prompt": "a cat", "frames": 2, "settings": {"steps": 5, "seed": 4}}
    render_story(request(segment, over=over), Output(path=Path("film.gif")), Observer())
    storyboard = json.loads(Path("film.gif.json").read_text())["storyboard"]
    assert "steps: 5" not in storyboard
    assert storyboard.count("steps: 3") == 1, "once for all segments"
    assert "seed: 4" in storyboard
    assert "device" not in storyboard and "elsewhere" not in storyboard


def test_an_image_that_is_missing_is_found_out_before_a_model_is_loaded(studio: Studio) -> None:
    with pytest.raises(ImageError):
        render_story(request(image="cat.png"), Output(path=Path("film.gif")), Observer())
    assert studio.loaded == 0


def test_a_damaged_frame_between_plan_and_export_is_told(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    render_story(request(), Output(path=Path("film.gif")), Observer())
    victim = next(Path(".artv/frames").rglob("*.artv"))
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1  # the header is whole, so only reading it all shows the damage
    victim.write_bytes(bytes(data))
    with pytest.raises(ArtvError, match="one was damaged"):
        export_story(request(), Output(path=Path("film.gif")), Witness())


class Meddler(Observer):
    """Does something while the film is being written."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        self._meddle = meddle

    def encoding(self, path: Path) -> None:
        self._meddle()


def test_what_is_exported_cannot_be_pruned_and_may_be_exported_twice_at_once(
    studio: Studio,
) -> None:
    render_story(request(), Output(path=Path("film.gif")), Observer())

    def meddle() -> None:
        other = FrameStore(Path(".artv"), warn=print)
        with pytest.raises(CacheLocked, match="another process makes a film") as caught:
            other.prune(0)
        assert "again" in caught.value.remedy
        assert export_story(request(), Output(path=Path("b.gif")), Observer()).frames == 7

    assert export_story(request(), Output(path=Path("a.gif")), Meddler(meddle)).frames == 7
    assert Path("a.gif").read_bytes() == Path("b.gif").read_bytes()
    assert FrameStore(Path(".artv"), warn=print).prune(0).files == 7


def test_a_story_is_exported_while_another_is_rendered_and_not_while_frames_are_removed(
    studio: Studio,
) -> None:
    render_story(request(), Output(path=Path("film.gif")), Observer())
    with FrameStore(Path(".artv"), warn=print).lock():
        assert export_story(request(), Output(path=Path("a.gif")), Observer()).frames == 7
    with FileLock(".artv/readers"), pytest.raises(CacheLocked, match="removing frames from"):
        export_story(request(), Output(path=Path("a.gif")), Observer())


def test_a_film_is_done_though_the_cache_cannot_be_kept_below_its_limit(studio: Studio) -> None:
    render_story(request(TWO[0]), Output(path=Path("old.gif")), Observer())
    witness = Witness()
    small = request(over=Settings(max_cache_size=1, seed=3))
    with FrameStore(Path(".artv"), warn=print).reading():
        assert render_story(small, Output(path=Path("new.gif")), witness).frames == 7
    (warning,) = (said for kind, said, *_ in witness.heard if kind == "warn")
    assert "not kept below its limit: another process makes a film" in warning
    assert len(list(Path(".artv/frames").rglob("*.artv"))) == 4 + 7


# ---------------------------------------------------------------- forecast and timings


def test_the_time_is_told_from_frames_drawn_here_and_scales_with_the_steps(studio: Studio) -> None:
    story = opened()
    frames = story.plan.frames
    timings.record_timings(Path("cache"), [(frame, 4.0, 900) for frame in frames[1:]])
    assert timings.expected_seconds(Path("cache"), frames[1:4]) == pytest.approx(12.0)
    halved = opened(settings=Settings(steps=4)).plan.frames
    assert timings.expected_seconds(Path("cache"), halved[1:4]) == pytest.approx(6.0)
    late = Settings(guidance=GuidanceSettings(interval=(0, 500)))  # 4 of 8 steps, 1 branch of 4
    guided = opened(settings=late).plan.frames
    assert timings.expected_seconds(Path("cache"), guided[1:4]) == pytest.approx(12 * 20 / 32)
    assert timings.expected_bytes(Path("cache"), frames[0]) == 900
    other = opened(settings=Settings(size=(64, 32))).plan.frames
    assert timings.expected_seconds(Path("cache"), other) is None
    assert timings.expected_bytes(Path("cache"), other[0]) is None
    assert timings.expected_seconds(Path("cache"), []) == 0.0


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": null}', "[" * 100_000])
def test_a_broken_side_file_only_costs_the_estimate(studio: Studio, text: str) -> None:
    Path(".artv/stories").mkdir(parents=True)
    Path(".artv/timings.json").write_text(text)
    Path(".artv/stories/x.json").write_text(text)
    story = opened()
    told = forecast(story, open_store(story.request, Observer()))
    assert told.estimate.seconds is None
    assert list(past_stories(Path(".artv"))) == []
    assert recall(Path(".artv"), story.request.storyboard) is None


def test_the_disk_estimate_is_that_of_the_frames_which_are_there(studio: Studio) -> None:
    render_story(request(TWO[0]), Output(path=Path("film.gif")), Observer())
    sizes = {path.stat().st_size for path in Path(".artv/frames").rglob("*.artv")}
    story = opened()
    told = forecast(story, open_store(story.request, Observer()))
    assert told.to_render == 3
    assert 3 * min(sizes) <= told.estimate.bytes <= 3 * max(sizes)


def test_the_disk_is_guessed_in_the_precision_of_the_plan(studio: Studio) -> None:
    def guess(dtype: str) -> int:
        story = opened(settings=Settings.model_validate({"dtype": dtype}))
        return forecast(story, open_store(story.request, Observer())).estimate.bytes

    latents = 7 * 4 * (32 // 8) * (16 // 8)  # frames, channels, width, height
    assert guess("float32") - guess("float16") == latents * 2


# ---------------------------------------------------------------- history


def explained(before: Story, after: Story, number: int) -> Any:
    remember(Path("cache"), before.request.storyboard, before.plan)
    past = recall(Path("cache"), after.request.storyboard)
    assert past is not None
    return Comparison(after.plan, past).explain(number)


def test_a_frame_that_is_as_it_was_has_no_changes(studio: Studio) -> None:
    why = explained(opened(), opened(title="New"), 7)
    assert (why.cause, why.changes) == (None, ())


def test_several_changed_parts_are_all_named(studio: Studio) -> None:
    why = explained(opened(), opened(settings=Settings(steps=9, seed=3)), 1)
    assert why.cause == 1
    assert {change.part for change in why.changes} == {"steps", "seed"}


def test_a_frame_beyond_the_end_of_the_last_render_is_new(studio: Studio) -> None:
    why = explained(opened(TWO[0]), opened(), 7)
    assert why.changes == (Change("frame", "(not there)", "new"),)


def test_another_anchor_is_its_own_cause(studio: Studio) -> None:
    why = explained(opened(), opened(TWO[0], {**TWO[1], "anchor": "first"}), 5)
    assert why.cause == 5
    assert [change.part for change in why.changes] == ["anchor"]


def test_storyboards_of_one_name_in_two_folders_have_their_own_history(studio: Studio) -> None:
    here, there = opened(folder=Path("a")), opened(TWO[0], folder=Path("b"))
    for story in (here, there):
        remember(Path("cache"), story.request.storyboard, story.plan)
    lengths = [len(past.keys) for past in past_stories(Path("cache"))]
    assert sorted(lengths) == [4, 7]


def test_a_storyboard_has_one_history_from_wherever_it_is_named(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("films").mkdir()
    cache = Path("cache").resolve()
    outside = make_storyboard(*TWO, name="films/story.yaml", folder=Path("films"))
    remember(cache, outside, opened().plan)
    monkeypatch.chdir("films")
    inside = outside.model_copy(update={"name": "story.yaml", "folder": Path()})
    past = recall(cache, inside)
    assert past is not None and past.name == "films/story.yaml"


# ---------------------------------------------------------------- images


def board(**film: Any) -> Storyboard:
    cut = {"prompt": "b", "frames": 1, "start": "cut", "image": "b.png", "anchor": "a.png"}
    first = {"prompt": "a", "frames": 1, "anchor": "first"}
    return make_storyboard(first, cut, image="a.png", **film)


def test_every_image_of_a_storyboard_is_named_once() -> None:
    assert image_paths(board()) == ("a.png", "b.png")


def test_images_are_rewritten_for_another_folder_as_far_as_it_can_see_them() -> None:
    inside = seen_from(board(folder=Path("films/cat")), Path("films"))
    assert image_paths(inside) == ("cat/a.png", "cat/b.png")
    assert inside.segments[0].anchor == "first"
    outside = seen_from(board(folder=Path("films")), Path("elsewhere"))
    assert image_paths(outside) == ("../films/a.png", "../films/b.png")


def test_what_all_frames_share_is_remembered_once(studio: Studio) -> None:
    story = opened()
    remember(Path(".artv"), story.request.storyboard, story.plan)
    assert json.dumps(studio.remembered()).count(story.plan.fingerprint) == 1
    past = recall(Path(".artv"), story.request.storyboard)
    assert past is not None
    assert past.ingredients == tuple(frame.ingredients for frame in story.plan.frames)


# ---------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("over", "said", "under", "folder"),
    [
        (None, "./model", "./model", Path("films")),
        ("./model", "./model", None, Path()),
        (None, None, "./model", Path()),
    ],
)
def test_a_relative_model_is_sought_beside_the_storyboard_that_names_it(
    studio: Studio, over: str | None, said: str | None, under: str | None, folder: Path
) -> None:
    storyboard = make_storyboard(*TWO, folder=Path("films"), settings=Settings(model=said))
    layers = {"over": Settings(model=over), "under": Settings(model=under)}
    story = open_story(StoryRequest(storyboard=storyboard, home=Path(), **layers), Observer())
    assert story.model.path == folder / "model"
