"""What a safetensors file says of itself: names, dtypes and shapes, read without loading it.

A file is eight bytes with the length of the header, the header as JSON, and the tensors' bytes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artv_cli.errors import ModelError
from artv_cli.files.input_file import open_file
from artv_cli.model.repository import first_line

FLOATS = ("F16", "BF16", "F32", "F64")
WHOLE_NUMBERS = ("position_ids", "num_batches_tracked")
_LONGEST = 100_000_000  # bytes of header that the format allows
_METADATA = "__metadata__"
_SMALLEST = 2  # of the values that the format knows, so many fit into a byte
_MALFORMED = (  # what reading JSON of any shape as a header raises
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a file: its dtype as safetensors writes it, such as F16, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many values the tensor holds."""
        return math.prod(self.shape)


def read_header(path: Path, name: str) -> dict[str, TensorInfo]:
    """Return the tensors of a safetensors file of the model called `name`.

    Raises ModelError if the file is none, is cut short, or cannot be read.
    """
    with _as_model_error(path, name):
        length, header, size = _read(path)
        header.pop(_METADATA, None)
        tensors = {key: _tensor(**told) for key, told in header.items()}
        end = 8 + length + max((t["data_offsets"][1] for t in header.values()), default=0)
    if size != end:
        raise _broken(name, f"{path} has {size} bytes, and its header speaks of {end}")
    return tensors


def read_metadata(path: Path, name: str) -> dict[str, str]:
    """Return what whoever wrote a safetensors file of the model called `name` says of it.

    Raises ModelError if the file is none, or cannot be read.
    """
    with _as_model_error(path, name):
        return {key: str(value) for key, value in _read(path)[1].get(_METADATA, {}).items()}


def require_floats(tensors: Mapping[str, TensorInfo], name: str, part: str) -> None:
    """Refuse weights of a part that are no floating-point numbers: loaded, they would be cast.

    Counters and positions, which are whole by nature, are let through.
    """
    for key, info in tensors.items():
        if info.dtype not in FLOATS and key.rpartition(".")[2] not in WHOLE_NUMBERS:
            raise ModelError(
                f"{name}: {part}/ cannot be loaded: {key} is {info.dtype}, and weights are"
                f" {', '.join(FLOATS[:-1])} or {FLOATS[-1]}",
                "Take the model as it was published, neither quantised nor converted.",
            )


def _tensor(dtype: str, shape: list[int], data_offsets: list[int]) -> TensorInfo:
    """Return what an entry of the header tells; ValueError for values without bytes."""
    info, (begin, end) = TensorInfo(dtype, tuple(map(int, shape))), data_offsets
    if min(info.shape, default=0) < 0 or info.count > _SMALLEST * (end - begin):
        raise ValueError(shape)
    return info


@contextmanager
def _as_model_error(path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _broken(name, f"{path} cannot be read: {first_line(error)}") from None
    except _MALFORMED:
        raise _broken(name, f"{path} is not a safetensors file, or is cut short") from None


def _read(path: Path) -> tuple[int, Any, int]:
    """Return the header's length in bytes, the header, and the file's size in bytes."""
    with open_file(path) as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length)) if length <= _LONGEST else None
        return length, header, os.fstat(file.fileno()).st_size


def _broken(name: str, problem: str) -> ModelError:
    return ModelError(f"{name}: {problem}", "Fetch the file again.")
