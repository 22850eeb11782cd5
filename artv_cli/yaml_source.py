"""YAML that somebody else may have written, read as text with places and within limits.

Scalars stay the text that was written: YAML 1.1 would make `prompt: no` false and `1:30` ninety.
What each value means is for the schema to say. Refused, each with its place: aliases and anchors
(a few hundred bytes of them can stand for gigabytes), merge keys, duplicate keys, tags, a second
document, and whatever goes beyond the limits below, before it costs time or memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from artv_cli.errors import Problem
from artv_cli.wording import shown

MAX_BYTES = 300_000  # more than MAX_NODES values need; PyYAML reads as much in half a second
MAX_LINES = 50_000
MAX_DEPTH = 20
MAX_NODES = 10_000

Place: TypeAlias = tuple[int, int]  # line and column, counted from 1
Value: TypeAlias = "str | list[Node] | dict[str, Node]"

_SYNTAX = {  # what PyYAML says: what a person should hear
    "'\\t' that cannot start": "a tab indents this; indent with spaces",
    "cannot start any token": "no value can begin with this character; put the text in quotes",
    "mapping values are not allowed": "a ': ' stands where none can; line this key up with the "
    "others, or put the text in quotes",
    "expected <block end>": "indented unlike the lines it belongs to; line it up with them",
    "expected '<document start>'": "indented unlike the lines before; line it up with them",
    "sequence entries are not allowed": "a '- ' stands where none can; give it a line of its own",
    "expected alphabetic or numeric": "text that begins with * or & or ! must stand in quotes",
    "expected ',' or": "a list or mapping in brackets is not closed; add the bracket or the comma",
    "expected the node content": "a value or a closing bracket is missing here; add it",
    "escape": "this is no escape of double quotes; use single quotes, or write \\\\ for \\",
}
_UNCLOSED = {  # the same, where the place that counts is the beginning of what went wrong
    "could not find expected ':'": "a key without ': ' stands here; add it, or indent the text",
    "found unexpected end of stream": "a quotation mark opened here is never closed; close it",
    "unexpected document separator": "a quotation mark opened here is never closed; close it",
}


@dataclass
class Node:
    """One value of the document and where it begins; `keys` has the places of a mapping's keys."""

    place: Place
    value: Value
    keys: dict[str, Place] = field(default_factory=dict)

    def plain(self) -> object:
        """Return the value without places: text, lists and dicts."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, loc: tuple[int | str, ...], *, key: bool = False) -> Place:
        """Return the place of the value at `loc`, or of its `key`; the nearest there is if none."""
        node, place = self, self.place
        for part in loc:
            if isinstance(node.value, dict) and part in node.value:
                place = node.keys[str(part)]
                node = node.value[str(part)]
            elif isinstance(node.value, list) and isinstance(part, int):
                node = node.value[part]
                place = node.place
        return place if key else node.place


class Unreadable(Exception):
    """The document cannot be read any further; `problems` says why."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


def read_yaml(
    source: str | bytes, what: str = "storyboard", first_key: str = "segments"
) -> tuple[Node, list[Problem]]:
    """Return the document and the problems that did not keep it from being read.

    `what` it is and its `first_key` stand in messages. Unreadable when there is no document, it is
    no YAML, or it exceeds a limit.
    """
    text = _decoded(source, what)
    composer = _Composer(text, what, first_key)
    return composer.document(), composer.problems


def _decoded(source: str | bytes, what: str) -> str:
    """Return the text within the size limit, as UTF-8 and without its byte order mark."""
    data = source if isinstance(source, bytes) else source.encode(errors="surrogatepass")
    if len(data) > MAX_BYTES:
        raise _unreadable((1, 1), f"this file is larger than {MAX_BYTES // 1000} kB; split it")
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        place = _place_after(data[: error.start].decode())
        raise _unreadable(place, "this is not UTF-8; save the file as UTF-8") from None
    if len(text.splitlines()) > MAX_LINES:
        raise _unreadable((MAX_LINES, 1), f"more than {MAX_LINES} lines; split the {what}")
    return text


def _place_after(text: str) -> Place:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return len(lines), len(lines[-1]) + 1


def _unreadable(place: Place, message: str) -> Unreadable:
    return Unreadable([Problem(*place, message)])


