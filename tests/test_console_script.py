"""Where the command begins: what is set before anything is loaded."""

from __future__ import annotations

import os
import signal

import pytest

from artv_cli import cli, console_script


@pytest.mark.parametrize(("said", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_do_not_spin_while_they_wait_unless_somebody_says_so(
    said: str | None, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", said or "")  # so that it is as before afterwards
    if said is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    seen: list[str | None] = []
    monkeypatch.setattr(cli, "main", lambda: seen.append(os.environ.get("OMP_WAIT_POLICY")))
    before = signal.getsignal(signal.SIGTERM)
    try:
        console_script.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [policy]
