"""Several answers: do a model's completions of half a picture cover those that there may be, and nothing else?

`encounters` lists every right half that a left one may have, with its probability, and some that it never has.
"""

import sys
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mmssl.batch import Batch
from mmssl.config import Config
from mmssl.drop import drop_right
from mmssl.evaluate.completion import cut_of, hidden_by, noise_of, predictive
from mmssl.evaluate.energy import auroc
from mmssl.evaluate.futures import SAMPLES, expected_coverage, is_of_world, nearness, scored
from mmssl.evaluate.heldout import heldout_batches
from mmssl.inputs import Inputs
from mmssl.modalities.media_data import Reader
from mmssl.modalities.world_samples import centred
from mmssl.objectives import Objective, Predictive
from mmssl.objectives.predictive import place_of, repeated
from mmssl.random import Draw, hashed
from mmssl.savanna.encounters import Completions, completions, entropy
from mmssl.tokens import Place, Tokens, at

NAME = "image"
PICTURES = 64  # held-out samples, at most
HALF = drop_right(0.5)  # whatever the method hid in training


class Question(NamedTuple):
    """The left half of one sample, the places of the right half, and whole pictures that may answer."""

    seen: Tokens  # of one sample
    hidden: Place  # of one sample
    possible: Tokens  # of K pictures
    impossible: Tokens  # of J pictures
    probability: Float[Tensor, " K"]


@torch.no_grad()
def uncertainty_results(objective: Objective, inputs: Inputs, config: Config, heldout: Reader) -> dict[str, Any]:
    """The `uncertainty.*` keys of a model that completes pictures of `encounters`: means over held-out samples, of
    whose right halves 16 are drawn, or one where a model has one answer only.

    `coverage` is the share of the possible completions that are shown, `precision` the share of the draws that show
    one: nearer to it than to the mean of all, which is what a model without z says at best. `distance` is that to the
    nearest one (squared; 1: as far as that one is from its own nearest), `auroc` how well the energy tells possible
    from impossible ones. Empty where half a picture is not a whole number of patches.
    """
    part = predictive(objective)
    if part is None or NAME not in part.answered or not is_of_world(config, "encounters"):
        return {}
    cut = cut_of(part, NAME)
    assert cut is not None
    if cut.grid[-1] % 2:
        print(f"note: no uncertainty: {cut.grid[-1]} columns of patches; expected an even number", file=sys.stderr)
        return {}
    device = next(objective.parameters()).device
    values: dict[str, list[float]] = {}
    objective.eval()
    for batch in heldout_batches(heldout, config.seed, min(PICTURES, config.evaluate.documents), device):
        for found in of_batch(part, inputs, batch, config):
            for key, value in found.items():
                values.setdefault(f"uncertainty.{key}", []).append(value)
    return {key: sum(found) / len(found) for key, found in values.items()}


def of_batch(part: Objective, inputs: Inputs, batch: Batch, config: Config) -> list[dict[str, float]]:
    """What is said of each sample of a batch."""
    tokens = part.corrupted(inputs(batch))[0]
    seen, hidden = hidden_by(HALF, {NAME: tokens[NAME]}, batch)
    noises = [noise_of(batch, number) for number in range(SAMPLES if part.has_latent else 0)] or [None]
    drawn = torch.stack([part.predict(seen, hidden, noise)[NAME] for noise in noises], 1)
    bits = part.bits(seen, hidden, tokens)
    results = []
    for row, index in enumerate(batch.draw.index.tolist()):
        there_may_be = known(index, config)
        possible, impossible = (
            as_tokens(part, inputs, pictures, batch, row)
            for pictures in (there_may_be.picture, there_may_be.impossible)
        )
        probability = torch.from_numpy(there_may_be.probability)
        asked = Question(
            repeated(seen[NAME], row, 1), place_of(hidden[NAME], row, 1), possible, impossible, probability
        )
        found = of_samples(part, drawn[row], asked) | {"auroc": told_apart(part, asked)}
        results.append(found if bits is None else {**found, "bits": float(bits[row])})
    return results


def known(index: int, config: Config) -> Completions:
    """The completions of a held-out sample, cut as its picture is."""
    sides = config.image.stored_sides
    found = completions(hashed(config.seed, "heldout"), index, max(sides))
    picture, impossible = (
        centred(lambda size, all_of=all_of: all_of, sides) for all_of in (found.picture, found.impossible)
    )
    return found._replace(picture=picture, impossible=impossible)


def as_tokens(part: Objective, inputs: Inputs, pictures: np.ndarray, batch: Batch, row: int) -> Tokens:
    """All tokens of pictures that may stand in the place of a sample."""
    index = batch.draw.index[row].expand(len(pictures))
    draw = Draw(batch.draw.seed, batch.draw.epoch[row].expand(len(pictures)), index)
    pixels = torch.from_numpy(pictures).to(index.device)
    return part.corrupted(inputs(Batch({NAME: [pixels]}, draw)))[0][NAME]


def of_samples(part: Objective, drawn: Float[Tensor, "S M _"], asked: Question) -> dict[str, float]:
    """How what was drawn stands to all that there may be."""
    samples, possible = compared(part, drawn, asked)
    found = scored(samples, possible, asked.probability, asked.probability.float() @ possible)
    return {
        **found._asdict(),
        "distance": float(nearness(samples, possible)[1].mean()),
        "coverage_of_the_truth": expected_coverage(asked.probability, SAMPLES),
        "modes": float(len(possible)),
        "true_bits": entropy(asked.probability.numpy()),
    }


def compared(
    part: Objective, drawn: Float[Tensor, "S M _"], asked: Question
) -> tuple[Float[Tensor, "S D"], Float[Tensor, "K D"]]:
    """What was drawn and what there may be, as pixels or, where nobody can look at it, as the target's embeddings: of
    these only directions in which the possible ones differ, for an embedding has no numbers in which they agree.
    """
    place = place_of(asked.hidden, 0, len(asked.probability))
    answers = at(asked.possible, place).float()
    # a method that is shown something of the answer is shown the mean of all, for that does not tell the true one
    mean = answers.mean(0).expand(len(drawn), *answers.shape[1:])
    samples = part.patches_of(drawn, mean, place_of(asked.hidden, 0, len(drawn)))
    if samples is None:
        assert isinstance(part, Predictive), f"{type(part).__name__} shows nothing and has no target"
        return projected(flat(drawn), flat(at(part.target({NAME: asked.possible})[NAME], place)))
    return flat(samples), flat(answers)


def flat(value: Float[Tensor, "N M D"]) -> Float[Tensor, "N M*D"]:
    """All numbers of each side by side."""
    return rearrange(value.float(), "n m d -> n (m d)").cpu()


def projected(
    samples: Float[Tensor, "S D"], possible: Float[Tensor, "K D"]
) -> tuple[Float[Tensor, "S K-1"], Float[Tensor, "K K-1"]]:
    """The coordinates of both in the plane through the possible ones."""
    basis = torch.linalg.qr((possible[1:] - possible[:1]).double().T).Q
    first, second = ((value - possible[:1]).double() @ basis for value in (samples, possible))
    return first.float(), second.float()


def told_apart(part: Objective, asked: Question) -> float:
    """AUROC of the energies of the possible completions of one sample against those of the impossible ones."""
    seen, hidden = {NAME: asked.seen}, {NAME: asked.hidden}
    low, high = (
        part.energies_of(seen, hidden, {NAME: answers})[0].float() for answers in (asked.possible, asked.impossible)
    )
    return auroc(low, high)
