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
from pathlib import Path
from typing import Any, ClassVar

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from artv_cli.wording import did_you_mean, shown

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
DECIMAL = re.compile(
    r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?"
)
_MOST_TEXT = 65_535  # bytes


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
        digits = isinstance(value, str) and DECIMAL.fullmatch(value.strip())
        if digits or (isinstance(value, int | float) and not isinstance(value, bool)):
            number = float(value) if digits else value
            if self.low <= number <= self.high:  # false for NaN
                return float(number)  # which whole numbers may be too large for
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
class Folder(Text):
    """A folder's path; `~` is the home folder."""

    def parse(self, value: object) -> Any:
        try:
            return Path(
                super().parse(str(value) if isinstance(value, Path) else value)
            ).expanduser()
        except RuntimeError:
            raise ValueError(f"names a home folder that does not exist: {shown(value)}") from None
