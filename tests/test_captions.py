"""The storybook's English: what it says, and what it does not know."""

import random

import numpy as np
import pytest

from artv_cli.storybook.captions import MAX_WORDS, caption, say
from artv_cli.storybook.characters import CHARACTERS, EVERYBODY
from artv_cli.storybook.repertoire import SURROUNDINGS, medium
from artv_cli.storybook.scenes import SCENES
from artv_cli.storybook.script import Script, sample_script
from artv_cli.storybook.vocabulary import words_of

KNOWN_WORDS = words_of(EVERYBODY)

SAMPLE_STORY = (
    "a cat walks right across a meadow",
    "the cat jumps",
    "a rocket flies up at night",
)


def _captions(character: str, motion: str, scene: str, count: int = 300, **how: object) -> set[str]:
    rng = random.Random(0)
    return {caption(character, motion, scene, rng, **how) for _ in range(count)}


def test_the_grammar_says_the_prompts_of_the_sample_story() -> None:
    assert SAMPLE_STORY[0] in _captions("cat", "right", "meadow", 20_000)
    assert SAMPLE_STORY[1] in _captions("cat", "jump", "meadow", continuing=True)
    assert SAMPLE_STORY[2] in _captions("rocket", "up", "night", 4000)


@pytest.fixture(scope="module")
def said() -> list[tuple[Script, bool, str]]:
    """Scripts, whether their caption goes on from what came before, and the caption."""
    rng = random.Random(1)
    scripts = [sample_script(seed, 12) for seed in range(12_000)]
    return [
        (script, continuing, say(script, frame, rng, continuing=continuing))
        for script in scripts
        for frame, continuing in ((0, False), (11, True))
    ]


def test_captions_are_known_words_and_no_more_than_the_model_reads(
    said: list[tuple[Script, bool, str]],
) -> None:
    for _, _, text in said:
        assert len(text.split()) <= MAX_WORDS, text
        assert KNOWN_WORDS.issuperset(text.replace(",", "").split()), text


def test_all_but_the_rarest_known_words_are_said(said: list[tuple[Script, bool, str]]) -> None:
    words = {word for _, _, text in said for word in text.replace(",", "").split()}
    assert len(KNOWN_WORDS - words) < 10, sorted(KNOWN_WORDS - words)


def test_captions_name_company_weather_and_pace_where_these_are_only(
    said: list[tuple[Script, bool, str]],
) -> None:
    snowing = [s.weather == "snow" for s, _, text in said if "falling snow" in text]
    assert snowing and all(snowing)
    slow = [s.pace == "slowly" for s, _, text in said if "slowly" in text.split()]
    assert slow and all(slow)
    for script, continuing, text in said:
        if script.together and not continuing and script.motions[0] not in SURROUNDINGS:
            assert any(word in text for word in CHARACTERS[str(script.companion)].words), text
    assert any("they jump" in text for _, _, text in said)
    assert any("wakes up and" in text for _, _, text in said)


def test_opening_captions_of_two_agree_in_number() -> None:
    script = Script("cat", "meadow", ("left",), 1, companion="dog", together=True)
    rng = random.Random(0)
    for _ in range(200):
        words = set(say(script, 0, rng).split())
        assert "and" in words and not words & {"walks", "is", "runs", "goes", "moves"}


def test_big_and_little_and_colours_are_said_of_those_who_are_so() -> None:
    said = {word for text in _captions("elephant", "left", "snow", 600) for word in text.split()}
    assert {"big", "large", "grey"} <= said and not said & {"little", "small", "red"}
    said = {word for text in _captions("mouse", "left", "snow", 600) for word in text.split()}
    assert {"little", "small"} <= said and not said & {"big", "large"}


def test_an_opening_caption_names_its_character() -> None:
    for character, who in CHARACTERS.items():
        scene = next(scene for scene in SCENES if medium(character, scene))
        for text in _captions(character, "left", scene, 30):
            assert any(word in text for word in who.words), text


def test_captions_vary_in_order_article_synonym_and_tense() -> None:
    said = _captions("rabbit", "left", "snow", 1000)
    assert len(said) > 300
    for part in ("a rabbit", "the bunny", "walks", "is walking", "to the left", "in the snow"):
        assert any(part in text for text in said), part
    assert any(text.startswith("in the snow,") for text in said)


def test_opposite_motions_are_never_said_alike() -> None:
    for motion, other in (("left", "right"), ("closer", "away")):
        assert not _captions("cat", motion, "city") & _captions("cat", other, "city")


def test_only_a_continuing_caption_has_pronouns_or_turns_back() -> None:
    opening = _captions("cat", "left", "beach")
    continuing = _captions("cat", "left", "beach", continuing=True, after="right")
    assert any(text.startswith(("walks ", "walking ")) for text in continuing)
    assert not any({"it", "he", "she", "then", "back"} & set(t.split()) for t in opening)
    assert any(text.startswith("it ") for text in continuing)
    assert any("turns back" in text for text in continuing)
    straight_on = _captions("cat", "left", "beach", continuing=True, after="jump")
    assert not any("back" in text for text in straight_on)


def test_a_caption_is_a_function_of_its_generator_of_either_kind() -> None:
    for make in (random.Random, np.random.default_rng):
        first, again = make(7), make(7)
        one = [caption("bee", "up", "meadow", first) for _ in range(5)]
        assert one == [caption("bee", "up", "meadow", again) for _ in range(5)]
