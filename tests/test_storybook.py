"""The embedded model, through the command line, as a newcomer meets it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PREPARED
from PIL import Image

from artv_cli.cli import main
from artv_cli.media.video import probe, read_frames
from artv_cli.model.folder import EMBEDDED, embedded_models, find_model

STORIES = Path(__file__).parent.parent / "storyboards"
FEWER = "steps: 3\n"  # than the model likes: what is told here does not hang on them
STORY = (STORIES / "penguin-and-balloon.yaml").read_text() + FEWER
NUM_KILLS = 20


def tell(folder: Path, *arguments: str) -> None:
    """Be artv, in a folder; what is said goes into files beside it."""
    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(os.open(said(folder, stream), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.argv = ["artv", *arguments]
    main()


def said(folder: Path, stream: int) -> Path:
    return folder.with_name(f"{folder.name}.{stream}.txt")


def artv(*arguments: str, cwd: Path) -> dict[str, Any]:
    """Run artv with --json and return the last thing that it says."""
    process = PREPARED.Process(target=tell, args=(cwd, *arguments, "--json"))
    process.start()
    process.join()
    assert process.exitcode == 0, said(cwd, 2).read_text()
    told: dict[str, Any] = json.loads(said(cwd, 1).read_text().splitlines()[-1])
    return told


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The sample story, rendered without interruption: its folder and the report."""
    folder = tmp_path_factory.mktemp("film")
    (folder / "story.yaml").write_text(STORY)
    command = [sys.executable, "-m", "artv_cli", "story", "story.yaml", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_the_sample_story_becomes_a_film(film: tuple[Path, dict[str, Any]]) -> None:
    folder, report = film
    info = probe(folder / report["output"])
    assert (info.frames, info.size, info.fps) == (48, (128, 128), 8)
    assert report["rendered"] == 48
    frames = np.stack(list(read_frames(folder / report["output"]))).astype(float)
    moved = np.abs(np.diff(frames[:32], axis=0)).max(axis=-1)
    assert (moved.reshape(31, -1).max(axis=1) > 30).mean() > 0.8, "something moves"
    assert np.median(moved) < 6, "and most of the scene holds still"


def test_a_story_killed_twenty_times_has_the_bits_of_one_never_killed(
    film: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "story.yaml").write_text(STORY)
    dice = random.Random(20)
    for _ in range(NUM_KILLS):
        wanted = num_entries(tmp_path) + dice.choice((0, 1, 2))
        process = PREPARED.Process(target=tell, args=(tmp_path, "story", "story.yaml"))
        process.start()
        while num_entries(tmp_path) < wanted and process.is_alive():
            time.sleep(0.005)
        time.sleep(dice.random() * 0.2)
        assert process.is_alive(), "killed in the middle of its work"
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    report = artv("story", "story.yaml", cwd=tmp_path)
    assert 0 < report["rendered"] < 48
    assert report["frame_digests"] == film[1]["frame_digests"]


def test_an_edit_renders_what_it_touches_and_no_more(film: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = film
    edited = folder / "edited.yaml"
    edited.write_text(STORY.replace("balloon floats up", "balloon floats left"))
    assert artv("plan", edited.name, cwd=folder)["first_change"] == 33
    assert artv("story", edited.name, cwd=folder)["rendered"] == 16


def test_eight_frames_more_are_eight_frames_rendered(film: tuple[Path, dict[str, Any]]) -> None:
    folder, report = film
    longer = folder / "longer.yaml"
    head, tail = STORY.rsplit("frames: 16", 1)
    longer.write_text(f"{head}frames: 24{tail}")
    again = artv("story", longer.name, cwd=folder)
    assert (again["rendered"], again["reused"]) == (8, 48)
    assert again["frame_digests"][:48] == report["frame_digests"]


def test_export_loads_no_model(film: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = film
    script = (
        "import sys; from artv_cli.cli import app\n"
        "try: app(['export', 'story.yaml', '-o', 'story.gif'])\n"
        "except SystemExit as done: assert not done.code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, capture_output=True)
    with Image.open(folder / "story.gif") as gif:
        assert getattr(gif, "n_frames", 1) >= 40


def test_a_picture_is_animated_from_its_own_pixels(
    film: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    first = next(iter(read_frames(film[0] / film[1]["output"])))
    Image.fromarray(first).save(tmp_path / "penguin.png")
    report = artv("animate", "penguin.png", "the penguin jumps", "--frames", "4", cwd=tmp_path)
    shown = next(iter(read_frames(tmp_path / report["output"])))
    assert np.abs(shown.astype(float) - first).mean() < 12


def test_a_sentence_is_enough(tmp_path: Path) -> None:
    report = artv("t2v", "a red ballon flies up", "--frames", "2", "--steps", "3", cwd=tmp_path)
    assert report["output"] == "a-red-ballon-flies-up.mp4"


def test_the_embedded_model_is_there_small_and_in_half_precision() -> None:
    assert embedded_models() == ["storybook"]
    weights = sorted(EMBEDDED.rglob("*.safetensors"))
    assert sum(file.stat().st_size for file in weights) <= 30e6
    for file in weights:
        header = json.loads(
            file.read_bytes()[8 : 8 + int.from_bytes(file.read_bytes()[:8], "little")]
        )
        assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {
            "F16"
        }
    assert find_model("storybook").size_multiple == 32


def num_entries(folder: Path) -> int:
    return len(list((folder / ".artv" / "frames").glob("*/*.artv")))
