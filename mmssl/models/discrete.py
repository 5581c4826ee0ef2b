"""A limit of the capacity of z: one of K codes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmssl.models.codebook import Codebook
from mmssl.models.latent import EnergyOf, Inferred, Question, Seen
from mmssl.models.limits import PRIOR_WEIGHT, chosen, detached
from mmssl.tokens import Place, Tokens

COMMITMENT_WEIGHT = 0.25  # van den Oord et al. 2017, section 3.2


class DiscreteLatent(nn.Module):
    """z = the code that is nearest to what the posterior names (van den Oord et al. 2017, arXiv:1711.00937, eq. 1-3).

    What z tells is at most -log p(code | x) nats: the prior is a softmax read off what is seen, and gives no gradient
    to anything else. The free energy is looked for among all codes.
    """

    def __init__(
        self, widths: dict[str, int], answer_width: int, *, layers: int, width: int, heads: int, latent_width: int,
        num_codes: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.width, self.noise_width, self.prior_width = latent_width, 0, 1
        sizes = {"layers": layers, "width": width, "heads": heads}
        self.posterior = Question({**widths, "answer": answer_width}, out=latent_width, **sizes)
        self.prior = Question(widths, out=num_codes, **sizes)
        self.codebook = Codebook(num_codes, latent_width)

    def forward(self, sx: Seen, answer: Float[Tensor, "B M A"], place: Place, noise: Tensor | None = None) -> Inferred:
        value = self.posterior({**sx, "answer": Tokens(answer, place)})
        code = self.codebook(value)
        nats = cross_entropy(self.prior(detached(sx)), code.index, reduction="none")
        terms = {"prior": PRIOR_WEIGHT * nats, "commitment": COMMITMENT_WEIGHT * code.distance}
        return Inferred(code.value, torch.zeros_like(nats), nats.detach(), terms)

    def drawn(self, sx: Seen, noise: Float[Tensor, "B 1"] | None = None) -> Float[Tensor, "B Z"]:
        logits = self.prior(sx)
        index = logits.argmax(-1) if noise is None else chosen(logits, torch.special.ndtr(noise))
        return self.codebook.centres[index]

    def minimum(self, energy: EnergyOf, sx: Seen, found: Inferred, steps: int) -> Float[Tensor, " B"]:
        """Of all codes, where `steps` asks for any search at all."""
        lowest = energy(found.z)
        for centre in self.codebook.centres if steps else ():
            lowest = torch.minimum(lowest, energy(centre.expand_as(found.z)))
        return lowest

    def settle(self) -> None:
        self.codebook.settle()
