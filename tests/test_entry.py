"""An entry's file: what the format says, and no byte that could change unnoticed."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from one_frame import ENVIRONMENT, KEY, LATENTS, OTHER_KEY, PARENTS, PIXELS, unpack
from PIL import Image

from artv_cli.cache import entry
from artv_cli.cache.entry import MAGIC, BadEntry, is_finite
from artv_cli.cache.store import FrameStore
from artv_cli.errors import StorageError
from artv_cli.latents import Latents

pytest_plugins = ["frame_stores"]

EMPTY: dict[str, Any] = {"digest": "", "environment": {}, "key": "", "parents": {}, "png": 0}


def test_an_entry_comes_back_as_it_was_put(store: FrameStore, warnings: list[str]) -> None:
    put = store.put(KEY, LATENTS, PIXELS, PARENTS)
    got = store.get(KEY, PARENTS)
    assert got == put
    assert got is not None and got.digest == put.digest
    assert got.latents == LATENTS and np.array_equal(got.pixels(), PIXELS)
    assert (got.parents, got.environment) == (PARENTS, ENVIRONMENT)
    assert not warnings


def test_an_entrys_file_is_what_the_format_says(packed: bytes) -> None:
    magic, seal, header, payload = packed.split(b"\n", 3)
    assert magic == b"artv-frame 1"
    assert seal.decode() == hashlib.sha256(header).hexdigest()
    fields = json.loads(header)
    assert header.decode() == json.dumps(fields, sort_keys=True, separators=(",", ":"))
    assert fields["key"] == KEY and fields["parents"] == PARENTS
    assert fields["latents"] == {"dtype": "float32", "shape": [2, 1, 2]}
    assert payload[:16] == LATENTS.data and len(payload) == 16 + fields["png"]
    content = hashlib.sha256(b"float32 [2, 1, 2]\n" + payload).hexdigest()
    assert fields["digest"] == content


def test_the_digest_is_of_the_content_alone() -> None:
    entries = [
        entry.make_entry(KEY, LATENTS, PIXELS, PARENTS, ENVIRONMENT),
        entry.make_entry(OTHER_KEY, LATENTS, PIXELS, {}, {}),
    ]
    assert entries[0].digest == entries[1].digest
    reshaped = Latents("float32", (1, 2, 2), LATENTS.data)
    assert entry.make_entry(KEY, reshaped, PIXELS, {}, {}).digest != entries[0].digest
    assert entry.make_entry(KEY, LATENTS, PIXELS + 1, {}, {}).digest != entries[0].digest


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_is_found_in_every_byte(packed: bytes, bit: int) -> None:
    for place in range(len(packed)):
        damaged = bytearray(packed)
        damaged[place] ^= 1 << bit
        with pytest.raises(BadEntry):
            unpack(bytes(damaged))


def test_a_file_cut_short_is_found_at_every_length(packed: bytes) -> None:
    for length in range(len(packed)):
        with pytest.raises(BadEntry, match="no artv frame|version" if length < 13 else "cut short"):
            unpack(packed[:length])
    assert unpack(packed).key == KEY


@pytest.mark.parametrize("more", [b"\n", b"\0" * 4096])
def test_a_file_with_more_at_its_end_is_found(packed: bytes, more: bytes) -> None:
    with pytest.raises(BadEntry, match="longer than it says"):
        unpack(packed + more)


def test_zeroed_and_doubled_stretches_are_found(packed: bytes) -> None:
    for place in range(0, len(packed), 16):
        zeroed = packed[:place] + bytes(len(packed[place : place + 16])) + packed[place + 16 :]
        doubled = packed[:place] + packed[max(0, place - 16) : place] + packed[place:]
        for damaged in {zeroed, doubled} - {packed}:
            with pytest.raises(BadEntry):
                unpack(damaged)


def test_another_format_version_is_named_as_such(packed: bytes) -> None:
    for version in (b"2", b"10", b"x"):
        with pytest.raises(BadEntry, match="another format version"):
            unpack(packed.replace(b"artv-frame 1", b"artv-frame " + version, 1))


@pytest.mark.parametrize(
    "fields",
    [
        "[]",
        "{}",
        "nonsense",
        "[" * 100_000,
        '{"digest":"","environment":{},"key":"","latents":[],"parents":{},"png":0}',
        *(
            json.dumps(EMPTY | {"latents": {"dtype": "float32", "shape": [0]}} | wrong)
            for wrong in (
                {"png": -1},
                {"png": True},
                {"png": 1.0},
                {"key": 5},
                {"parents": []},
                {"parents": {"a": 1}},
                {"latents": {"dtype": "float64", "shape": [0]}},
                {"latents": {"dtype": [], "shape": [0]}},
                {"latents": {"dtype": "float32", "shape": 4}},
                {"latents": {"dtype": "float32", "shape": ["4"]}},
            )
        ),
    ],
)
def test_a_true_header_that_makes_no_sense_is_a_bad_entry(fields: str) -> None:
    with pytest.raises(BadEntry, match="its header says nothing that artv knows"):
        unpack(sealed(fields))


def test_a_true_header_that_promises_more_than_there_is_is_a_bad_entry() -> None:
    latents = {"dtype": "float32", "shape": [1 << 62]}
    with pytest.raises(BadEntry, match="it is cut short"):
        unpack(sealed(json.dumps(EMPTY | {"latents": latents})))


def sealed(header: str) -> bytes:
    seal = hashlib.sha256(header.encode()).hexdigest()
    return MAGIC + f"{seal}\n{header}\n".encode()


def test_a_picture_alone_is_an_entry_without_latents() -> None:
    none = Latents("float32", (0, 0, 0), b"")
    put = entry.make_entry(KEY, none, PIXELS, {}, {})
    assert unpack(entry.pack_entry(put)) == put


def test_a_picture_that_is_no_png_is_told_with_its_frame() -> None:
    jpeg = io.BytesIO()
    Image.fromarray(PIXELS).save(jpeg, "JPEG")
    put = entry.Entry(KEY, LATENTS, jpeg.getvalue(), {}, {})
    with pytest.raises(StorageError, match=f"cached frame {KEY[:12]} cannot be read"):
        put.pixels()


def test_what_was_verified_never_changes(packed: bytes) -> None:
    for verified in (entry.read_header(io.BytesIO(packed)), unpack(packed)):
        with pytest.raises(FrozenInstanceError):
            verified.key = OTHER_KEY  # type: ignore[misc]


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("float32", [0x7F7F_FFFF, 0x8000_0000], [0x7F80_0000, 0xFF80_0000, 0x7FC0_0001]),
        ("float16", [0x7BFF, 0x8000], [0x7C00, 0xFC00, 0x7E01]),
        ("bfloat16", [0x7F7F, 0x8000], [0x7F80, 0xFF80, 0x7FC1]),
    ],
)
def test_nan_and_infinity_are_found_in_every_dtype(dtype: Any, good: Any, bad: Any) -> None:
    word = "<u4" if dtype == "float32" else "<u2"
    assert is_finite(Latents(dtype, (2,), np.array(good, word).tobytes()))
    for bits in bad:
        assert not is_finite(Latents(dtype, (2,), np.array([good[0], bits], word).tobytes()))
