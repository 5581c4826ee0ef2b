"""The contrast of hidden frames of one sound with each other (Baevski et al. 2020, arXiv:2006.11477, eq. 3)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mmssl.random import Draw


def distractors(draw: Draw, valid: Bool[Tensor, "B M"], count: int) -> Int[Tensor, "B M K"]:
    """For each valid place K other valid places of the same sample, drawn with replacement; valid places come first.

    Where a sample has no other place they are places that are not valid.
    """
    places = valid.shape[1]
    others = (valid.sum(1) - 1)[:, None, None]
    found = (draw.uniform("distractors", places, count).double() * others.clamp(min=1)).long()
    own = torch.arange(places, device=found.device)[:, None]
    return (found + (found >= own)).clamp(max=places - 1)


def frame_contrast(
    prediction: Float[Tensor, "B M P"], answer: Float[Tensor, "B M P"], code: Int[Tensor, "B M G"],
    others: Int[Tensor, "B M K"], valid: Bool[Tensor, "B M"], temperature: float,
) -> Float[Tensor, " B"]:  # fmt: skip
    """-log softmax of the cosine of each prediction with its own answer among those with the answers at `others`, in
    nats, the mean over the valid places of a sample; 0 where it has none.

    Others of the very same codes are no distractors, and are left out. All cosines of a sample are one product of
    matrices; those of the distractors are read off it.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        left, right = (normalize(part.float(), dim=-1, eps=1e-8) for part in (prediction, answer))
        cosine = left @ right.mT / temperature
    same = (code[:, :, None] == code[:, None]).all(-1)
    is_no_distractor = (same | ~valid[:, None]).gather(2, others)
    logits = cosine.gather(2, others).masked_fill(is_no_distractor, -torch.inf)
    own = cosine.diagonal(dim1=1, dim2=2)
    loss = torch.cat([own[..., None], logits], -1).logsumexp(-1) - own
    return torch.where(valid, loss, 0.0).sum(1) / valid.sum(1).clamp(min=1)
