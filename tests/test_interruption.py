"""The first signal asks a training to stop, the second one stops it."""

from __future__ import annotations

import os
import signal

import pytest

from artv_cli.train.interruption import SIGNALS, Interruption

pytestmark = pytest.mark.usefixtures("signals_of_the_command_line")


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


def test_what_a_job_in_the_background_ignores_it_goes_on_ignoring() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert not interruption.is_asked
