"""Settings: who wins, who is told to have won, and what a model adds where nothing was said."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from artv_cli.setting_sources import flag_settings
from artv_cli.setting_tables import KeyFrameSettings
from artv_cli.settings import (
    Guidance,
    GuidanceSettings,
    Sampling,
    Settings,
    Sourced,
    explain,
    merge,
    sampling,
)

DEFAULT = Sampling(
    sampler="dpmpp_2m",
    steps=8,
    guidance=Guidance(text=3, reference=0.25, anchor=0.5, on="dynamic"),
    noise_level=200,
)


def test_the_first_layer_that_says_a_value_wins_and_guidance_goes_field_by_field() -> None:
    flag = Settings(seed=0, guidance=GuidanceSettings(text=0))
    board = Settings(seed=5, steps=9, guidance=GuidanceSettings(text=2, anchor=1))
    assert merge(flag, board, Settings(steps=3, strict=False)) == Settings(
        seed=0, steps=9, strict=False, guidance=GuidanceSettings(text=0, anchor=1)
    )
    assert merge() == Settings()


def test_what_is_said_of_one_key_frame_model_means_nothing_for_another() -> None:
    board = Settings(key_frame=KeyFrameSettings(model="turbo", steps=1, guidance=0))
    flag = flag_settings(key_frame_model="slow")
    assert merge(flag, board).key_frame == KeyFrameSettings(model="slow")
    assert merge(Settings(), board).key_frame == board.key_frame


def test_what_is_said_of_one_model_means_nothing_for_another() -> None:
    board = Settings(model="owner/film", revision="abc", variant="fp16")
    for model in ("storybook", "other/model"):
        assert merge(Settings(model=model), board) == Settings(model=model)
        assert explain({"flag": Settings(model=model), "storyboard": board}) == {
            "model": Sourced(model, "flag")
        }
    flag = Settings(revision="def")
    assert merge(flag, board) == Settings(model="owner/film", revision="def", variant="fp16")
    assert explain({"flag": flag, "storyboard": board})["revision"] == Sourced("def", "flag")


def test_a_revision_stands_where_no_model_is_named() -> None:
    around = merge(Settings(steps=3), Settings(revision="abc"), Settings(variant="fp16"))
    assert around == Settings(steps=3, revision="abc", variant="fp16")
    assert merge(around, Settings(model="m")) == around.model_copy(update={"model": "m"})
    assert merge(Settings(model="m"), around) == Settings(model="m", steps=3)


def test_explain_names_the_layer_that_won() -> None:
    layers = {
        "flag": Settings(guidance=GuidanceSettings(text=0)),
        "storyboard": Settings(steps=9, guidance=GuidanceSettings(text=2, anchor=1)),
    }
    assert explain(layers) == {
        "guidance.text": Sourced(0.0, "flag"),
        "guidance.anchor": Sourced(1.0, "storyboard"),
        "steps": Sourced(9, "storyboard"),
    }


def test_sampling_is_the_models_own_where_nothing_was_said() -> None:
    assert sampling(Settings(), DEFAULT) == DEFAULT
    said = Settings(steps=50, guidance=GuidanceSettings(anchor=0, on="composed", rescale=0.5))
    assert sampling(said, DEFAULT) == Sampling(
        sampler="dpmpp_2m",
        steps=50,
        guidance=Guidance(text=3, reference=0.25, anchor=0, on="composed", rescale=0.5),
        noise_level=200,
    )


def test_settings_never_change_and_refuse_what_they_do_not_know() -> None:
    settings: Any = Settings(steps=3)
    with pytest.raises(ValidationError):
        settings.steps = 4
    with pytest.raises(ValidationError):
        Settings.model_validate({"stepz": 3})
