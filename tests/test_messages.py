"""What people hear of every error: the thing, the place, the remedy; and never a traceback."""

from __future__ import annotations

import ast
import errno
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer
from conftest import STORY, Studio
from test_imports import MODULES

from artv_cli import errors
from artv_cli.errors import ArtvError, DocumentError, Problem
from artv_cli.messages import TABLE, message, same_command

AGAIN = "artv story story.yaml"
OURS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, ArtvError)
}


def told(error: BaseException) -> tuple[str, str]:
    said = message(error, AGAIN)
    return said.sentence, said.remedy


def commands(text: str) -> list[str]:
    return re.findall(r"`(artv [^`]*)`", text)


# ---------------------------------------------------------------- the command

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "1"}


@pytest.mark.parametrize(
    ("around", "program"),
    [
        ({}, "artv"),
        (TORCHRUN, "torchrun --nproc-per-node 2 -m artv_cli"),
        (TORCHRUN | {"GROUP_WORLD_SIZE": "3"}, "torchrun OPTIONS -m artv_cli"),
        (
            TORCHRUN | {"ACCELERATE_MIXED_PRECISION": "no"},
            "accelerate launch OPTIONS -m artv_cli",
        ),
    ],
)
def test_the_command_that_goes_on_has_the_launcher_that_was_used(
    monkeypatch: pytest.MonkeyPatch, around: dict[str, str], program: str
) -> None:
    for name in (*TORCHRUN, "ACCELERATE_MIXED_PRECISION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in around.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["artv", "train", "my recipe.yaml"])
    assert same_command() == f"{program} train 'my recipe.yaml'"


# ---------------------------------------------------------------- the table


def test_every_class_of_error_has_its_own_row() -> None:
    assert {f"artv_cli.errors.{name}" for name in OURS} <= set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_every_row_ends_in_a_command_to_type(name: str) -> None:
    from artv_cli.cli import app

    known = typer.main.get_command(app)
    remedy = TABLE[name].remedy.format_map({"again": AGAIN})
    typed = commands(remedy) or [line.strip() for line in remedy.splitlines() if "artv " in line]
    assert typed, "a remedy names what to type next"
    for command in typed:
        words = shlex.split(command)[1:]
        assert words[0] in known.commands or words[0] in ("--help",)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", OURS.values(), ids=OURS)
def test_what_an_error_says_itself_wins_and_its_row_fills_what_it_leaves_open(
    kind: type[ArtvError],
) -> None:
    row = TABLE[f"artv_cli.errors.{kind.__name__}"].remedy.format_map({"again": AGAIN})
    if issubclass(kind, DocumentError):
        sentence = "story.yaml:3:5: what is wrong"
        assert told(kind("story.yaml", [Problem(3, 5, "what is wrong")])) == (
            sentence, row
        )  # fmt: skip
        return
    assert told(kind("frame 3 is {odd}", "do {this}")) == ("frame 3 is {odd}", "do {this}")
    assert told(kind("frame 3 is odd")) == ("frame 3 is odd", row)


class OutOfMemoryError(RuntimeError):
    """As torch's: the table knows it by its name alone."""


OutOfMemoryError.__module__ = "torch"


@pytest.mark.parametrize(
    ("error", "sentence", "counts_as"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.mp4"), "no space is left for a.mp4",
         errors.StorageError),
        (OSError(errno.EFBIG, "File too large", "a.mp4"), "no space is left for a.mp4",
         errors.StorageError),
        (OSError(errno.ENOSPC, "No space left on device"), "no space is left for a file",
         errors.StorageError),
        (OSError(errno.EIO, "Input/output error"),
         "the system failed at a file: Input/output error", ArtvError),
        (OSError("something else"), "the system failed at a file: something else", ArtvError),
        (PermissionError(errno.EACCES, "Permission denied", "a.mp4"),
         "a.mp4 may not be read or written: Permission denied", errors.StorageError),
        (FileNotFoundError(errno.ENOENT, "No such file", "cat.png"),
         "cat.png is not there, or no longer", ArtvError),
        (OSError(errno.EIO, "Input/output error", "a.mp4"),
         "the system failed at a.mp4: Input/output error", ArtvError),
        (MemoryError(), "this machine has no memory left", ArtvError),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore"),
         "the device has no memory left: CUDA out of memory. Tried to allocate 2 GiB.", ArtvError),
        (ModuleNotFoundError("No module named 'torch'"),
         "a part of artv's installation cannot be loaded: No module named 'torch'", ArtvError),
        (ZeroDivisionError("by {zero}\nand more"),
         "something unexpected happened (ZeroDivisionError: by {zero})", ArtvError),
        (AssertionError(), "something unexpected happened (AssertionError)", ArtvError),
        (KeyboardInterrupt(), "stopped; what was finished is kept", KeyboardInterrupt),
        (errors.Interrupted("stopped after step 3"), "stopped after step 3", KeyboardInterrupt),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)  # fmt: skip
def test_what_others_raise_is_one_sentence_that_names_the_thing_and_what_to_type(
    error: BaseException, sentence: str, counts_as: type[BaseException]
) -> None:
    said = message(error, AGAIN)
    assert (said.sentence, said.counts_as) == (sentence, counts_as)
    assert "artv " in said.remedy


