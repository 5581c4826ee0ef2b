"""Claims about similarity alone: it is BYOL's equation, symmetric over pairs of views, and blind to collapse."""

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor
from torch.nn.functional import normalize

from mmssl.losses.similarity import Similarity
from mmssl.losses.views import Views, pairs

GENERATOR = torch.Generator().manual_seed(0)
QUERIES = torch.randn(3, 6, 5, generator=GENERATOR)
KEYS = torch.randn(3, 6, 5, generator=GENERATOR)
PRESENT = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1]]).bool()


def loss(queries: Tensor, keys: Tensor, present: Tensor | None = None) -> Tensor:
    """Of views that all samples have unless said otherwise."""
    has = torch.ones(queries.shape[:2], dtype=torch.bool) if present is None else present
    numbers = tuple(range(len(queries)))
    both = Views(queries, has, numbers), Views(keys, has, numbers[: len(keys)])
    return Similarity()(*both, torch.arange(queries.shape[1]))["similarity"]


def test_regression_is_equation_2_of_byol_for_both_orders_of_the_views():
    first = (normalize(QUERIES[0], dim=-1) - normalize(KEYS[1], dim=-1)).square().sum(-1)
    second = (normalize(QUERIES[1], dim=-1) - normalize(KEYS[0], dim=-1)).square().sum(-1)
    torch.testing.assert_close(loss(QUERIES[:2], KEYS[:2]), (first.mean() + second.mean()) / 2)


def test_regression_is_lightlys_cosine_shifted_and_scaled():
    cosine = NegativeCosineSimilarity()
    expected = 2 + cosine(QUERIES[0], KEYS[1]) + cosine(QUERIES[1], KEYS[0])
    torch.testing.assert_close(loss(QUERIES[:2], KEYS[:2]), expected)


def test_regression_worked_by_hand():
    queries = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]])
    keys = torch.tensor([[[0.0, -3.0]], [[5.0, 5.0]]])
    # cos of 45 degrees, and of 180 degrees: 2 - 2 cos of each, their mean
    assert loss(queries, keys).item() == pytest.approx(((2 - 2**0.5) + 4) / 2)


def test_regression_of_three_views_is_the_mean_over_six_ordered_pairs():
    found = [loss(QUERIES[[a, b]], KEYS[[a, b]]) for a, b in ((0, 1), (0, 2), (1, 2))]
    torch.testing.assert_close(loss(QUERIES, KEYS), torch.stack(found).mean())


def test_regression_ignores_lengths_and_the_order_of_samples_and_of_views():
    expected = loss(QUERIES, KEYS)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(loss(QUERIES[:, order], KEYS[:, order]), expected)
    torch.testing.assert_close(loss(QUERIES.flip(0), KEYS.flip(0)), expected)
    torch.testing.assert_close(loss(3 * QUERIES, 0.1 * KEYS), expected)
    assert abs(float(loss(QUERIES[:, order], KEYS) - expected)) > 1e-3  # the control: whose key it is matters


def test_regression_alone_is_lowest_where_all_is_one_point():
    # so nothing in it keeps embeddings apart: the teacher and the predictor must
    assert loss(torch.ones(2, 6, 4), torch.ones(2, 6, 4)).item() == pytest.approx(0, abs=1e-6)
    assert loss(QUERIES, KEYS).item() > 1


def test_a_view_is_never_its_own_answer():
    views = Views(torch.zeros(2, 3, 1), torch.ones(2, 3, dtype=torch.bool), (0, 1))
    assert pairs(views, views)[:, :, 0].tolist() == [[False, True], [True, False]]
    second = views.chosen((1,))
    assert pairs(views, second)[:, :, 0].tolist() == [[True], [False]]  # by number, not by place
    query = QUERIES[:2].clone().requires_grad_()
    energy = loss(query, query.detach())
    changed = loss(query, torch.stack([KEYS[0], query[1].detach()]))
    assert float(energy.detach()) != float(changed.detach())


def test_a_sample_that_lacks_a_view_costs_nothing_and_gets_no_gradient():
    found = []
    for filling in (0.0, 7.0):
        queries = torch.where(PRESENT[..., None], QUERIES[:2], filling).requires_grad_()
        keys = torch.where(PRESENT[..., None], KEYS[:2], filling)
        value = loss(queries, keys, PRESENT)
        value.backward()
        both = PRESENT.all(0)
        torch.testing.assert_close(value, loss(QUERIES[:2, both], KEYS[:2, both]) * both.sum() / 6)
        assert queries.grad is not None
        assert torch.isfinite(queries.grad).all()
        assert not queries.grad[:, ~both].any()
        assert queries.grad[:, both].abs().sum(-1).min() > 0
        found.append(value.detach())
    assert torch.equal(found[0], found[1])
