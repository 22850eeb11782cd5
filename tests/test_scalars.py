"""Values that people write by hand: what is read, and what a bad one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from artv_cli.scalars import Folder, Kind, Number, Pattern, Switch


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (Pattern("[a-z]+", "a word"), "two words", "must be a word, not 'two words'"),
        (Number(0, 10), 10**400, "must be a number from 0 to 10, not so much"),
        (Switch(), "perhaps", "must be true or false, not 'perhaps'"),
        (Switch(), 1, "must be true or false, not 1"),
        (Folder(), "~nobody-has-this-name/x", "names a home folder that does not exist"),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_used_is_told_with_itself(
    kind: Kind, value: object, told: str
) -> None:
    with pytest.raises(ValueError) as caught:
        kind.parse(value)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (Number(0, 10), 7, 7.0), (Number(0, 10), " 2.5 ", 2.5),
        (Switch(), " Off ", False), (Switch(), True, True),
        (Folder(), Path("films"), Path("films")),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_is_read_as_a_person_means_it(kind: Kind, value: object, read: object) -> None:
    assert kind.parse(value) == read
