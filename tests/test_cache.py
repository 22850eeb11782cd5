"""The frame store: entries are whole or absent, every read verifies, any disk may fail."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import shlex
import shutil
import struct
import time
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from one_frame import ENVIRONMENT, KEY, LATENTS, OTHER_KEY, PARENTS, PIXELS, quarantined, unpack

from artv_cli.cache import entry
from artv_cli.cache import store as cache
from artv_cli.cache.entry import MAGIC, Entry, pack_entry, read_header
from artv_cli.cache.store import FrameStore
from artv_cli.errors import StorageError
from artv_cli.files import durable
from artv_cli.latents import Latents

pytest_plugins = ["frame_stores"]


def test_what_was_never_put_is_a_quiet_miss(store: FrameStore, warnings: list[str]) -> None:
    assert store.get(KEY, {}) is None and store.peek(KEY) is None
    assert not warnings and not store.root.exists(), "looking makes no folder"


def _truncated(data: bytes) -> bytes:
    return data[:-1]


def _flipped(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 4]) + data[-8:]


def _with_nan(data: bytes) -> bytes:
    nan = Latents("float32", (1,), struct.pack("<f", float("nan")))
    whole = unpack(data)
    return pack_entry(Entry(KEY, nan, whole.png, whole.parents, whole.environment))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (_truncated, "cut short"),
        (_flipped, "content is damaged"),
        (_with_nan, "latents are not all numbers"),
        (lambda data: b"", "no artv frame"),
        (lambda data: bytes(len(data)), "no artv frame"),
        (lambda data: data.replace(b" 1\n", b" 2\n", 1), "another format version"),
        (lambda data: data.replace(b"2.9.0", b"2.9.1", 1), "header is damaged"),
    ],
)
def test_a_bad_entry_is_a_miss_quarantined_with_one_warning_and_made_again(
    store: FrameStore,
    warnings: list[str],
    packed: bytes,
    damage: Callable[[bytes], bytes],
    what: str,
) -> None:
    store.path(KEY).write_bytes(damage(packed))
    assert store.get(KEY, PARENTS) is None
    assert store.get(KEY, PARENTS) is None
    (bad,) = quarantined(store)
    assert bad.read_bytes() == damage(packed)
    assert not store.path(KEY).exists()
    (warning,) = warnings
    assert what in warning and str(store.path(KEY)) in warning
    store.put(KEY, LATENTS, PIXELS, PARENTS)
    assert store.path(KEY).read_bytes() == packed
    assert store.get(KEY, PARENTS) is not None


def _grown(path: Path) -> None:
    os.truncate(path, 1 << 40)  # bytes, of which hardly one lies on the disk


def _boasting(path: Path) -> None:
    magic, _, header, payload = path.read_bytes().split(b"\n", 3)
    header = header.replace(b"[2,1,2]", b"[2,1,%d]" % (1 << 40))
    seal = hashlib.sha256(header).hexdigest().encode()
    path.write_bytes(b"\n".join((magic, seal, header, payload)))


@pytest.mark.parametrize(
    ("damage", "what"), [(_grown, "longer than it says"), (_boasting, "cut short")]
)
def test_of_a_bad_entry_nothing_is_read_that_would_not_fit_into_memory(
    store: FrameStore,
    warnings: list[str],
    packed: bytes,
    damage: Callable[[Path], None],
    what: str,
) -> None:
    damage(store.path(KEY))
    assert store.get(KEY, PARENTS) is None and store.get(KEY, PARENTS) is None
    (warning,) = warnings
    assert what in warning and len(quarantined(store)) == 1
    store.put(KEY, LATENTS, PIXELS, PARENTS)
    assert store.path(KEY).read_bytes() == packed


def test_a_bad_entry_that_cannot_be_moved_is_a_miss_all_the_same_with_one_warning(
    store: FrameStore, warnings: list[str], packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: Any) -> None:
        raise PermissionError

    store.path(KEY).write_bytes(packed[:-1])
    monkeypatch.setattr(os, "replace", deny)
    assert store.get(KEY, PARENTS) is None and store.get(KEY, PARENTS) is None
    assert len(warnings) == 1 and not quarantined(store)


def test_swapped_files_are_found(store: FrameStore, warnings: list[str]) -> None:
    store.put(KEY, LATENTS, PIXELS, PARENTS)
    store.put(OTHER_KEY, LATENTS, PIXELS + 1, PARENTS)
    one, two = store.path(KEY), store.path(OTHER_KEY)
    content = one.read_bytes(), two.read_bytes()
    one.write_bytes(content[1])
    two.write_bytes(content[0])
    assert store.peek(KEY) is None
    assert store.get(KEY, PARENTS) is None and store.get(OTHER_KEY, PARENTS) is None
    assert len(quarantined(store)) == 2
    assert all("another frame than its name says" in warning for warning in warnings)


def test_a_folder_in_an_entrys_place_is_moved_aside(store: FrameStore, warnings: list[str]) -> None:
    store.path(KEY).mkdir(parents=True)
    assert store.get(KEY, {}) is None
    assert len(quarantined(store)) == len(warnings) == 1
    assert store.put(KEY, LATENTS, PIXELS, {}) == store.get(KEY, {})


def test_a_pipe_in_an_entrys_place_is_moved_aside_unopened(
    store: FrameStore, packed: bytes, warnings: list[str]
) -> None:
    store.path(KEY).unlink()
    os.mkfifo(store.path(KEY))
    assert store.peek(KEY) is None and store.get(KEY, {}) is None
    assert len(quarantined(store)) == len(warnings) == 1


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_an_error_that_may_pass_is_a_miss_that_leaves_the_entry_where_it_is(
    store: FrameStore,
    warnings: list[str],
    packed: bytes,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr(entry, "open", fail, raising=False)
        assert store.get(KEY, PARENTS) is None and store.get(KEY, PARENTS) is None
        assert store.verify() == cache.Verification(0, (f"{KEY}.artv",))
    (warning,) = warnings
    assert os.strerror(code) in warning and str(store.path(KEY)) in warning
    assert not quarantined(store)
    assert store.get(KEY, PARENTS) is not None


def test_a_parent_that_came_back_with_other_bits_is_a_miss(
    store: FrameStore, packed: bytes, warnings: list[str]
) -> None:
    assert store.get(KEY, {"12" * 32: "56" * 32}) is None
    assert store.get(KEY, {}) is None
    assert store.get(KEY, PARENTS) is not None, "a miss of this kind harms nothing"
    assert not warnings and not quarantined(store)


def test_a_look_at_the_header_agrees_with_a_read_and_touches_nothing(
    store: FrameStore, packed: bytes
) -> None:
    header, got = store.peek(KEY), store.get(KEY, PARENTS)
    assert header is not None and got is not None
    assert (header.digest, header.parents) == (got.digest, PARENTS)
    store.path(KEY).write_bytes(packed[:-1])
    assert store.peek(KEY) is None
    assert store.path(KEY).exists()


def test_a_frame_of_another_environment_is_used_and_said_so(
    store: FrameStore, packed: bytes, warnings: list[str]
) -> None:
    here = {"torch": "2.10.0", "device": "cpu", "threads": "1"}
    elsewhere = FrameStore(store.root, environment=here, warn=warnings.append)
    assert elsewhere.get(KEY, PARENTS) is not None
    assert elsewhere.foreign == {"threads ?, here 1, torch 2.9.0, here 2.10.0": 1}
    assert store.get(KEY, PARENTS) is not None and store.foreign == {}


def test_a_strict_store_makes_frames_of_another_environment_again(
    store: FrameStore, packed: bytes, warnings: list[str]
) -> None:
    here = ENVIRONMENT | {"device": "cuda"}
    strict = FrameStore(store.root, environment=here, strict=True, warn=warnings.append)
    assert strict.get(KEY, PARENTS) is None and strict.peek(KEY) is None
    strict.put(KEY, LATENTS, PIXELS, PARENTS)
    assert strict.get(KEY, PARENTS) is not None and strict.peek(KEY) is not None
    assert store.foreign == {} and not warnings


def test_a_strict_store_must_know_its_environment(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs to know its environment"):
        FrameStore(tmp_path, strict=True, warn=print)


def test_the_clock_decides_nothing_that_is_valid(store: FrameStore, packed: bytes) -> None:
    for moment in (0, 4e9):
        os.utime(store.path(KEY), (moment, moment))
        assert store.get(KEY, PARENTS) is not None


def test_a_store_is_marked_as_a_cache(store: FrameStore, packed: bytes) -> None:
    tag = (store.root / "CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_an_entry_is_synced_before_it_is_renamed_and_its_folder_after(
    store: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(OTHER_KEY, LATENTS, PIXELS, {})
    store.path(KEY).parent.mkdir()
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def log_fsync(descriptor: int) -> None:
        steps.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name[-4:])
        fsync(descriptor)

    def log_replace(source: Path, target: Path) -> None:
        assert source.parent == target.parent, "one file system, so that the rename is atomic"
        assert source.read_bytes().startswith(MAGIC)
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", log_fsync)
    monkeypatch.setattr(os, "replace", log_replace)
    store.put(KEY, LATENTS, PIXELS, {})
    assert steps == ["sync .tmp", "rename", "sync ab"]


FAILING_CALLS = ["os.fsync", "os.replace", "os.fstat", "os.open", "open", "mkdir"]


@pytest.mark.parametrize("call", FAILING_CALLS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_write_that_fails_is_a_storage_error_and_leaves_the_store_valid(
    store: FrameStore, packed: bytes, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        if call == "open":
            broken.setattr(durable, "open", fail, raising=False)
        elif call == "mkdir":
            broken.setattr(Path, "mkdir", fail)
        else:
            broken.setattr(os, call.removeprefix("os."), fail)
        with pytest.raises(StorageError) as caught:
            store.put(OTHER_KEY, LATENTS, PIXELS, {})
    assert str(store.root) in caught.value.message and caught.value.remedy
    full = code in (errno.ENOSPC, errno.EDQUOT)
    assert ("no space" in caught.value.message) == full
    assert store.path(KEY).read_bytes() == packed
    assert not list(store.root.rglob("*.tmp"))
    assert not store.path(OTHER_KEY).exists() or store.get(OTHER_KEY, {}) is not None
    assert store.put(OTHER_KEY, LATENTS, PIXELS, {}) == store.get(OTHER_KEY, {})


def test_a_file_that_comes_out_short_is_not_committed(
    store: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.path(KEY).parent.mkdir(parents=True)
    store.prepare()
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", lambda descriptor: os.truncate(descriptor, 3))
        with pytest.raises(StorageError, match="shorter than it was written"):
            store.put(KEY, LATENTS, PIXELS, {})
    assert not store.path(KEY).exists() and not list(store.root.rglob("*.tmp"))


def test_a_frame_that_goes_while_all_are_verified_is_passed_over(
    store: FrameStore, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is pruned: those behind it are read all the same."""
    store.put(OTHER_KEY, LATENTS, PIXELS, {})
    first, second = sorted(store.root.glob("frames/*/*.artv"))
    read = cache.entry_at

    def read_or_gone(path: Path, *root: Path) -> Entry:
        if path == first:
            raise FileNotFoundError(path)
        return read(path, *root)

    monkeypatch.setattr(cache, "entry_at", read_or_gone)
    assert store.verify() == cache.Verification(1, ()) and second.exists()


