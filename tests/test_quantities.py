"""Rates, sizes and lengths that people write by hand: exact, or told what they must be."""

from __future__ import annotations

from fractions import Fraction

import pytest

from artv_cli.quantities import Bytes, Duration, Interval, Rate, Size
from artv_cli.scalars import Kind


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (Size(1, 100), "0x5", "width and height in pixels, such as 128x96, each from 1 to 100"),
        (Size(1, 100), "wide", "not 'wide'"),
        (Size(1, 100), [5, 101], "[5, 101]"),
        (Size(1, 100), [5], "[5]"),
        (Interval(0, 999), "900-200", "must be the lowest and the highest timestep"),
        (Bytes(), "2 bananas", "must be a size, such as 500MB, 2GB or 0; not '2 bananas'"),
        (Bytes(), True, "must be a size, such as 500MB, 2GB or 0; not True"),
        (Bytes(), 10**320, "must be a size, such as 500MB, 2GB or 0"),
        (Duration(), "0:75", "must be a length of time, such as 2s, 1500ms or 0:02; not '0:75'"),
        (Duration(), "soon", "must be a length of time, such as 2s, 1500ms or 0:02; not 'soon'"),
        (Rate(), "29.9700001", "must be a rate that films keep exactly, such as 29.97"),
    ],
    ids=str,
)
def test_a_quantity_that_cannot_be_used_is_told_with_itself(
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
        (Size(1, 100), "12 x 9", (12, 9)), (Interval(0, 999), [200, 900], (200, 900)),
    ],
    ids=str,
)  # fmt: skip
def test_a_quantity_is_read_exactly(kind: Kind, value: object, read: object) -> None:
    assert kind.parse(value) == read
