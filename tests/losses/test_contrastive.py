"""Claims about contrast: it equals lightly's and CLIP's code, collapse costs the most, absent samples cost nothing."""

import math

import pytest
import torch
from lightly.loss import NTXentLoss
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from mmssl.losses.contrastive import CrossModal, KeyContrast, NTXent, inner
from mmssl.losses.views import Views

GENERATOR = torch.Generator().manual_seed(0)
VALUES = torch.randn(3, 6, 5, generator=GENERATOR)
NAMES = ("text", "image", "audio")


def views(value: Tensor, present: Tensor | None = None) -> Views:
    """Of samples that have all of them unless said otherwise."""
    here = torch.ones(value.shape[:2], dtype=torch.bool) if present is None else present
    return Views(value, here, tuple(range(len(value))))


def contrast(value: Tensor, temperature: float = 0.5, present: Tensor | None = None) -> Tensor:
    """NT-Xent of views."""
    both = views(value, present)
    return NTXent(temperature)(both, both, torch.arange(value.shape[1]))["contrast"]


def between(value: Tensor, temperature: float = 0.07, present: Tensor | None = None) -> dict[str, Tensor]:
    """The cross-modal terms of three modalities, or of the first two."""
    both = views(value, present)
    return CrossModal(temperature, NAMES[: len(value)])(both, both, torch.arange(value.shape[1]))


