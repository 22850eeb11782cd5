"""The words that the storybook knows, and what it says about others."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import stand_in_model, teach

from artv_cli.errors import ModelError
from artv_cli.model.folder import ModelFolder, embedded_models, find_model
from artv_cli.starter import STARTER
from artv_cli.story import DEFAULT_MODEL
from artv_cli.storyboard import load_storyboard, parse_storyboard
from artv_cli.storybook import sayings
from artv_cli.storybook.captions import MAX_WORDS
from artv_cli.storybook.characters import EVERYBODY
from artv_cli.storybook.repertoire import MOTIONS
from artv_cli.storybook.vocabulary import Vocabulary, lost_words, read_vocabulary, words_of

KNOWN_WORDS = words_of(EVERYBODY)

WORLD = Vocabulary(KNOWN_WORDS, MAX_WORDS)
STORIES = Path(__file__).parent.parent / "storyboards"

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
    assert WORLD.knows(prompt) and WORLD.unknown(prompt) == []


def test_unknown_words_come_once_each_with_known_neighbours() -> None:
    found = WORLD.unknown("A forrest! A cat in the Forrest meets Zyxgh")
    assert [word for word, _ in found] == ["forrest", "meets", "zyxgh"]
    assert found[0][1][0] == "forest"
    assert found[2][1] == ()
    assert all(near in KNOWN_WORDS for _, neighbours in found for near in neighbours)


def test_only_the_words_beyond_the_models_length_go_unread() -> None:
    prompt = "The cat, " * (MAX_WORDS // 2)
    assert WORLD.unread(prompt) == []
    assert WORLD.unread(f"{prompt} by Night!") == ["by", "night"]


def model_in(path: Path) -> ModelFolder:
    return replace(stand_in_model("mine"), path=path)


def test_a_models_words_are_those_of_its_own_tokenizer(tmp_path: Path) -> None:
    teach(tmp_path, "a cat walks", places=7)
    known = read_vocabulary(model_in(tmp_path))
    assert known == Vocabulary(frozenset({"a", "cat", "walks"}), 7)
    assert known.knows("A cat, walks!") and not known.knows("a dog walks")


@pytest.mark.parametrize(
    "tokenizer", [None, {"model": {"type": "BPE", "vocab": {}}}, {}, {"model": None}]
)
def test_a_model_that_reads_pieces_of_words_knows_all_words(
    tmp_path: Path, tokenizer: object
) -> None:
    teach(tmp_path, "cat")
    file = tmp_path / "tokenizer" / "tokenizer.json"
    file.unlink() if tokenizer is None else file.write_text(json.dumps(tokenizer))
    assert read_vocabulary(model_in(tmp_path)) is None


@pytest.mark.parametrize("places", [1e999, "many", None, []])
def test_a_model_that_does_not_say_how_many_words_it_reads_reads_all(
    tmp_path: Path, places: object
) -> None:
    teach(tmp_path, "cat")
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": places})
    )
    assert read_vocabulary(model_in(tmp_path)) is None


def test_a_damaged_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    teach(tmp_path, "cat")
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="mine: .* cannot be read"):
        read_vocabulary(model_in(tmp_path))


def test_every_motion_can_be_said_plainly() -> None:
    assert tuple(sayings.PLAINLY) == MOTIONS
    assert all(map(WORLD.knows, sayings.PLAINLY.values()))


@pytest.mark.parametrize("name", embedded_models())
def test_the_world_has_every_word_of_the_model_that_ships_and_it_knows_the_samples(
    name: str,
) -> None:
    shipped = read_vocabulary(find_model(name))
    assert shipped is not None and shipped.places == MAX_WORDS
    assert shipped.words <= KNOWN_WORDS  # its weights may be older than the world: fewer words
    for file in STORIES.glob("*.yaml"):
        for segment in load_storyboard(file).segments:
            assert shipped.unknown(segment.prompt) == [] == WORLD.unknown(segment.prompt)


def test_the_model_that_ships_knows_every_word_that_init_writes() -> None:
    shipped = read_vocabulary(find_model(DEFAULT_MODEL))
    assert shipped is not None
    segments = parse_storyboard(STARTER, name="story.yaml", folder=Path()).segments
    assert [list(lost_words([segment.prompt], shipped)) for segment in segments] == [[]] * 3
