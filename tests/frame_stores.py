"""Fixtures for the tests of the cache: a store in a folder of its own, and one frame in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from one_frame import ENVIRONMENT, KEY, LATENTS, PARENTS, PIXELS

from artv_cli.cache.store import FrameStore


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, warnings: list[str]) -> FrameStore:
    return FrameStore(tmp_path / ".artv", environment=ENVIRONMENT, warn=warnings.append)


@pytest.fixture
def packed(store: FrameStore) -> bytes:
    """A valid entry's bytes; the entry itself stands in the store."""
    store.put(KEY, LATENTS, PIXELS, PARENTS)
    return store.path(KEY).read_bytes()