def clip(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Figure 3 of Radford et al. 2021."""
    logits = normalize(a, dim=1) @ normalize(b, dim=1).T / temperature
    labels = torch.arange(len(a))
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


@pytest.mark.parametrize("temperature", [0.07, 0.5, 2.0])
def test_nt_xent_equals_lightlys(temperature):
    expected = NTXentLoss(temperature=temperature)(VALUES[0], VALUES[1])
    torch.testing.assert_close(contrast(VALUES[:2], temperature), expected)
    assert abs(float(contrast(VALUES[:2], temperature) - NTXentLoss(1.0)(VALUES[0], VALUES[1]))) > 1e-2


def test_nt_xent_has_the_gradient_of_lightlys():
    ours, theirs = VALUES[:2].clone().requires_grad_(), VALUES[:2].clone().requires_grad_()
    contrast(ours).backward()
    NTXentLoss(temperature=0.5)(theirs[0], theirs[1]).backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_nt_xent_worked_by_hand():
    # two samples at right angles, both views alike: e^2 against e^2 + 1 + 1 at temperature 1/2
    value = torch.eye(2).expand(2, 2, 2)
    expected = -math.log(math.exp(2) / (math.exp(2) + 2))
    assert contrast(value, 0.5).item() == pytest.approx(expected)


def test_nt_xent_of_three_views_is_the_mean_over_positives():
    value = normalize(VALUES, dim=-1).flatten(0, 1)
    similarity = value @ value.T / 0.5
    losses = []
    for anchor in range(18):
        others = [other for other in range(18) if other != anchor]
        log_sum = similarity[anchor, others].logsumexp(0)
        positives = [other for other in others if other % 6 == anchor % 6]
        losses.append(torch.stack([log_sum - similarity[anchor, other] for other in positives]).mean())
    torch.testing.assert_close(contrast(VALUES), torch.stack(losses).mean())


@pytest.mark.parametrize("batch", [2, 6, 32])
def test_nt_xent_of_collapsed_views_is_that_of_chance(batch):
    value = torch.ones(2, batch, 4)
    assert contrast(value).item() == pytest.approx(math.log(2 * batch - 1), rel=1e-5)
    apart = torch.eye(batch).expand(2, batch, batch)  # the control: embeddings that differ cost less
    assert contrast(apart).item() < 0.9 * math.log(2 * batch - 1)


@pytest.mark.parametrize("criterion", [contrast, lambda value: torch.stack([*between(value).values()])])
def test_contrast_ignores_the_order_of_samples_and_the_length_of_embeddings(criterion):
    expected = criterion(VALUES)
    torch.testing.assert_close(criterion(VALUES[:, torch.tensor([3, 1, 5, 0, 2, 4])]), expected)
    length = torch.rand(3, 6, 1, generator=torch.Generator().manual_seed(1)) + 0.5
    torch.testing.assert_close(criterion(length * VALUES), expected)
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(2)))[0]
    torch.testing.assert_close(criterion(VALUES @ rotation), expected)
    shuffled = torch.stack([VALUES[0], VALUES[1, [1, 0, 2, 3, 4, 5]], VALUES[2]])
    assert not torch.allclose(criterion(shuffled), expected)  # the control: whose view it is matters


def test_cross_modal_equals_clips_code():
    terms = between(VALUES[:2])
    assert terms.keys() == {"text_image"}
    torch.testing.assert_close(terms["text_image"], clip(VALUES[0], VALUES[1], 0.07))


def test_cross_modal_of_three_is_the_mean_over_pairs():
    terms = between(VALUES)
    assert terms.keys() == {"text_image", "text_audio", "image_audio"}
    for name, (a, b) in zip(terms, ((0, 1), (0, 2), (1, 2)), strict=True):
        torch.testing.assert_close(terms[name], clip(VALUES[a], VALUES[b], 0.07) / 3)


def test_cross_modal_of_collapsed_modalities_is_that_of_chance():
    assert between(torch.ones(2, 6, 4))["text_image"].item() == pytest.approx(math.log(6), rel=1e-5)
    assert between(torch.eye(6).expand(2, 6, 6))["text_image"].item() < 0.01


PRESENT = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1], [1, 1, 1, 0, 0, 1]]).bool()


def test_a_sample_that_lacks_a_modality_costs_nothing_and_is_no_negative():
    terms = between(VALUES, present=PRESENT)
    for name, (a, b) in zip(terms, ((0, 1), (0, 2), (1, 2)), strict=True):
        both = PRESENT[a] & PRESENT[b]
        # the mean is over all samples: those that lack one of the two count as 0
        expected = clip(VALUES[a, both], VALUES[b, both], 0.07) * both.sum() / 6 / 3
        torch.testing.assert_close(terms[name], expected)


def test_the_views_that_a_sample_has_are_contrasted_without_those_that_it_lacks():
    present = PRESENT[:2]
    value = normalize(VALUES[:2], dim=-1)
    found = contrast(VALUES[:2], present=present)
    flat, here = value.flatten(0, 1), present.flatten()
    losses = []
    for anchor in range(12):
        positive = (anchor + 6) % 12
        others = [other for other in range(12) if other != anchor and here[other]]
        similarity = flat[anchor] @ flat.T / 0.5
        is_pair = bool(here[anchor] and here[positive])
        losses.append(similarity[others].logsumexp(0) - similarity[positive] if is_pair else torch.zeros(()))
    torch.testing.assert_close(found, torch.stack(losses).mean())


@pytest.mark.parametrize("criterion", [contrast, lambda value, present: sum(between(value, present=present).values())])
def test_what_is_absent_gets_no_gradient_whatever_it_holds(criterion):
    found = []
    for filling in (0.0, 7.0):
        value = torch.where(PRESENT[..., None], VALUES, filling).requires_grad_()
        loss = criterion(value, present=PRESENT)
        loss.backward()
        assert value.grad is not None
        assert torch.isfinite(value.grad).all()
        assert not value.grad[~PRESENT].any()
        assert value.grad[:, PRESENT.all(0)].abs().sum(-1).min() > 0
        found.append(loss.detach())
    assert torch.equal(found[0], found[1])


def test_where_nobody_has_both_the_loss_is_zero():
    present = torch.tensor([[True] * 6, [False] * 6])
    value = VALUES[:2].clone().requires_grad_()
    loss = contrast(value, present=present) + between(value, present=present)["text_image"]
    loss.backward()
    assert loss.item() == 0
    assert value.grad is not None
    assert not value.grad.any()


KEYS = torch.randn(3, 6, 5, generator=GENERATOR)


def among_keys(queries: Tensor, keys: Tensor, weight: float = 1.0, present: Tensor | None = None) -> Tensor:
    """MoCo v3's criterion at a temperature of 0.2."""
    both = views(queries, present), views(keys, present)
    return KeyContrast(0.2, 0.4, weight)(*both, torch.arange(queries.shape[1]))["contrast"]


def algorithm_1(query: Tensor, key: Tensor) -> Tensor:
    """`ctr` of Chen et al. 2021 at a temperature of 0.2."""
    logits = normalize(query, dim=1) @ normalize(key, dim=1).T / 0.2
    return 2 * 0.2 * cross_entropy(logits, torch.arange(len(query)))


def test_key_contrast_and_its_gradient_are_algorithm_1_of_moco_v3():
    ours, theirs = VALUES[:2].clone().requires_grad_(), VALUES[:2].clone().requires_grad_()
    key = KEYS[:2].clone().requires_grad_()
    found, expected = among_keys(ours, key), algorithm_1(theirs[0], KEYS[1]) + algorithm_1(theirs[1], KEYS[0])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    found.backward()
    expected.backward()
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)
    assert key.grad is None
    same_view = algorithm_1(VALUES[0], KEYS[0]) + algorithm_1(VALUES[1], KEYS[1])
    assert (found - same_view).abs().item() > 1e-2  # the control: which key it is matters


