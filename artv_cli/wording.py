"""Plain sentences for what pydantic finds wrong: what it is, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic_core import ErrorDetails


def shown(value: object) -> str:
    """Return a short picture of a bad value for a message: one line, at most some 40 characters."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple) and any(isinstance(v, list | dict) for v in value):
        return "a list"
    if isinstance(value, list | tuple):
        return f"[{printable(_cut(', '.join(str(v)[:40] for v in value[:8])))}]"
    if isinstance(value, str):
        return f"'{printable(_cut(value))}'"
    return "so much" if isinstance(value, int) and abs(value) >= 1 << 64 else _cut(str(value))


def printable(text: str) -> str:
    """Return a text with what cannot be shown escaped, such as line breaks and lone surrogates."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known word nearest to `word`, or nothing."""
    near = difflib.get_close_matches(str(word)[:80].lower(), list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def sentence(error: ErrorDetails, known: Iterable[str] = (), subject: str = "") -> str:
    """Return one plain sentence for a pydantic error.

    `known` are the keys allowed at its place; `subject` is what the sentence is about, by default
    the key's name.
    """
    subject = subject or _subject(error["loc"])
    match error["type"]:
        case "value_error":
            return f"{subject} {error['ctx']['error']}"
        case "missing":
            return f"{subject} is missing; add it"
        case "extra_forbidden":
            known = list(known)
            hint = did_you_mean(error["loc"][-1], known) or f"; known here: {', '.join(known)}"
            return f"{subject} is not a known key{hint}"
        case "list_type" | "tuple_type":
            return f"{subject} must be a list, not {shown(error['input'])}"
        case _:
            return f"{subject} must hold keys and values, not {shown(error['input'])}"


def _subject(loc: tuple[int | str, ...]) -> str:
    """Return what a sentence is about: a key's name, or an item of a list, counted from 1."""
    if not loc:
        return "this"
    last = loc[-1]
    return f"item {last + 1} of {_subject(loc[:-1])}" if isinstance(last, int) else shown(last)
