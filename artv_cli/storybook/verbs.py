"""The verbs of the storybook's English: what each motion is called, and how verbs are inflected.

A phrase stands in its plain form ("stand still", as in "they stand still"); only its first word is
inflected.
"""

from __future__ import annotations

from typing import Literal

from artv_cli.storybook.characters import Gait
from artv_cli.storybook.repertoire import Motion

Form = Literal["plain", "third", "participle"]
FORMS: tuple[Form, ...] = ("plain", "third", "participle")

TRAVEL: dict[Gait, tuple[str, ...]] = {
    "walk": ("walk", "walk", "run"),
    "hop": ("hop", "walk", "run"),
    "crawl": ("crawl", "crawl", "creep"),
    "drive": ("drive", "drive", "roll"),
    "ride": ("ride", "ride", "drive"),
    "fly": ("fly",),
    "float": ("float", "fly"),
    "swim": ("swim",),
    "sail": ("sail",),
    "slide": ("slide",),
}
MOVE = ("go", "move")
STAND = ("stand still", "stand", "wait")
STILL: dict[Gait, tuple[str, ...]] = {
    "walk": STAND,
    "hop": (*STAND, "sit"),
    "crawl": ("wait", "rest"),
    "drive": ("stop", "stand still", "stand"),
    "ride": ("stop", "stand still", "wait"),
    "fly": ("hover",),
    "float": ("hover",),
    "swim": ("rest",),
    "sail": ("rest",),
    "slide": STAND,
}
STAY = ("stay still", "not move")
DEEDS: dict[Motion, tuple[str, ...]] = {
    "jump": ("jump", "jump", "jump up and down", "hop"),
    "sleep": ("sleep", "sleep", "fall asleep", "go to sleep", "lie down", "take a nap"),
    "closer": ("come closer", "come nearer", "come towards us", "approach"),
    "spin": ("spin", "spin around", "twirl"),
}
RISE = ("rise", "go up")
SINK = ("sink", "go down", "come down")
DIVE = ("dive",)
LAND = ("land", "land", "land on the ground")
TURN_BACK = ("turn back", "go back", "turn around")
WAKE = "wake up"
PAN = ("pan", "pan", "move", "turn")
ZOOM = "zoom in"

_DOUBLED = frozenset("run hop spin swim stop get pan sit set".split())


def inflect(phrase: str, form: Form) -> str:
    """Return a phrase in the third person ("runs") or as a present participle ("running")."""
    if phrase == "not move":
        return {"plain": "do not move", "third": "does not move", "participle": "not moving"}[form]
    verb, *rest = phrase.split()
    inflected = {"plain": lambda v: v, "third": _third, "participle": _participle}[form](verb)
    return " ".join((inflected, *rest))


def _third(verb: str) -> str:
    if verb.endswith("y") and verb[-2] not in "aeo":
        return f"{verb[:-1]}ies"
    return f"{verb}es" if verb.endswith(("ch", "sh", "s", "x", "o")) else f"{verb}s"


def _participle(verb: str) -> str:
    if verb in _DOUBLED:
        return f"{verb}{verb[-1]}ing"
    if verb.endswith("ie"):
        return f"{verb[:-2]}ying"
    return f"{verb[:-1]}ing" if verb.endswith("e") else f"{verb}ing"


def all_forms() -> set[str]:
    """Return every verb phrase in each of the forms in which it is said."""
    phrases = {*MOVE, *STAY, *RISE, *SINK, *DIVE, *LAND, *TURN_BACK, "turn"}
    for table in (TRAVEL, STILL, DEEDS):
        phrases |= {phrase for group in table.values() for phrase in group}
    said = {inflect(phrase, form) for phrase in phrases for form in FORMS}
    said |= {inflect(WAKE, form) for form in FORMS[:2]}  # "wakes up and walks"
    return said | {inflect(phrase, form) for phrase in (*PAN, ZOOM) for form in FORMS[1:]}
