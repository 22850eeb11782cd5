"""Jobs done side by side: threads, since the work is ffmpeg's, OpenCV's and the device's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


def side_by_side(
    jobs: Iterable[Callable[[], T]], workers: int, stop: Callable[[], None]
) -> Iterator[T]:
    """Yield what the jobs return, as they end; few of them are taken at once.

    The first failure is raised, after `stop` has told the other jobs and they have ended; an
    interrupt as well.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: set[Future[T]] = set()
        try:
            for job in jobs:
                waiting.add(pool.submit(job))
                if len(waiting) >= 2 * workers:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BaseException:
            stop()
            pool.shutdown(cancel_futures=True)
            raise
