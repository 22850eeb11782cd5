"""Housekeeping: `cache`, `models`, `doctor`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import FRAMES, Studio


def test_cache_ls_names_stories_and_environments(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    listed = studio.json("cache", "ls")
    assert listed["frames"] == FRAMES
    assert listed["stories"] == [{"name": "story.yaml", "frames": FRAMES, "cached": FRAMES}]
    assert listed["environments"] == {"engine stand-in 1": FRAMES}
    assert "story.yaml" in studio.run("cache", "ls").stdout


def test_cache_ls_of_no_cache_is_empty_and_makes_none(studio: Studio) -> None:
    assert studio.json("cache", "ls")["frames"] == 0
    assert not Path(".artv").exists()


def test_cache_verify_fails_once_when_a_frame_is_damaged(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    assert studio.run("cache", "verify").exit_code == 0
    victim = next(Path(".artv/frames").rglob("*.artv"))
    victim.write_bytes(victim.read_bytes()[:-1])
    result = studio.run("cache", "verify")
    assert result.exit_code == 1
    assert "9 frames are good, 1 were not" in result.stdout
    assert studio.run("cache", "verify").exit_code == 0
    assert studio.json("story", "story.yaml")["rendered"] == 1


@pytest.mark.parametrize(
    ("size", "kept"), [("0", 0), ("1kB", 1), ("1 KiB", 1), ("1GB", FRAMES), ("1.5MB", FRAMES)]
)
def test_cache_prune_keeps_what_fits(studio: Studio, size: str, kept: int) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    assert studio.json("cache", "prune", "--max-size", size)["removed"] == FRAMES - kept
    assert studio.json("cache", "ls")["frames"] == kept


def test_cache_prune_wants_a_size(studio: Studio) -> None:
    result = studio.run("cache", "prune", "--max-size", "much")
    assert result.exit_code == 2
    assert "500MB" in result.stderr


def test_models_are_listed_and_shown(studio: Studio) -> None:
    assert [model["name"] for model in studio.json("models", "ls")] == ["storybook"]
    assert studio.json("models", "show", "storybook")["steps"] == 8
    assert "storybook" in studio.run("models", "ls").stdout
    assert "sampler" in studio.run("models", "show", "storybook").stdout


def test_doctor_tells_facts_and_where_each_setting_came_from(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as on a machine where it is broken
    monkeypatch.setenv("ARTV_STEPS", "12")
    facts = studio.json("doctor")
    assert facts["settings"] == {"steps": "12 (environment)"}
    assert facts["device"].startswith("torch cannot be imported")
    assert {"artv", "python", "platform", "torch", "ffmpeg", "cache", "free disk"} < set(facts)
    assert "setting steps" in studio.run("doctor").stdout
