"""The one attention function that all stock transformer layers run.

Rows may pack several documents; a token sees its own document only, and with a sliding window only its neighbours.
The stock classes pass keyword arguments through to the attention function, so it is handed `document` and needs no
mask from them (`create_bidirectional_mask` ignores packing). On CUDA half precision runs `torch.nn.attention.varlen`
on unpadded tokens.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

NAME = "mmssl"
PLAIN_AT_MOST = {torch.bfloat16: 600, torch.float16: 600, torch.float32: 256}  # CPU: beyond, the fused kernel is faster


def visible(document: Int[Tensor, "B N"], window: int | None) -> Bool[Tensor, "B 1 N N"]:
    """Which tokens see which: those of the same document, and nearer than `window` tokens where there is one."""
    same = document[:, None, :, None] == document[:, None, None, :]
    if window is None:
        return same
    slot = torch.arange(document.shape[1], device=document.device)
    return same & ((slot[:, None] - slot[None]).abs() < window)


def attention(
    module: nn.Module,
    query: Float[Tensor, "B heads N D"],
    key: Float[Tensor, "B heads N D"],
    value: Float[Tensor, "B heads N D"],
    attention_mask: Tensor | None,
    *,
    document: Int[Tensor, "B N"],
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Float[Tensor, "B N heads D"], None]:
    """Attention within documents, by the fastest exact kernel for the device, the type and the length."""
    if attention_mask is not None:
        raise ValueError("attention is given `document`, not attention_mask; got both")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.is_cuda and query.dtype != torch.float32 and dropout == 0.0:
        return varlen(query, key, value, document, scale, sliding_window), None
    mask = visible(document, sliding_window)
    if query.device.type == "cpu" and query.shape[2] <= PLAIN_AT_MOST[query.dtype]:
        return rearrange(plain(query, key, value, mask, scale, dropout), "b h n d -> b n h d"), None
    mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scale)
    return rearrange(mixed, "b h n d -> b n h d"), None


def plain(
    query: Float[Tensor, "B heads N D"],
    key: Float[Tensor, "B heads N D"],
    value: Float[Tensor, "B heads N D"],
    mask: Bool[Tensor, "B 1 N N"],
    scaling: float,
    dropout: float,
) -> Float[Tensor, "B heads N D"]:
    """softmax(q k^T) v as written: on CPU its backward is faster than the fused kernel's for short rows."""
    scores = (query * scaling) @ key.transpose(-1, -2)
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1)
    return drop(weights, dropout, training=dropout > 0) @ value


def varlen(
    query: Float[Tensor, "B heads N D"],
    key: Float[Tensor, "B heads N D"],
    value: Float[Tensor, "B heads N D"],
    document: Int[Tensor, "B N"],
    scaling: float,
    window: int | None,
) -> Float[Tensor, "B N heads D"]:
    """The unpadded CUDA kernel: all rows as one sequence, a document ends where the number or the row changes."""
    from torch.nn.attention.varlen import varlen_attn

    batch, length = document.shape
    starts = torch.ones_like(document, dtype=torch.bool)
    starts[:, 1:] = document[:, 1:] != document[:, :-1]
    # A static size: every token could begin a document; the entries past the last one are empty documents.
    begin = torch.full((batch * length + 1,), batch * length, dtype=torch.int32, device=document.device)
    index = starts.flatten().long().cumsum(0) - 1
    slot = torch.arange(batch * length, dtype=torch.int32, device=document.device)
    begin.scatter_reduce_(0, index, slot, "amin")
    query, key, value = (rearrange(tensor, "b h n d -> (b n) h d") for tensor in (query, key, value))
    reach = (-1, -1) if window is None else (window - 1, window - 1)
    mixed = varlen_attn(query, key, value, begin, begin, length, length, scale=scaling, window_size=reach)
    assert isinstance(mixed, Tensor)
    return rearrange(mixed, "(b n) h d -> b n h d", b=batch)


def use_attention(model: PreTrainedModel) -> PreTrainedModel:
    """Let a stock model run `attention`; it must then be called with `document=` (B, N)."""
    AttentionInterface.register(NAME, attention)
    model.set_attn_implementation(NAME)
    return model
