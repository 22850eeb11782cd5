"""Shells complete commands and options: bash, zsh and fish ask artv itself."""

from __future__ import annotations

import pytest
from conftest import Studio
from typer.testing import CliRunner

from artv_cli.cli import app


def completed(shell: str, typed: str) -> str:
    words = typed.split(" ")
    asked = {
        "_ARTV_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": typed,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    return CliRunner().invoke(app, [], prog_name="artv", env=asked).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("artv st", "story"),
        ("artv cache ver", "verify"),
        ("artv story --prev", "--preview"),
        ("artv story --sampler eu", "euler"),
    ],
)
def test_commands_options_and_choices_are_completed(
    studio: Studio, shell: str, typed: str, offered: str
) -> None:
    assert offered in completed(shell, typed)
