"""The storybook's English: a small grammar that says what a frame shows, in many ways.

A caption names a character, a motion and a scene; order, articles, adjectives, synonyms and tense
vary. Where a story goes on, it may also say "it jumps" or "then she turns back": the references
carry who and where.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from artv_cli.storybook import sayings, verbs
from artv_cli.storybook.characters import BIG, CHARACTERS, LITTLE, Character, Gait
from artv_cli.storybook.repertoire import SURROUNDINGS, Motion, gait_in, medium
from artv_cli.storybook.scenes import SCENES
from artv_cli.storybook.script import Pace, Script
from artv_cli.storybook.verbs import Form, inflect

T = TypeVar("T")

MAX_WORDS = 18  # of a prompt: what the text encoder has places for, besides a start and an end


class Random(Protocol):
    """A source of uniform numbers in [0, 1): random.Random or numpy's Generator."""

    def random(self) -> float:
        """Return the next number."""
        ...


_OPPOSITE: dict[Motion, Motion] = {"left": "right", "right": "left"}
_STANDS = ("stand", "stand still", "hover", "rest", "sit")


class Predicate(NamedTuple):
    """What somebody does: a verb phrase in its plain form, whither, and how fast."""

    phrase: str
    direction: str = ""
    adverb: str = ""

    def said(self, form: Form) -> str:
        """Return it with its verb in a form."""
        return _join(inflect(self.phrase, form), self.direction, self.adverb)


def caption(
    character: str,
    motion: Motion,
    scene: str,
    rng: Random,
    *,
    continuing: bool = False,
    after: Motion | None = None,
) -> str:
    """Return one way of saying what a single character does; `after` is what it did before."""
    script = Script(character, scene, (after or motion, motion), 2 if after is None else 1)
    return say(script, 1, rng, continuing=continuing)


def say(script: Script, frame: int, rng: Random, *, continuing: bool = False) -> str:
    """Return one way of saying what a frame of a script shows, in at most `MAX_WORDS` words.

    Where the story is `continuing`, pronouns, bare verbs and captions without a scene occur, and
    walking the other way than before the switch may be called turning back.
    """
    motion = script.motions[frame]
    if motion in SURROUNDINGS:
        return _around(script, motion, rng, continuing)
    after = script.motions[0] if continuing and frame >= script.switch else None
    predicate = _predicate(script, motion, after, rng)
    place = (
        _place(script.scene, motion, rng) if rng.random() < (0.3 if continuing else 0.94) else ""
    )
    extras = _extras(script, motion, rng, continuing)
    if continuing:
        return _go_on(script, predicate, after, (place, *extras), rng)
    return _open(script, predicate, place, extras, rng)


def _predicate(script: Script, motion: Motion, after: Motion | None, rng: Random) -> Predicate:
    gait, where = _gait(script), medium(script.character, script.scene)
    if motion in sayings.SIDES and after == _OPPOSITE[motion] and rng.random() < 0.5:
        return Predicate(_choose(verbs.TURN_BACK, rng))
    if motion in sayings.SIDES or motion == "away":
        turn = after is not None and motion in sayings.SIDES and rng.random() < 0.15
        phrase = "turn" if turn else _journey(gait, script.pace, rng)
        return Predicate(
            phrase, _choose(sayings.SIDES.get(motion, ("away",)), rng), _adverb(script, rng)
        )
    if motion in ("up", "down"):
        names: tuple[str, ...] = verbs.RISE if motion == "up" else verbs.SINK
        if motion == "down":
            names += verbs.LAND * 2 if "land" in SCENES[script.scene].media else ()
            names += verbs.DIVE if where == "water" else ()
        if rng.random() < (0.25 if motion == "up" else 0.6):
            return Predicate(_choose(names, rng))
        side = _choose(sayings.UPWARD if motion == "up" else sayings.DOWNWARD, rng)
        return Predicate(_choose(_travel(gait), rng), side, _adverb(script, rng))
    return Predicate(
        _choose(_still(gait) * 2 + verbs.STAY if motion == "still" else verbs.DEEDS[motion], rng)
    )


def _gait(script: Script) -> Gait | None:
    """Return how the characters get about; None where two do so differently."""
    where = medium(script.character, script.scene)
    gait = gait_in(script.character, where)
    if script.companion is None or not script.together:
        return gait
    return gait if gait_in(script.companion, where) == gait else None


def _journey(gait: Gait | None, pace: Pace, rng: Random) -> str:
    phrase = _choose(_travel(gait) if rng.random() < 0.75 else verbs.MOVE, rng)
    return "walk" if phrase == "run" and pace == "slowly" else phrase


def _travel(gait: Gait | None) -> tuple[str, ...]:
    return verbs.TRAVEL[gait] if gait else verbs.MOVE


def _still(gait: Gait | None) -> tuple[str, ...]:
    return verbs.STILL[gait] if gait else verbs.STAND


def _adverb(script: Script, rng: Random) -> str:
    said = script.pace in sayings.PACES and rng.random() < 0.8
    return _choose(sayings.PACES[script.pace], rng) if said else ""


def _place(scene: str, motion: Motion, rng: Random) -> str:
    here, along = SCENES[scene].phrases, SCENES[scene].along
    return _choose(here + along if motion in sayings.SIDES else here, rng)


