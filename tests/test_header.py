"""Headers of safetensors files: read without loading, and refused in one sentence if malformed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from artv_cli.errors import ModelError
from artv_cli.model.header import TensorInfo, read_header, read_metadata, require_floats

TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"


def write(file: Path, header: str) -> None:
    file.write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(4))


def test_names_dtypes_shapes_and_metadata_are_read(file: Path) -> None:
    weights = {"a": torch.zeros(2, 3, dtype=torch.float16), "b": torch.zeros(())}
    save_file(weights, file, metadata={"format": "pt"})
    tensors = read_header(file, "m")
    assert tensors == {"a": TensorInfo("F16", (2, 3)), "b": TensorInfo("F32", ())}
    assert {name: info.count for name, info in tensors.items()} == {"a": 6, "b": 1}
    assert read_metadata(file, "m") == {"format": "pt"}
    require_floats(tensors, "m", "vae")


@pytest.mark.parametrize(
    "change",
    [
        *({"data_offsets": wrong} for wrong in ([], [0], "x", None, 3, {}, [0, "4"], [0, None])),
        *({"shape": wrong} for wrong in (None, 3, ["x"], [None], [1e999], [float("nan")])),
        *({"shape": wrong} for wrong in ([2**62], [9], [-1], [-1, -1])),  # in four bytes
        {"more": 1},
    ],
    ids=str,
)
def test_a_malformed_entry_is_refused(file: Path, change: dict[str, Any]) -> None:
    write(file, json.dumps({"a": TENSOR | change}))
    with pytest.raises(ModelError, match="is not a safetensors file, or is cut short"):
        read_header(file, "m")


@pytest.mark.parametrize(
    "header", ["", "[", "[]", "null", "3", '"x"', '{"a": 3}', '{"a": {}}', "[" * 100_000]
)
def test_a_malformed_header_is_refused(file: Path, header: str) -> None:
    write(file, header)
    with pytest.raises(ModelError, match="is not a safetensors file, or is cut short"):
        read_header(file, "m")


@pytest.mark.parametrize("header", ["", "[", "[]", "null", '{"__metadata__": []}'])
def test_malformed_metadata_are_refused(file: Path, header: str) -> None:
    write(file, header)
    with pytest.raises(ModelError, match="is not a safetensors file, or is cut short"):
        read_metadata(file, "m")


def test_a_file_that_cannot_be_read_is_not_said_to_be_of_another_kind(file: Path) -> None:
    for read in (read_header, read_metadata):
        with pytest.raises(ModelError, match="weights.safetensors cannot be read: .*No such file"):
            read(file, "m")


def test_a_file_of_another_length_than_its_header_says_is_refused(file: Path) -> None:
    write(file, json.dumps({"a": TENSOR | {"data_offsets": [0, 8], "shape": [2]}}))
    with pytest.raises(ModelError, match="bytes, and its header speaks of"):
        read_header(file, "m")
