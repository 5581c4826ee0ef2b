"""Claims about tokenizers and packed rows."""

import dataclasses
import re
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmssl.errors import ConfigError, DataError
from mmssl.modalities.text import Vocabulary, every, load_tokenizer, tokenize, train_tokenizer, vocabulary
from mmssl.savanna import captions

KINDS = ("wordpiece", "byte_bpe", "unigram", "word")
OWN_NAMES = {
    "wordpiece": ("[CLS]", "[SEP]", "[PAD]", "[MASK]"),
    "word": ("[CLS]", "[SEP]", "[PAD]", "[MASK]"),
    "byte_bpe": ("<s>", "</s>", "<pad>", "<mask>"),
    "unigram": ("<s>", "</s>", "<pad>", "<mask>"),
}
TEXTS = captions(0, np.arange(500))


@pytest.fixture(scope="module")
def vocabularies() -> dict[str, Vocabulary]:
    """A vocabulary of each kind."""
    return {kind: vocabulary(train_tokenizer(TEXTS, kind, 320, lowercase=True)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_tokenizer_keeps_to_its_size_and_knows_its_texts(kind, vocabularies):
    words = vocabularies[kind]
    assert words.size == len(words.tokenizer) <= 320
    for text, ids in zip(TEXTS[:20], words.encode(TEXTS[:20]), strict=True):
        assert words.unknown not in ids
        spaced = " ".join(words.decode(ids).replace(".", " .").replace(",", " ,").split())
        expected = " ".join(text.replace(".", " .").replace(",", " ,").split())
        assert spaced == (expected if kind in ("byte_bpe", "unigram") else expected.lower())


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_written_in_a_text_are_ordinary_text(kind, vocabularies):
    words = vocabularies[kind]
    for name in OWN_NAMES[kind]:
        text = f"the lion {name} chases the gnu"
        (ids,) = words.encode([text])
        number = words.tokenizer.convert_tokens_to_ids(name)
        assert words.special[number]
        assert number not in ids
        # the control: as the tokenizer comes, the text would forge a special token
        assert number in words.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("kind", KINDS)
def test_encoding_leaves_the_tokenizer_as_it_was(kind, vocabularies):
    words = vocabularies[kind]
    masked = words.encode_masked("the [MASK] chases")
    words.encode(["[MASK]"])
    assert words.encode_masked("the [MASK] chases") == masked


@pytest.mark.parametrize("kind", KINDS)
def test_a_written_mask_is_the_tokenizers_mask(kind, vocabularies):
    words = vocabularies[kind]
    own = OWN_NAMES[kind][3]
    before, after = words.encode(["the", "chases the gnu"])
    for text in ("the [MASK] chases the gnu", f"the {own} chases the gnu"):
        assert words.encode_masked(text) == [*before, words.mask, *after]
    # as in training, where the mask takes the place of a token of the whole text, in front of punctuation, too
    for text, hidden in (("the gnu chases the lion.", "lion"), ("The gnu runs, the lion bolts.", "gnu")):
        (ids,) = words.encode([text])
        spans = [(start, end) for start in range(len(ids)) for end in range(start, len(ids) + 1)]
        start, end = next(span for span in spans if words.decode(ids[slice(*span)]) == hidden)
        assert words.encode_masked(text.replace(hidden, "[MASK]")) == [*ids[:start], words.mask, *ids[end:]]


@pytest.mark.parametrize("kind", KINDS)
def test_special_ids_are_those_of_the_tokenizer(kind, vocabularies):
    words = vocabularies[kind]
    assert sorted(torch.nonzero(words.special)[:, 0].tolist()) == list(range(5))
    assert {words.pad, words.first, words.last, words.mask, words.unknown} == set(range(5))
    first, last, pad, mask = (words.tokenizer.convert_tokens_to_ids(name) for name in OWN_NAMES[kind])
    assert (words.first, words.last, words.pad, words.mask) == (first, last, pad, mask)


@pytest.mark.parametrize("kind", KINDS)
def test_words_start_where_white_space_or_punctuation_says(kind, vocabularies):
    words = vocabularies[kind]
    text = "warthogs chase leopardlike kitchens"  # some of them in pieces
    (ids,) = words.encode([text])
    starts = words.starts_word[torch.tensor(ids)].tolist()
    assert starts[0]
    assert sum(starts) == 4
    assert len(ids) > 4 or kind == "word"
    group, groups = [], []
    for token, is_start in zip(ids, starts, strict=True):
        group = [token] if is_start else [*group, token]
        groups = [*groups, group] if is_start else [*groups[:-1], group]
    if kind != "word":  # which does not know these words
        assert [words.decode(one) for one in groups] == text.split()


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_byte_level_bpe_loses_nothing(text):
    words = bpe()
    (ids,) = words.encode([text])
    assert words.unknown not in ids
    decoded = words.tokenizer.decode(ids)
    assert decoded in (text, " " + text)  # a space is put before a first word


@cache
def bpe() -> Vocabulary:
    """A byte-level vocabulary."""
    return vocabulary(train_tokenizer(TEXTS, "byte_bpe", 300, lowercase=True))


def test_lower_case_is_an_option():
    for lowercase in (True, False):
        words = vocabulary(train_tokenizer(TEXTS, "word", 320, lowercase=lowercase))
        (small,), (great,) = words.encode(["the"]), words.encode(["The"])
        assert (small == great) == lowercase
        assert words.unknown not in (small, great)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_read_again_a_tokenizer_is_the_same(kind, vocabularies, tmp_path):
    words = vocabularies[kind]
    words.tokenizer.save_pretrained(tmp_path)
    again = vocabulary(load_tokenizer(tmp_path))
    for field in dataclasses.fields(Vocabulary):
        one, two = getattr(words, field.name), getattr(again, field.name)
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, two)
        elif field.name != "tokenizer":
            assert one == two, field.name
    assert again.encode(TEXTS[:50]) == words.encode(TEXTS[:50])
    masked = "In the [MASK], a [MASK] stalks."
    assert again.encode_masked(masked) == words.encode_masked(masked)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_is_marked_as_bert_marks_it(kind, vocabularies):
    words = vocabularies[kind]
    found = words.tokenizer("the lion", "the gnu", return_token_type_ids=True)
    one, two = words.encode(["the lion", "the gnu"])
    assert found["input_ids"] == [words.first, *one, words.last, *two, words.last]
    assert found["token_type_ids"] == [0] * (len(one) + 2) + [1] * (len(two) + 1)


def test_a_tokenizer_without_a_mask_is_refused():
    tokenizer = train_tokenizer(TEXTS, "wordpiece", 320, lowercase=True)
    tokenizer.mask_token = None
    with pytest.raises(ConfigError, match="lacks mask; expected a masked model's"):
        vocabulary(tokenizer)


def test_texts_without_a_word_are_refused():
    with pytest.raises(DataError, match="no word to train on"):
        train_tokenizer(["", "  "], "wordpiece", 320, lowercase=True)


def test_a_missing_tokenizer_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "none"))):
        load_tokenizer(tmp_path / "none")


def test_a_row_is_read_as_its_documents(vocabularies):
    words = vocabularies["wordpiece"]
    c, s, p, a = words.first, words.last, words.pad, 20
    rows = torch.tensor([[c, a, s, c, a, a, s, p], [c, a, a, a, a, a, a, s]], dtype=torch.int32)
    tokens = tokenize(words, [rows])
    assert tokens.value.dtype == torch.long
    assert tokens.place.document.tolist() == [[0, 0, 0, 1, 1, 1, 1, -1], [0] * 8]
    assert tokens.place.position.tolist() == [list(range(8))] * 2
    assert tokens.place.grid == (8,)


@given(st.integers(1, 50), st.integers(0, 300))
def test_every_spreads_at_most_count_numbers_evenly(count, total):
    found = list(every(count, total))
    assert len(found) <= count
    assert len(set(np.diff(found))) <= 1
    assert all(0 <= number < total for number in found)
    assert not total or len(found) > min(count, total) / 2 - 1
    assert not total or found[0] == 0


def test_training_twice_on_the_same_texts_gives_the_same_wordpiece_tokenizer():
    one, two = (train_tokenizer(TEXTS, "wordpiece", 320, lowercase=True).backend_tokenizer.to_str() for _ in range(2))
    assert one == two
