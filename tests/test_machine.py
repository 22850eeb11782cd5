"""The machine that networks run on: what it is told to compute in."""

from __future__ import annotations

import pytest
import torch

from artv_cli.errors import ArtvError
from artv_cli.machine import autocast, has_fast_bfloat16, memory_told


@pytest.mark.parametrize(
    ("device", "capability", "is_fast"),
    [("cuda", "AVX2", True), ("cpu", "AVX512", True), ("cpu", "AVX2", False)],
)
def test_bfloat16_is_for_cards_and_for_wide_vectors(
    device: str, capability: str, is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    assert has_fast_bfloat16(device) == is_fast


@pytest.mark.parametrize(
    ("capability", "dtype"), [("AVX512", torch.bfloat16), ("AVX2", torch.float32)]
)
def test_products_are_computed_in_what_is_faster(
    capability: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    with autocast("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_only_the_devices_memory_is_told_of() -> None:
    with pytest.raises(ArtvError, match="no memory left: CUDA out of memory") as caught:
        with memory_told("Take less."):
            raise torch.OutOfMemoryError("CUDA out of memory.\nMore of it.")
    assert "More" not in caught.value.message and caught.value.remedy == "Take less."
    with pytest.raises(ZeroDivisionError), memory_told("Take less."):
        raise ZeroDivisionError
