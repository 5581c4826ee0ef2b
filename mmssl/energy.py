"""Per-token energies E(prediction, answer): low where the answer fits the prediction.

Leading axes broadcast: predictions (B, 1, M, .) against answers (1, B, M, .) give all (B, B, M) pairs. All are
computed in float32.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity, log_softmax


def cross_entropy(logits: Float[Tensor, "*A M K"], ids: Int[Tensor, "*C M"]) -> Float[Tensor, "*E M"]:
    """-log softmax(logits)[ids] in nats: the energy where uncertainty is a softmax over a vocabulary."""
    log_probability = log_softmax(logits.float(), dim=-1)
    shape = torch.broadcast_shapes(logits.shape[:-1], ids.shape)
    index = ids.expand(shape)[..., None]
    return -log_probability.expand(*shape, logits.shape[-1]).gather(-1, index)[..., 0]


def squared_error(prediction: Float[Tensor, "*A M D"], answer: Float[Tensor, "*C M D"]) -> Float[Tensor, "*E M"]:
    """Mean over features of the squared difference."""
    return (prediction.float() - answer.float()).square().mean(-1)


def absolute_error(prediction: Float[Tensor, "*A M D"], answer: Float[Tensor, "*C M D"]) -> Float[Tensor, "*E M"]:
    """Mean over features of the absolute difference."""
    return (prediction.float() - answer.float()).abs().mean(-1)


def smooth_l1(prediction: Float[Tensor, "*A M D"], answer: Float[Tensor, "*C M D"]) -> Float[Tensor, "*E M"]:
    """Mean over features of the Huber loss with threshold 1 (Girshick 2015, arXiv:1504.08083, eq. 3)."""
    difference = (prediction.float() - answer.float()).abs()
    return torch.where(difference < 1, 0.5 * difference.square(), difference - 0.5).mean(-1)


def cosine(prediction: Float[Tensor, "*A M D"], answer: Float[Tensor, "*C M D"]) -> Float[Tensor, "*E M"]:
    """1 - cosine similarity, in [0, 2]."""
    return 1 - cosine_similarity(prediction.float(), answer.float(), dim=-1)
