"""Claims about what stands for hidden patches: what is seen stays where it lies, the rest is the mask patch or zero."""

import torch
from torch import Tensor

from mmssl.drop import drop_random
from mmssl.models.mask import MaskPatch, filled, zeros
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, at, take, without

GRID = (3, 4)
DRAW = Draw(0, torch.zeros(2).long(), torch.arange(2))


def whole() -> Tokens:
    """Two samples of twelve patches of five numbers."""
    position = torch.arange(12).expand(2, 12)
    value = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(0))
    return Tokens(value, Place(position, torch.zeros_like(position), GRID))


def parted(tokens: Tokens) -> tuple[Tokens, Place]:
    """Half of them are hidden, in an order of no meaning."""
    seen, hidden = drop_random(0.5)(tokens, DRAW)
    return take(seen, torch.tensor([[3, 1, 0, 5, 4, 2], [0, 2, 1, 4, 5, 3]])), hidden


def same(found: Tokens, seen: Tokens, hidden: Place, patch: Tensor) -> None:
    """Each place holds what it should."""
    assert torch.equal(found.place.position, torch.arange(12).expand(2, 12))
    assert torch.equal(at(found, seen.place), seen.value)
    assert torch.equal(at(found, hidden), patch.expand(2, 6, 5))


@torch.no_grad()
def test_a_mask_patch_stands_at_every_hidden_place_and_nowhere_else():
    seen, hidden = parted(whole())
    mask = MaskPatch(5)
    same(mask(seen, hidden), seen, hidden, mask.patch)
    same(zeros(seen, hidden), seen, hidden, torch.zeros(5))


def test_where_all_is_seen_nothing_is_filled():
    tokens = whole()
    found = filled(tokens, tokens.place, torch.ones(5))
    assert torch.equal(found.value, tokens.value)
    assert torch.equal(found.place.document, tokens.place.document)


def test_a_sample_that_is_not_there_stays_padding():
    seen, hidden = parted(without(whole(), torch.tensor([True, False])))
    assert filled(seen, hidden, torch.ones(5)).place.valid.all(1).tolist() == [True, False]
    assert not filled(seen, hidden, torch.ones(5)).place.valid[1].any()
    # what is taken away is hidden, what is asked for is not padding
    gone = without(parted(whole())[0], torch.tensor([True, False]))
    found = filled(gone, parted(whole())[1], torch.ones(5))
    assert torch.equal(found.place.valid[1].nonzero()[:, 0], hidden.position[1])


def test_the_mask_patch_gets_gradient_from_hidden_places_only():
    seen, hidden = parted(whole())
    mask = MaskPatch(5)
    at(mask(seen, hidden), seen.place).sum().backward()
    assert mask.patch.grad is not None
    assert not mask.patch.grad.any()
    at(mask(seen, hidden), hidden).sum().backward()
    assert mask.patch.grad.tolist() == [12.0] * 5  # six places of two samples
