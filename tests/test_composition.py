"""Clips composed by other processes: the same ones, in order, as by this one alone."""

from __future__ import annotations

from functools import partial
from itertools import count, islice

import numpy as np
import torch

from artv_cli.train.composition import composed


def test_processes_that_work_ahead_change_neither_what_is_composed_nor_its_order() -> None:
    compose = partial(np.full, 3)
    here = list(composed(compose, [5, 2, 9]))
    ahead = list(composed(compose, [5, 2, 9], workers=1))
    assert [array.tolist() for array in here] == [[5] * 3, [2] * 3, [9] * 3]
    assert all(isinstance(array, np.ndarray) for array in ahead)  # not tensors in shared memory
    assert all(np.array_equal(a, b) for a, b in zip(here, ahead, strict=True))
    torch.from_numpy(ahead[0]).zero_()  # nor may it be read-only


def test_a_clip_is_composed_when_it_is_asked_for() -> None:
    asked: list[int] = []
    made = composed(asked.append, count(3))
    assert not asked
    assert list(islice(made, 2)) == [None, None]
    assert asked == [3, 4]


def test_what_is_drawn_from_the_global_generator_stays_the_same() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    list(composed(abs, [1, 2]))
    assert torch.equal(torch.rand(3), expected)
