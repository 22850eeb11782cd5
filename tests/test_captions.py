"""The storybook's English: what it says, and what it does not know."""

import random

import numpy as np
import pytest

from artv_cli.storybook.captions import (
    KNOWN_WORDS,
    MAX_WORDS,
    caption,
    unknown_words,
    unread_words,
)
from artv_cli.storybook.characters import CHARACTERS, MOTIONS, SCENES, medium, motions

SAMPLE_STORY = (
    "a cat walks right across a meadow",
    "the cat jumps",
    "a rocket flies up at night",
)


def _captions(character: str, motion: str, scene: str, count: int = 300, **how: object) -> set[str]:
    rng = random.Random(0)
    return {caption(character, motion, scene, rng, **how) for _ in range(count)}


@pytest.mark.parametrize("prompt", SAMPLE_STORY)
def test_the_sample_story_has_no_unknown_word(prompt: str) -> None:
    assert unknown_words(prompt) == []


def test_the_grammar_says_the_prompts_of_the_sample_story() -> None:
    assert SAMPLE_STORY[0] in _captions("cat", "right", "meadow", 4000)
    assert SAMPLE_STORY[1] in _captions("cat", "jump", "meadow", continuing=True)
    assert SAMPLE_STORY[2] in _captions("rocket", "up", "night", 2000)


def test_every_caption_of_every_sensible_combination_uses_known_words_only() -> None:
    rng = random.Random(1)
    for character in CHARACTERS:
        for scene in SCENES:
            for motion in motions(character, scene):
                for after in (None, "left"):
                    text = caption(character, motion, scene, rng, continuing=True, after=after)
                    assert unknown_words(text) == [], text
                    text = caption(character, motion, scene, rng)
                    assert unknown_words(text) == [], text


def test_an_opening_caption_names_its_character() -> None:
    for character, who in CHARACTERS.items():
        scene = next(scene for scene in SCENES if medium(character, scene))
        for text in _captions(character, "left", scene, 30):
            assert any(word in text for word in who.words), text


def test_captions_vary_in_order_article_synonym_and_tense() -> None:
    said = _captions("rabbit", "left", "snow")
    assert len(said) > 100
    for part in ("a rabbit", "the bunny", "walks", "is walking", "to the left", "in the snow"):
        assert any(part in text for text in said), part
    assert any(text.startswith("in the snow,") for text in said)


def test_opposite_motions_are_never_said_alike() -> None:
    for motion, other in (("left", "right"), ("closer", "away")):
        assert not _captions("cat", motion, "city") & _captions("cat", other, "city")


def test_only_a_continuing_caption_has_pronouns_or_turns_back() -> None:
    opening = _captions("cat", "left", "beach")
    continuing = _captions("cat", "left", "beach", continuing=True, after="right")
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


def test_unknown_words_come_once_each_with_known_neighbours() -> None:
    found = unknown_words("A forrest! A cat in the Forrest meets Zyxgh")
    assert [word for word, _ in found] == ["forrest", "meets", "zyxgh"]
    assert found[0][1][0] == "forest"
    assert found[2][1] == ()
    assert all(near in KNOWN_WORDS for _, neighbours in found for near in neighbours)


def test_characters_live_somewhere_and_every_scene_and_motion_is_used() -> None:
    used = {(s, m) for c in CHARACTERS for s in SCENES for m in motions(c, s)}
    assert {scene for scene, _ in used} == set(SCENES)
    assert {motion for _, motion in used} == set(MOTIONS)
    assert all(any(medium(c, s) for s in SCENES) for c in CHARACTERS)
    assert motions("fish", "desert") == ()
    assert "up" not in motions("cat", "meadow")


def test_only_the_words_beyond_the_models_length_go_unread() -> None:
    prompt = "The cat, " * (MAX_WORDS // 2)
    assert unread_words(prompt) == []
    assert unread_words(f"{prompt} by Night!") == ["by", "night"]
