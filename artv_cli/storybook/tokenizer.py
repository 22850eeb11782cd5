"""The embedded model's tokenizer: one token for each word that its world can say."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from artv_cli.storybook.captions import MAX_WORDS
from artv_cli.storybook.characters import EVERYBODY, Cast
from artv_cli.storybook.vocabulary import words_of

START, END, PAD, UNKNOWN = "<start>", "<end>", "<pad>", "<unknown>"
MAX_TOKENS = 1 + MAX_WORDS + 1  # with start and end


def build_tokenizer(cast: Cast = EVERYBODY) -> PreTrainedTokenizerFast:
    """Return a tokenizer over a cast's words; letters' case and punctuation do not count."""
    words = [PAD, START, END, UNKNOWN, *sorted(words_of(cast))]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.Replace(Regex(r"\P{L}+"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}",
        special_tokens=[(word, vocabulary[word]) for word in (START, END)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_max_length=MAX_TOKENS,
    )
