"""A whole artv in a folder of its own, with an engine that costs microseconds: `studio`."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings

# Workers share the cores; torch reads this as it is imported, and so do commands that tests run.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

# How long an example takes says more about the machine than about the code.
settings.register_profile("artv", deadline=None)
settings.load_profile("artv")

# Processes that have torch loaded when they begin: loading it in each of them takes minutes.
PREPARED = multiprocessing.get_context("forkserver")
PREPARED.set_forkserver_preload(["artv_cli.artv_engine", "artv_cli.train.loop"])

LONGEST = ("test_storybook.py", "test_trust.py")

STORY = """\
title: The cat and the rocket
fps: 8
segments:
  - prompt: a cat walks
    frames: 6
  - prompt: a cat jumps
    frames: 4
    narration: And then
"""
FRAMES = 10  # of STORY
PATIENCE = 30  # seconds until a test of what must not be waited for fails


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that take longest first, or one worker ends with them alone."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def run_in_two_processes(work: Callable[[Path], None], folder: Path) -> None:
    """Run `work` to its good end in two processes that know of each other as by `torchrun`."""
    with socket.socket() as found:
        found.bind(("localhost", 0))
        port = found.getsockname()[1]
    two = [PREPARED.Process(target=_as_rank, args=(rank, port, work, folder)) for rank in (0, 1)]
    try:
        for process in two:
            process.start()
        for process in two:
            process.join(10 * PATIENCE)
        assert [process.exitcode for process in two] == [0, 0]
    finally:
        for process in two:
            process.kill()


def _as_rank(rank: int, port: int, work: Callable[[Path], None], folder: Path) -> None:
    own = {"RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    told = own | {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ.update({name: str(value) for name, value in told.items()})
    work(folder)


class Studio:
    """Runs commands in `folder`; `engine` is what they draw with, `loaded` how often they load."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from standin import StandInEngine

        self.folder = folder
        self.engine: Any = StandInEngine()
        self.loaded = 0
        self._monkeypatch = monkeypatch

    def load_engine(self, *model: Any, **how: Any) -> Any:
        self.loaded += 1
        return self.engine

    def write(self, text: str = STORY, name: str = "story.yaml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def remembered(self) -> Any:
        """Return what the cache remembers of the one story that was rendered into it."""
        (file,) = self.folder.glob(".artv/stories/*.json")
        return json.loads(file.read_text())

    def run(self, *arguments: str, stdin: str | None = None) -> Any:
        """Run `artv ARGUMENTS`; the result has exit_code, stdout and stderr."""
        from typer.testing import CliRunner

        from artv_cli.cli import app

        self._monkeypatch.setattr(sys, "argv", ["artv", *arguments])
        return CliRunner().invoke(app, list(arguments), input=stdin)

    def json(self, *arguments: str) -> Any:
        """Run a command that must succeed, with `--json`, and return what it printed last."""
        return self.events(*arguments)[-1]

    def events(self, *arguments: str) -> list[Any]:
        """Run a command that must succeed, with `--json`, and return each line that it printed."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]


def stand_in_model(
    name: str, revision: object = None, variant: object = None, folder: Path | None = None
) -> Any:
    """Return the model folder whose frames the stand-in engine draws."""
    from standin import KEY_SAMPLING, MODEL

    from artv_cli.model.folder import ModelFolder, Preferences

    return ModelFolder(
        name=name,
        path=(folder or Path()) / name,
        is_relative=name.startswith("."),
        fingerprint=MODEL.fingerprint,
        preferences=Preferences(size=MODEL.size, sampling=MODEL.sampling, key_frame=KEY_SAMPLING),
        size_multiple=MODEL.size_multiple,
        autoencoder="AutoencoderKL",
        latent_channels=4,
        downsampling=8,
        unet_width=32,
        vae_width=32,
    )


def teach(model: Path, words: str, places: int = 18) -> None:
    """Write the tokenizer of a model that knows some words, and reads so many of a prompt."""
    folder = model / "tokenizer"
    folder.mkdir(parents=True)
    vocabulary = {word: number for number, word in enumerate(["<pad>", *words.split()])}
    tokenizer = {"model": {"type": "WordLevel", "vocab": vocabulary}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": places + 2}))


@pytest.fixture
def signals_of_the_command_line() -> Iterator[None]:
    """Ctrl-C and a polite kill interrupt, also where the tests are a job in the background."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """A test that waits without an end, as for a pipe that nobody feeds, fails."""

    def fail(number: int, frame: object) -> None:
        pytest.fail("this waits for ever")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A copy of a module's own `pristine` model to damage."""
    return Path(shutil.copytree(pristine, tmp_path / "copy"))


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    studio = Studio(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "100")
    engine = SimpleNamespace(load_engine=studio.load_engine)
    monkeypatch.setitem(sys.modules, "artv_cli.artv_engine", engine)
    machine = SimpleNamespace(
        environment=lambda device: studio.engine.environment,
        resolve_device=str,
        memory_told=lambda: lambda method: method,
    )
    monkeypatch.setitem(sys.modules, "artv_cli.machine", machine)
    for module in ("artv_cli.story", "artv_cli.commands.cache", "artv_cli.commands.models"):
        monkeypatch.setattr(f"{module}.find_model", stand_in_model)
    monkeypatch.setattr("artv_cli.commands.models.embedded_models", lambda: ["storybook"])
    yield studio


@pytest.fixture
def anchored(studio: Studio) -> Studio:
    """A studio with a rendered story whose cache has lost one thing: the image of an anchor."""
    import numpy as np
    from PIL import Image

    Image.fromarray(np.full((16, 32, 3), 90, np.uint8)).save(studio.folder / "cat.png")
    studio.write(f"{STORY}    anchor: cat.png\n")
    studio.json("story", "story.yaml")
    entries = studio.folder.glob(".artv/frames/*/*.artv")
    shown = {frame["key"] for frame in studio.remembered()["frames"]}
    (image,) = (entry for entry in entries if entry.stem not in shown)
    image.unlink()
    return studio
