"""The folder of a training: no run writes over what is not its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artv_cli.errors import CacheLocked, UsageError
from artv_cli.files.durable import HOST, temporary_for
from artv_cli.train.run_folder import (
    LOG,
    LORA,
    MODEL,
    STATE,
    alone,
    append_row,
    cut_log,
    require_own,
)


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
    # In a container the name of the host is new each time, and the process's number comes again.
    again = temporary_for(tmp_path / STATE)
    dead = again.with_name(again.name.replace(f".{os.getpid()}.", f".{2**22 + 1}."))
    elsewhere = again.with_name(again.name.replace(f".{HOST}.", ".another-host."))
    of_a_piece = temporary_for(tmp_path / "vae" / "training.safetensors")
    of_a_piece.parent.mkdir()
    others = [tmp_path / STATE, tmp_path / "state.old.tmp", tmp_path / "notes.tmp"]
    for path in (again, dead, elsewhere, of_a_piece, *others):
        path.touch()
    with alone(tmp_path):
        assert set(tmp_path.iterdir()) == {*others, tmp_path / ".lock", of_a_piece.parent}
        assert not of_a_piece.exists(), "those of the embedded model have folders of their own"


def test_a_log_is_cut_back_to_the_state_that_is_gone_on_with(tmp_path: Path) -> None:
    cut_log(tmp_path, 0)  # there is none
    rows = [{"step": 2, "loss": 1.0}, {"note": "of no step"}, {"step": 3}, {"step": 4}]
    for row in rows:
        append_row(tmp_path / LOG, row)
    whole = (tmp_path / LOG).read_bytes()
    cut_log(tmp_path, 4)
    assert (tmp_path / LOG).read_bytes() == whole
    cut_log(tmp_path, 3)
    assert (tmp_path / LOG).read_bytes() == whole[: whole.index(b'{"step": 4')]


@pytest.mark.parametrize("torn", [b'{"step": 3, "lo', b'{"step": 3}', b"\0\0\0\0", b"3\n"])
def test_what_a_kill_left_of_a_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    append_row(tmp_path / LOG, {"step": 2})
    with (tmp_path / LOG).open("ab") as log:
        log.write(torn)
    cut_log(tmp_path, 9)
    append_row(tmp_path / LOG, {"step": 3})
    assert (tmp_path / LOG).read_bytes() == b'{"step": 2}\n{"step": 3}\n'
