"""The lock: one renderer for each cache, named to others, gone when it dies."""

from __future__ import annotations

import errno
import json
import os
import runpy
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout
from one_frame import KEY, LATENTS, PARENTS, PIXELS

from artv_cli.cache import store as cache
from artv_cli.cache.store import FrameStore
from artv_cli.errors import CacheLocked, StorageError
from artv_cli.files import durable, lock
from artv_cli.files.durable import HOST, is_alive
from artv_cli.files.lock import alone

pytest_plugins = ["frame_stores"]


HOLD = """
import sys, time
from pathlib import Path
from artv_cli.cache.store import FrameStore
with FrameStore(Path(sys.argv[1]), warn=print).lock():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(store: FrameStore) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the store's lock."""
    command = [sys.executable, "-c", HOLD, str(store.root)]
    environment = os.environ | {"PYTHONPATH": str(Path(cache.__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_by_the_name_of_the_first(
    store: FrameStore, holder: subprocess.Popen[str]
) -> None:
    started = time.monotonic()
    with pytest.raises(CacheLocked) as caught, store.lock():
        pass
    assert time.monotonic() - started < 1, "it fails at once"
    assert f"process {holder.pid} on {socket.gethostname()}, started 20" in caught.value.message
    assert "--cache" in caught.value.remedy
    with pytest.raises(CacheLocked):
        store.prune(0)
    (store.root / "lock.json").write_text("{")
    with pytest.raises(CacheLocked, match="^another process is rendering"), store.lock():
        pass
    assert store.put(KEY, LATENTS, PIXELS, {}) == store.get(KEY, {}), "correct without it, too"


def test_the_lock_of_a_killed_process_is_no_obstacle(
    store: FrameStore, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (store.root / "lock.json").exists(), "it could not clean up"
    with store.lock():
        tag = json.loads((store.root / "lock.json").read_text())
        assert tag["pid"] == os.getpid()
    assert not (store.root / "lock.json").exists()


def test_a_name_tag_whose_process_id_was_used_again_keeps_nobody_out(store: FrameStore) -> None:
    store.prepare()
    tag = {"pid": os.getppid(), "host": HOST, "started": "2026-01-01 00:00:00"}
    (store.root / "lock.json").write_text(json.dumps(tag))
    with store.lock():
        pass


def test_the_lock_may_be_taken_again_inside_and_after(store: FrameStore) -> None:
    for _ in range(2):
        with store.lock():
            with store.lock():
                assert store.prune(0).files == 0
            assert (store.root / "lock.json").exists(), "the inner one ends nothing"
            other = FrameStore(store.root, warn=print)
            with pytest.raises(CacheLocked), other.lock():
                pass


def test_the_lock_is_free_again_after_an_error(store: FrameStore) -> None:
    with pytest.raises(KeyboardInterrupt), store.lock():
        raise KeyboardInterrupt
    with FrameStore(store.root, warn=print).lock():
        pass


def test_the_lock_sweeps_what_killed_processes_left_and_nothing_else(
    store: FrameStore, packed: bytes
) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    folder = store.path(KEY).parent
    names = {
        f"a.00000000.{dead.pid}.{HOST}.tmp": False,
        f"b.00000000.{os.getpid()}.{HOST}.tmp": True,
        "c.00000000.1.another-machine.example.tmp": True,
        "d.00000000.1.old-machine.tmp": False,
        "strange.tmp": True,
    }
    for name in names:
        (folder / name).write_bytes(b"half")
    (store.root / f"lock.00000000.{dead.pid}.{HOST}.tmp").write_bytes(b"half")
    os.utime(folder / "d.00000000.1.old-machine.tmp", (0, 0))
    with store.lock():
        assert {name: (folder / name).exists() for name in names} == names
    assert not list(store.root.glob("*.tmp")) and store.get(KEY, PARENTS) is not None


def test_where_no_lock_can_be_had_the_work_goes_on(
    store: FrameStore, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: Any, **__: Any) -> Any:
        raise PermissionError

    monkeypatch.setattr(FileLock, "acquire", deny)
    with store.lock():
        assert store.get(KEY, PARENTS) is not None
        assert not (store.root / "lock.json").exists(), "nobody holds it"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK], ids=errno.errorcode.get)
def test_on_a_drive_without_locks_work_goes_on_and_leaves_no_lock_behind(
    store: FrameStore, packed: bytes, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    other = FrameStore(store.root, warn=print)
    with store.lock(), other.lock(), store.reading(), other.reading():
        assert store.get(KEY, PARENTS) is not None
        assert not (store.root / "lock.json").exists(), "nobody holds it"
    with pytest.raises(StorageError, match="cannot be locked"):
        store.prune(0)
    monkeypatch.undo()
    with store.lock():
        assert (store.root / "lock.json").exists(), "what is left there is no lock"
    assert store.prune(0).files == 1


def test_where_no_lock_can_be_had_nothing_is_removed(
    store: FrameStore, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: Any, **__: Any) -> Any:
        raise PermissionError

    monkeypatch.setattr(FileLock, "acquire", deny)
    with pytest.raises(StorageError, match="cannot be locked.*nothing is removed") as caught:
        store.prune(0)
    assert str(store.root) in caught.value.message and "delete" in caught.value.remedy
    assert store.get(KEY, PARENTS) is not None


def test_where_one_of_two_locks_cannot_be_had_nothing_is_removed(
    store: FrameStore, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire = FileLock.acquire

    def deny(lock: FileLock, *args: Any, **kwargs: Any) -> Any:
        if Path(lock.lock_file).name == "lock":
            raise PermissionError
        return acquire(lock, *args, **kwargs)

    monkeypatch.setattr(FileLock, "acquire", deny)
    with pytest.raises(StorageError, match="nothing is removed"):
        store.prune(0)
    assert store.get(KEY, PARENTS) is not None


@pytest.mark.skipif(os.name != "posix", reason="rights are of POSIX")
def test_whoever_shares_a_cache_may_lock_it_if_the_system_lets_them(
    store: FrameStore, packed: bytes
) -> None:
    before = os.umask(0)
    try:
        with store.reading():
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((store.root / "readers").stat().st_mode) == 0o666


def test_who_has_read_keeps_nobody_from_pruning_any_more(store: FrameStore, packed: bytes) -> None:
    with store.reading(), pytest.raises(CacheLocked):
        store.prune(0)
    assert store.prune(0).files == 1


def test_where_no_lock_can_be_shared_reading_goes_on(store: FrameStore) -> None:
    with store.reading():
        assert not store.root.exists(), "a cache that is not there is not made either"
    store.prepare()
    (store.root / "readers").mkdir()
    with store.reading(), store.reading():
        pass


def test_a_reader_that_is_killed_keeps_nobody_from_pruning(
    store: FrameStore, packed: bytes
) -> None:
    command = [sys.executable, "-c", HOLD.replace(".lock()", ".reading()"), str(store.root)]
    environment = os.environ | {"PYTHONPATH": str(Path(cache.__file__).parents[2])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as reader:
        assert reader.stdout is not None and reader.stdout.readline() == "held\n"
        with pytest.raises(CacheLocked, match="makes a film"):
            store.prune(0)
        reader.kill()
    assert store.prune(0).files == 1


def test_windows_lets_one_process_read(
    store: FrameStore, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artv_cli.files.lock.fcntl", None)
    with store.reading():
        with pytest.raises(CacheLocked, match="removing"), store.reading():
            pass
        with pytest.raises(CacheLocked, match="makes a film"):
            store.prune(0)
    assert store.prune(0).files == 1


def test_where_the_system_has_no_locks_to_share_they_are_held_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as windows:
        windows.setitem(sys.modules, "fcntl", None)
        shared_there = runpy.run_path(str(lock.__file__))["shared"]
    with shared_there(tmp_path / "lock"):
        with pytest.raises(Timeout), lock.shared(tmp_path / "lock"):
            pass
    with lock.shared(tmp_path / "lock"), lock.shared(tmp_path / "lock"):
        with pytest.raises(Timeout), shared_there(tmp_path / "lock"):
            pass


def test_what_one_process_does_alone_a_second_is_refused_to_do(tmp_path: Path) -> None:
    with alone(tmp_path / "training", "Another process trains."):
        with pytest.raises(CacheLocked, match="Another process trains") as caught:
            with alone(tmp_path / "training", "Another process trains."):
                pass
    assert "--out" in caught.value.remedy
    with alone(tmp_path / "training", "Another process trains."):
        pass
    with pytest.raises(StorageError, match="training cannot be written"):
        with alone(tmp_path / "training" / "lock", "Another process trains."):
            pass


def test_a_store_that_cannot_be_listed_is_locked_all_the_same(
    store: FrameStore, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise OSError("Input/output error")

    monkeypatch.setattr(Path, "glob", fail)
    with store.lock():
        assert store.get(KEY, PARENTS) is not None


@pytest.mark.skipif(os.name != "posix", reason="flock is of POSIX")
def test_a_lock_that_cannot_be_given_back_hides_no_error_and_costs_no_finished_work(
    store: FrameStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    flock = fcntl.flock

    def fail_to_unlock(descriptor: int, operation: int) -> None:
        if operation == fcntl.LOCK_UN:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", fail_to_unlock)
    for held in (store.lock(), alone(tmp_path / "training", "Another process trains.")):
        with held:
            pass
        with pytest.raises(StorageError, match="full"), store.lock():
            raise StorageError("the disk is full")


def test_a_process_of_another_user_is_alive_and_an_absurd_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert is_alive(os.getpid()) and not is_alive(1 << 70)

    def deny(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", deny)
    assert is_alive(1)


def test_windows_has_no_folder_to_sync_and_no_process_to_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("not on Windows")

    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        windows.setattr(os, "open", refuse)
        windows.setattr(os, "kill", refuse)
        durable.sync_folder(tmp_path)
        assert is_alive(1 << 70)