@pytest.mark.parametrize(("short", "left"), [(0, 2), (1, 1)])
def test_what_cannot_be_removed_is_counted_as_it_is(
    store: FrameStore, packed: bytes, monkeypatch: pytest.MonkeyPatch, short: int, left: int
) -> None:
    """Room for two of three frames, or a byte too little; the oldest of them cannot go."""
    keys = KEY, OTHER_KEY, "ef" * 32
    for age, key in zip((3, 2, 1), keys, strict=True):
        store.path(key).parent.mkdir(parents=True, exist_ok=True)
        store.path(key).write_bytes(packed)
        os.utime(store.path(key), (time.time() - age,) * 2)
    unlink = Path.unlink

    def refuse(path: Path, *how: Any) -> None:
        if path == store.path(KEY):
            raise PermissionError(path)
        unlink(path, *how)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert store.prune(2 * len(packed) - short).files == 3 - left
    assert [store.path(key).exists() for key in keys] == [True, False, left == 2]


def test_a_new_store_survives_a_power_cut_from_its_lock_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_folder", synced.append)
    with FrameStore(tmp_path / ".artv", warn=pytest.fail).lock():
        assert tmp_path in synced


def test_an_interrupt_in_the_middle_of_a_write_leaves_nothing_behind(
    store: FrameStore, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.put(KEY, LATENTS, PIXELS + 1, {})
    assert store.path(KEY).read_bytes() == packed
    assert not list(store.root.rglob("*.tmp"))


def test_a_folder_whose_rights_forbid_writing_is_told_before_a_model_is_loaded(
    store: FrameStore, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever runs the tests as root may write.
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK | os.X_OK)
    with pytest.raises(StorageError, match="cannot be written"):
        store.prepare()
    assert store.get(KEY, PARENTS) is not None


def _as_reader(root: Path) -> None:
    """Child process without the right to write; its exit code tells which check failed."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    complaints: list[str] = []
    store = FrameStore(root, environment=ENVIRONMENT, warn=complaints.append)
    with store.lock():
        if store.get(KEY, PARENTS) is None:
            os._exit(1)
        try:
            store.put("ef" * 32, LATENTS, PIXELS, {})
            os._exit(2)
        except StorageError as error:
            if "cannot be written" not in error.message or "--cache" not in error.remedy:
                os._exit(3)
        if store.get(OTHER_KEY, {}) or store.get(OTHER_KEY, {}) or len(complaints) != 1:
            os._exit(4)
    os._exit(0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_cache_that_cannot_be_written_serves_what_it_has() -> None:
    root = Path("/tmp") / f"artv-test-{os.getpid()}-{time.time_ns()}"  # where anyone may look
    try:
        store = FrameStore(root, environment=ENVIRONMENT, warn=print)
        store.put(KEY, LATENTS, PIXELS, PARENTS)
        store.put(OTHER_KEY, LATENTS, PIXELS, {})
        store.path(OTHER_KEY).write_bytes(b"damaged")
        for path in (*root.rglob("*"), root):
            path.chmod(0o555 if path.is_dir() else 0o444)
        child = multiprocessing.get_context("fork").Process(target=_as_reader, args=(root,))
        child.start()
        child.join()
        assert child.exitcode == 0
    finally:
        for path in (root, *root.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(root)


def test_writers_of_the_same_frame_without_a_lock_end_in_the_same_bits(
    store: FrameStore, packed: bytes
) -> None:
    second = FrameStore(store.root, environment=ENVIRONMENT, warn=print)
    assert second.put(KEY, LATENTS, PIXELS, PARENTS) == store.get(KEY, PARENTS)
    assert store.path(KEY).read_bytes() == packed
    assert len(list(store.path(KEY).parent.iterdir())) == 1


def test_entries_are_listed_with_size_and_environment(store: FrameStore, packed: bytes) -> None:
    store.path(OTHER_KEY).parent.mkdir()
    store.path(OTHER_KEY).write_bytes(b"damaged")
    good, bad = store.entries()
    assert (good.path, good.size) == (store.path(KEY), len(packed))
    assert good.header is not None and good.header.environment == ENVIRONMENT
    assert bad.header is None
    with store.path(KEY).open("rb") as file:
        assert read_header(file) == good.header


def test_verify_reads_everything_and_quarantines_what_is_bad(
    store: FrameStore, packed: bytes, warnings: list[str]
) -> None:
    store.put(OTHER_KEY, LATENTS, PIXELS, {})
    no_picture = "ef" * 32
    store.put(no_picture, LATENTS, PIXELS, {})
    assert store.verify() == cache.Verification(3, ())
    store.path(OTHER_KEY).write_bytes(_flipped(packed))
    broken = Entry(no_picture, LATENTS, b"no PNG", {}, {})
    store.path(no_picture).write_bytes(pack_entry(broken))
    with pytest.raises(StorageError, match="picture of the cached frame efef"):
        broken.pixels()
    assert store.verify() == cache.Verification(1, (f"{OTHER_KEY}.artv", f"{no_picture}.artv"))
    assert len(quarantined(store)) == len(warnings) == 2
    assert store.verify() == cache.Verification(1, ())


def test_a_picture_that_cannot_be_read_is_told_with_the_cache_to_verify(
    store: FrameStore, packed: bytes
) -> None:
    store.path(KEY).write_bytes(pack_entry(Entry(KEY, LATENTS, b"no PNG", PARENTS, ENVIRONMENT)))
    got = store.get(KEY, PARENTS)
    assert got is not None
    with pytest.raises(StorageError, match="picture of the cached frame") as caught:
        got.pixels()
    command = f"`artv cache verify --cache {shlex.quote(str(store.root))}`"
    assert command in caught.value.remedy


def test_a_frame_that_is_removed_while_all_are_read_is_not_damaged(
    store: FrameStore, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path) -> Entry:
        path.unlink()
        raise FileNotFoundError(path)

    store.put(KEY, LATENTS, PIXELS, PARENTS)
    monkeypatch.setattr("artv_cli.cache.store.entry_at", gone)
    assert len(list(store.entries())) == 1
    assert store.verify() == cache.Verification(0, ()) and not warnings
    assert list(store.entries()) == []


def test_prune_empties_the_quarantine_then_removes_what_was_used_longest_ago(
    store: FrameStore, packed: bytes
) -> None:
    used = ["ef" * 32, KEY, OTHER_KEY]
    for age, key in enumerate(used):
        store.put(key, LATENTS, PIXELS, PARENTS)
        os.utime(store.path(key), (1000 + age, 1000 + age))
    assert store.get(used[0], PARENTS) is not None, "a use makes it the newest"
    (store.root / "quarantine").mkdir()
    (store.root / "quarantine" / "bad.artv").write_bytes(b"12345")
    (store.root / "quarantine" / "letter.txt").write_bytes(b"not ours")
    pruned = store.prune(2 * len(packed))
    assert pruned == cache.Pruned(2, 5 + len(packed))
    assert [store.path(key).exists() for key in used] == [True, False, True]
    assert store.prune(0).files == 2
    assert list(store.entries()) == []


def test_prune_counts_only_what_it_could_remove(
    store: FrameStore, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: Any, **__: Any) -> None:
        raise PermissionError

    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", deny)
        assert store.prune(0) == cache.Pruned(0, 0)
    assert store.get(KEY, PARENTS) is not None


def test_what_a_store_tells_never_changes(store: FrameStore, packed: bytes) -> None:
    (listed,) = store.entries()
    for told in (listed, store.verify(), store.prune(1 << 40)):
        with pytest.raises(FrozenInstanceError):
            told.size = 0  # type: ignore[misc, union-attr]
