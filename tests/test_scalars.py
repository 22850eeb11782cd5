"""Values that people write by hand: what is read, and what a bad one is told."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from artv_cli.scalars import Bytes, Duration, Folder, Kind, Pattern, Rate, Size, Switch


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (Pattern("[a-z]+", "a word"), "two words", "must be a word, not 'two words'"),
        (Switch(), "perhaps", "must be true or false, not 'perhaps'"),
        (Switch(), 1, "must be true or false, not 1"),
        (Size(1, 100), "0x5", "width and height in pixels, such as [128, 96], each from 1 to 100"),
        (Size(1, 100), "wide", "not 'wide'"),
        (Size(1, 100), [5, 101], "[5, 101]"),
        (Size(1, 100), [5], "[5]"),
        (Bytes(), "2 bananas", "must be a size, such as 500MB, 2GB or 0; not '2 bananas'"),
        (Bytes(), True, "must be a size, such as 500MB, 2GB or 0; not True"),
        (Duration(), "0:75", "must be a length of time, such as 2s, 1500ms or 0:02; not '0:75'"),
        (Duration(), "soon", "must be a length of time, such as 2s, 1500ms or 0:02; not 'soon'"),
        (Rate(), "29.9700001", "must be a rate that films keep exactly, such as 29.97"),
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


@pytest.mark.parametrize("value", ["5/0", "", True, "fast", [24]], ids=str)
def test_a_rate_is_a_number_and_no_division_by_zero(value: object) -> None:
    with pytest.raises(ValueError):
        Rate().parse(value)


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (Bytes(), "1.5KiB", 1536), (Bytes(), "2 GB", 2 * 10**9), (Bytes(), 7, 7),
        (Bytes(), 10**21, 10**21),
        (Duration(), "1:00:02.5", Fraction(7205, 2)), (Duration(), "0:59", Fraction(59)),
        (Duration(), "1500ms", Fraction(3, 2)), (Rate(), 29.97, Fraction(2997, 100)),
        (Switch(), " Off ", False), (Switch(), True, True),
        (Folder(), Path("films"), Path("films")),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_is_read_as_a_person_means_it(kind: Kind, value: object, read: object) -> None:
    assert kind.parse(value) == read
