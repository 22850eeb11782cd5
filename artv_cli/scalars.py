"""The kinds of value that a person may set: how each is read, what it allows, how it complains.

One kind serves storyboards (where every value arrives as text), environment variables, TOML files
and Python alike. A kind stands in an annotation, `Annotated[int, Whole(1, 1000)]`, where pydantic
finds its parser and an editor its JSON Schema. Parsers raise ValueError with the rest of a
sentence that begins with the field's name: "must be a whole number from 1 to 1000, not 'many'".
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from artv_cli.wording import did_you_mean, shown

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_DECIMAL = re.compile(
    r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?"
)
_RATIO = re.compile(r"[0-9]{1,9}/[0-9]{1,9}")
_SIZE = re.compile(r"([0-9]{1,9})\s*[x×]\s*([0-9]{1,9})")
_INTERVAL = re.compile(r"([0-9]{1,9})\s*-\s*([0-9]{1,9})")
_CLOCK = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,4}):([0-9]{2}(?:\.[0-9]{1,9})?)")
_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s|min)?")
_BYTES = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([kMGT]?)(i)?B?", re.IGNORECASE)
_MOST_TEXT = 65_535  # bytes
_LARGEST_TERM = 1_001_000  # of a rate: where ffmpeg's av_parse_video_rate is still exact
_SECONDS = {"ms": Fraction(1, 1000), None: Fraction(1), "s": Fraction(1), "min": Fraction(60)}


class Kind(ABC):
    """A value's parser and JSON Schema, for use inside `Annotated`."""

    schema: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def parse(self, value: object) -> Any:
        """Return the value; ValueError with the rest of a sentence when it cannot be read."""

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of what a storyboard may say here."""
        return dict(self.schema)

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return self.json_schema()


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number from `low` to `high`, in plain decimal digits."""

    low: int
    high: int

    def parse(self, value: Any) -> int:
        digits = isinstance(value, str) and _WHOLE.fullmatch(value.strip())
        if digits or (isinstance(value, int) and not isinstance(value, bool)):
            number = int(value)
            if self.low <= number <= self.high:
                return number
        raise ValueError(
            f"must be a whole number from {self.low} to {self.high}, not {shown(value)}"
        )

    def json_schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Number(Kind):
    """A finite number from `low` to `high`."""

    low: float
    high: float

    def parse(self, value: Any) -> float:
        digits = isinstance(value, str) and _DECIMAL.fullmatch(value.strip())
        if digits or (isinstance(value, int | float) and not isinstance(value, bool)):
            number = float(value)
            if self.low <= number <= self.high:  # false for NaN
                return number
        raise ValueError(f"must be a number from {self.low:g} to {self.high:g}, not {shown(value)}")

    def json_schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True)
class Text(Kind):
    """Text that can be shown: not blank, no control characters; outer white space is taken off.

    As UTF-8 it has at most 65,535 bytes, as a subtitle in an MP4 does.
    """

    schema: ClassVar[Mapping[str, Any]] = {"type": "string", "minLength": 1}

    def parse(self, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"must be text, not {shown(value)}; put it in quotes")
        text = str(value).strip()
        if not text:
            raise ValueError("is blank; write some text, or take the line out")
        if not all(map(_can_be_shown, text)):
            raise ValueError("holds a character that cannot be shown; take it out")
        if len(text.encode()) > _MOST_TEXT:
            raise ValueError(f"is longer than {_MOST_TEXT} bytes; shorten it")
        return text


def _can_be_shown(character: str) -> bool:
    """Whether a character is no control character, lone surrogate or non-character."""
    code = ord(character)
    if code < 0x20 or code == 0x7F:
        return character in "\t\n"
    return not (0x80 <= code < 0xA0 or 0xD800 <= code < 0xE000 or code & 0xFFFE == 0xFFFE)


@dataclass(frozen=True)
class Pattern(Text):
    """One word of the form `regex`; `meaning` says what it should have been."""

    regex: str
    meaning: str

    def parse(self, value: object) -> str:
        text = super().parse(value)
        if not re.fullmatch(self.regex, text):
            raise ValueError(f"must be {self.meaning}, not {shown(value)}")
        return text

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{self.regex}$"}


@dataclass(frozen=True, eq=False)  # compared by identity: typing needs a hash
class Choice(Kind):
    """One of `words`; `aliases` maps other spellings to them."""

    words: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def parse(self, value: object) -> str:
        word = value.strip() if isinstance(value, str) else value
        if isinstance(word, str) and self.aliases.get(word, word) in self.words:
            return self.aliases.get(word, word)
        raise ValueError(
            f"must be {' or '.join(self.words)}, not {shown(value)}{did_you_mean(word, self.words)}"
        )

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": [*self.words, *self.aliases]}


@dataclass(frozen=True)
class Switch(Kind):
    """True or false."""

    schema: ClassVar[Mapping[str, Any]] = {"type": "boolean"}
    words: ClassVar[Mapping[str, bool]] = {
        "true": True, "yes": True, "on": True, "1": True,
        "false": False, "no": False, "off": False, "0": False,
    }  # fmt: skip

    def parse(self, value: object) -> bool:
        if isinstance(value, str):
            value = self.words.get(value.strip().lower(), value)
        if isinstance(value, bool):
            return value
        raise ValueError(f"must be true or false, not {shown(value)}")


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
    if isinstance(value, bool) or not (_DECIMAL.fullmatch(text) or _RATIO.fullmatch(text)):
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
            f"must be width and height in pixels, such as [128, 96], each from {self.low} to "
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
            f"must be the lowest and the highest timestep, such as [200, 900], from {self.low} to "
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
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
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


@dataclass(frozen=True)
class Folder(Text):
    """A folder's path; `~` is the home folder."""

    def parse(self, value: object) -> Any:
        try:
            return Path(
                super().parse(str(value) if isinstance(value, Path) else value)
            ).expanduser()
        except RuntimeError:
            raise ValueError(f"names a home folder that does not exist: {shown(value)}") from None
