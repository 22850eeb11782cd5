"""What one piece of hostile input may cost: processor time, memory, and no wait without an end."""

from __future__ import annotations

import ctypes
import gc
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from benchmarks.trust.proof import expect

PATIENCE = 60.0  # seconds on the wall until a piece of work counts as hanging
_STATUS = Path("/proc/self/status")


@contextmanager
def limited(what: str, *, seconds: float, megabytes: float) -> Iterator[None]:
    """Raise AssertionError, naming `what`, if the work inside costs more than that, or hangs.

    `seconds` are of this thread's own computing: a busy machine is nobody's fault, nor is what its
    kernel does to find memory. `megabytes` are what was held at the height of it beyond what the
    process held before.
    """
    held = _reset_peak()
    gc.freeze()  # what was there before is not looked through at this work's expense
    started = _computed()
    before = signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    except _Stopped:
        raise AssertionError(f"hangs: {what}") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.unfreeze()
    spent, grown = _computed() - started, (_kilobytes("VmHWM") - held) / 1000
    expect(spent < seconds, f"{spent:.1f} s for {what}")
    expect(grown < megabytes, f"{grown:.0f} MB for {what}")


class _Stopped(BaseException):
    """Not an Exception, which a decoder may be expected to raise."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped


def _computed() -> float:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_utime


def _reset_peak() -> int:
    """Forget the most memory that this process ever held; return what it holds, in kilobytes.

    What malloc keeps of memory that was freed is given back first: taken again, it would not show.
    """
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _kilobytes("VmRSS")


def _kilobytes(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])
