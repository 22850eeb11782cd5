"""The folder of a training: no run writes over what is not its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artv_cli.errors import CacheLocked, UsageError
from artv_cli.files.durable import temporary_for
from artv_cli.train.run_folder import LORA, MODEL, STATE, alone, require_own


@pytest.mark.parametrize("part", [MODEL, LORA])
def test_what_no_run_has_made_is_not_written_over(tmp_path: Path, part: str) -> None:
    require_own(tmp_path, tmp_path / "base")
    (tmp_path / part).mkdir()
    with pytest.raises(UsageError, match="no training has made it"):
        require_own(tmp_path, tmp_path / "base")
    (tmp_path / STATE).touch()
    require_own(tmp_path, tmp_path / "base")


@pytest.mark.parametrize("part", [MODEL, LORA])
def test_the_base_is_not_written_over_by_its_own_run(tmp_path: Path, part: str) -> None:
    (tmp_path / "run" / part).mkdir(parents=True)
    (tmp_path / "run" / STATE).touch()
    (tmp_path / "link").symlink_to(tmp_path / "run" / part)
    with pytest.raises(UsageError, match="would write over"):
        require_own(tmp_path / "run", tmp_path / "link")


def test_one_run_has_a_folder_to_itself(tmp_path: Path) -> None:
    with alone(tmp_path / "run"):
        with pytest.raises(CacheLocked, match="Another process trains in"), alone(tmp_path / "run"):
            pass
    with alone(tmp_path / "run"):
        pass


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    dead = temporary_for(tmp_path / STATE)
    dead = dead.with_name(dead.name.replace(f".{os.getpid()}.", f".{2**22 + 1}."))
    mine = temporary_for(tmp_path / STATE)
    dead.touch()
    mine.touch()
    with alone(tmp_path):
        assert mine.exists() and not dead.exists()
