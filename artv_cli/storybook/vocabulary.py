"""The words of the storybook's English, those that a model knows, and those that it does not.

A model knows the words of the world that it was trained on, which may have grown since: what is
said of a model asks the tokenizer in its folder.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from artv_cli.model.folder import ModelFolder
from artv_cli.model.repository import read_json
from artv_cli.storybook import sayings
from artv_cli.storybook.characters import CHARACTERS, Cast
from artv_cli.storybook.scenes import SCENES
from artv_cli.storybook.verbs import all_forms
from artv_cli.wording import shown

_SMALL_WORDS = "a an and the there is are on away camera"


def words_of(cast: Cast) -> frozenset[str]:
    """Return all words that clips of a cast are told in."""
    texts = [*all_forms(), _SMALL_WORDS, *sayings.UPWARD, *sayings.DOWNWARD]
    texts += [*sayings.PRONOUNS, *sayings.PLURALS, *sayings.THEN, *sayings.WHILE]
    texts += [*sayings.BESIDE, *sayings.PAST]
    for table in (sayings.SIDES, sayings.SIZES, sayings.PACES, sayings.LIGHT, sayings.WEATHERS):
        texts += [text for group in table.values() for text in group]
    texts += [text for group in sayings.OPENINGS.values() for text in group]
    for scene in SCENES.values():
        texts += scene.phrases + scene.along
    for name in cast:
        texts += CHARACTERS[name].words + CHARACTERS[name].colours
    return frozenset(word for text in texts for word in re.findall(r"[a-z]+", text))


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model knows, and how many of a prompt it reads."""

    words: frozenset[str]
    places: int

    def knows(self, text: str) -> bool:
        """Tell whether it knows every word of a text."""
        return self.words.issuperset(_said(text))

    @property
    def cast(self) -> Cast:
        """The characters whose names it knows."""
        return frozenset(name for name in CHARACTERS if self.knows(name))

    def unknown(self, prompt: str) -> list[tuple[str, tuple[str, ...]]]:
        """Return the words of a prompt that it does not know, each with up to three known ones."""
        words = dict.fromkeys(_said(prompt))
        return [
            (word, tuple(difflib.get_close_matches(word, sorted(self.words), n=3, cutoff=0.6)))
            for word in words
            if word not in self.words
        ]

    def unread(self, prompt: str) -> list[str]:
        """Return the words of a prompt that stand beyond those which the model reads."""
        return _said(prompt)[self.places :]


def read_vocabulary(model: ModelFolder) -> Vocabulary | None:
    """Return the words that a model knows; None where it reads pieces of words, as CLIP does.

    Raises ModelError where its tokenizer's files cannot be read.
    """
    folder = model.path / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        return None
    tokenizer = read_json(folder / "tokenizer.json", model.name)
    config = read_json(folder / "tokenizer_config.json", model.name)
    try:
        if tokenizer["model"]["type"] != "WordLevel":
            return None
        words = frozenset(word for word in tokenizer["model"]["vocab"] if word.isalpha())
        return Vocabulary(words, int(config["model_max_length"]) - 2)  # but for start and end
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        return None  # loading it will say what is wrong


def lost_words(prompts: Iterable[str], vocabulary: Vocabulary) -> Iterator[str]:
    """Say which words of the prompts a model leaves out, and which it has never heard."""
    nearest: dict[str, tuple[str, ...]] = {}
    for prompt in prompts:
        nearest |= vocabulary.unknown(prompt)
        if unread := vocabulary.unread(prompt):
            read = f"reads {vocabulary.places} words of a prompt"
            yield f"{read} and leaves out {shown(' '.join(unread))}"
    if nearest:
        words = (f"'{w}' (near it: {', '.join(n)})" if n else f"'{w}'" for w, n in nearest.items())
        yield f"does not know {'; '.join(words)}"


def _said(prompt: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", prompt.lower())
