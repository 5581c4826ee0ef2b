"""Claims about attention in rows of one document: it needs no mask, and gives what it gives with one."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from mmssl.attention import Packing, attention


def mixed_with_gradients(packing: Packing, length: int) -> list[torch.Tensor]:
    """What attention answers, and the gradients of query, key and value."""
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(2, 2, length, 8, generator=generator).requires_grad_() for _ in range(3)]
    mixed, _ = attention(torch.nn.Identity(), *given, None, packing=packing)
    (mixed * torch.randn(mixed.shape, generator=generator)).sum().backward()
    return [mixed.detach(), *(part.grad for part in given if part.grad is not None)]


@pytest.mark.parametrize("length", [20, 300])
@pytest.mark.parametrize("has_matrix_units", [True, False])
def test_rows_of_one_document_need_no_mask(length, has_matrix_units, monkeypatch):
    monkeypatch.setattr("mmssl.attention.has_matrix_units", lambda: has_matrix_units)
    monkeypatch.setattr(Packing, "visible", lambda *_: pytest.fail("a mask was made"))
    found = mixed_with_gradients(Packing(torch.tensor([[0], [3]]).expand(2, length)), length)
    monkeypatch.undo()
    monkeypatch.setattr(Packing, "sees_all", False)
    expected = mixed_with_gradients(Packing(torch.zeros(2, length, dtype=torch.long)), length)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("has_matrix_units", [True, False])
def test_one_row_of_several_documents_keeps_the_mask_of_all(has_matrix_units, monkeypatch):
    monkeypatch.setattr("mmssl.attention.has_matrix_units", lambda: has_matrix_units)
    document = torch.zeros(2, 20, dtype=torch.long)
    document[1, 15:] = -1  # padding of one row
    packing = Packing(document)
    assert not packing.sees_all
    found, whole = (mixed_with_gradients(each, 20)[0] for each in (packing, Packing(torch.zeros_like(document))))
    torch.testing.assert_close(found[0], whole[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found[1], whole[1], atol=1e-2)


def test_a_window_hides_though_a_row_is_one_document():
    packing = Packing(torch.zeros(2, 20, dtype=torch.long))
    assert packing.sees_all
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 2, 20, 8, generator=generator) for _ in range(3))
    near, _ = attention(torch.nn.Identity(), query, key, value, None, packing=packing, sliding_window=4)
    far, _ = attention(torch.nn.Identity(), query, key, value, None, packing=packing)
    expected = scaled_dot_product_attention(query, key, value, attn_mask=packing.visible(4)).transpose(1, 2)
    torch.testing.assert_close(near, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(near, far, atol=1e-2)


def test_short_rows_of_half_precision_run_as_written_on_a_cpu(monkeypatch):
    monkeypatch.setattr("mmssl.attention.has_matrix_units", lambda: False)
    fused = "mmssl.attention.scaled_dot_product_attention"
    monkeypatch.setattr(fused, lambda *_, **__: pytest.fail("the fused kernel ran, whose backward is slow in bfloat16"))
    given = [torch.randn(2, 2, 16, 8, generator=torch.Generator().manual_seed(0)) for _ in range(3)]
    packing = Packing(torch.zeros(2, 16, dtype=torch.long))
    found, _ = attention(torch.nn.Identity(), *(part.bfloat16() for part in given), None, packing=packing)
    monkeypatch.undo()
    expected = scaled_dot_product_attention(*given).transpose(1, 2)
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)
    monkeypatch.setattr("mmssl.attention.has_matrix_units", lambda: False)
    monkeypatch.setattr(fused, lambda *_, **__: pytest.fail("in float32 it is the faster one"))
    with pytest.raises(pytest.fail.Exception, match="faster one"):
        attention(torch.nn.Identity(), *given, None, packing=packing)
