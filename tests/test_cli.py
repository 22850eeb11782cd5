"""The command line as a whole: usage, failures and their exit codes, signals, pipes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Studio
from standin import StandInEngine

from artv_cli import errors, story
from artv_cli.cli import EXIT_CODES, exit_code
from artv_cli.errors import ArtvError, DocumentError, Problem

EVERY_ERROR = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ArtvError)
]


def example(kind: type[ArtvError]) -> ArtvError:
    if issubclass(kind, DocumentError):
        return kind("story.yaml", [Problem(3, 5, "what is wrong")])
    return kind("what is wrong", "what to do")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*request: object) -> None:
        raise error

    monkeypatch.setattr(story, "find_model", fail)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ArtvError", 1), ("EncodeError", 1), ("RenderError", 1), ("UsageError", 2),
        ("StoryboardError", 2), ("ImageError", 2), ("ModelError", 3), ("CacheLocked", 4),
        ("StorageError", 5),
    ],
)  # fmt: skip
def test_each_error_has_the_documented_exit_code(name: str, code: int) -> None:
    assert exit_code(example(getattr(errors, name))) == code


def test_the_table_of_exit_codes_covers_every_error() -> None:
    assert {exit_code(example(kind)) for kind in EVERY_ERROR} == {1, 2, 3, 4, 5}
    assert exit_code(KeyboardInterrupt()) == 130
    assert exit_code(ZeroDivisionError()) == 1
    assert set(EXIT_CODES.values()) == {0, 1, 2, 3, 4, 5, 130}


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_every_error_is_a_sentence_without_a_traceback(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, kind: type[ArtvError]
) -> None:
    studio.write()
    failing(monkeypatch, example(kind))
    result = studio.run("story", "story.yaml")
    assert (result.exit_code, result.stdout) == (exit_code(example(kind)), "")
    assert result.stderr.startswith("error: ")
    assert "what is wrong" in result.stderr
    assert issubclass(kind, DocumentError) or result.stderr.endswith("\n  what to do\n")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("prepare", "videos", "--out", "shards"), "--max-seconds"),
        (("prepare", "videos", "--out", "shards"), "--min-motion"),
        (("prepare", "videos", "--out", "shards", "--clip-model", "x"), "--keep"),
        (("train", "recipe.yaml"), "--minutes"),
    ],
)
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_is_no_finite_number_is_refused_wherever_one_is_asked_for(
    studio: Studio, command: tuple[str, ...], option: str, value: str
) -> None:
    result = studio.run(*command, option, value)
    assert result.exit_code == 2
    # Newer releases of Typer see that nan lies within no bounds, and word it themselves.
    said = result.stderr
    assert option in said and ("no finite number" in said or "Invalid value" in said)


def test_no_bound_is_a_number_that_is_none(studio: Studio) -> None:
    result = studio.run("prepare", "videos", "--out", "shards", "--max-motion", "inf")
    assert result.exit_code == 2 and "--max-motion inf is no finite number" in result.stderr


def test_debug_alone_shows_the_traceback(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    studio.write()
    failing(monkeypatch, errors.ModelError("what is wrong"))
    result = studio.run("story", "story.yaml", "--debug")
    assert result.exit_code == 3
    assert "Traceback (most recent call last)" in result.stderr


def test_the_unexpected_is_one_sentence_that_names_debug(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write()
    failing(monkeypatch, ZeroDivisionError("by [zero]\nand more"))
    result = studio.run("story", "story.yaml")
    assert result.exit_code == 1
    assert "ZeroDivisionError: by [zero])" in result.stderr
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_broken_engine_keeps_what_was_drawn(studio: Studio) -> None:
    studio.write()
    studio.engine = StandInEngine(broken_after=4)
    result = studio.run("story", "story.yaml")
    assert result.exit_code == 1
    assert "frame 5 (segment 1)" in result.stderr
    assert studio.json("plan", "story.yaml")["cached"] == 4


def test_a_story_that_is_being_rendered_is_left_alone(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    studio.write()
    Path(".artv").mkdir()
    with FileLock(".artv/lock"):
        result = studio.run("story", "story.yaml")
    assert result.exit_code == 4
    assert "rendering into" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("story",), ("storey", "x.yaml"), ("story", "x.yaml", "--stops", "3"),
        ("story", "missing.yaml"), ("story", "missing.mp4"), ("story", "."),
        ("story", "story.yaml", "--steps", "many"), ("story", "story.yaml", "--size", "33x16"),
        ("story", "story.yaml", "--guidance-on", "sunday"), ("cache", "prune"),
        ("story", "story.yaml", "--noise-level", "1000"), ("story", "story.yaml", "--fps", "0"),
        ("animate", "missing.png", "a cat"), ("t2v", "a cat", "--frames", "0"),
        ("story", "story.yaml", "--sampler", "magic"), ("story", "story.yaml", "--seed", "-1"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_exits_with_two_and_no_traceback(
    studio: Studio, arguments: tuple[str, ...]
) -> None:
    studio.write()
    result = studio.run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr
    assert "Traceback" not in result.stderr


def test_guidance_may_be_said_in_pairs_and_in_flags_at_once(studio: Studio) -> None:
    studio.write()
    studio.json("story", "story.yaml", "--guidance", "text=5,anchor=1", "--guidance-anchor", "2")
    request = studio.engine.drawn[1].request
    assert request is not None
    told = request.sampling.guidance
    assert (told.text, told.anchor) == (5, 2), "the flag of one scale wins over the pairs"


def test_guidance_is_moderated_by_flags(studio: Studio) -> None:
    studio.write()
    flags = ("--guidance-rescale", "0.7", "--guidance-interval", "200-900")
    studio.json("story", "story.yaml", "--guidance", "5", *flags)
    request = studio.engine.drawn[1].request
    assert request is not None
    told = request.sampling.guidance
    assert (told.text, told.rescale, told.interval) == (5, 0.7, (200, 900))


def test_a_bad_flag_is_named(studio: Studio) -> None:
    studio.write()
    for flag, said, told in (
        ("--noise-level", "1000", "--noise-level must be"),
        ("--guidance-anchor", "x", "--guidance-anchor must be a number"),
        ("--guidance-interval", "900-200", "--guidance-interval must be the lowest"),
        ("--guidance", "anchor=x", "--guidance: anchor must be a number"),
    ):
        assert told in studio.run("story", "story.yaml", flag, said).stderr


def test_a_bad_variable_is_named(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    studio.write()
    monkeypatch.setenv("ARTV_STEPS", "many")
    result = studio.run("story", "story.yaml")
    assert result.exit_code == 2
    assert "ARTV_STEPS" in result.stderr


def test_plain_output_holds_no_escape_sequences(studio: Studio) -> None:
    studio.write()
    result = studio.run("story", "story.yaml")
    assert "\x1b" not in result.stderr + result.stdout
    assert "\r" not in result.stderr


# ---------------------------------------------------------------- as a process

PROCESS = """
import sys, types
sys.path[:0] = {paths!r}
from conftest import stand_in_model
import artv_cli.story
from standin import StandInEngine

