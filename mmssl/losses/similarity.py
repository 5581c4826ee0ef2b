"""Similarity alone: what keeps it from collapse lies in the teacher and the predictor."""

from jaxtyping import Float, Int
from torch import Tensor

from mmssl.energy import cosine
from mmssl.losses.criterion import Criterion
from mmssl.losses.views import Views, mean_of_pairs, pairs


class Similarity(Criterion):
    """`scale` * (1 - cos(query, key of another view)), the mean over samples of the mean over pairs of views.

    BYOL's 2 - 2 cos has scale 2 (Grill et al. 2020, arXiv:2006.07733, eq. 2); SimSiam's -cos / 2 - cos / 2 has scale 1
    and another constant (Chen & He 2021, arXiv:2011.10566, eq. 2).
    """

    def __init__(self, scale: float = 2.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        energy = self.scale * cosine(queries.value[:, None], keys.value[None])
        return {"similarity": mean_of_pairs(energy, pairs(queries, keys)).mean()}
