"""The kinds of value that measure something: rates, sizes, intervals, lengths of time.

Read exactly, as a person means them: 29.97 is 2997/100, and 1.5 GiB so many bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from artv_cli.scalars import DECIMAL, Kind, Whole
from artv_cli.wording import shown

_RATIO = re.compile(r"[0-9]{1,9}/[0-9]{1,9}")
_SIZE = re.compile(r"([0-9]{1,9})\s*[x×]\s*([0-9]{1,9})")
_INTERVAL = re.compile(r"([0-9]{1,9})\s*-\s*([0-9]{1,9})")
_CLOCK = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,4}):([0-9]{2}(?:\.[0-9]{1,9})?)")
_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s|min)?")
_BYTES = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([kMGT]?)(i)?B?", re.IGNORECASE)
_MOST_BYTES = 10**30  # as can be said with a unit, too
_LARGEST_TERM = 1_001_000  # of a rate: where ffmpeg's av_parse_video_rate is still exact
_SECONDS = {"ms": Fraction(1, 1000), None: Fraction(1), "s": Fraction(1), "min": Fraction(60)}


@dataclass(frozen=True)
class Rate(Kind):
    """Frames a second, as an exact fraction: 8, 23.976 or "30000/1001"; above 0, at most 1000."""

    schema: ClassVar[Mapping[str, Any]] = {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1000},
            {"type": "string", "pattern": "^[0-9]+/[0-9]+$"},
        ]
    }

    def parse(self, value: object) -> Fraction:
        rate = _fraction(value)
        if rate is None or not Fraction(1, 1000) <= rate <= 1000:
            raise ValueError(
                f'must be frames a second, such as 8, 29.97 or "30000/1001", and at most 1000; '
                f"not {shown(value)}"
            )
        if not films_keep(rate):
            raise ValueError(
                f'must be a rate that films keep exactly, such as 29.97 or "30000/1001"; '
                f"not {shown(value)}"
            )
        return rate


def films_keep(rate: Fraction) -> bool:
    """Tell whether films keep a rate as it is: beyond a million ffmpeg approximates its terms."""
    return 0 < rate and max(rate.numerator, rate.denominator) <= _LARGEST_TERM


def _fraction(value: object) -> Fraction | None:
    """Read a rational as a person means it: 29.97 is 2997/100, not the float beside it."""
    if isinstance(value, Fraction):
        return value
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    if isinstance(value, bool) or not (DECIMAL.fullmatch(text) or _RATIO.fullmatch(text)):
        return None
    try:
        return Fraction(text)
    except ZeroDivisionError:
        return None


@dataclass(frozen=True)
class Size(Kind):
    """Width and height in pixels: [128, 96] or "128x96", each from `low` to `high`."""

    low: int
    high: int

    def parse(self, value: object) -> tuple[int, int]:
        if pair := _two(value, _SIZE, Whole(self.low, self.high)):
            return pair
        raise ValueError(
            f"must be width and height in pixels, such as 128x96, each from {self.low} to "
            f"{self.high}; not {shown(value)}"
        )

    def json_schema(self) -> dict[str, Any]:
        return _schema_of_two(Whole(self.low, self.high), "[x×]")


@dataclass(frozen=True)
class Interval(Kind):
    """Timesteps from a lowest to a highest, both of them in it: [200, 900] or "200-900"."""

    low: int
    high: int

    def parse(self, value: object) -> tuple[int, int]:
        pair = _two(value, _INTERVAL, Whole(self.low, self.high))
        if pair is not None and pair[0] <= pair[1]:
            return pair
        raise ValueError(
            f"must be the lowest and the highest timestep, such as 200-900, from {self.low} to "
            f"{self.high}; not {shown(value)}"
        )

    def json_schema(self) -> dict[str, Any]:
        return _schema_of_two(Whole(self.low, self.high), "-")


def _two(value: object, pattern: re.Pattern[str], whole: Whole) -> tuple[int, int] | None:
    """Return two whole numbers from a list of them or from a text; None where it holds none."""
    two: object = value
    if isinstance(value, str) and (match := pattern.fullmatch(value.strip())):
        two = match.groups()
    if not isinstance(two, list | tuple) or len(two) != 2:
        return None
    try:
        return whole.parse(two[0]), whole.parse(two[1])
    except ValueError:
        return None


def _schema_of_two(whole: Whole, between: str) -> dict[str, Any]:
    pair = {"type": "array", "items": whole.json_schema(), "minItems": 2, "maxItems": 2}
    return {"anyOf": [pair, {"type": "string", "pattern": f"^[0-9]+ *{between} *[0-9]+$"}]}


@dataclass(frozen=True)
class Bytes(Kind):
    """A number of bytes: 2GB, 500 MB, 1.5GiB or 0."""

    schema: ClassVar[Mapping[str, Any]] = {"type": ["string", "integer"]}

    def parse(self, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_BYTES:
            return value
        text = value.strip() if isinstance(value, str) else ""
        if not (match := _BYTES.fullmatch(text)):
            raise ValueError(f"must be a size, such as 500MB, 2GB or 0; not {shown(value)}")
        number, unit, binary = match.groups()
        exponent = " kmgt".index(unit.lower()) if unit else 0
        return int(Fraction(number) * (1024 if binary else 1000) ** exponent)


@dataclass(frozen=True)
class Duration(Kind):
    """A length of time in seconds, as an exact fraction: 2s, 1.5, 1500ms, 2min or 0:02."""

    schema: ClassVar[Mapping[str, Any]] = {"type": ["string", "number"]}

    def parse(self, value: object) -> Fraction:
        text = str(value).strip() if isinstance(value, str | int | float) else ""
        if match := _CLOCK.fullmatch(text):
            hours, minutes, seconds = match.groups(default="0")
            if Fraction(seconds) < 60:
                return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
        elif match := _SPAN.fullmatch(text):
            return Fraction(match[1]) * _SECONDS[match[2]]
        raise ValueError(
            f"must be a length of time, such as 2s, 1500ms or 0:02; not {shown(value)}"
        )