def _extras(script: Script, motion: Motion, rng: Random, continuing: bool) -> list[str]:
    """Return what may be left out: who stands by, and the weather."""
    extras = []
    aside = script.companion is not None and not script.together
    if aside and rng.random() < (0.4 if continuing else 1.0):
        beside = sayings.PAST * 4 + sayings.BESIDE if motion in sayings.SIDES else sayings.BESIDE
        name = _name(CHARACTERS[str(script.companion)], rng, 0.8 if continuing else 0.2)
        extras.append(_join(_choose(beside, rng), name))
    if script.weather is not None and rng.random() < (0.4 if continuing else 0.85):
        extras.append(_choose(sayings.WEATHERS[script.weather], rng))
    return extras


def _name(who: Character, rng: Random, definite: float, adjectives: float = 0.0) -> str:
    words = [_choose((who.name, *who.words), rng)]
    if who.colours and rng.random() < adjectives:
        words.insert(0, _choose(who.colours, rng))
    size = "big" if who.size >= BIG else "little" if who.size <= LITTLE else None
    if size is not None and rng.random() < adjectives:
        words.insert(0, _choose(sayings.SIZES[size], rng))
    article = "the" if rng.random() < definite else "an" if words[0][0] in "aeio" else "a"
    return _join(article, *words)


def _subject(script: Script, rng: Random, continuing: bool) -> str:
    definite = 0.85 if continuing else 0.3
    if script.companion is None or not script.together:
        if continuing and rng.random() < 0.35:
            return _choose(sayings.PRONOUNS, rng)
        return _name(CHARACTERS[script.character], rng, definite, 0.05 if continuing else 0.16)
    if continuing and rng.random() < 0.4:
        return _choose(sayings.PLURALS, rng)
    pair = [_name(CHARACTERS[name], rng, definite) for name in (script.character, script.companion)]
    return " and ".join(pair if rng.random() < 0.5 else reversed(pair))


def _form(script: Script, rng: Random) -> tuple[str, Form]:
    """Return what stands before a verb, and the verb's form: jumps, or is jumping."""
    if rng.random() < 0.7:
        return "", "plain" if script.together else "third"
    return "are" if script.together else "is", "participle"


def _open(
    script: Script, predicate: Predicate, place: str, extras: Sequence[str], rng: Random
) -> str:
    start = ""
    if script.weather in sayings.OPENINGS and rng.random() < 0.2:
        start, extras = _choose(sayings.OPENINGS[script.weather], rng), extras[:-1]
    subject, order = _subject(script, rng, continuing=False), rng.random()
    before, form = _form(script, rng)
    said = predicate.said(form)
    if form == "participle" and rng.random() < 0.3:
        before = ""
    if predicate.phrase in _STANDS and place and order < 0.2:
        core = _join("there is", subject, place)
    elif place and order < 0.12:
        core = _join(f"{place},", subject, before, said)
    elif predicate.direction and order < 0.3:
        verb = inflect(predicate.phrase, form)
        core = _join(subject, before, verb, place, predicate.direction, predicate.adverb)
    else:
        core = _join(subject, before, said, place)
    return _extend(_first(_join(start, core), core), *extras)


def _go_on(
    script: Script,
    predicate: Predicate,
    after: Motion | None,
    extras: Sequence[str],
    rng: Random,
) -> str:
    then = _choose(sayings.THEN, rng) if rng.random() < 0.2 else ""
    if rng.random() < 0.1:  # a bare verb
        forms = ("plain", "participle") if script.together else verbs.FORMS
        return _extend(_join(then, predicate.said(_choose(forms, rng))), *extras)
    subject = _subject(script, rng, continuing=True)
    before, form = _form(script, rng)
    woken = ""
    if after == "sleep" and form != "participle" and rng.random() < 0.5:
        woken = f"{inflect(verbs.WAKE, form)} and"
    return _extend(_join(then, subject, before, woken, predicate.said(form)), *extras)


def _around(script: Script, motion: Motion, rng: Random, continuing: bool) -> str:
    """Say what camera or light do, mostly with who stands there meanwhile."""
    event = _event(motion, rng)
    place = _choose(SCENES[script.scene].phrases, rng)
    if continuing and rng.random() < 0.75:
        then = _choose(sayings.THEN, rng) if rng.random() < 0.3 else ""
        return _extend(_join(then, event), place if rng.random() < 0.3 else "")
    if motion == "zoom" and rng.random() < 0.5:
        return _extend(_join(event, "on", _subject(script, rng, continuing=False)), place)
    subject, (before, form) = _subject(script, rng, continuing), _form(script, rng)
    stands = _join(subject, before, inflect(_choose(_still(_gait(script)), rng), form))
    meanwhile = _choose(sayings.WHILE, rng)
    if rng.random() < 0.5:
        return _extend(_join(event, meanwhile, stands), place)
    return _first(_join(stands, place, meanwhile, event), _join(stands, meanwhile, event))


def _event(motion: Motion, rng: Random) -> str:
    if motion in sayings.LIGHT:
        return _choose(sayings.LIGHT[motion], rng)
    form: Form = "third" if rng.random() < 0.7 else "participle"
    is_ = "" if form == "third" else "is"
    if motion == "zoom":
        return _join("the camera", is_, inflect(verbs.ZOOM, form))
    side = _choose(sayings.SIDES["left" if motion == "pan-left" else "right"], rng)
    return _join("the camera", is_, inflect(_choose(verbs.PAN, rng), form), side)


def _first(text: str, shorter: str) -> str:
    """Return a text if it has at most `MAX_WORDS`, and else the shorter one."""
    return text if len(text.split()) <= MAX_WORDS else shorter


def _extend(text: str, *extras: str) -> str:
    """Add to a text what fits into `MAX_WORDS`."""
    for extra in extras:
        text = _first(_join(text, extra), text)
    return text


def _choose(options: Sequence[T], rng: Random) -> T:
    return options[int(rng.random() * len(options))]


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)
