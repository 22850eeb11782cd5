"""The words that the storybook knows, and what it says about others."""

import pytest

from artv_cli.storybook.captions import MAX_WORDS
from artv_cli.storybook.vocabulary import KNOWN_WORDS, unknown_words, unread_words

# The words of the first world. Trained word embeddings are carried over by word: none may go.
FIRST_WORDS = """
    a across airplane along among an and approaches approaching around at automobile autumn away
    back balloon beach bear bee bird boat bumblebee bunny bus butterfly car cat chopper city
    closer coach comes coming cow deep desert does dog down dragon drives driving duck dunes
    elephant evening field fish flies floating floats flying forest fox giraffe goes going grass
    green he helicopter hopping hops horse hovering hovers in is it jumping jumps kitty leaves
    left locomotive meadow moonlight move moves moving nearer night not now octopus on outer over
    panda penguin pig piglet plane pony puppy rabbit resting rests right rises rising robot rocket
    rolling rolls running runs sailboat sailing sails saucer sea she slides sliding snow snowman
    space spaceship spinning spins standing stands stars staying stays still stops sunset swimming
    swims the then through tiger to tortoise towards town train turning turns turtle twirling
    twirls ufo under underwater up upwards us waiting waits walking walks water waves whale winter
    woods
""".split()


def test_no_word_of_the_first_world_was_forgotten() -> None:
    assert set(FIRST_WORDS) <= KNOWN_WORDS


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat walks right across a meadow",
        "a rocket flies up at night",
        "a panda is walking to the left through the snow",
        "The cat runs to the right.",
        "There is a little bird in the sky.",
        "a cat and a dog walk left in the meadow",
        "a rabbit jumps next to a cow",
        "A big elephant stands by the river while it rains.",
        "then she turns back",
        "they jump",
        "the owl flies down and lands on the ground",
        "The camera zooms in on the sleeping fox.",
        "day turns to night",
        "a red car drives slowly to the right through the city, it is snowing",
    ],
)
def test_ordinary_phrasing_is_known(prompt: str) -> None:
    assert unknown_words(prompt) == []


def test_unknown_words_come_once_each_with_known_neighbours() -> None:
    found = unknown_words("A forrest! A cat in the Forrest meets Zyxgh")
    assert [word for word, _ in found] == ["forrest", "meets", "zyxgh"]
    assert found[0][1][0] == "forest"
    assert found[2][1] == ()
    assert all(near in KNOWN_WORDS for _, neighbours in found for near in neighbours)


def test_only_the_words_beyond_the_models_length_go_unread() -> None:
    prompt = "The cat, " * (MAX_WORDS // 2)
    assert unread_words(prompt) == []
    assert unread_words(f"{prompt} by Night!") == ["by", "night"]
