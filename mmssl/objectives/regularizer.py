"""Terms of a predictive objective's loss beside its energy."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.losses.criterion import Criterion
from mmssl.losses.views import Views
from mmssl.tokens import Tokens


class Regularizer(nn.Module):
    """(embeddings of what is seen, the target's of all tokens, batch) -> terms, each a mean over samples; with several
    masks, what is seen of all of them.
    """

    def forward(self, sx: dict[str, Tokens], sy: dict[str, Tokens], batch: Batch) -> dict[str, Float[Tensor, ""]]:
        raise TypeError(f"{type(self).__name__} defines no forward")

    def settle(self, progress: float) -> None:
        """Called after each optimizer step with the progress in [0, 1]."""


class SpreadAtEachPlace(Regularizer):
    """`weight` times a criterion of the target's embeddings, for each place of the grid over the gathered samples, mean
    over places: embeddings that differ from place to place, but not from sample to sample, are not spread.
    """

    def __init__(self, criterion: Criterion, weight: float) -> None:
        super().__init__()
        self.criterion, self.weight = criterion, weight

    def forward(self, sx: dict[str, Tokens], sy: dict[str, Tokens], batch: Batch) -> dict[str, Float[Tensor, ""]]:
        terms = {}
        for name, tokens in sy.items():
            value, present = rearrange(tokens.value.float(), "b n d -> n b d"), tokens.place.valid.T
            views = Views(value, present, tuple(range(len(value))))
            found = self.criterion(views, views, batch.draw.index)
            terms |= {f"{name}.{key}": self.weight * term for key, term in found.items()}
        return terms

    def settle(self, progress: float) -> None:
        self.criterion.settle(progress)