class SlowEngine(StandInEngine):
    def next_frame(self, *given):
        import time
        print("drawing", file=sys.stderr, flush=True)
        time.sleep(60)

artv_cli.story.find_model = stand_in_model
engine = types.SimpleNamespace(load_engine=lambda *model, **how: SlowEngine())
sys.modules["artv_cli.artv_engine"] = engine
from artv_cli.cli import main
main()
"""


def process(*arguments: str, **how: Any) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    program = PROCESS.format(paths=[str(here), str(here.parent)])
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **how,
    )  # fmt: skip


def test_sigterm_stops_politely_with_the_frames_that_are_there(studio: Studio) -> None:
    studio.write()
    with process("story", "story.yaml") as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line == "drawing\n":
                break
        os.kill(running.pid, signal.SIGTERM)
        rest = running.stderr.read()
        assert running.wait(timeout=20) == 130
    assert "artv story story.yaml" in rest
    assert "Traceback" not in rest
    assert studio.json("plan", "story.yaml")["cached"] == 1


def test_a_reader_that_goes_away_is_no_error(studio: Studio) -> None:
    true = shutil.which("true")
    assert true is not None
    with process("schema") as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(timeout=20) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_artv_is_loading_shows_no_traceback(
    tmp_path: Path, number: int
) -> None:
    (tmp_path / "typer.py").write_text(  # which is imported before anything else is
        "import os, signal, time\n"
        "if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a job in the background\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"os.kill(os.getpid(), {int(number)})\n"
        "time.sleep(60)\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parent.parent)])
    ended = subprocess.run(
        [sys.executable, "-m", "artv_cli", "check", "story.yaml"],
        env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["story", "--help"]])
def test_what_is_no_commands_fails_in_a_sentence_too(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "artv_cli", *arguments],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert ended.returncode == 5
    assert "no space is left" in ended.stderr and "Traceback" not in ended.stderr
