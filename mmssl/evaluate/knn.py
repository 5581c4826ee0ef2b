"""Weighted k-nearest-neighbour classification of embeddings: what they are worth without any training."""

from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from mmssl.errors import ConfigError
from mmssl.evaluate import finite

CHUNK_ELEMENTS = 2**24  # of the similarities held at once


def knn_accuracy(
    train_x: Float[Tensor, "N D"],
    train_y: Int[Tensor, " N"],
    test_x: Float[Tensor, "Q D"],
    test_y: Int[Tensor, " Q"],
    k: int = 20,
    temperature: float = 0.07,
) -> float:
    """The share of test samples whose class gets most votes: exp(cosine / temperature) from each of the k nearest.

    Wu et al. 2018, arXiv:1805.01978, section 3.4. Where fewer than k are there, all vote. Ties go to the earlier
    training sample and to the smaller label. A class that is in the test part only counts as an error.
    """
    if k < 1 or temperature <= 0:
        raise ConfigError(f"knn: got k={k}, temperature={temperature}, expected k >= 1 and temperature > 0")
    train = functional.normalize(finite("knn: embeddings of the training part", train_x).float(), dim=1)
    test = functional.normalize(finite("knn: embeddings of the test part", test_x).float(), dim=1)
    classes, votes_for = train_y.unique(return_inverse=True)

    num_correct = 0
    rows = max(1, CHUNK_ELEMENTS // len(train))
    for queries, labels in zip(test.split(rows), test_y.split(rows)):
        similarity = queries @ train.T
        neighbour = nearest(similarity, min(k, len(train)))

        # Relative to a cosine of 1, so that no temperature overflows.
        weight = ((similarity.gather(1, neighbour) - 1) / temperature).exp()
        votes = similarity.new_zeros(len(queries), len(classes)).scatter_add_(1, votes_for[neighbour], weight)
        num_correct += int((classes[votes.argmax(dim=1)] == labels).sum())
    return num_correct / len(test)


def nearest(similarity: Float[Tensor, "Q N"], k: int) -> Int[Tensor, "Q k"]:
    """The indices, in rising order, of the k largest similarities of each row; ties go to the smaller index."""
    # topk alone leaves open which of the samples tied at the k-th place it takes.
    boundary = similarity.topk(k, dim=1).values[:, -1:]
    is_above, is_tied = similarity > boundary, similarity == boundary
    vacancies = k - is_above.sum(dim=1, keepdim=True)
    is_near = is_above | (is_tied & (is_tied.cumsum(dim=1) <= vacancies))
    return rearrange(is_near.nonzero()[:, 1], "(q k) -> q k", k=k)
