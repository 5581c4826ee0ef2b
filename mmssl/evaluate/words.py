"""Hidden words: what a text model puts there, and how well a text holds together."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mmssl.errors import DataError
from mmssl.evaluate.features import chunks, padded
from mmssl.modalities.text import WRITTEN_MASK, Vocabulary
from mmssl.objectives import Objective
from mmssl.random import Draw
from mmssl.tokens import Place

WORDS_SHOWN = 10


class Completion(NamedTuple):
    """A text with its masks filled in."""

    text: str
    words: list[str]
    log_probability: float  # nats, of all words jointly, in the order in which they were drawn


@torch.no_grad()
def log_probabilities(objective: Objective, vocabulary: Vocabulary, ids: list[int]) -> Float[Tensor, "M K"]:
    """log p(word) at each mask of one text, special tokens excluded.

    For an objective whose energies are no probabilities this is the Gibbs distribution exp(-E) / Z, which is not
    calibrated.
    """
    objective.eval()
    device = next(objective.parameters()).device
    tokens = padded([ids], vocabulary, device)
    position = (tokens.value == vocabulary.mask).nonzero()[:, 1][None]
    hidden = Place(position, torch.zeros_like(position), tokens.place.grid)
    logits = objective.predict({"text": tokens}, {"text": hidden})["text"][0].float().cpu()
    return logits.masked_fill(vocabulary.special, -torch.inf).log_softmax(-1)


def masked_ids(vocabulary: Vocabulary, text: str, longest: int) -> list[int]:
    """The ids of a text with at least one mask; DataError where it has none or is too long."""
    ids = vocabulary.encode_masked(text)
    if vocabulary.mask not in ids:
        raise DataError(f"predict: {text!r} hides nothing; expected at least one {WRITTEN_MASK}")
    if len(ids) > longest - 2:
        raise DataError(f"predict: a text of {len(ids)} tokens; expected at most {longest - 2}")
    return ids


def fill_in(objective: Objective, vocabulary: Vocabulary, text: str, longest: int) -> list[list[tuple[str, float]]]:
    """For each mask of the text the most probable words with their probabilities, best first."""
    values = log_probabilities(objective, vocabulary, masked_ids(vocabulary, text, longest)).exp()
    top = values.topk(min(WORDS_SHOWN, vocabulary.size - int(vocabulary.special.sum())))
    return [
        [(vocabulary.decode([int(number)]), float(share)) for number, share in zip(numbers, shares, strict=True)]
        for numbers, shares in zip(top.indices, top.values, strict=True)
    ]


def sample(
    objective: Objective, vocabulary: Vocabulary, text: str, longest: int, *, samples: int, seed: int = 0
) -> list[Completion]:
    """Joint completions: one mask after the other, in a random order, each drawn given all words so far."""
    start = masked_ids(vocabulary, text, longest)
    found = []
    for number in range(samples):
        ids, total = list(start), 0.0
        draw = Draw(seed, torch.zeros(1, dtype=torch.long), torch.tensor([number]))
        places = [place for place, token in enumerate(start) if token == vocabulary.mask]
        for turn in draw.uniform("turn", len(places))[0].argsort().tolist():
            rank = sum(ids[place] == vocabulary.mask for place in places[:turn])
            values = log_probabilities(objective, vocabulary, ids)[rank]
            point = draw.uniform(f"word/{turn}", 1)[0].double()
            word = int(torch.searchsorted(values.double().exp().cumsum(0), point).clamp(max=len(values) - 1))
            ids[places[turn]], total = word, total + float(values[word])
        words = [vocabulary.decode([ids[place]]) for place in places]
        found.append(Completion(vocabulary.decode(ids), words, total))
    return found


@torch.no_grad()
def pseudo_energy(
    objective: Objective, vocabulary: Vocabulary, seen: list[int], asked: list[int], longest: int
) -> float:
    """The sum over the asked places of the energy of the word there, that place alone being hidden.

    For a softmax this is the pseudo-log-likelihood of Salazar et al. 2019 (arXiv:1910.14659, eq. 1) in nats, negated.
    """
    if len(seen) > longest - 2:
        raise DataError(f"score: a text of {len(seen)} tokens; expected at most {longest - 2}")
    objective.eval()
    device = next(objective.parameters()).device
    variants = [[vocabulary.mask if place == hidden else token for place, token in enumerate(seen)] for hidden in asked]
    total = 0.0
    for numbers, rows in chunks(variants, longest):
        tokens = padded(rows, vocabulary, device)
        position = torch.tensor([[asked[number] + 1] for number in numbers], device=device)
        hidden = Place(position, torch.zeros_like(position), tokens.place.grid)
        logits = objective.predict({"text": tokens}, {"text": hidden})["text"][:, 0].float()
        energy = -logits.log_softmax(-1) if objective.normalised else -logits
        answers = torch.tensor([[seen[asked[number]]] for number in numbers], device=device)
        total += float(energy.gather(1, answers).sum())
    return total


def score_text(objective: Objective, vocabulary: Vocabulary, x: str, y: str, longest: int) -> float:
    """F(x, y): y fills the masks of x (its words in order), or, where x has none, follows x.

    DataError where the number of y's tokens is not that of the masks.
    """
    seen, answer = vocabulary.encode_masked(x), vocabulary.encode([y])[0]
    masks = [place for place, token in enumerate(seen) if token == vocabulary.mask]
    if not answer:
        raise DataError(f"score: candidate {y!r} holds no word; expected at least one")
    if not masks:
        asked = list(range(len(seen), len(seen) + len(answer)))
        return pseudo_energy(objective, vocabulary, [*seen, *answer], asked, longest)
    if len(masks) != len(answer):
        raise DataError(
            f"score: candidate {y!r} has {len(answer)} tokens; expected {len(masks)}, one for each {WRITTEN_MASK}"
        )
    for place, token in zip(masks, answer, strict=True):
        seen[place] = token
    return pseudo_energy(objective, vocabulary, seen, masks, longest)