def test_key_contrast_of_three_views_is_twice_the_mean_over_six_ordered_pairs():
    ways = [algorithm_1(VALUES[a], KEYS[b]) for a in range(3) for b in range(3) if a != b]
    torch.testing.assert_close(among_keys(VALUES, KEYS), 2 * torch.stack(ways).mean())


def test_key_contrast_of_collapsed_views_is_that_of_chance():
    ones, apart = torch.ones(2, 6, 4), torch.eye(6).expand(2, 6, 6)
    assert among_keys(ones, ones).item() == pytest.approx(2 * 0.4 * math.log(6), rel=1e-5)
    # by hand: a key at the query and five at right angles
    assert among_keys(apart, apart).item() == pytest.approx(-0.8 * math.log(math.exp(5) / (math.exp(5) + 5)), rel=1e-4)


def test_without_negatives_a_constant_embedding_is_a_minimum_of_key_contrast():
    constant, keys = torch.ones(2, 6, 5, requires_grad=True), torch.ones(2, 6, 5)
    assert among_keys(constant, keys, weight=0.0).item() == pytest.approx(-0.8 / 0.2)  # no cosine is above 1
    assert among_keys(VALUES[:2], KEYS[:2], weight=0.0).item() > -3
    assert among_keys(constant, keys).item() > among_keys(VALUES[:2], VALUES[:2].flip(0)).item()  # the control


def test_an_absent_key_is_no_negative_and_costs_nothing():
    present = PRESENT[:2]
    value = VALUES[:2].clone().requires_grad_()
    found = among_keys(value, KEYS[:2], present=present)
    query, key, losses = normalize(VALUES[:2], dim=-1), normalize(KEYS[:2], dim=-1), []
    for v in range(2):
        for b in range(6):
            both = bool(present[:, b].all())
            logits = key[1 - v] @ query[v, b] / 0.2
            loss = logits[present[1 - v]].logsumexp(0) - logits[b] if both else torch.zeros(())
            losses.append(0.8 * loss)
    torch.testing.assert_close(found, torch.stack(losses).mean())
    found.backward()
    assert value.grad is not None
    assert not value.grad[~present].any()


def test_inner_products_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        found, plain = inner(VALUES, KEYS), VALUES @ KEYS.mT
    assert torch.equal(found, VALUES @ KEYS.mT)
    assert plain.dtype == torch.bfloat16  # the control


def test_a_learnt_temperature_begins_as_given_and_learns_as_clips_code():
    criterion, both = CrossModal(0.07, NAMES[:2], learnt=True), views(VALUES[:2])
    scale = torch.tensor(1 / 0.07).log().requires_grad_()
    logits = normalize(VALUES[0], dim=1) @ normalize(VALUES[1], dim=1).T * scale.exp()
    labels = torch.arange(6)
    expected = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    found = criterion(both, both, labels)["text_image"]
    torch.testing.assert_close(found, expected)
    found.backward()
    expected.backward()
    (weight,) = criterion.parameters()
    assert weight.grad is not None
    assert scale.grad is not None
    torch.testing.assert_close(weight.grad[0], scale.grad)
    assert list(CrossModal(0.07, NAMES[:2]).parameters()) == []  # the control: a given one stays


def test_a_learnt_temperature_is_a_hundredth_at_least():
    criterion = CrossModal(0.02, NAMES[:2], learnt=True)
    (weight,) = criterion.parameters()
    criterion.settle(0.5)
    assert weight.exp().item() == pytest.approx(50)
    with torch.no_grad():
        weight.fill_(9.0)
    criterion.settle(0.5)
    assert weight.exp().item() == pytest.approx(100)


def test_with_a_centre_only_its_pairs_are_compared():
    both = views(VALUES)
    terms = CrossModal(0.07, NAMES, centre="image")(both, both, torch.arange(6))
    assert terms.keys() == {"text_image", "image_audio"}
    torch.testing.assert_close(terms["text_image"], clip(VALUES[0], VALUES[1], 0.07) / 2)
