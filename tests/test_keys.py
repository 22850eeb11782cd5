"""Keys change if and only if what decides a frame's bits changes."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_plans import IMAGES, JUMP, ROCKET, WALK, frame_keys, plan
from standin import MODEL, SAMPLING

from artv_cli import keys
from artv_cli.key_frames import KeyFrameModel
from artv_cli.keys import CLASSIFIED, key_of, request_of
from artv_cli.model.folder import Preferences
from artv_cli.model.text_to_image import TextToImageFolder
from artv_cli.plan import make_plan
from artv_cli.setting_tables import GuidanceSettings, KeyFrameSettings
from artv_cli.settings import Guidance, Sampling, Settings
from artv_cli.storyboard import FrameAnchor, Segment, Storyboard


def test_every_field_is_classified_as_in_the_key_or_not() -> None:
    for model in (Storyboard, Segment, Settings, FrameAnchor, Preferences):
        assert set(CLASSIFIED[model.__name__]) == set(model.model_fields), model.__name__
    assert set(CLASSIFIED["KeyFrame"]) == set(KeyFrameSettings.model_fields)
    assert set(CLASSIFIED["Guidance"]) == set(GuidanceSettings.model_fields)
    assert set(CLASSIFIED["Guidance"]) == {field.name for field in dataclasses.fields(Guidance)}
    sampling = {field.name for field in dataclasses.fields(Sampling)}
    assert {name for name in sampling if CLASSIFIED["Settings"][name] == "in the key"} == sampling


PAINTER = TextToImageFolder("painter", Path("painter"), "e" * 64, networks={}, side=64)
FIRST_FRAME = {"segment": 1, "frame": 1}
BOARD: dict[str, Any] = {"segments": [WALK, ROCKET], "image": "cat.png"}
FIELD_EDITS: dict[str, dict[str, dict[str, Any]]] = {
    "Storyboard": {
        "title": BOARD | {"title": "A story"},
        "image": BOARD | {"image": "dog.png"},
        "segments": BOARD | {"segments": [JUMP, ROCKET]},
        "settings": BOARD | {"settings": {"seed": 3}},
        "name": BOARD | {"name": "other.yaml"},
        "folder": BOARD | {"folder": "/elsewhere"},
    },
    "Segment": {
        name: BOARD | {"segments": [WALK, ROCKET | edit]}
        for name, edit in {
            "prompt": {"prompt": "a rocket lands"},
            "settings": {"settings": {"steps": 9}},
            "start": {"start": "continue"},
            "anchor": {"anchor": "first"},
            "image": {"image": "dog.png"},
            "fade": {"fade": 2},
            "narration": {"narration": "And then"},
        }.items()
    },
    "Settings": {
        name: BOARD | {"settings": {name: value}}
        for name, value in {
            "model": "other/model",
            "revision": "v2",
            "variant": "fp16",
            "dtype": "bfloat16",
            "device": "cuda:1",
            "offload": "sequential",
            "seed": 9,
            "size": (64, 64),
            "fps": Fraction(30000, 1001),
            "steps": 12,
            "sampler": "euler",
            "noise_level": 100,
            "guidance": {"text": 5.0},
            "cache": "/tmp/elsewhere",
            "max_cache_size": "2GB",
            "strict": True,
            "key_frame": {"model": "one"},
        }.items()
    },
    "Guidance": {
        name: BOARD | {"settings": {"guidance": {name: value}}}
        for name, value in {
            "text": 5, "reference": 1, "anchor": 1, "on": "composed", "rescale": 0.7,
            "interval": [200, 900],
        }.items()
    },
    "KeyFrame": {
        name: BOARD | {"settings": {"key_frame": {"model": "one", name: value}}}
        for name, value in {
            "model": "two", "revision": "v2", "variant": "fp16", "steps": 9, "guidance": 1,
        }.items()
    },
    "FrameAnchor": {
        name: BOARD | {"segments": [WALK, ROCKET | {"anchor": FIRST_FRAME | {name: 2}}]}
        for name in ("segment", "frame")
    },
}  # fmt: skip
ANCHORED = BOARD | {"segments": [WALK, ROCKET | {"anchor": FIRST_FRAME}]}
PAINTED = BOARD | {"settings": {"key_frame": {"model": "one"}}}


def test_a_field_changes_a_key_if_and_only_if_it_is_classified_so() -> None:
    def board_keys(board: dict[str, Any]) -> list[str]:
        storyboard = Storyboard.model_validate(board)
        asked = storyboard.settings.key_frame
        drawn = {1: KeyFrameModel(PAINTER, asked)} if asked else {}
        return [f.key for f in make_plan(storyboard, MODEL, IMAGES, key_frames=drawn).frames]

    bases = {"KeyFrame": PAINTED, "FrameAnchor": ANCHORED}
    for record, fields in CLASSIFIED.items():
        if record == "Preferences":
            continue  # its own test: a model's, and no storyboard's
        base = board_keys(bases.get(record, BOARD))
        for name, standing in fields.items():
            if (record, name) == ("Segment", "frames"):
                continue  # its own test: the frames that stay keep their keys
            changed = board_keys(FIELD_EDITS[record][name]) != base
            assert changed == (standing == "in the key"), f"{record}.{name}"


def test_every_ingredient_changes_the_key() -> None:
    ingredients = dict(plan(WALK).frames[2].ingredients)
    assert set(ingredients) == {
        "epoch", "role", "model", "size", "dtype", "prompt", "seed", "sampler", "steps",
        "noise level", "text scale", "guidance on", "reference scale", "anchor scale",
        "references", "anchor",
    }  # fmt: skip
    for name, value in ingredients.items():
        other = [*reversed(value)] if isinstance(value, list) else f"{value}?"
        assert key_of(ingredients | {name: other}) != key_of(ingredients), name


def test_every_ingredient_of_a_picture_changes_its_key_and_that_of_its_frame() -> None:
    film = plan_painted(MODEL)
    picture, painted = film.targets[0], film.frames[0]
    assert set(picture.ingredients) == {
        "epoch", "role", "size", "dtype", "prompt", "seed", "drawn size", "key frame model",
        "key frame steps", "key frame guidance",
    }  # fmt: skip
    assert set(painted.ingredients) == {*picture.ingredients, "model"}
    for made_of in (picture.ingredients, painted.ingredients):
        for name in made_of:
            assert key_of({**made_of, name: "?"}) != key_of(made_of), name


def test_a_picture_outlives_the_films_model() -> None:
    one, two = (plan_painted(dataclasses.replace(MODEL, fingerprint=c * 64)) for c in "ab")
    assert one.targets[0].key == two.targets[0].key
    assert one.frames[0].key != two.frames[0].key


def test_a_picture_is_told_by_the_segment_that_it_is_for() -> None:
    picture, *frames = plan_painted(MODEL, segment=1).targets
    assert (picture.index, picture.segment, picture.chain_index) == (-1, 1, 0)
    assert picture.name == "the picture for segment 2"
    assert frames[4].picture == picture.key


def plan_painted(model: Any, segment: int = 0) -> Any:
    drawn = {segment: KeyFrameModel(PAINTER, KeyFrameSettings(model="painter"))}
    storyboard = Storyboard.model_validate({"segments": [WALK, ROCKET]})
    return make_plan(storyboard, model, {}, key_frames=drawn)


def test_what_is_no_number_makes_no_key() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        key_of({"scale": float("nan")})


def test_the_epoch_of_the_maths_is_in_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = frame_keys(WALK, image="cat.png") + frame_keys(WALK)
    monkeypatch.setattr(keys, "EPOCH", keys.EPOCH + 1)
    assert not set(before) & set(frame_keys(WALK, image="cat.png") + frame_keys(WALK))


def test_the_models_weights_and_its_own_defaults_decide_keys() -> None:
    before = set(frame_keys(WALK))
    finer = dataclasses.replace(SAMPLING, steps=9)
    for change in (
        {"fingerprint": "0" * 64},
        {"size": (64, 64)},
        {"dtype": "float16"},
        {"sampling": finer, "key_sampling": finer},
    ):
        assert not before & set(frame_keys(WALK, model=dataclasses.replace(MODEL, **change)))
    told = {"steps": 8, "size": (32, 16), "dtype": "float32", "noise_level": 200, "seed": 0}
    assert set(frame_keys(WALK, settings=told)) == before, "said or default, it is the same"


def test_a_drawn_key_frame_does_not_depend_on_scales_of_branches_that_do_not_run() -> None:
    one, two = (
        frame_keys(WALK, settings={"guidance": {"reference": scale, "anchor": scale}})
        for scale in (0, 1)
    )
    assert one[0] == two[0]
    assert not set(one[1:]) & set(two[1:])


MODERATED = {"rescale": 0.7, "interval": [200, 900]}


def test_what_moderates_guidance_counts_just_where_a_branch_is_guided() -> None:
    def told(**guidance: Any) -> list[str]:
        return frame_keys(WALK, settings={"guidance": guidance})

    off: dict[str, Any] = {"text": 0, "reference": 0, "anchor": 0}
    assert told(**off, **MODERATED) == told(**off)
    for name, value in MODERATED.items():
        assert not set(told(**{name: value})) & set(told()), name
        one, two = told(**off | {"anchor": 1, name: value}), told(**off | {"anchor": 1})
        assert one[0] == two[0], "a key frame has no anchor to be guided by"
        assert not set(one[1:]) & set(two[1:])


@pytest.mark.parametrize("said", [{"rescale": 0}, {"rescale": -0.0}, {"interval": "0-999"}])
def test_what_moderates_nothing_leaves_every_key(said: dict[str, Any]) -> None:
    assert frame_keys(WALK, settings={"guidance": said}) == frame_keys(WALK)


@pytest.mark.parametrize("said", [{}, *({name: value} for name, value in MODERATED.items())])
def test_a_frames_request_is_found_again_in_what_it_is_made_of(said: dict[str, Any]) -> None:
    for frame in plan(WALK, settings={"guidance": said | {"reference": 0, "anchor": 0}}).frames:
        stored = json.loads(json.dumps(frame.ingredients))
        assert request_of(stored) == frame.request


def test_a_key_is_what_it_was_when_this_test_was_written() -> None:
    """A change here orphans every cache in the world: raise EPOCH and say so, or undo it."""
    first, second, *_ = frame_keys(WALK, image="cat.png")
    assert (first[:16], second[:16]) == ("44be47149aab072d", "e8ffd7f1bc32cf12")


@given(
    a=st.builds(Settings, steps=st.sampled_from([None, 8, 9]), seed=st.sampled_from([None, 0, 1])),
    b=st.builds(Settings, steps=st.sampled_from([None, 8, 9]), seed=st.sampled_from([None, 0, 1])),
)
def test_keys_are_equal_exactly_if_what_is_in_force_is_equal(a: Settings, b: Settings) -> None:
    in_force = [(s.steps or 8, s.seed or 0) for s in (a, b)]
    same = frame_keys(WALK, settings=a) == frame_keys(WALK, settings=b)
    assert same == (in_force[0] == in_force[1])


def test_a_frame_that_passes_the_autoencoder_in_tiles_has_their_side_in_its_key() -> None:
    """And no smaller frame has: what was drawn before there were tiles is reused."""
    large = keys.ground_ingredients("f", (768, 768), "float32")
    assert large["tile"] == 512
    assert set(large) - set(keys.ground_ingredients("f", (704, 768), "float32")) == {"tile"}
