"""An output is replaced whole or not at all, and nothing else is touched."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sample_plans import WALK, plan
from standin import story

from artv_cli.errors import StorageError, UsageError
from artv_cli.export import Output, check_output
from artv_cli.files import exchange
from artv_cli.files.output import replacing, require_place, write_text
from artv_cli.media import video
from artv_cli.recipe import Recipe, write_sidecar

RECIPE = Recipe(storyboard="", model="", fingerprint="", version="", settings={})

A_TXT, B_TXT = ".a.txt.18b7cb09", ".b.txt.ffa0da5d"  # each with the SHA-256 of the name


def test_a_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "é")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("猫" * 80 + ".mp4")
    write_text(path, "x")
    assert path.read_text() == "x"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_other(
    tmp_path: Path, error: type[BaseException]
) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(error):
        with replacing(tmp_path / "a.txt") as part:
            part.write_text("half")
            raise error
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_link_keeps_leading_to_the_output(tmp_path: Path) -> None:
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    write_text(tmp_path / "link.txt", "x")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "x"


def test_a_file_never_replaces_a_folder_nor_a_folder_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("x")
    with pytest.raises(StorageError, match="folder cannot be written"):
        write_text(tmp_path / "folder", "y")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="file cannot be written"):
        with replacing(tmp_path / "file") as part:
            part.mkdir()
    assert (tmp_path / "folder" / "mine").read_text() == (tmp_path / "file").read_text() == "x"


def old_folder(path: Path) -> Path:
    path.mkdir()
    (path / "old").write_text("x")
    return path


def replace_by_new(path: Path) -> None:
    with replacing(path) as part:
        part.mkdir()
        (part / "new").write_text("y")


def without_exchange(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(exchange, "exchange", lambda *_: False)


def refuse_renames_of(names: set[str], patch: pytest.MonkeyPatch, error: BaseException) -> None:
    rename = os.rename

    def refusing(source: Path, target: Path) -> None:
        if source.name in names:
            raise error
        rename(source, target)

    patch.setattr(os, "rename", refusing)


@pytest.mark.skipif(sys.platform != "linux", reason="needs renameat2")
def test_a_folder_takes_the_place_of_another_without_any_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = old_folder(tmp_path / "folder")
    refuse_renames_of({"folder", "output"}, monkeypatch, AssertionError("the name is free now"))
    replace_by_new(folder)
    assert [entry.name for entry in folder.iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_two_folders_that_cannot_trade_places_are_renamed_and_what_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = old_folder(tmp_path / "folder")
    with pytest.raises(FileNotFoundError, match="missing"):
        exchange.exchange(folder, tmp_path / "missing")
    for unknown in (lambda *_, **__: None, lambda *_, **__: failing_with(errno.EINVAL)):
        with monkeypatch.context() as patch:
            patch.setattr(ctypes, "CDLL", unknown)
            assert not exchange.exchange(folder, folder)
            replace_by_new(folder)
        assert [entry.name for entry in folder.iterdir()] == ["new"]


def failing_with(code: int) -> Any:
    def renameat2(*_: object) -> int:
        ctypes.set_errno(code)
        return -1

    return SimpleNamespace(renameat2=renameat2)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_folder_is_put_back_when_its_successor_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    folder = old_folder(tmp_path / "folder")
    without_exchange(monkeypatch)
    refuse_renames_of({"output"}, monkeypatch, error)
    with pytest.raises((StorageError, KeyboardInterrupt)):
        replace_by_new(folder)
    assert (folder / "old").read_text() == "x"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_folder_that_cannot_be_put_back_is_kept_and_the_next_writer_puts_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = old_folder(tmp_path / "folder")
    die_between_two_renames(folder, monkeypatch)
    with pytest.raises(ValueError), replacing(folder):
        raise ValueError
    assert (folder / "old").read_text() == "x"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def die_between_two_renames(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a folder as a writer does who has moved it away when neither can be moved back."""
    error = OSError(errno.EIO, os.strerror(errno.EIO))
    with monkeypatch.context() as patch:
        without_exchange(patch)
        refuse_renames_of({"output", "old"}, patch, error)
        with pytest.raises(StorageError, match="Input/output error"):
            replace_by_new(folder)
    (left,) = folder.parent.glob(".*")
    assert (left / "old" / "old").read_text() == "x"
    left.rename(left.with_name(left.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-")))


def test_a_writer_sweeps_nothing_of_an_output_whose_name_only_begins_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    balloon = old_folder(tmp_path / "the-penguin-and-the-balloon-frames")
    die_between_two_renames(balloon, monkeypatch)
    bus = tmp_path / "the-penguin-and-the-bus-frames"
    replace_by_new(bus)
    assert [entry.name for entry in bus.iterdir()] == ["new"]
    with pytest.raises(ValueError), replacing(balloon):
        raise ValueError
    assert (balloon / "old").read_text() == "x", "the next writer of the same puts it back"


def test_a_place_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError) as caught:
        write_text(tmp_path / "file" / "below.txt", "y")
    assert "below.txt cannot be written" in caught.value.message and caught.value.remedy
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        write_text(Path("/dev/null"), "y")


@pytest.mark.parametrize(
    ("look", "place"),
    [
        (lambda path: write_text(path, "x"), "a.mp4"),
        (lambda path: video.check_output(path, Fraction(8)), "a.mp4"),
        (lambda path: check_output(Output(path=path), story(WALK), plan(WALK), path), "a.mp4"),
        (lambda path: write_sidecar(RECIPE, path), "a.mp4.json"),
    ],
    ids=["a text", "a film", "a story's film", "a recipe"],
)
def test_a_place_that_cannot_even_be_looked_at_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[Path], object], place: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, "stat", fail)
        with pytest.raises(StorageError, match=f"/{place} cannot be written: Input/output error"):
            look(tmp_path / "a.mp4")


def test_a_folder_that_cannot_be_asked_who_may_write_there_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "access", fail)
    with pytest.raises(StorageError, match=r"/a.mp4 cannot be written: Input/output error"):
        require_place(tmp_path / "a.mp4", "Choose another place.")


def test_only_what_the_dead_left_is_swept(tmp_path: Path) -> None:
    host = socket.gethostname()[:60]
    dead = tmp_path / f"{A_TXT}.{host}-{2**22 + 1}-x.part"  # above the largest process id of Linux
    alive = tmp_path / f"{A_TXT}.{host}-{os.getpid()}-x.part"
    elsewhere = tmp_path / f"{A_TXT}.not-{host}-{2**22 + 1}-x.part"
    another = tmp_path / f"{B_TXT}.{host}-{2**22 + 1}-x.part"
    for folder in (dead, alive, elsewhere, another):
        folder.mkdir()
        (folder / "output.txt").write_text("half")
    write_text(tmp_path / "a.txt", "whole")
    assert not dead.exists()
    assert alive.exists() and elsewhere.exists() and another.exists()


@pytest.mark.parametrize("host", [socket.gethostname()[:60], "another-container"])
def test_what_was_begun_by_a_process_that_nobody_can_ask_for_is_swept_by_its_age(
    tmp_path: Path, host: str
) -> None:
    two_days_ago = time.time() - 2 * 86_400
    parts = [tmp_path / f"{A_TXT}.{host}-{os.getpid()}-{name}.part" for name in "xy"]
    for part in parts:
        part.mkdir()
        (part / "output.txt").write_text("half")
        os.utime(part, (two_days_ago,) * 2)
    old, written_to = parts
    os.utime(old / "output.txt", (two_days_ago,) * 2)
    write_text(tmp_path / "a.txt", "whole")
    assert not old.exists() and written_to.exists()
