"""Claims about tokens and places: positions survive dropping and shuffling, documents keep their own count."""

import numpy as np
import torch

from mmssl.tokens import Place, Tokens, at, coordinates, take, within_document


def row(*document: int) -> Place:
    """One row of tokens at positions 0, 1, 2 ..."""
    return Place(torch.arange(len(document))[None], torch.tensor([document]), (len(document),))


def test_a_place_is_valid_where_it_belongs_to_a_document():
    assert row(0, 0, 1, -1).valid.tolist() == [[True, True, True, False]]


def test_within_document_counts_from_the_first_token_of_each_document():
    assert within_document(row(0, 0, 0, 1, 2, 2, -1, -1)).tolist() == [[0, 1, 2, 0, 0, 1, 0, 0]]
    assert within_document(row(-1, -1)).tolist() == [[0, 0]]


def test_at_reads_ids_and_vectors_at_the_hidden_positions():
    hidden = Place(torch.tensor([[2, 0], [1, 1]]), torch.zeros(2, 2, dtype=torch.long), (3,))
    place = Place(torch.arange(3).expand(2, 3), torch.zeros(2, 3, dtype=torch.long), (3,))
    ids = torch.tensor([[10, 11, 12], [20, 21, 22]])
    assert at(Tokens(ids, place), hidden).tolist() == [[12, 10], [21, 21]]
    vectors = torch.stack([ids, -ids], dim=-1)
    assert at(Tokens(vectors, place), hidden).tolist() == [[[12, -12], [10, -10]], [[21, -21], [21, -21]]]


def test_take_keeps_positions_and_documents_with_their_values():
    tokens = Tokens(torch.tensor([[5, 6, 7, 8]]), row(0, 0, 1, -1))
    taken = take(tokens, torch.tensor([[3, 1]]))
    assert taken.value.tolist() == [[8, 6]]
    assert taken.place.position.tolist() == [[3, 1]]
    assert taken.place.document.tolist() == [[-1, 0]]
    assert taken.place.grid == (4,)


def test_what_was_taken_can_be_taken_again_and_still_knows_where_it_came_from():
    vectors = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    place = Place(torch.arange(6).expand(2, 6), torch.zeros(2, 6, dtype=torch.long), (6,))
    first = take(Tokens(vectors, place), torch.tensor([[4, 1, 3], [0, 5, 2]]))
    second = take(first, torch.tensor([[2, 0], [1, 1]]))
    assert second.place.position.tolist() == [[3, 4], [5, 5]]
    assert torch.equal(second.value, at(Tokens(vectors, place), second.place))


def test_coordinates_agree_with_numpy_on_grids_of_one_two_and_three_axes():
    for grid in ((30,), (5, 6), (2, 3, 5)):
        position = torch.tensor([[0, 29, 7], [13, 1, 28]])
        place = Place(position, torch.zeros_like(position), grid)
        expected = np.stack(np.unravel_index(position.numpy(), grid), axis=-1)
        assert coordinates(place).tolist() == expected.tolist()
