"""Kernels that repeat their bits, while they are asked for and no longer."""

from __future__ import annotations

import os

import pytest
import torch

from artv_cli.train.determinism import deterministic

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def told() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic


def test_they_are_taken_while_asked_for_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKSPACE, "")  # so that it is put back
    monkeypatch.delenv(WORKSPACE)
    with deterministic(False):
        assert told() == (False, False) and WORKSPACE not in os.environ
    with pytest.raises(ZeroDivisionError), deterministic(True):
        assert told() == (True, True) and os.environ[WORKSPACE] == ":4096:8"
        raise ZeroDivisionError
    assert told() == (False, False)


def test_a_workspace_that_somebody_chose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKSPACE, ":16:8")
    with deterministic(True):
        assert os.environ[WORKSPACE] == ":16:8"
