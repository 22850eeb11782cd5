"""The words that the storybook's English has, and those of a prompt that it has not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from artv_cli.storybook import sayings
from artv_cli.storybook.captions import MAX_WORDS
from artv_cli.storybook.characters import CHARACTERS
from artv_cli.storybook.scenes import SCENES
from artv_cli.storybook.verbs import all_forms
from artv_cli.wording import shown

_SMALL_WORDS = "a an and the there is are on away camera"


def _vocabulary() -> frozenset[str]:
    texts = [*all_forms(), _SMALL_WORDS, *sayings.UPWARD, *sayings.DOWNWARD]
    texts += [*sayings.PRONOUNS, *sayings.PLURALS, *sayings.THEN, *sayings.WHILE]
    texts += [*sayings.BESIDE, *sayings.PAST]
    for table in (sayings.SIDES, sayings.SIZES, sayings.PACES, sayings.LIGHT, sayings.WEATHERS):
        texts += [text for group in table.values() for text in group]
    texts += [text for group in sayings.OPENINGS.values() for text in group]
    for scene in SCENES.values():
        texts += scene.phrases + scene.along
    for character in CHARACTERS.values():
        texts += character.words + character.colours
    return frozenset(word for text in texts for word in re.findall(r"[a-z]+", text))


KNOWN_WORDS: frozenset[str] = _vocabulary()


def unknown_words(prompt: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the words of a prompt that the model never saw, each with up to three known ones."""
    words = dict.fromkeys(_said(prompt))
    return [
        (word, tuple(difflib.get_close_matches(word, sorted(KNOWN_WORDS), n=3, cutoff=0.6)))
        for word in words
        if word not in KNOWN_WORDS
    ]


def unread_words(prompt: str) -> list[str]:
    """Return the words of a prompt that stand beyond those which the model reads."""
    return _said(prompt)[MAX_WORDS:]


def lost_words(prompts: Iterable[str]) -> Iterator[str]:
    """Say which words of the prompts the model leaves out, and which it has never heard."""
    nearest: dict[str, tuple[str, ...]] = {}
    for prompt in prompts:
        nearest |= unknown_words(prompt)
        if unread := unread_words(prompt):
            yield f"reads {MAX_WORDS} words of a prompt and leaves out {shown(' '.join(unread))}"
    if nearest:
        words = (f"'{w}' (near it: {', '.join(n)})" if n else f"'{w}'" for w, n in nearest.items())
        yield f"does not know {'; '.join(words)}"


def _said(prompt: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", prompt.lower())
