"""A second question beside hidden words: does the second half of a document belong to the first?"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmssl.batch import Batch
from mmssl.objectives.regularizer import Regularizer
from mmssl.tokens import Tokens


class NextSentence(Regularizer):
    """BERT's second loss: is the second half of a document its own? (Devlin et al. 2018, arXiv:1810.04805, section
    3.1).

    Reads `batch.views["next_sentence"]`: (B, N), 0 own, 1 another's, at the first token of a document; -1 elsewhere.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pooler = nn.Linear(width, width)
        self.classifier = nn.Linear(width, 2)

    def forward(self, sx: dict[str, Tokens], sy: dict[str, Tokens], batch: Batch) -> dict[str, Float[Tensor, ""]]:
        label: Int[Tensor, "B N"] = batch.views["next_sentence"][0]
        rows, columns = torch.nonzero(label >= 0, as_tuple=True)
        logits = self.classifier(torch.tanh(self.pooler(sx["text"].value[rows, columns]))).float()
        loss = cross_entropy(logits, label[rows, columns], reduction="none")
        count = (label >= 0).sum(1)
        return {"next_sentence": (loss / count[rows]).sum() / len(label)}
