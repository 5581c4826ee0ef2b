"""Claims about the one attention function: a packed row gives what each of its documents gives alone."""

import copy

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    BertConfig,
    BertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from mmssl.attention import Packing, attention, use_attention, varlen
from mmssl.tokens import Place, within_document

NEAR = 4  # ModernBERT's window on either side: shorter than every document below
COMMON = {
    "vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "initializer_range": 0.2, "pad_token_id": 1,
}  # fmt: skip
DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
FAMILIES = {
    "bert": (BertForMaskedLM, BertConfig, {**DROPOUT, "max_position_embeddings": 400}),
    "roberta": (RobertaForMaskedLM, RobertaConfig, {**DROPOUT, "max_position_embeddings": 402, "type_vocab_size": 1}),
    "xlm_roberta": (
        XLMRobertaForMaskedLM, XLMRobertaConfig, {**DROPOUT, "max_position_embeddings": 402, "type_vocab_size": 1},
    ),
    "modernbert": (
        ModernBertForMaskedLM, ModernBertConfig,
        {"num_hidden_layers": 4, "local_attention": 2 * NEAR, "global_attn_every_n_layers": 3, "bos_token_id": 2,
         "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3, "max_position_embeddings": 400},
    ),
}  # fmt: skip
LAYOUTS = {  # lengths of the documents in each row; the last row is padded
    "short": ([23, 9, 17, 15], [30, 20]),
    "long": ([120, 90, 54], [200, 31]),  # beyond the length where the kernel changes
}


def model(family: str, implementation: str = "sdpa") -> PreTrainedModel:
    """A small stock model with weights large enough for a leak to show."""
    torch.manual_seed(0)
    kind, config, more = FAMILIES[family]
    stock = kind(config(**{**COMMON, **more}))
    stock.set_attn_implementation(implementation)
    return stock.eval()


def rows(layout: str) -> tuple[torch.Tensor, Place, list[tuple[int, slice]]]:
    """Ids, their places, and where each document lies."""
    lengths = LAYOUTS[layout]
    width = max(map(sum, lengths))
    ids = torch.ones(len(lengths), width, dtype=torch.long)
    document = torch.full_like(ids, -1)
    where = []
    generator = torch.Generator().manual_seed(1)
    for row, sizes in enumerate(lengths):
        start = 0
        for number, size in enumerate(sizes):
            part = slice(start, start + size)
            ids[row, part] = torch.randint(4, 60, (size,), generator=generator)
            document[row, part] = number
            where.append((row, part))
            start += size
    return ids, Place(torch.arange(width).expand_as(ids), document, (width,)), where


def first_position(family: str) -> int:
    """RoBERTa counts from the padding token's id + 1."""
    return COMMON["pad_token_id"] + 1 if "roberta" in family else 0


def packed(ours: PreTrainedModel, family: str, ids: torch.Tensor, place: Place) -> torch.Tensor:
    """The logits of packed rows through our attention."""
    position = within_document(place) + first_position(family)
    return ours(input_ids=ids, position_ids=position, packing=Packing(place.document)).logits


def alone(stock: PreTrainedModel, ids: torch.Tensor, where: list[tuple[int, slice]]) -> list[torch.Tensor]:
    """The logits of each document, run on its own as a user of the stock class would."""
    return [stock(input_ids=ids[row : row + 1, part]).logits[0] for row, part in where]


def largest_gap(logits: torch.Tensor, expected: list[torch.Tensor], where: list[tuple[int, slice]]) -> float:
    """The largest difference at any token of any document."""
    return max(float((logits[row, part] - one).abs().max()) for (row, part), one in zip(where, expected, strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_packed_row_gives_what_each_document_gives_alone_in_the_stock_class(family, implementation, layout):
    stock = model(family, implementation)
    ids, place, where = rows(layout)
    ours = use_attention(copy.deepcopy(stock))
    assert largest_gap(packed(ours, family, ids, place), alone(stock, ids, where), where) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_without_the_document_mask_documents_leak_into_each_other(family):
    stock = model(family)
    ids, place, where = rows("short")
    expected = alone(stock, ids, where)
    position = within_document(place) + first_position(family)
    ours = use_attention(copy.deepcopy(stock))
    one_document = ours(input_ids=ids, position_ids=position, packing=Packing(torch.zeros_like(ids))).logits
    assert largest_gap(one_document, expected, where) > 1e-3
    assert largest_gap(stock(input_ids=ids, position_ids=position).logits, expected, where) > 1e-3


@torch.no_grad()
def test_the_sliding_window_of_modernbert_is_kept():
    stock = model("modernbert")
    ids, place, where = rows("short")
    wide = copy.deepcopy(stock)
    for layer in wide.model.layers:
        layer.attn.sliding_window = None
    gap = largest_gap(packed(use_attention(wide), "modernbert", ids, place), alone(stock, ids, where), where)
    assert gap > 1e-3


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_a_packed_row_are_those_of_its_documents(family, layout):
    stock = model(family)
    ids, place, where = rows(layout)
    ours = use_attention(copy.deepcopy(stock))
    weight = torch.randn(*ids.shape, 60, generator=torch.Generator().manual_seed(2)) / ids.numel()

    logits = packed(ours, family, ids, place)
    sum((logits[row, part] * weight[row, part]).sum() for row, part in where).backward()
    expected = alone(stock, ids, where)
    sum((one * weight[row, part]).sum() for one, (row, part) in zip(expected, where, strict=True)).backward()

    for (name, mine), theirs in zip(ours.named_parameters(), stock.parameters(), strict=True):
        assert (mine.grad is None) == (theirs.grad is None), name
        if theirs.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-4, msg=name)
    assert any(float(theirs.grad.abs().max()) > 1e-3 for theirs in stock.parameters() if theirs.grad is not None)


@torch.no_grad()
def test_what_stands_in_the_padding_changes_nothing():
    ours = use_attention(model("bert"))
    ids, place, _ = rows("short")
    other = torch.where(place.valid, ids, 42)
    assert not torch.equal(ids, other)
    left, right = (packed(ours, "bert", each, place)[place.valid] for each in (ids, other))
    assert torch.equal(left, right)


def by_hand(query, key, value, document, window=None, scaling=None, is_causal=False) -> torch.Tensor:
    """Attention in float64, one document after the other: (B, N, heads, D)."""
    query, key, value = (each.double() for each in (query, key, value))
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    mixed = torch.zeros_like(query)
    for row in range(len(document)):
        for number in document[row].unique():
            members = torch.nonzero(document[row] == number)[:, 0]
            distance = (members[:, None] - members).abs()
            weights = (query[row][:, members] @ key[row][:, members].transpose(1, 2) * scaling).exp()
            weights = weights * (distance < (document.shape[1] if window is None else window))
            weights = weights.tril() if is_causal else weights
            mixed[row][:, members] = weights / weights.sum(-1, keepdim=True) @ value[row][:, members]
    return mixed.transpose(1, 2)


def drawn(length: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    """Query, key, value (2, 3, N, 8) and documents: three in the first row, one and padding in the second."""
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(2, 3, length, 8, generator=generator).to(dtype) for _ in range(3))
    document = torch.zeros(2, length, dtype=torch.long)
    document[0, length // 4 :] = 1
    document[0, length // 2 + 1 :] = 2
    document[1, length - length // 3 :] = -1
    return query, key, value, document


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("length", [1, 40, 300, 640])
def test_every_length_gives_attention_worked_by_hand(length, window):
    query, key, value, document = drawn(length)
    mixed, _ = attention(torch.nn.Identity(), query, key, value, None, packing=Packing(document), sliding_window=window)
    torch.testing.assert_close(mixed.double(), by_hand(query, key, value, document, window), atol=1e-5, rtol=0)


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("length", [1, 40, 300])
def test_a_causal_row_sees_nothing_that_comes_later(length, window):
    query, key, value, document = drawn(length)
    packing = Packing(document, is_causal=True)
    mixed, _ = attention(torch.nn.Identity(), query, key, value, None, packing=packing, sliding_window=window)
    expected = by_hand(query, key, value, document, window, is_causal=True)
    torch.testing.assert_close(mixed.double(), expected, atol=1e-5, rtol=0)
    whole = by_hand(query, key, value, document, window)
    assert length == 1 or not torch.allclose(expected, whole, atol=1e-3)  # the control


def test_a_given_scaling_is_used():
    query, key, value, document = drawn(20)
    mixed, _ = attention(torch.nn.Identity(), query, key, value, None, packing=Packing(document), scaling=0.9)
    torch.testing.assert_close(mixed.double(), by_hand(query, key, value, document, scaling=0.9), atol=1e-5, rtol=0)
    assert not torch.allclose(mixed.double(), by_hand(query, key, value, document), atol=1e-3)


@pytest.mark.parametrize("length", [40, 640])
def test_bfloat16_is_close_to_attention_worked_by_hand(length):
    query, key, value, document = drawn(length, torch.bfloat16)
    mixed, _ = attention(torch.nn.Identity(), query, key, value, None, packing=Packing(document))
    assert mixed.dtype == torch.bfloat16
    torch.testing.assert_close(mixed.double(), by_hand(query, key, value, document), atol=3e-2, rtol=0)


@pytest.mark.parametrize("length", [40, 300, 640])
def test_gradients_are_those_of_the_fused_kernel(length):
    query, key, value, document = drawn(length)
    slot = torch.arange(length)
    mask = (document[:, None, :, None] == document[:, None, None, :]) & ((slot[:, None] - slot).abs() < 7)

    def ours(*leaves: torch.Tensor) -> torch.Tensor:
        return attention(torch.nn.Identity(), *leaves, None, packing=Packing(document), sliding_window=7)[0]

    def fused(*leaves: torch.Tensor) -> torch.Tensor:
        return scaled_dot_product_attention(*leaves, attn_mask=mask).transpose(1, 2)

    gradients = []
    for function in (ours, fused):
        leaves = [each.clone().requires_grad_() for each in (query, key, value)]
        function(*leaves).square().sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("length", [16, 260])
def test_dropout_keeps_the_mean_and_is_off_at_zero(length):
    query, key, value, document = drawn(length)
    torch.manual_seed(0)

    def run(dropout: float) -> torch.Tensor:
        return attention(torch.nn.Identity(), query, key, value, None, packing=Packing(document), dropout=dropout)[0]

    without = run(0.0)
    assert torch.equal(without, run(0.0))
    repeats = torch.stack([run(0.5) for _ in range(40)])
    assert float((repeats[0] - without).abs().max()) > 1e-2
    error = (repeats.mean(0) - without).abs() / (repeats.std(0) / 40**0.5).clamp(min=1e-3)
    assert float(error.mean()) < 1.2  # |standard normal| has the mean 0.8


def test_what_is_visible_is_worked_by_hand():
    seen = Packing(torch.tensor([[0, 0, 0, 1, -1]])).visible(2)[0, 0].int().tolist()
    assert seen == [[1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]


def test_attention_mask_is_refused():
    query, key, value, document = drawn(8)
    with pytest.raises(ValueError, match="attention_mask"):
        attention(torch.nn.Identity(), query, key, value, torch.ones(2, 1, 8, 8), packing=Packing(document))


def segments(query, key, value, begin, begin_key, longest, longest_key, *, scale, window_size) -> torch.Tensor:
    """What `varlen_attn` promises, one segment after the other: (T, heads, D)."""
    assert torch.equal(begin, begin_key)
    assert longest == longest_key
    mixed = torch.zeros_like(query)
    assert int(begin[0]) == 0
    assert int(begin[-1]) == len(query)
    for start, end in zip(begin[:-1].tolist(), begin[1:].tolist(), strict=True):
        assert 0 <= end - start <= longest
        slot = torch.arange(end - start)
        distance = slot[None] - slot[:, None]
        mask = ((-distance <= window_size[0]) | (window_size[0] < 0)) & (
            (distance <= window_size[1]) | (window_size[1] < 0)
        )
        parts = (each[start:end].transpose(0, 1) for each in (query, key, value))
        if end > start:
            mixed[start:end] = scaled_dot_product_attention(*parts, attn_mask=mask, scale=scale).transpose(0, 1)
    return mixed


@pytest.mark.parametrize("window", [None, 5])
def test_the_unpadded_kernel_is_given_the_documents(monkeypatch, window):
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", segments)
    query, key, value, document = drawn(40)
    mixed = varlen(query, key, value, Packing(document).begins, 8**-0.5, window)
    torch.testing.assert_close(mixed.double(), by_hand(query, key, value, document, window), atol=1e-5, rtol=0)
    begins = Packing(document).begins
    causal = varlen(query, key, value, begins, 8**-0.5, window, is_causal=True)
    expected = by_hand(query, key, value, document, window, is_causal=True)
    torch.testing.assert_close(causal.double(), expected, atol=1e-5, rtol=0)
    leak = varlen(query, key, value, Packing(torch.zeros_like(document)).begins, 8**-0.5, window)
    assert not torch.allclose(leak.double(), by_hand(query, key, value, document, window), atol=1e-3)


def test_documents_begin_where_the_number_or_the_row_changes():
    packing = Packing(torch.tensor([[0, 0, 1, -1], [1, 1, 1, 1]]))
    assert packing.begins.tolist() == [0, 2, 3, 4, 8]
    assert not packing.sees_all
    assert not packing.has_parts


def test_a_document_in_two_parts_is_known():
    assert Packing(torch.tensor([[0, 1, 0], [0, 0, 0]])).has_parts
    assert not Packing(torch.tensor([[0, 1, 1], [1, 0, 0]])).has_parts  # another row, another document


def in_two_parts(length: int) -> torch.Tensor:
    """Documents of which one goes on behind another, as where what is asked for stands before what is seen."""
    document = torch.zeros(2, length, dtype=torch.long)
    document[0, length // 4 : length // 2] = 1
    return document


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the unpadded kernel needs CUDA")
@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize(
    "documents", [lambda length: drawn(length)[3], in_two_parts, lambda length: torch.zeros(2, length).long()]
)
def test_half_precision_agrees_on_cuda(window, documents):
    generator = torch.Generator().manual_seed(3)
    query, key, value = (torch.randn(2, 3, 200, 64, generator=generator).bfloat16() for _ in range(3))
    document = documents(200)
    mixed, _ = attention(
        torch.nn.Identity(), query.cuda(), key.cuda(), value.cuda(), None, packing=Packing(document.cuda()),
        sliding_window=window,
    )  # fmt: skip
    torch.testing.assert_close(mixed.cpu().double(), by_hand(query, key, value, document, window), atol=3e-2, rtol=0)
