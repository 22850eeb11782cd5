"""Clips composed ahead: other processes draw the next ones while this one trains on the last."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")


class _Composed(Dataset[T]):
    def __init__(self, compose: Callable[[int], T]) -> None:
        self.compose = compose

    def __getitem__(self, number: int) -> T:
        return self.compose(number)


def composed(
    compose: Callable[[int], T], numbers: Iterable[int], workers: int = 0
) -> Generator[T, None, None]:
    """Yield `compose(number)` for each number, in order; so many processes work ahead of it.

    Without them each is composed when it is asked for. What `compose` returns should be arrays,
    which come through a pipe: tensors would come through shared memory, of which containers have
    little.
    """
    yield from DataLoader(
        _Composed(compose),
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        collate_fn=_as_it_is,
        # A forked process could not use what this one has begun on a card.
        multiprocessing_context="spawn" if workers else None,
        generator=torch.Generator(),  # the global one stays where it is
    )


def _as_it_is(value: T) -> T:
    return value
