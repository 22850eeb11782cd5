"""Files and folders that survive a power cut; how an entry does is told in `test_cache`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artv_cli.files.durable import make_folder
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
