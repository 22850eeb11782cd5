"""Housekeeping: `cache`, `models`, `doctor`."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import FRAMES, STORY, Studio, stand_in_model, teach
from filelock import FileLock
from PIL import Image
from standin import ENVIRONMENT, StandInEngine

from artv_cli.cache.entry import entry_at
from artv_cli.cache.store import FrameStore
from artv_cli.errors import StorageError, UsageError
from artv_cli.latents import Latents


def test_cache_ls_names_stories_and_environments(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    listed = studio.json("cache", "ls")
    assert listed["frames"] == FRAMES
    assert listed["environments"] == {"engine stand-in 1": FRAMES}
    (story,) = listed["stories"]
    assert 0 <= time.time() - story.pop("used") < 600
    assert story == {
        "name": "story.yaml", "frames": FRAMES, "cached": FRAMES, "bytes": listed["bytes"],
        "environments": {"engine stand-in 1": FRAMES},
    }  # fmt: skip
    printed = studio.run("cache", "ls").stdout
    assert printed.splitlines()[2].startswith("story.yaml  10      10      ")
    assert printed.count("engine stand-in 1") == 2


def test_cache_ls_counts_a_shared_frame_for_each_story_and_once_in_all(studio: Studio) -> None:
    studio.write()
    studio.write(STORY.replace("a cat jumps", "a cat sleeps"), "other.yaml")
    studio.json("story", "story.yaml")
    studio.json("story", "other.yaml")
    listed = studio.json("cache", "ls")
    assert listed["frames"] == FRAMES + 4
    assert [story["cached"] for story in listed["stories"]] == [FRAMES, FRAMES]
    assert sum(story["bytes"] for story in listed["stories"]) > listed["bytes"]


def test_different_clips_and_piped_stories_are_listed_each_by_itself(studio: Studio) -> None:
    (studio.folder / "pictures").mkdir()
    Image.new("RGB", (32, 16)).save("pictures/cat.png")
    for prompt in ("the cat jumps", "day/night"):
        studio.json("animate", "pictures/cat.png", prompt, "--frames", "1")
    for prompt in ("day/night", "dawn/night"):
        studio.json("t2v", prompt, "--frames", "1")
    for text in (STORY, STORY.replace("jumps", "sleeps"), STORY.partition("\n")[2]):
        assert studio.run("story", "-", stdin=text).exit_code == 0
    assert [story["name"] for story in studio.json("cache", "ls")["stories"]] == [
        "<stdin>: The cat and the rocket", "<stdin>: a cat walks", "dawn/night", "day/night",
        "pictures/cat.png: day/night", "pictures/cat.png: the cat jumps",
    ]  # fmt: skip


def test_cache_ls_of_no_cache_is_empty_and_makes_none(studio: Studio) -> None:
    assert studio.json("cache", "ls")["frames"] == 0
    assert studio.run("cache", "ls").stdout == ".artv: 0 frames, 0 B\n"
    assert not Path(".artv").exists()


def test_a_cache_that_is_not_there_is_not_called_good(studio: Studio) -> None:
    refused = studio.run("cache", "verify", "--cache", "nowhere")
    assert refused.exit_code == 2 and "There is no cache at nowhere." in refused.stderr


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


def rendered_at(studio: Studio, name: str, used: float) -> set[str]:
    """Render a story of its own and say when it was used last; return the names of its frames."""
    before = {path.name for path in Path(".artv/frames").rglob("*.artv")}
    studio.write(STORY.replace("a cat", name), f"{name}.yaml")
    studio.json("story", f"{name}.yaml")
    new = [path for path in Path(".artv/frames").rglob("*.artv") if path.name not in before]
    for path in new:
        os.utime(path, (used, used))
    return {path.name for path in new}


def left() -> set[str]:
    return {path.name for path in Path(".artv/frames").rglob("*.artv")}


def test_cache_prune_takes_the_story_used_longest_ago_and_its_last_frames_first(
    studio: Studio,
) -> None:
    old, new = rendered_at(studio, "dog", 1000.0), rendered_at(studio, "bird", 2000.0)
    size = studio.json("cache", "ls")["bytes"]
    studio.json("cache", "prune", "--max-size", str(size - 1))
    assert left() > new and len(left() & old) == FRAMES - 1
    assert studio.json("plan", "dog.yaml")["first_change"] == FRAMES, "the last frame went"
    studio.json("cache", "prune", "--max-size", str(size // 2))
    assert left() & old == set()


def test_a_setting_keeps_the_cache_within_a_size_at_the_cost_of_old_stories_alone(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = rendered_at(studio, "dog", 1000.0)
    newer = rendered_at(studio, "bird", 2000.0)
    size = studio.json("cache", "ls")["bytes"]
    monkeypatch.setenv("ARTV_MAX_CACHE_SIZE", str(size + 100))
    studio.write()
    told = studio.events("story", "story.yaml")
    (pruned,) = [event for event in told if event["event"] == "pruned"]
    assert pruned["files"] >= FRAMES - 1
    assert left() & newer == newer and len(left() & old) <= 1
    assert studio.json("plan", "story.yaml")["to_render"] == 0
    listed = studio.json("cache", "ls")
    assert listed["bytes"] <= listed["max_size"] == size + 100


def test_the_story_just_rendered_stays_however_small_the_limit(studio: Studio) -> None:
    Path("artv.toml").write_text('max_cache_size = "1kB"\n')
    old = rendered_at(studio, "dog", 1000.0)
    assert len(left()) == FRAMES
    studio.write()
    result = studio.run("story", "story.yaml")
    assert "removed 10 files" in result.stderr
    assert len(left()) == FRAMES and not left() & old
    assert studio.json("plan", "story.yaml")["to_render"] == 0


def test_cache_prune_without_a_size_keeps_the_limit_of_the_settings(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    monkeypatch.setenv("ARTV_MAX_CACHE_SIZE", "1kB")
    assert studio.json("cache", "prune")["removed"] == FRAMES - 1


def test_cache_prune_touches_no_story_that_is_being_rendered(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    with FileLock(".artv/lock"):
        refused = studio.run("cache", "prune", "--max-size", "0")
    assert refused.exit_code == 4 and "rendering into" in refused.stderr
    assert len(left()) == FRAMES


@pytest.mark.parametrize("command", [("ls",), ("verify",), ("prune", "--max-size", "0")])
def test_a_cache_that_is_named_must_be_there(studio: Studio, command: tuple[str, ...]) -> None:
    Path("file").touch()
    Path("mine").mkdir()
    for name in ("nowhere", "file", "mine"):
        result = studio.run("cache", *command, "--cache", name)
        assert result.exit_code == 2 and f"There is no cache at {name}." in result.stderr
    assert not Path("nowhere").exists()
    assert not any(Path("mine").iterdir())


def test_where_a_folder_has_a_cache_inside_that_one_is_named(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    refused = studio.run("cache", "verify", "--cache", ".")
    assert refused.exit_code == 2 and "--cache .artv" in refused.stderr


def test_cache_prune_of_no_cache_makes_none(studio: Studio) -> None:
    assert studio.json("cache", "prune", "--max-size", "0") == {"removed": 0, "bytes": 0}
    assert not Path(".artv").exists()


# ---------------------------------------------------------------- verify --render


def test_frames_drawn_again_are_the_same_bits(studio: Studio) -> None:
    studio.write(f"guidance: {{reference: 0.5}}\n{STORY}")
    studio.json("story", "story.yaml")
    before = {path: path.read_bytes() for path in Path(".artv/frames").rglob("*.artv")}
    told = studio.json("cache", "verify", "--render", "99")["rendered"]
    assert (len(told["same"]), told["different"], told["foreign"]) == (FRAMES, [], 0)
    assert before == {path: path.read_bytes() for path in Path(".artv/frames").rglob("*.artv")}
    printed = studio.run("cache", "verify", "--render", "3").stdout
    assert "3 frames drawn again: 3 are the same bits" in printed


def test_frames_that_come_out_otherwise_are_named(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    studio.engine = StandInEngine(salt="another machine that calls itself the same")
    result = studio.run("cache", "verify", "--render", "2", "--json")
    told = json.loads(result.stdout.splitlines()[0])["rendered"]
    assert result.exit_code == 1
    assert len(told["different"]) == 2 and told["same"] == []
    assert all(name in result.stderr for name in told["different"])
    assert studio.run("cache", "verify").exit_code == 0, "their bytes are what they were"


def test_frames_of_other_machines_and_other_weights_are_not_compared(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    for engine in (StandInEngine(environment={"engine": "2"}), StandInEngine(fingerprint="0" * 64)):
        studio.engine = engine
        told = studio.json("cache", "verify", "--render", "5")["rendered"]
        assert told == {"same": [], "different": [], "foreign": FRAMES}
        assert "not compared" in studio.run("cache", "verify", "--render", "5").stdout


def test_only_frames_with_all_that_they_are_made_from_are_drawn_again(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    key = studio.remembered()["frames"][4]["key"]
    Path(f".artv/frames/{key[:2]}/{key}.artv").unlink()
    told = studio.json("cache", "verify", "--render", "99")["rendered"]
    assert set(told["same"]) == {f"story.yaml: frame {n}" for n in (1, 2, 3, 4, 8, 9, 10)}


def test_frames_are_drawn_again_with_the_offload_of_the_settings(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def load_engine(*model: Any, **how: Any) -> Any:
        asked.append(how)
        return studio.engine

    studio.write()
    studio.json("story", "story.yaml")
    monkeypatch.setattr(sys.modules["artv_cli.artv_engine"], "load_engine", load_engine)
    studio.json("cache", "verify", "--render", "1")
    monkeypatch.setenv("ARTV_OFFLOAD", "model")
    studio.json("cache", "verify", "--render", "1")
    assert [how["offload"] for how in asked] == ["none", "model"]


def test_a_frame_made_from_one_that_was_replaced_since_is_not_compared(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml")
    store = FrameStore(Path(".artv"), environment=ENVIRONMENT, warn=pytest.fail)
    first, second = (frame["key"] for frame in studio.remembered()["frames"][:2])
    latents = Latents("float32", (4, 2, 4), bytes(128))
    whole = entry_at(store.path(second), store.root)
    store.put(second, latents, studio.engine.decode(latents), whole.parents)
    result = studio.run("cache", "verify", "--render", str(FRAMES), "--json")
    told = json.loads(result.stdout.splitlines()[0])["rendered"]
    assert told["different"] == ["story.yaml: frame 2"]
    assert (len(told["same"]), told["foreign"]) == (FRAMES - 3, 2), (
        "frames 3 and 4 are made from it"
    )


@pytest.mark.parametrize("talk", [(), ("--json",)])
def test_what_was_verified_is_told_even_where_nothing_can_be_drawn_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, talk: tuple[str, ...]
) -> None:
    def refuse(*model: Any, **how: Any) -> Any:
        raise UsageError("there is no device 'cuda' here", "Leave it out.")

    studio.write()
    studio.json("story", "story.yaml")
    monkeypatch.setattr(sys.modules["artv_cli.artv_engine"], "load_engine", refuse)
    result = studio.run("cache", "verify", "--render", "1", *talk)
    assert result.exit_code == 2 and "no device 'cuda'" in result.stderr
    if talk:
        verified, error = map(json.loads, result.stdout.splitlines())
        assert verified == {"cache": ".artv", "good": FRAMES, "bad": []}
        assert error["event"] == "error" and "no device 'cuda'" in error["message"]
    else:
        assert result.stdout == f".artv: {FRAMES} frames are good, 0 were not\n"


def test_cache_prune_wants_a_size(studio: Studio) -> None:
    assert studio.run("cache", "prune").exit_code == 2
    result = studio.run("cache", "prune", "--max-size", "much")
    assert result.exit_code == 2
    assert "500MB" in result.stderr


@pytest.mark.parametrize("cache", ["my frames", ".artv"])
def test_what_helps_a_full_cache_can_be_typed_and_acts_on_that_cache(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    def refuse(*what: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    studio.write()
    with monkeypatch.context() as full:
        full.setattr("artv_cli.cache.store.commit", refuse)
        with pytest.raises(StorageError) as caught:
            FrameStore(Path(cache), warn=pytest.fail).prepare()
    typed = _typed(caught.value.remedy)
    assert typed == ["cache", "prune", "--max-size", "2GB", "--cache", cache]
    assert studio.run(*typed).exit_code == 0


def test_a_size_that_is_missing_is_asked_for_with_the_cache_that_was_named(studio: Studio) -> None:
    FrameStore(Path("my frames"), warn=pytest.fail).prepare()
    result = studio.run("cache", "prune", "--cache", "my frames")
    assert result.exit_code == 2
    assert _typed(result.stderr)[-2:] == ["--cache", "my frames"]
    assert studio.run(*_typed(result.stderr)).exit_code == 0


def _typed(said: str) -> list[str]:
    (command,) = re.findall("`artv ([^`]*)`", said)
    return shlex.split(command)


def test_models_are_listed_and_shown(studio: Studio) -> None:
    assert [model["name"] for model in studio.json("models", "ls")] == ["storybook"]
    assert studio.json("models", "show", "storybook")["steps"] == 8
    assert "storybook" in studio.run("models", "ls").stdout
    shown = studio.run("models", "show", "storybook").stdout
    assert "sampler" in shown
    assert "{" not in shown, "people are not shown Python's brackets"


def test_a_model_is_shown_with_what_it_was_taught_and_no_more(studio: Studio) -> None:
    teach(Path("storybook"), "a cat jumps while it rains in the meadow cave rain camera")
    shown = studio.json("models", "show", "storybook")
    assert shown["characters"] == ["cat"]
    assert shown["scenes"] == ["cave", "meadow"]
    assert shown["motions"] == ["jump"]
    assert "cat" in shown["words"] and "<pad>" not in shown["words"]


def test_a_variant_of_a_model_is_shown(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | None] = []

    def find(name: str, variant: str | None = None) -> Any:
        asked.append(variant)
        return stand_in_model(name)

    monkeypatch.setattr("artv_cli.commands.models.find_model", find)
    studio.json("models", "show", "./model", "--variant", "fp16")
    assert asked == ["fp16"]


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


def test_doctor_tells_of_settings_that_cannot_be_read_and_goes_on(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    Path("artv.toml").write_text('steps = "many"\ncolour = 1\n')
    (studio.folder / "config" / "artv").mkdir(parents=True)
    (studio.folder / "config" / "artv" / "config.toml").write_text("steps = 9\n")
    monkeypatch.setenv("ARTV_SIZE", "huge")
    facts = studio.json("doctor")
    assert facts["settings"]["steps"].startswith("9 (")
    broken = facts["unusable settings"]
    assert "ARTV_SIZE" in broken and "artv.toml: steps" in broken and "artv.toml: colour" in broken
    printed = studio.run("doctor")
    assert printed.exit_code == 0 and "unusable settings" in printed.stdout
