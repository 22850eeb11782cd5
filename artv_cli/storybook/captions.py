"""The storybook's English: a small grammar that says what a frame shows, in many ways.

A caption names a character, a motion and a scene; order, articles, synonyms and tense vary. Where
a story goes on, it may also say "it jumps" or "then she turns back": the references carry who and
where. `KNOWN_WORDS` holds every word that the grammar can say.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from artv_cli.storybook.characters import (
    CHARACTERS,
    SCENES,
    Character,
    Gait,
    Motion,
    medium,
)
from artv_cli.wording import shown

T = TypeVar("T")
Verb = tuple[str, str]  # third person, present participle


class Random(Protocol):
    """A source of uniform numbers in [0, 1): random.Random or numpy's Generator."""

    def random(self) -> float:
        """Return the next number."""
        ...


_GAITS: dict[Gait, tuple[Verb, ...]] = {
    "walk": (("walks", "walking"), ("walks", "walking"), ("runs", "running")),
    "drive": (("drives", "driving"), ("drives", "driving"), ("rolls", "rolling")),
    "fly": (("flies", "flying"),),
    "float": (("floats", "floating"), ("flies", "flying")),
    "swim": (("swims", "swimming"),),
    "sail": (("sails", "sailing"),),
    "slide": (("slides", "sliding"),),
}
_TRAVEL: tuple[Verb, ...] = (("goes", "going"), ("moves", "moving"))
_STILL: dict[Gait, tuple[Verb, ...]] = {
    "walk": (("stands still", "standing still"), ("stands", "standing"), ("waits", "waiting")),
    "drive": (("stops", "standing still"), ("stands still", "standing still")),
    "fly": (("hovers", "hovering"),),
    "float": (("hovers", "hovering"),),
    "swim": (("rests", "resting"),),
    "sail": (("rests", "resting"),),
    "slide": (("stands still", "standing still"), ("stands", "standing")),
}
_STAYS: tuple[Verb, ...] = (("stays still", "staying still"), ("does not move", "not moving"))
_DEEDS: dict[Motion, tuple[Verb, ...]] = {
    "jump": (
        ("jumps", "jumping"),
        ("jumps", "jumping"),
        ("jumps up and down", "jumping up and down"),
        ("hops", "hopping"),
    ),
    "closer": (
        ("comes closer", "coming closer"),
        ("comes nearer", "coming nearer"),
        ("comes towards us", "coming towards us"),
        ("approaches", "approaching"),
    ),
    "spin": (
        ("spins", "spinning"),
        ("spins around", "spinning around"),
        ("twirls", "twirling"),
    ),
}
_RISES: tuple[Verb, ...] = (("rises", "rising"), ("goes up", "going up"))
_BACK: tuple[Verb, ...] = (
    ("turns back", "turning back"),
    ("goes back", "going back"),
    ("turns around", "turning around"),
)
_SIDES: dict[Motion, tuple[str, ...]] = {
    "left": ("left", "left", "to the left", "to the left", "towards the left"),
    "right": ("right", "right", "to the right", "to the right", "towards the right"),
}
_UPWARD = ("up", "up", "upwards")
_OPPOSITE: dict[Motion, Motion] = {"left": "right", "right": "left"}
_PRONOUNS = ("it", "it", "he", "she")
_THEN = ("then", "now", "and then")


def caption(
    character: str,
    motion: Motion,
    scene: str,
    rng: Random,
    *,
    continuing: bool = False,
    after: Motion | None = None,
) -> str:
    """Return one way of saying what a frame shows.

    Where the story is `continuing`, pronouns and captions without a scene occur; `after` is the
    motion that went before, so that walking the other way may be called turning back.
    """
    who, where = CHARACTERS[character], medium(character, scene)
    gait: Gait = "fly" if where == "air" and who.gait != "float" else who.gait
    # A robot in space does not walk, and a duck on land does not swim.
    if where == "space" and gait == "walk":
        gait = "float"
    if where == "land" and gait == "swim" or where == "water" and gait == "walk":
        gait = "walk" if where == "land" else "swim"
    verb, direction = _deed(gait, motion, rng, after if continuing else None)
    place = _place(scene, motion, rng) if rng.random() < (0.3 if continuing else 0.94) else ""
    if continuing:
        return _continue(who, verb, direction, place, rng)
    return _tell(_name(who, rng, definite=0.3), verb, direction, place, rng)


def _choose(options: Sequence[T], rng: Random) -> T:
    return options[int(rng.random() * len(options))]


def _deed(gait: Gait, motion: Motion, rng: Random, after: Motion | None) -> tuple[Verb, str]:
    """Return a verb and, for travel, its direction."""
    if motion in _SIDES:
        if after == _OPPOSITE[motion] and rng.random() < 0.5:
            return _choose(_BACK, rng), ""
        return _travel(gait, rng), _choose(_SIDES[motion], rng)
    if motion == "up":
        if rng.random() < 0.25:
            return _choose(_RISES, rng), ""
        return _choose(_GAITS[gait], rng), _choose(_UPWARD, rng)
    if motion == "away":
        return _travel(gait, rng), "away"
    if motion == "still":
        return _choose(_STILL[gait] * 2 + _STAYS, rng), ""
    return _choose(_DEEDS[motion], rng), ""


def _travel(gait: Gait, rng: Random) -> Verb:
    return _choose(_GAITS[gait] if rng.random() < 0.75 else _TRAVEL, rng)


def _place(scene: str, motion: Motion, rng: Random) -> str:
    here, along = SCENES[scene].phrases, SCENES[scene].along
    return _choose(here + along if motion in _SIDES else here, rng)


def _name(who: Character, rng: Random, definite: float) -> str:
    word = _choose((who.name, *who.words), rng)
    if rng.random() < definite:
        return f"the {word}"
    return f"an {word}" if word[0] in "aeio" else f"a {word}"


def _continue(who: Character, verb: Verb, direction: str, place: str, rng: Random) -> str:
    subject = _name(who, rng, definite=0.85)
    if rng.random() < 0.35:
        subject = _choose(_PRONOUNS, rng)
    then = f"{_choose(_THEN, rng)} " if rng.random() < 0.2 else ""
    is_ = "is " if rng.random() < 0.25 else ""
    return _join(then + subject, is_ + verb[1] if is_ else verb[0], direction, place)


def _tell(subject: str, verb: Verb, direction: str, place: str, rng: Random) -> str:
    form = rng.random()
    said = verb[0] if form < 0.6 else f"is {verb[1]}" if form < 0.85 else verb[1]
    order = rng.random()
    if place and order < 0.12:
        return _join(f"{place},", subject, said, direction)
    if direction and order < 0.3:
        return _join(subject, said, place, direction)
    return _join(subject, said, direction, place)


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}


def _vocabulary() -> frozenset[str]:
    verbs = [*_TRAVEL, *_STAYS, *_RISES, *_BACK]
    for table in (_GAITS, _STILL, _DEEDS):
        verbs += [verb for group in table.values() for verb in group]
    texts = [form for verb in verbs for form in verb]
    texts += [side for sides in _SIDES.values() for side in sides]
    texts += [phrase for scene in SCENES.values() for phrase in scene.phrases + scene.along]
    texts += [word for character in CHARACTERS.values() for word in character.words]
    return frozenset(_words([*texts, *_UPWARD, *_PRONOUNS, *_THEN, "a an the is away"]))


KNOWN_WORDS: frozenset[str] = _vocabulary()
MAX_WORDS = 18  # of a prompt: what the text encoder has places for, besides a start and an end


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