def test_rows_that_would_clear_a_cache_ask_which() -> None:
    typed = [command for row in TABLE.values() for command in commands(row.remedy)]
    clearing = [command.split() for command in typed if "cache prune" in command]
    assert clearing and all({"--cache", "--max-size"} < {*words} for words in clearing)


def test_advice_where_memory_is_short_changes_no_frame() -> None:
    _, remedy = told(OutOfMemoryError("CUDA out of memory."))
    assert f"`{AGAIN} --offload model`" in remedy and "--offload sequential" in remedy
    assert "--dtype" not in remedy


# ---------------------------------------------------------------- every place that raises


def raised() -> list[tuple[str, ast.Call]]:
    """Return every place in the package that makes an error of the tree."""
    found = []
    for module, tree in sorted(MODULES.items()):
        if module == "errors":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _name(node.func) in OURS:
                found.append((f"{module}:{node.lineno}", node))
    return found


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def _filled_in(node: ast.expr) -> list[str]:
    """Return what is filled into a message, as the code has it."""
    parts = node.values if isinstance(node, ast.JoinedStr) else []
    return [ast.unparse(part.value) for part in parts if isinstance(part, ast.FormattedValue)]


def _text(node: ast.expr) -> str:
    """Return the constant parts of a message, with {} for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
        )
    return "{}"  # a name or a call: made elsewhere


RAISED = raised()
# What says why, and neither which nor where.
WHY = re.compile(
    r"code|came|error(\.strerror)?|first_line\(error\)|how|last|problem|reason(\(error\))?|told"
    r"|type\(error\).__name__|which"
)
# What says where: a file, a folder, or the key of what is kept there.
WHERE = re.compile(
    r"film.name|folder|out|output|page|path|root|sample.path|self._holder\(\)|self._path|self._root"
    r"|self._record\(index\)|self.key\[:12\]"
)
PLACED = {"StorageError", "CacheLocked"}  # what these are about always has a place
# Sentences that name their thing without a value: there is only one such thing.
CONSTANT = {
    "ffmpeg cannot be started: {}.",
    "--max-size {}.",
    "Cutting shots needs PySceneDetect ({}).",
    "lora needs a library that is missing: {}",
    "A contact sheet needs at least one frame and one column.",
    "ffmpeg stopped in the middle of a frame.",
    "the model's weights are not those that the plan was made for",
    "--max-size is missing, and no setting max_cache_size limits the cache.",
}


def test_the_walk_finds_the_places_that_raise() -> None:
    kinds = {_name(node.func) for _, node in RAISED}
    assert kinds == set(OURS), "no class of error is without a place that raises it"
    assert len(RAISED) > 50


@pytest.mark.parametrize(("place", "node"), RAISED, ids=[place for place, _ in RAISED])
def test_every_place_that_raises_names_the_thing_and_has_a_remedy(
    place: str, node: ast.Call
) -> None:
    if _name(node.func) in {"StoryboardError", "DocumentError"}:
        assert len(node.args) == 2, "its problems carry file, line and column"
        return
    text, values = _text(node.args[0]), _filled_in(node.args[0])
    is_elsewhere = text == "{}"  # the sentence is made before
    names = [value for value in values if not WHY.fullmatch(value)]
    assert names or is_elsewhere or text in CONSTANT, f"{place}: {text!r} does not say which"
    if _name(node.func) in PLACED and not is_elsewhere:
        assert any(map(WHERE.fullmatch, values)), f"{place}: {text!r} does not say where"
    assert "\n" not in text
    assert not re.search(r"\b(oops|sorry|please|invalid)\b", text, re.IGNORECASE)
    remedy = _text(node.args[1]) if len(node.args) > 1 else ""
    if remedy:
        assert remedy[0].isupper() or remedy.startswith(("artv ", "`", "{")), remedy
        assert remedy.rstrip().endswith((".", "?", "}")), remedy
    else:
        assert TABLE[f"artv_cli.errors.{_name(node.func)}"].remedy


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["story", "story.yaml", "--size", "33x16"], "33x16"),
        (["story", "missing.yaml"], "missing.yaml"),
        (["story", "picture.yaml"], "cat.png"),
        (["story", "wrong.yaml"], "wrong.yaml:3:"),
        (["export", "story.yaml", "-o", "film.gif"], "frame 1 (segment 1)"),
        (["evaluate", "storybook", "--judge", "nowhere"], "nowhere"),
        (["cache", "prune", "--max-size", "huge"], "huge"),
        (["story", "story.yaml", "-o", "story.yaml/film.gif"], "story.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_really_told_names_the_file_the_frame_or_the_value(
    studio: Studio, arguments: list[str], named: str
) -> None:
    studio.write()
    studio.write("segments:\n  - prompt: a cat\n    frames: none\n", "wrong.yaml")
    studio.write(f"image: cat.png\n{STORY}", "picture.yaml")
    result = studio.run(*arguments)
    assert result.exit_code in (1, 2, 3, 5)
    assert named in result.stderr and "unexpected" not in result.stderr


def test_nothing_but_the_command_line_prints_a_traceback() -> None:
    package = Path(errors.__file__).parent
    users = {p.name for p in package.rglob("*.py") if "traceback" in p.read_text()}
    assert users - {"cli.py", "options.py"} == set()
