"""Hostile weights: whatever a model folder holds, it loads, or one sentence says why not."""

from __future__ import annotations

import itertools
import json
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from benchmarks.trust.proof import Check, randoms
from benchmarks.trust.roads import Road, copied, load, roads

SHARES = {"film": 45, "pictures": 4, "base": 1}  # how often each kind of model is damaged
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 3, 2**31, 2**63, 10**30, 0.5, -1e308, "", "x", "../../x", "é" * 50, [],
    [1], [[]], {}, {"a": 1}, "AutoencoderKL", "os.system", float("nan"), float("inf"),
)  # fmt: skip
NO_FILES: tuple[Callable[[Path], None], ...] = (
    os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path),
)  # fmt: skip


def weights(seed: int, folder: Path) -> Iterator[Check]:
    """Yield a model of any kind with one file of it mutated, sometimes two."""
    every = roads(folder)
    untouched = {name: _Untouched() for name in every}
    for rng in randoms(seed):
        (name,) = rng.choices(list(SHARES), list(SHARES.values()))
        yield partial(_loads_or_tells, rng, every[name], untouched[name])


class _Untouched:
    """Loads parts as artv does, but those that nobody touched only once: they cost most of it."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def once(self, load: Callable[..., Any], touched: set[str]) -> Callable[..., Any]:
        def load_touched(place: Any, part: str, *rest: Any, **options: Any) -> Any:
            if part in touched:
                return load(place, part, *rest, **options)
            if part not in self._loaded:
                self._loaded[part] = load(place, part, *rest, **options)
            return self._loaded[part]

        return load_touched


def _loads_or_tells(rng: Random, road: Road, untouched: _Untouched, place: Path) -> None:
    copy = copied(road.model, place)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    mutated = sorted({drawn_file(rng, files) for _ in range(rng.choice((1,) * 9 + (2,)))})
    for file in mutated:
        mutate = mutate_json if file.suffix == ".json" else mutate_safetensors
        file.write_bytes(mutate(rng, file.read_bytes()))
    if rng.random() < 0.02:
        mutated[-1].unlink()
        rng.choice(NO_FILES)(mutated[-1])
    what = " and ".join(str(file.relative_to(place)) for file in mutated)
    with ExitStack() as patched:
        for module, name in itertools.product(road.loaders, ("load_weights", "load_part")):
            if loader := getattr(module, name, None):
                once = untouched.once(loader, {file.parent.name for file in mutated})
                patched.enter_context(mock.patch.object(module, name, once))
        load(road, copy, what)


def drawn_file(rng: Random, files: Sequence[Path]) -> Path:
    """Return the file to mutate: configs and weights alike often, however many there are."""
    suffix = rng.choice((".json", ".safetensors"))
    return rng.choice([file for file in files if file.suffix == suffix])


def mutate_safetensors(rng: Random, data: bytes) -> bytes:
    """Return weights with the header's length, the header or the values changed."""
    (length,) = struct.unpack("<Q", data[:8])
    header, values = data[8 : 8 + length], data[8 + length :]
    match rng.randrange(8):
        case 0:
            sizes = (0, 1, length - 1, length + 1, len(data), 10**8, 2**63, 2**64 - 1)
            return struct.pack("<Q", rng.choice(sizes)) + data[8:]
        case 1:
            return data[: rng.randrange(len(data))]
        case 2:
            return _bytes_changed(rng, data[: 8 + length]) + values
        case 3:
            return data + rng.randbytes(rng.randrange(1, 100))
        case 4 | 5 | 6:
            header = mutate_header(rng, header)
            return struct.pack("<Q", len(header)) + header + values
        case _:
            place = rng.randrange(0, max(1, len(values) - 4), 4)
            value = struct.pack("<I", rng.choice((0x7F800000, 0xFFC00000, rng.getrandbits(32))))
            return data[: 8 + length] + values[:place] + value + values[place + 4 :]


def mutate_header(rng: Random, header: bytes) -> bytes:
    """Return a safetensors header with one entry wrong, overlapping, gone or twice."""
    entries = json.loads(header)
    name = rng.choice(sorted(entries))
    entry = entries[name] if isinstance(entries[name], dict) else {}
    match rng.randrange(7):
        case 0:
            entry["dtype"] = rng.choice(("F64", "F16", "I64", "BOOL", "U8", "X9", "", None, 3))
        case 1:
            entry["shape"] = rng.choice(([], [0], [-1], [2**63], [2**32, 2**32], ["1"], None, 3))
        case 2:
            entry["data_offsets"] = rng.choice(
                ([0, 0], [4, 0], [-4, 0], [0, 2**63], [0], None, "x")
            )
        case 3:
            del entries[name]
        case 4:
            entries[rng.choice(("", "x" * 5000, "é", "../x", "__metadata__"))] = entry
        case 5:
            entries[name] = rng.choice(VALUES)
        case _:
            other = rng.choice(sorted(entries))
            entries[name] = entries[other]
    return json.dumps(entries).encode()


def mutate_json(rng: Random, data: bytes) -> bytes:
    """Return a config with a value changed, a key gone or too many, or as no JSON at all."""
    if rng.random() < 0.25:
        return _bytes_changed(rng, data)
    if rng.random() < 0.05:
        return rng.choice(
            (b"", b"[]", b"null", b"3", b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe")
        )
    content = json.loads(data)
    holder = content
    while isinstance(holder, dict) and holder:
        key = rng.choice(sorted(holder))
        if isinstance(holder[key], dict) and holder[key] and rng.random() < 0.7:
            holder = holder[key]
            continue
        match rng.randrange(4):
            case 0:
                del holder[key]
            case 1:
                holder[rng.choice(("x", "auto_map", "_class_name", "trust_remote_code"))] = key
            case _:
                holder[key] = rng.choice(VALUES)
        break
    return json.dumps(content).encode()


def _bytes_changed(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        changed[rng.randrange(len(changed))] = rng.choice((0, 0xFF, 0x22, 0x7B, rng.randrange(256)))
    return bytes(changed)
