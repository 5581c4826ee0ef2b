"""Claims about predictors: they know the place of the question, not the answer, and no order among what is seen."""

import pytest
import torch
from tiny import words_of_tests
from torch import nn

from mmssl.models.predictor import EachBlock, TokenHead, TransformerPredictor, WordHead
from mmssl.models.transformer import positions
from mmssl.tokens import Place, Tokens, take, without

GRID = (4, 4)


def made(names: tuple[str, ...] = ("image",), latent_width: int = 0) -> TransformerPredictor:
    """A tiny predictor of five numbers a place."""
    torch.manual_seed(0)
    return TransformerPredictor(8, 5, names, layers=2, width=16, heads=2, latent_width=latent_width).eval()


def places(*rows: list[int]) -> Place:
    """Places of a picture."""
    position = torch.tensor(rows)
    return Place(position, torch.zeros_like(position), GRID)


def embedded(place: Place, seed: int = 0) -> Tokens:
    """What an encoder might say of these places."""
    generator = torch.Generator().manual_seed(seed)
    return Tokens(torch.randn(*place.position.shape, 8, generator=generator), place)


SEEN = embedded(places([0, 3, 5, 9], [1, 2, 4, 15]))
HIDDEN = places([1, 2, 14], [0, 6, 7])


@torch.no_grad()
def test_the_order_of_what_is_seen_does_not_matter():
    order = torch.tensor([[2, 0, 3, 1], [3, 2, 1, 0]])
    predictor = made()
    expected = predictor({"image": SEEN}, HIDDEN)
    found = predictor({"image": take(SEEN, order)}, HIDDEN)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    moved = Tokens(take(SEEN, order).value, SEEN.place)  # the control: where it lies does
    assert not torch.allclose(predictor({"image": moved}, HIDDEN), expected, atol=1e-4)


@torch.no_grad()
def test_the_class_token_is_one_more_seen_token_without_a_position():
    predictor = made()
    summary = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    found = predictor({"image": SEEN._replace(summary=summary)}, HIDDEN)
    # by hand: the projected token among the others, which changes the answers
    value = torch.cat([predictor.project(SEEN.value), predictor.project(summary)[:, None]], 1)
    value[:, :4] += positions(SEEN.place, 16) + predictor.modality["image"]
    value = torch.cat([value, predictor.mask + positions(HIDDEN, 16)], 1)
    expected = predictor.answer(predictor.layers(value, torch.zeros(2, 8, dtype=torch.long))[:, 5:])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert not torch.allclose(predictor({"image": SEEN}, HIDDEN), found, atol=1e-4)


@torch.no_grad()
def test_answers_come_in_the_order_of_the_questions():
    predictor = made()
    expected = predictor({"image": SEEN}, HIDDEN)
    assert expected.shape == (2, 3, 5)
    found = predictor({"image": SEEN}, places([14, 1, 2], [7, 0, 6]))
    torch.testing.assert_close(found, expected[:, [2, 0, 1]], atol=1e-5, rtol=0)
    assert (expected[:, 0] - expected[:, 1]).abs().max() > 1e-4  # the control: places have different answers


@torch.no_grad()
def test_padded_questions_and_padded_tokens_do_not_reach_the_others():
    predictor = made()
    document = torch.tensor([[0, 0, -1], [0, 0, 0]])
    hidden = HIDDEN._replace(document=document)
    expected = predictor({"image": SEEN}, hidden)
    other = predictor({"image": SEEN}, places([1, 2, 8], [0, 6, 7])._replace(document=document))
    assert torch.equal(other[:, :2], expected[:, :2])
    absent = without(SEEN, torch.tensor([False, True]))
    before = predictor({"image": absent}, HIDDEN)
    after = predictor({"image": absent._replace(value=absent.value + 9)}, HIDDEN)
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [True, False]


