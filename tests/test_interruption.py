"""The first signal asks a training to stop, the second one stops it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from artv_cli.train.interruption import SIGNALS, Interruption


@pytest.fixture(autouse=True)
def as_the_command_line_has_it() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_told_and_the_second_stops_at_once(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption:
        assert not interruption.is_asked
        os.kill(os.getpid(), number)
        assert interruption.is_asked
        assert "ask again to stop at once" in capfd.readouterr().err
        os.kill(os.getpid(), number)


def test_signals_do_afterwards_what_they_did_before() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruption():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
