"""Claims about the text encoders: stock classes on packed rows, and the window network."""

import copy
import dataclasses
import re

import pytest
import torch
from torch.nn.functional import hardtanh

from mmssl.errors import ConfigError
from mmssl.modalities.text import tokenize
from mmssl.models import ENCODERS
from mmssl.models.encoder import TOKENIZER_KINDS, TextEncoder, VocabularyHead, WindowScorer, longest
from mmssl.tokens import Place, Tokens

STOCK = ("bert", "roberta", "xlm_roberta", "modernbert")
TINY = {"layers": 2, "width": 32, "heads": 4, "intermediate": 64, "dropout": 0.0, "max_positions": 64}


def stock_encoder(name: str, vocabularies, **more) -> tuple[TextEncoder, object]:
    """A tiny encoder with its own kind of tokenizer; larger weights, so that differences show."""
    words = vocabularies[TOKENIZER_KINDS[name]]
    torch.manual_seed(0)
    encoder = ENCODERS[name](words, **{**TINY, **more})
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.mul_(4 if weight.ndim == 2 else 1)
    return encoder.eval(), words


def row_of(words, documents: list[list[int]], length: int) -> Tokens:
    """Documents packed into one row."""
    ids = [token for body in documents for token in (words.first, *body, words.last)]
    return tokenize(words, [torch.tensor([ids + [words.pad] * (length - len(ids))])])


@pytest.mark.parametrize("name", STOCK)
@torch.no_grad()
def test_an_encoder_with_its_head_gives_the_stock_logits_of_each_document(name, vocabularies, texts):
    encoder, words = stock_encoder(name, vocabularies)
    stock = copy.deepcopy(encoder.stock)
    stock.set_attn_implementation("eager")
    documents = words.encode(texts[:3])
    tokens = row_of(words, documents, 96)
    logits = VocabularyHead(encoder)(encoder({"text": tokens}), tokens.place)[0]
    start = 0
    for body in documents:
        ids = torch.tensor([[words.first, *body, words.last]])
        end = start + ids.shape[1]
        torch.testing.assert_close(logits[start:end], stock(input_ids=ids).logits[0], atol=1e-5, rtol=0)
        start = end
    assert float((logits[:8] - logits[8:16]).abs().max()) > 1e-2


@pytest.mark.parametrize("name", STOCK)
@torch.no_grad()
def test_the_head_runs_on_hidden_places_only(name, vocabularies, texts):
    encoder, words = stock_encoder(name, vocabularies)
    tokens = row_of(words, words.encode(texts[:2]), 64)
    sx = encoder({"text": tokens})
    position = torch.tensor([[3, 7, 1]])
    hidden = Place(position, torch.zeros_like(position), tokens.place.grid)
    head = VocabularyHead(encoder)
    assert head(sx, hidden).shape == (1, 3, words.size)
    torch.testing.assert_close(head(sx, hidden)[0], head(sx, tokens.place)[0, [3, 7, 1]])


@pytest.mark.parametrize("name", STOCK)
@torch.no_grad()
def test_a_document_as_long_as_the_encoder_allows_is_taken(name, vocabularies):
    encoder, words = stock_encoder(name, vocabularies)
    assert encoder.longest == longest(encoder, 7) == TINY["max_positions"]
    body = [int(torch.nonzero(~words.special)[5])] * (encoder.longest - 2)
    assert encoder({"text": row_of(words, [body], 64)})["text"].value.shape == (1, 64, 32)


@pytest.mark.parametrize(
    "name, vocabulary_size, parameters",
    [
        ("bert", 30522, 109_514_298),  # bert-base-uncased
        ("roberta", 50265, 124_697_433),  # roberta-base
        ("xlm_roberta", 250_002, 278_295_186),  # xlm-roberta-base
        ("modernbert", 50368, 149_655_232),  # ModernBERT-base
    ],
)
def test_the_defaults_are_the_papers_base_models(name, vocabulary_size, parameters, vocabularies):
    words = dataclasses.replace(vocabularies[TOKENIZER_KINDS[name]], size=vocabulary_size)
    with torch.device("meta"):
        encoder = ENCODERS[name](words)
    assert sum(weight.numel() for weight in encoder.parameters()) == parameters


@torch.no_grad()
def test_token_types_mark_the_second_part_of_a_pair(vocabularies):
    encoder, words = stock_encoder("bert", vocabularies)
    c, s, p, a = words.first, words.last, words.pad, 20
    ids = torch.tensor([[c, a, s, a, a, s, c, a, s, p], [c, a, a, s, c, s, a, s, c, s]])
    expected = [[0, 0, 0, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1, 1, 0, 0]]
    assert encoder.token_types(ids, tokenize(words, [ids]).place).tolist() == expected


