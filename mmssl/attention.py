"""The one attention function that all stock transformer layers run.

Rows may pack several documents; a token sees its own document only, and with a sliding window only its neighbours.
The stock classes pass keyword arguments through to the attention function, so it is handed `packing` and needs no
mask from them (`create_bidirectional_mask` ignores packing). On CUDA half precision runs `torch.nn.attention.varlen`
on unpadded tokens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from mmssl.dropout import drop

NAME, NAME_IN_ROW = "mmssl", "mmssl_in_row"
HIDDEN = -1e4  # added to scores: exp(-1e4) is 0 in every type
PLAIN_AT_MOST = {torch.bfloat16: 600, torch.float16: 600, torch.float32: 256}  # CPU: beyond, the fused kernel is faster
IS_TWICE = ContextVar("is_twice", default=False)  # whether gradients need gradients, see `twice_differentiable`


class Packing:
    """Which tokens of packed rows see which; made once for a batch and shared by all layers.

    `document` (B, N) numbers the documents of a row; a token sees those of its own number, and with a window only the
    ones nearer than that; where it `is_causal`, only itself and those before it.
    """

    def __init__(self, document: Int[Tensor, "B N"], is_causal: bool = False) -> None:
        self.document, self.is_causal = document, is_causal
        self.biases: dict[tuple[torch.dtype, int | None], Tensor] = {}

    @cached_property
    def begins(self) -> Int[Tensor, " edges"]:
        """Where each document begins in the sequence of all rows, and the end of the last. An accelerator is waited
        for, once a batch: a kernel that is told of every document that there could be is slower than that.
        """
        is_first = first_of_runs(self.document)
        return torch.cat([is_first.flatten(), is_first.new_ones(1)]).nonzero()[:, 0].int()

    @cached_property
    def has_parts(self) -> bool:
        """Whether a document lies in several parts of its row, with others between them."""
        in_order = self.document.sort(1).values
        return int(first_of_runs(in_order).sum()) < len(self.begins) - 1

    @cached_property
    def sees_all(self) -> bool:
        """Whether every token sees every other of its row, so that no mask is needed."""
        return not self.is_causal and len(self.begins) == len(self.document) + 1

    def visible(self, window: int | None) -> Bool[Tensor, "B 1 N N"]:
        """True where the token of the row sees that of the column."""
        same = self.document[:, None, :, None] == self.document[:, None, None, :]
        slot = torch.arange(self.document.shape[1], device=self.document.device)
        if self.is_causal:
            same = same & (slot[:, None] >= slot[None])
        if window is None:
            return same
        return same & ((slot[:, None] - slot[None]).abs() < window)

    def bias(self, like: Float[Tensor, "B heads N D"], window: int | None) -> Float[Tensor, "H N N"]:
        """0 where visible, else so low that its softmax is exactly 0; for all B * heads score matrices."""
        key = like.dtype, window
        if key not in self.biases:
            low = torch.where(self.visible(window), 0.0, HIDDEN).to(like.dtype)
            self.biases[key] = repeat(low, "b 1 n m -> (b heads) n m", heads=like.shape[1])
        return self.biases[key]


def first_of_runs(document: Int[Tensor, "B N"]) -> Bool[Tensor, "B N"]:
    """The first of each run of equal numbers in a row."""
    is_first = torch.ones_like(document, dtype=torch.bool)
    is_first[:, 1:] = document[:, 1:] != document[:, :-1]
    return is_first


def has_matrix_units() -> bool:
    """Whether this processor multiplies matrices in hardware (AMX)."""
    return torch.cpu._is_amx_tile_supported()


def attention(
    module: nn.Module,
    query: Float[Tensor, "B heads N D"],
    key: Float[Tensor, "B heads N D"],
    value: Float[Tensor, "B heads N D"],
    attention_mask: Tensor | None,
    *,
    packing: Packing,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Float[Tensor, "B N heads D"], None]:
    """Attention within documents, by the fastest exact kernel for the device, the type and the length."""
    if attention_mask is not None:
        raise ValueError("attention: got attention_mask; expected `packing` alone to say which tokens are seen")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if IS_TWICE.get():
        return plain(query, key, value, packing.bias(query, sliding_window), scale, dropout), None
    sees_all = packing.sees_all and sliding_window is None
    is_half = query.is_cuda and query.dtype != torch.float32
    if is_half and dropout == 0.0 and not sees_all and not packing.has_parts:
        return varlen(query, key, value, packing.begins, scale, sliding_window, packing.is_causal), None
    is_short = query.device.type == "cpu" and query.shape[2] <= PLAIN_AT_MOST[query.dtype]
    # in float32 without a mask the fused kernel is the faster one, but where matrices are multiplied in hardware
    if is_short and not (sees_all and dropout == 0.0 and query.dtype == torch.float32 and not has_matrix_units()):
        bias = None if sees_all else packing.bias(query, sliding_window)
        return plain(query, key, value, bias, scale, dropout), None
    mask = None if sees_all else packing.visible(sliding_window)
    mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scale)
    return rearrange(mixed, "b h n d -> b n h d"), None


def attention_in_row(
    module: nn.Module,
    query: Float[Tensor, "B heads N D"],
    key: Float[Tensor, "B heads N D"],
    value: Float[Tensor, "B heads N D"],
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Float[Tensor, "B N heads D"], None]:
    """The same for stock layers that hand nothing on to it, so that they have no `packing`: each row is one
    document.
    """
    document = torch.zeros(query.shape[0], query.shape[2], dtype=torch.long, device=query.device)
    packing = Packing(document)
    packing.sees_all = True  # known, so that an accelerator is not asked
    return attention(module, query, key, value, attention_mask, packing=packing, **options)


def plain(
    query: Float[Tensor, "B heads N D"],
    key: Float[Tensor, "B heads N D"],
    value: Float[Tensor, "B heads N D"],
    bias: Float[Tensor, "H N N"] | None,
    scale: float,
    dropout: float,
) -> Float[Tensor, "B N heads D"]:
    """softmax(q k^T) v as written: on CPU its backward is faster than the fused kernel's for short rows."""
    batch, heads = query.shape[:2]
    query, key, value = (rearrange(tensor, "b h n d -> (b h) n d") for tensor in (query, key, value))
    # the query is scaled where there is no bias: it is smaller than the scores
    key = key.transpose(1, 2)
    scores = (query * scale) @ key if bias is None else torch.baddbmm(bias, query, key, alpha=scale)
    # autocast would compute the softmax in float32; its own type is exact enough for the weights of a mean
    weights = torch.ops.aten._softmax(scores, -1, False)
    weights = drop(weights, dropout) if dropout > 0 else weights
    return rearrange(weights @ value, "(b h) n d -> b n h d", b=batch, h=heads)