class _Composer:
    """Turns the parser's events into nodes; recursion is bounded by MAX_DEPTH."""

    def __init__(self, text: str, what: str, first_key: str) -> None:
        self.problems: list[Problem] = []
        self._what, self._first_key = what, first_key
        self._text = text
        self._num_nodes = 0
        self._events = self._parse()

    def document(self) -> Node:
        """Return the only document of the stream."""
        event = next(self._events)
        while not isinstance(event, yaml.DocumentStartEvent):
            if isinstance(event, yaml.StreamEndEvent):
                message = f"this {self._what} is empty; begin with `{self._first_key}:`"
                raise self._stop((1, 1), message)
            event = next(self._events)
        root = self._node(next(self._events), depth=1)
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                raise self._stop(_place(event), "a second document begins here; keep one to a file")
        return root

    def _parse(self) -> Iterator[yaml.Event]:
        """Yield the events; whatever the parser raises becomes Unreadable with a place."""
        try:
            loader = yaml.SafeLoader(self._text)
        except yaml.reader.ReaderError as error:
            place = _place_after(self._text[: error.position])
            raise self._stop(place, "a character that cannot be shown; take it out") from None
        try:
            while loader.check_event():
                yield loader.get_event()  # type: ignore[no-untyped-call]
        except yaml.MarkedYAMLError as error:
            raise self._stop(*_syntax(error)) from None
        except (ValueError, OverflowError):  # a code point or a version that is no number
            message = "an escape or a version here is out of range; take it out"
            raise self._stop(_at(loader.get_mark()), message) from None

    def _node(self, event: yaml.Event, depth: int) -> Node:
        """Return the node that begins with `event`, complaining of what must not stand there."""
        place = _place(event)
        self._num_nodes += 1
        if self._num_nodes > MAX_NODES:
            raise self._stop(place, f"more than {MAX_NODES} values; split the {self._what}")
        if depth > MAX_DEPTH:
            message = f"nested more than {MAX_DEPTH} deep; a {self._what} needs three"
            raise self._stop(place, message)
        if isinstance(event, yaml.AliasEvent):
            self._complain(place, "an alias (*) is not allowed; write the value out")
            return Node(place, "")
        assert isinstance(event, yaml.NodeEvent)
        if event.anchor is not None:
            self._complain(place, "an anchor (&) is not allowed; put text with & in quotes")
        if getattr(event, "tag", None) is not None:
            self._complain(place, "a tag (!) is not allowed; put text with ! in quotes")
        if isinstance(event, yaml.SequenceStartEvent):
            return Node(place, list(self._items(depth)))
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(place, depth)
        assert isinstance(event, yaml.ScalarEvent)
        if event.value == "" and event.implicit[0]:
            self._complain(place, "nothing stands here; write a value, or take the line out")
        return Node(place, event.value)

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _mapping(self, place: Place, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if not isinstance(key.value, str):
                self._complain(key.place, "a key must be a word, not a list or a mapping")
            elif key.value == "<<":
                self._complain(key.place, "a merge key (<<) is not allowed; write the values out")
            elif key.value in values:
                first = f"the first is on line {keys[key.value][0]}"
                self._complain(
                    key.place, f"{shown(key.value)} stands here a second time; {first}; keep one"
                )
            else:
                values[key.value], keys[key.value] = value, key.place
        return Node(place, values, keys)

    def _complain(self, place: Place, message: str) -> None:
        self.problems.append(Problem(*place, message))

    def _stop(self, place: Place, message: str) -> Unreadable:
        return Unreadable([*self.problems, Problem(*place, message)])


def _place(event: yaml.Event) -> Place:
    return _at(event.start_mark)


def _at(mark: Any) -> Place:
    return mark.line + 1, mark.column + 1


def _syntax(error: yaml.MarkedYAMLError) -> tuple[Place, str]:
    """Return the place of a syntax error and a plain sentence for it."""
    for part, message in _UNCLOSED.items():
        if part in f"{error.problem}":
            return _at(error.context_mark), message
    for part, message in _SYNTAX.items():
        if part in f"{error.problem}":
            return _at(error.problem_mark), message
    place = _at(error.problem_mark or error.context_mark)
    return place, f"this is not YAML ({error.problem}); put text with such characters in quotes"
