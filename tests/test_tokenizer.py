"""The embedded model's tokenizer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import stand_in_model
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from artv_cli.storybook.captions import MAX_WORDS
from artv_cli.storybook.characters import EVERYBODY
from artv_cli.storybook.tokenizer import MAX_TOKENS, build_tokenizer
from artv_cli.storybook.vocabulary import read_vocabulary, words_of

KNOWN_WORDS = words_of(EVERYBODY)

TOKENIZER = build_tokenizer()
START, END, PAD, UNKNOWN = (
    TOKENIZER.bos_token_id,
    TOKENIZER.eos_token_id,
    TOKENIZER.pad_token_id,
    TOKENIZER.unk_token_id,
)


def tokens(prompt: str, tokenizer: PreTrainedTokenizerFast = TOKENIZER) -> list[int]:
    return list(tokenizer(prompt).input_ids)


def test_every_known_word_has_a_token_of_its_own() -> None:
    numbers = {word: tokens(word) for word in KNOWN_WORDS}
    assert all(len(row) == 3 and row[0] == START and row[-1] == END for row in numbers.values()), (
        "each word is one token between start and end"
    )
    words = {row[1] for row in numbers.values()}
    assert len(words) == len(KNOWN_WORDS)
    assert not words & {START, END, PAD, UNKNOWN}
    assert len(TOKENIZER) == len(KNOWN_WORDS) + 4


def test_a_smaller_casts_tokenizer_lacks_the_names_of_the_others() -> None:
    words = set(build_tokenizer(frozenset(("cat", "fire engine"))).get_vocab())
    assert {"cat", "kitten", "fire", "engine", "walks", "meadow"} <= words
    assert not words & {"dog", "unicorn", "police"}
    assert words < set(TOKENIZER.get_vocab())


@pytest.mark.parametrize(
    "prompt", ["The CAT walks!", "the cat, walks", "  the\tcat\nwalks…", "the-cat/walks 123"]
)
def test_case_punctuation_and_numbers_do_not_count(prompt: str) -> None:
    assert tokens(prompt) == tokens("the cat walks")


def test_unknown_words_become_the_unknown_token_in_their_place() -> None:
    assert tokens("the cat philosophises") == [*tokens("the cat")[:-1], UNKNOWN, END]
    assert tokens("Кошка") == [START, UNKNOWN, END]


def test_an_empty_prompt_is_start_and_end() -> None:
    assert tokens("") == tokens(" …! ") == [START, END]


def test_prompts_are_padded_and_cut_to_the_models_length() -> None:
    batch = TOKENIZER(
        ["the cat walks", "the cat " * 50],
        padding="max_length",
        truncation=True,
        max_length=MAX_TOKENS,
    ).input_ids
    short, long = batch
    assert len(short) == len(long) == MAX_TOKENS
    assert short == tokens("the cat walks") + [PAD] * (MAX_TOKENS - 5)
    assert long[-1] == END and PAD not in long


def test_exactly_so_many_words_are_read_as_are_said_to_be() -> None:
    longest = tokens(" cat" * MAX_WORDS)
    assert len(longest) == MAX_TOKENS
    cut = TOKENIZER(" cat" * MAX_WORDS + " dog", truncation=True, max_length=MAX_TOKENS)
    assert cut.input_ids == longest


def test_a_saved_tokenizer_says_the_same(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path / "tokenizer")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "tokenizer", trust_remote_code=False)
    for prompt in ("A cat walks!", "the cat philosophises", "", *sorted(KNOWN_WORDS)[:20]):
        assert tokens(prompt, loaded) == tokens(prompt)
    known = read_vocabulary(replace(stand_in_model("mine"), path=tmp_path))
    assert known is not None and (known.words, known.places) == (KNOWN_WORDS, MAX_WORDS)