def varlen(
    query: Float[Tensor, "B heads N D"],
    key: Float[Tensor, "B heads N D"],
    value: Float[Tensor, "B heads N D"],
    begins: Int[Tensor, " edges"],
    scaling: float,
    window: int | None,
    is_causal: bool = False,
) -> Float[Tensor, "B N heads D"]:
    """The unpadded CUDA kernel: all rows as one sequence of documents."""
    from torch.nn.attention.varlen import varlen_attn

    batch, _, length, _ = query.shape
    query, key, value = (rearrange(tensor, "b h n d -> (b n) h d") for tensor in (query, key, value))
    before = -1 if window is None else window - 1
    reach = (before, 0 if is_causal else before)
    mixed = varlen_attn(query, key, value, begins, begins, length, length, scale=scaling, window_size=reach)
    assert isinstance(mixed, Tensor)
    return rearrange(mixed, "(b n) h d -> b n h d", b=batch)


@contextmanager
def twice_differentiable(is_needed: bool = True) -> Iterator[None]:
    """Within it gradients of attention have gradients, for penalties on a slope: those of fused kernels have none."""
    token = IS_TWICE.set(is_needed)
    try:
        yield
    finally:
        IS_TWICE.reset(token)


def use_attention(model: PreTrainedModel) -> PreTrainedModel:
    """Let a stock model run `attention`; it must then be called with `packing=`."""
    AttentionInterface.register(NAME, attention)
    model.set_attn_implementation(NAME)
    return model
