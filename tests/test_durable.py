"""Files and folders that survive a power cut; how an entry does is told in `test_cache`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from artv_cli.files import durable
from artv_cli.files.durable import HOST, make_folder, sweep, sync_folder, temporary_for
from artv_cli.files.output import write_text

LINUX = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux for names")


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what is synced, in order."""
    names: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda number: names.append(Path(os.readlink(f"/proc/self/fd/{number}")).name)
    )
    return names


@LINUX
def test_every_new_folder_is_synced_by_the_one_that_names_it(
    tmp_path: Path, synced: list[str]
) -> None:
    make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path.name, "a"]
    make_folder(tmp_path / "a" / "b")
    assert len(synced) == 2, "what is there is there"


@LINUX
def test_new_folders_of_an_output_are_synced_as_it_is(tmp_path: Path, synced: list[str]) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert synced == [tmp_path.name, "a", "output.txt", "b"]


def test_a_folder_that_somebody_makes_meanwhile_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    looks = iter([False])  # and then it is there
    monkeypatch.setattr(Path, "is_dir", lambda _: next(looks, True))
    make_folder(tmp_path / "a")
    assert (tmp_path / "a").exists()


@LINUX
def test_a_folder_that_was_synced_is_not_kept_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        sync_folder(tmp_path)
    assert os.listdir("/proc/self/fd") == before


# ---------------------------------------------------------------- what killed writers leave


@pytest.fixture
def dead() -> int:
    """The id of a process that ran a moment ago."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def swept(folder: Path, name: str) -> bool:
    """Write a file of that name, sweep, and tell whether it is gone."""
    (folder / name).write_text("half")
    sweep(folder.glob("*.tmp"))
    return not (folder / name).exists()


def test_what_a_dead_writer_left_is_swept_and_what_a_living_one_writes_is_not(
    tmp_path: Path, dead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not swept(tmp_path, temporary_for(tmp_path / "frame.artv").name)
    monkeypatch.setattr(os, "getpid", lambda: dead)
    assert swept(tmp_path, temporary_for(tmp_path / "frame.artv").name)
    monkeypatch.setattr(durable, "HOST", "studio.example.org")
    assert swept(tmp_path, temporary_for(tmp_path / "frame.artv").name)


@pytest.mark.parametrize(
    "name",
    [
        "frame.0123abcd.{dead}.another-machine.tmp",
        "frame.0123abcd.first.{host}.tmp",
        "frame.01.{dead}.{host}.tmp",
        "frame.{dead}.{host}.tmp",
        "notes.tmp",
    ],
)
def test_what_may_be_somebody_elses_is_not_swept(tmp_path: Path, dead: int, name: str) -> None:
    assert not swept(tmp_path, name.format(dead=dead, host=HOST))
