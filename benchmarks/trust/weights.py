"""Hostile weights: whatever a model folder holds, it loads, or one sentence says why not."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from artv_cli.errors import ModelError
from artv_cli.model.folder import INDEX, PARTS, WEIGHTED_PARTS, find_model
from benchmarks.trust.proof import Check, expect, randoms

VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 3, 2**31, 2**63, 10**30, 0.5, -1e308, "", "x", "../../x", "é" * 50, [],
    [1], [[]], {}, {"a": 1}, "AutoencoderKL", "os.system", float("nan"), float("inf"),
)  # fmt: skip
NO_FILES: tuple[Callable[[Path], None], ...] = (
    os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path),
)  # fmt: skip
CODE = "import pathlib\npathlib.Path({marker!r}).touch()\n"


def weights(seed: int, folder: Path) -> Iterator[Check]:
    """Yield the tiny model with one file of it mutated."""
    from tiny import tiny_folder

    model = tiny_folder(folder)
    untouched = _Untouched()
    for rng in randoms(seed):
        yield partial(_loads_or_tells, rng, model, untouched)


def waiting_code(seed: int, folder: Path) -> Iterator[Check]:
    """Yield the tiny model with pickles and remote code in it that wait to be run."""
    from tiny import tiny_folder

    model = tiny_folder(folder)
    for rng in randoms(seed):
        yield partial(_runs_no_code, rng, model)


class _Untouched:
    """Loads parts as artv does, but those that nobody touched only once: they cost most of it."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def once(self, load: Callable[..., Any], touched: str) -> Callable[..., Any]:
        def load_touched(place: Any, part: str, *rest: Any, **options: Any) -> Any:
            if part == touched:
                return load(place, part, *rest, **options)
            if part not in self._loaded:
                self._loaded[part] = load(place, part, *rest, **options)
            return self._loaded[part]

        return load_touched


def _loads_or_tells(rng: Random, model: Path, untouched: _Untouched, place: Path) -> None:
    copy = _copy(model, place)
    file = drawn_file(rng, sorted(path for path in copy.rglob("*") if path.is_file()))
    mutate = mutate_json if file.suffix == ".json" else mutate_safetensors
    file.write_bytes(mutate(rng, file.read_bytes()))
    if rng.random() < 0.02:
        file.unlink()
        rng.choice(NO_FILES)(file)
    _load(copy, f"{file.relative_to(copy)}", untouched, file.parent.name)


def drawn_file(rng: Random, files: Sequence[Path]) -> Path:
    """Return the file to mutate: configs and weights alike often, however many there are."""
    suffix = rng.choice((".json", ".safetensors"))
    return rng.choice([file for file in files if file.suffix == suffix])


def _runs_no_code(rng: Random, model: Path, place: Path) -> None:
    copy, marker = _copy(model, place), place / "ran"
    part, config = rng.choice([(part, PARTS[part]) for part in (*WEIGHTED_PARTS, "tokenizer")])
    folder = copy / part
    (folder / "evil.py").write_text(CODE.format(marker=str(marker)) + "class Evil: pass\n")
    for name in ("pytorch_model.bin", "diffusion_pytorch_model.bin", "model.pt", "model.ckpt"):
        (folder / name).write_bytes(pickle.dumps(_Touching(str(marker))))
    if rng.random() < 0.5:
        for file in folder.glob("*.safetensors"):
            file.unlink()
    told = json.loads((folder / config).read_text())
    auto = {name: "evil.Evil" for name in ("AutoConfig", "AutoModel", "AutoTokenizer")}
    told["auto_map"] = auto | (
        {"AutoTokenizer": ["evil.Evil", None]} if part == "tokenizer" else {}
    )
    if rng.random() < 0.5:
        told["_class_name"] = told["tokenizer_class"] = "Evil"
    (folder / config).write_text(json.dumps(told))
    if rng.random() < 0.5:
        index = json.loads((copy / INDEX).read_text())
        index[part] = ["evil", "Evil"]
        (copy / INDEX).write_text(json.dumps(index))
    _load(copy, f"code in {part}/")
    expect(not marker.exists(), f"code in {part}/ was run")


class _Touching:
    """A pickle that leaves a mark where it is opened."""

    def __init__(self, marker: str) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[[str, int], None], tuple[str, int]]:
        return os.mkdir, (self._marker, 0o700)


def _load(copy: Path, what: str, untouched: _Untouched | None = None, touched: str = "") -> None:
    from artv_cli.model import weights

    loads = {"load_weights": weights.load_weights, "load_part": weights.load_part}
    if untouched:
        loads = {name: untouched.once(load, touched) for name, load in loads.items()}
    try:
        with mock.patch.multiple(weights, **loads):
            weights.load_model(find_model(str(copy)))
    except ModelError as error:
        expect(error.message and "\n" not in error.message, f"{what}: {error.message!r}")
        expect(error.remedy, f"{what}: no remedy")
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error


def _copy(model: Path, place: Path) -> Path:
    """Copy a model, to damage it."""
    copy = place / "model"
    shutil.copytree(model, copy)
    return copy


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
