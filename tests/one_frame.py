"""One small frame to put into a cache, and how to look at what became of it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np

from artv_cli.cache.entry import Entry, read_entry
from artv_cli.cache.store import FrameStore
from artv_cli.latents import Latents

KEY, OTHER_KEY = "ab" * 32, "cd" * 32
PARENTS = {"12" * 32: "34" * 32}
ENVIRONMENT = {"torch": "2.9.0", "device": "cpu"}
LATENTS = Latents("float32", (2, 1, 2), struct.pack("<4f", 0.5, -1.0, 2.0, 3.25))
PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def quarantined(store: FrameStore) -> list[Path]:
    return sorted((store.root / "quarantine").glob("*"))


def unpack(data: bytes) -> Entry:
    return read_entry(io.BytesIO(data))