@torch.no_grad()
def test_bert_reads_a_pair_as_the_stock_class_does(vocabularies, texts):
    encoder, words = stock_encoder("bert", vocabularies)
    a, b = words.encode(texts[:2])
    # the tokenizer makes the token types of the pair
    inputs = words.tokenizer(texts[0], texts[1], return_token_type_ids=True, return_tensors="pt")
    assert inputs["input_ids"][0].tolist() == [words.first, *a, words.last, *b, words.last]
    stock = copy.deepcopy(encoder.stock)
    stock.set_attn_implementation("sdpa")
    pair = tokenize(words, [inputs["input_ids"]])
    ours = VocabularyHead(encoder)(encoder({"text": pair}), pair.place)
    torch.testing.assert_close(ours, stock(**inputs).logits, atol=1e-5, rtol=0)
    del inputs["token_type_ids"]  # all zero then
    assert float((ours - stock(**inputs).logits).abs().max()) > 1e-3


def window_parts(vocabularies, size: int = 5):
    """A window encoder and its scorer with weights that all matter."""
    torch.manual_seed(0)
    encoder = ENCODERS["window"](vocabularies["word"], width=6, size=size, hidden=9)
    scorer = WindowScorer(encoder)
    torch.nn.init.normal_(scorer.padding)
    return encoder.eval(), scorer.eval(), vocabularies["word"]


@torch.no_grad()
def test_window_scores_are_those_worked_by_hand(vocabularies, texts):
    encoder, scorer, words = window_parts(vocabularies)
    documents = words.encode(texts[:2])
    tokens = row_of(words, documents, 48)
    scores = scorer(encoder({"text": tokens}), tokens.place)
    bodies = [[words.first, *body, words.last] for body in documents]
    slots = [(number, place) for number, body in enumerate(bodies) for place in range(len(body))]
    for slot, (number, place) in enumerate(slots):
        for word in (7, 30):
            inner = scorer.context.bias.clone()
            for column, offset in enumerate((-2, -1, 1, 2)):
                near = place + offset
                inside = 0 <= near < len(bodies[number])
                vector = encoder.words.weight[bodies[number][near]] if inside else scorer.padding
                inner += scorer.context.weight[:, 6 * column : 6 * column + 6] @ vector
            inner += scorer.centre.weight @ encoder.words.weight[word]
            expected = scorer.score.weight[0] @ hardtanh(inner)
            torch.testing.assert_close(scores[0, slot, word], expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_scores_of_given_words_are_those_among_all_words(vocabularies, texts):
    encoder, scorer, words = window_parts(vocabularies)
    tokens = row_of(words, words.encode(texts[:1]), 32)
    sx = encoder({"text": tokens})
    some = torch.randint(words.size, (1, 32, 4), generator=torch.Generator().manual_seed(0))
    expected = scorer(sx, tokens.place).gather(-1, some)
    torch.testing.assert_close(scorer.of_words(sx, tokens.place, some), expected)


@torch.no_grad()
def test_a_window_never_sees_its_centre_but_sees_its_neighbours(vocabularies, texts):
    encoder, scorer, words = window_parts(vocabularies)
    tokens = row_of(words, words.encode(texts[:1]), 32)
    place = Place(torch.tensor([[4]]), torch.zeros(1, 1, dtype=torch.long), (32,))

    def scores(changed: int) -> torch.Tensor:
        ids = tokens.value.clone()
        ids[0, changed] = 9
        return scorer(encoder({"text": Tokens(ids, tokens.place)}), place)

    before = scorer(encoder({"text": tokens}), place)
    assert torch.equal(scores(4), before)
    assert torch.equal(scores(7), before)  # beyond the reach of two words
    assert not torch.equal(scores(5), before)


def test_the_longest_text_of_a_window_is_the_row(vocabularies):
    assert longest(window_parts(vocabularies)[0], 77) == 77


def test_a_window_without_a_centre_is_refused(vocabularies):
    with pytest.raises(ConfigError, match=r"encoder\.size 4.*odd"):
        ENCODERS["window"](vocabularies["word"], size=4)


@pytest.mark.parametrize("name", STOCK)
def test_a_width_that_heads_do_not_divide_is_refused(name, vocabularies):
    with pytest.raises(ConfigError, match=r"encoder\.width 30.*encoder\.heads 4"):
        stock_encoder(name, vocabularies, width=30)


def test_a_saved_model_is_read_and_named_faults_are_config_errors(vocabularies, tmp_path, texts):
    encoder, words = stock_encoder("roberta", vocabularies)
    encoder.stock.save_pretrained(tmp_path / "model")
    again = ENCODERS["pretrained"](words, path=str(tmp_path / "model")).eval()
    tokens = row_of(words, words.encode(texts[:2]), 64)
    with torch.no_grad():
        torch.testing.assert_close(again({"text": tokens})["text"].value, encoder({"text": tokens})["text"].value)
    larger = dataclasses.replace(words, size=words.size + 1)
    with pytest.raises(ConfigError, match=f"{words.size} words, the tokenizer {words.size + 1}"):
        ENCODERS["pretrained"](larger, path=str(tmp_path / "model"))
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "missing"))):
        ENCODERS["pretrained"](words, path=str(tmp_path / "missing"))


def test_a_class_without_a_known_head_is_refused(vocabularies):
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    stock = DistilBertForMaskedLM(DistilBertConfig(vocab_size=40, dim=8, n_layers=1, n_heads=2, hidden_dim=8))
    with pytest.raises(ConfigError, match="distilbert has no known vocabulary head"):
        TextEncoder(stock, 3)
