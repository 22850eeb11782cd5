"""Files and folders that survive a power cut; how an entry does is told in `test_cache`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artv_cli.files.durable import make_folder


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux for names")
def test_every_new_folder_is_synced_by_the_one_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda number: synced.append(Path(os.readlink(f"/proc/self/fd/{number}")).name)
    )
    make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path.name, "a"]
    make_folder(tmp_path / "a" / "b")
    assert len(synced) == 2, "what is there is there"
