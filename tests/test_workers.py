"""Jobs side by side: all are done, few at once, and a failure stops the others."""

from __future__ import annotations

from functools import partial
from threading import Barrier, Event

import pytest

from artv_cli.prepare.workers import side_by_side


def test_every_job_is_done_once() -> None:
    results = side_by_side((partial(pow, n, 2) for n in range(50)), 3, lambda: None)
    assert sorted(results) == [n * n for n in range(50)]


def test_jobs_run_side_by_side() -> None:
    meeting = Barrier(3)  # which no single one gets past
    assert len(list(side_by_side([partial(meeting.wait, 30)] * 3, 3, lambda: None))) == 3


def test_jobs_are_taken_as_they_are_needed() -> None:
    taken = []

    def jobs():
        for number in range(100):
            taken.append(number)
            yield partial(int, number)

    results = side_by_side(jobs(), 2, lambda: None)
    next(results)
    assert len(taken) <= 5
    results.close()


def test_a_failure_tells_the_others_to_stop_and_is_raised() -> None:
    stopped = Event()

    def fail() -> bool:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        list(side_by_side([partial(stopped.wait, 30), fail], 2, stopped.set))
    assert stopped.is_set()
