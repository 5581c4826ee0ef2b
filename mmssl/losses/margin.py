"""A margin: views of one sample attract each other, those of different samples repel each other while they are near."""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from mmssl.losses.criterion import Criterion
from mmssl.losses.views import Views, mean_of_pairs, pairs


class Margin(Criterion):
    """The contrastive loss (Hadsell et al. 2006, "Dimensionality reduction by learning an invariant mapping", eq. 4),
    over the gathered batch; D is the Euclidean distance of embeddings as they are, of any length.

    attraction: D^2 / 2, the mean over samples of the mean over pairs of different views. repulsion: `negative_weight` *
    max(0, margin - D)^2 / 2, the mean over samples of the mean over pairs of one of their views and any view of another
    sample. What is absent makes no pair. Where D is exactly 0 the repulsion has no direction and its gradient is 0. At
    a negative weight of 0 any constant embedding is a minimum.
    """

    def __init__(self, margin: float = 1.0, negative_weight: float = 1.0) -> None:
        super().__init__()
        self.margin, self.negative_weight = margin, negative_weight

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        views = queries.gathered()
        value, present = views.value, views.present
        near = (value[:, None] - value[None]).square().sum(-1) / 2
        # not by a matrix product: it cancels where D is small, and there its root has no gradient to speak of
        flat = rearrange(value, "v b d -> (v b) d")
        distance = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
        distance = rearrange(distance, "(v b) (w a) -> v w b a", v=len(value), w=len(value))
        too_near = (self.margin - distance).clamp(min=0).square() / 2
        apart = ~torch.eye(value.shape[1], dtype=torch.bool, device=value.device)
        other = present[:, None, :, None] & present[None, :, None] & apart
        per_sample = torch.where(other, too_near, 0.0).sum((0, 1, 3)) / other.sum((0, 1, 3)).clamp(min=1)
        return {
            "attraction": mean_of_pairs(near, pairs(views, views)).mean(),
            "repulsion": self.negative_weight * per_sample.mean(),
        }
