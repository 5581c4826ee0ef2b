"""How many of its codes a method with codebooks uses, whatever makes the codes."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from einops import rearrange
from jaxtyping import Int
from torch import Tensor

from mmssl.batch import Batch
from mmssl.errors import DataError


@runtime_checkable
class Quantises(Protocol):
    """What turns samples into entries of one or several codebooks of `num_codes` entries each."""

    num_codes: int

    def codes_of(self, batch: Batch) -> Int[Tensor, "B N G"]:
        """The entry, from 0 to num_codes - 1, at each of N places in each of G codebooks; -1 where a place is
        padding.
        """
        ...


def perplexity(codes: Int[Tensor, "*N G"]) -> float:
    """exp of the entropy of the entries in use, the mean over codebooks; DataError where all is padding.

    The entries of all samples count together, so it is the number of them in use, were they used alike: 1 at least,
    and at most as many as there are, or as there are places (Baevski et al. 2020, arXiv:2006.11477, eq. 4, of entries
    that were chosen in place of softmaxes).
    """
    books = rearrange(codes.reshape(-1, codes.shape[-1]), "n g -> g n")
    if not bool((books >= 0).any(1).all()):
        raise DataError("codes: got padding alone; expected at least one code of each codebook")
    shares = [book[book >= 0].bincount().double() for book in books]
    return float(torch.stack([torch.special.entr(count / count.sum()).sum().exp() for count in shares]).mean())


@torch.no_grad()
def code_results(part: Any, batches: Iterator[Batch]) -> dict[str, float]:
    """The `codes.*` keys of what is a `Quantises`: perplexity and how many entries there are; none of any other."""
    if not isinstance(part, Quantises):
        return {}
    found = [part.codes_of(batch).flatten(0, 1).cpu() for batch in batches]
    codes = torch.cat(found) if found else torch.full((0, 1), -1)
    if not bool((codes >= 0).any()):
        return {}
    return {"codes.perplexity": perplexity(codes), "codes.entries": float(part.num_codes)}
