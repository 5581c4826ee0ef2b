"""What says how likely each cluster is, given the embedding of a view: (A, P) -> log-probabilities (S, A, K)."""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear, log_softmax, normalize

from mmssl.random import hashed

QUARTERS = 4  # turns of a picture that are told apart


class LinearClassifier(nn.Module):
    """A linear layer, made anew with each grouping: the numbers of clusters mean nothing from one to the next."""

    def __init__(self, width: int, num_clusters: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, num_clusters)

    def forward(
        self, value: Float[Tensor, "A P"], turn: Int[Tensor, " A"], centres: Float[Tensor, "S K D"]
    ) -> Float[Tensor, "1 A K"]:
        return log_softmax(self.linear(value).float(), dim=-1)[None]

    def renew(self, turn: int) -> list[Tensor]:
        """Draw the weights anew, N(0, 0.01) as the authors do; the parameters that are new."""
        return renewed([self.linear.weight], [self.linear.bias], turn)


class PrototypeClassifier(nn.Module):
    """The centres themselves, at a temperature; nothing is learnt here (Caron et al. 2020, arXiv:2006.09882)."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(
        self, value: Float[Tensor, "A P"], turn: Int[Tensor, " A"], centres: Float[Tensor, "S K D"]
    ) -> Float[Tensor, "S A K"]:
        return log_softmax(normalize(value.float(), dim=-1) @ centres.mT / self.temperature, dim=-1)

    def renew(self, turn: int) -> list[Tensor]:
        """Nothing is."""
        return []


class TurnedClassifier(nn.Module):
    """First the pair of a quarter turn and a top cluster, then the cluster within it (Caron et al. 2019,
    arXiv:1905.01278, eq. 5); each pair has a classifier of its own. Answers for the turn that the view has.
    """

    def __init__(self, width: int, num_top: int, num_within: int) -> None:
        super().__init__()
        self.num_top = num_top
        self.over = nn.Linear(width, QUARTERS * num_top)
        self.within = nn.Parameter(torch.zeros(QUARTERS, num_top * num_within, width))
        self.offset = nn.Parameter(torch.zeros(QUARTERS, num_top * num_within))
        self.renew(0)

    def forward(
        self, value: Float[Tensor, "A P"], turn: Int[Tensor, " A"], centres: Float[Tensor, "S K D"]
    ) -> Float[Tensor, "1 A K"]:
        rows = torch.arange(len(value), device=value.device)
        over = log_softmax(self.over(value).float(), dim=-1)
        over = rearrange(over, "a (r m) -> a r m", r=QUARTERS)[rows, turn]
        scores = torch.stack([linear(value, weight, bias) for weight, bias in zip(self.within, self.offset)])
        within = rearrange(scores[turn, rows].float(), "a (m k) -> a m k", m=self.num_top)
        return rearrange(over[..., None] + log_softmax(within, dim=-1), "a m k -> 1 a (m k)")

    def renew(self, turn: int) -> list[Tensor]:
        """Draw the weights anew; the parameters that are new."""
        return renewed([self.over.weight, self.within], [self.over.bias, self.offset], turn)


@torch.no_grad()
def renewed(weights: list[Tensor], offsets: list[Tensor], turn: int) -> list[Tensor]:
    """Weights of N(0, 0.01) and offsets of 0, a function of the number of the grouping."""
    generator = torch.Generator().manual_seed(hashed("classifier", turn))
    for weight in weights:
        weight.copy_(0.01 * torch.randn(weight.shape, generator=generator))
    for offset in offsets:
        offset.zero_()
    return [*weights, *offsets]