@torch.no_grad()
def test_modalities_are_told_apart():
    predictor = made(("image", "video"))
    for weight in predictor.modality.values():
        weight.mul_(50)
    first, second = ({name: SEEN} for name in ("image", "video"))
    assert not torch.allclose(predictor(first, HIDDEN), predictor(second, HIDDEN), atol=1e-4)
    both = predictor({"image": SEEN, "video": embedded(SEEN.place, seed=1)}, HIDDEN)
    assert both.shape == (2, 3, 5)
    assert not torch.allclose(both, predictor(first, HIDDEN), atol=1e-4)


@torch.no_grad()
def test_a_latent_changes_the_answer_of_its_own_sample():
    predictor = made(latent_width=3)
    z = torch.zeros(2, 3)
    before = predictor({"image": SEEN}, HIDDEN, z)
    z[1] = 2
    after = predictor({"image": SEEN}, HIDDEN, z)
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [True, False]


@torch.no_grad()
def test_a_word_head_scores_each_word_by_its_vector_in_the_table():
    words = words_of_tests()
    torch.manual_seed(0)
    table = nn.Embedding(words.size, 8)
    head = WordHead(table)
    position = torch.tensor([[2, 0]])
    text = embedded(Place(torch.arange(4)[None], torch.zeros(1, 4, dtype=torch.long), (4,)))
    scores = head({"text": text}, Place(position, torch.zeros_like(position), (4,)))
    assert scores.shape == (1, 2, words.size)
    assert head.table is table
    for place, index in ((0, 2), (1, 0)):
        expected = head.transform(text.value[0, index]) @ table.weight[5]
        assert scores[0, place, 5].item() == pytest.approx(float(expected), abs=1e-5)


@torch.no_grad()
def test_a_token_head_reads_the_embedding_at_the_place_alone():
    torch.manual_seed(0)
    everywhere = embedded(places([*range(16)], [*range(16)]))
    for layers in (1, 3):
        head = TokenHead(8, 5, "image", layers=layers)
        found = head({"image": everywhere}, HIDDEN)
        assert found.shape == (2, 3, 5)
        for row in range(2):
            for number, place in enumerate(HIDDEN.position[row]):
                expected = head.answer(head.transform(everywhere.value[row, place]))
                torch.testing.assert_close(found[row, number], expected)
        assert sum(isinstance(part, nn.Linear) for part in head.modules()) == layers


@torch.no_grad()
def test_a_block_is_predicted_as_if_no_other_were_asked_for():
    inner = made()
    predictor = EachBlock(inner)
    hidden = places([1, 2, 2, 14], [0, 6, 7, 8])._replace(blocks=2)
    found = predictor({"image": SEEN}, hidden)
    first, second = (places(*rows) for rows in ([[1, 2], [0, 6]], [[2, 14], [7, 8]]))
    expected = torch.cat([inner({"image": SEEN}, first), inner({"image": SEEN}, second)], 1)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    # the control: as one block, places see each other
    assert not torch.allclose(predictor({"image": SEEN}, hidden._replace(blocks=1)), found, atol=1e-4)
    torch.testing.assert_close(predictor({"image": SEEN}, HIDDEN), inner({"image": SEEN}, HIDDEN))


@pytest.mark.parametrize("head, rank", [("linear", 15), ("perceptron", 64)])  # the last norm takes one
@torch.no_grad()
def test_what_is_said_of_many_numbers_has_the_dimensions_of_the_head(head, rank):
    torch.manual_seed(0)
    predictor = TransformerPredictor(8, 100, ["image"], layers=1, width=16, heads=2, head=head).eval()
    place = Place(torch.arange(16).expand(40, -1), torch.zeros(40, 16, dtype=torch.long), GRID)
    seen = Tokens(torch.randn(40, 16, 8, generator=torch.Generator().manual_seed(1)), place)
    said = predictor({"image": seen}, place).flatten(0, 1).double()
    assert torch.linalg.matrix_rank(said, rtol=1e-6) == rank
