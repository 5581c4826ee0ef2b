"""Several answers: do a model's completions of a sample cover those that there may be, and nothing else?

Some built-in worlds list all that the hidden part of a sample may be, with its probability (`mmssl.evaluate.worlds`).
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
from mmssl.corruption import Corruption
from mmssl.evaluate.completion import cut_of, hidden_by, noise_of, predictive
from mmssl.evaluate.coverage import expected_coverage, expected_total_variation, nearness, scored
from mmssl.evaluate.energy import auroc
from mmssl.evaluate.heldout import heldout_batches
from mmssl.evaluate.worlds import Open, open_world
from mmssl.inputs import Inputs
from mmssl.modalities.grids import Cut
from mmssl.modalities.media_data import Reader
from mmssl.objectives import Objective, Predictive
from mmssl.objectives.predictive import place_of, repeated
from mmssl.random import Draw
from mmssl.savanna.encounters import entropy
from mmssl.tokens import Place, Tokens, at


class Asked(NamedTuple):
    """What the samples of a world are asked, by a model that cuts them so."""

    world: Open
    cut: Cut
    hide: Corruption
    num_answers: int


class Question(NamedTuple):
    """What is seen of one sample, the places of what is hidden, and whole samples that may answer."""

    name: str  # of the modality
    seen: Tokens  # of one sample
    hidden: Place  # of one sample
    possible: Tokens  # of K samples
    impossible: Tokens | None  # of J samples
    probability: Float[Tensor, " K"]


@torch.no_grad()
def uncertainty_results(objective: Objective, inputs: Inputs, config: Config, heldout: Reader) -> dict[str, Any]:
    """The `uncertainty.*` keys of a model that completes pictures of `encounters` or clips of `savanna` or `digits`:
    means over held-out samples (at most evaluate.open_samples) that leave several answers open, of which 16 (pictures)
    or 20 (clips, at most evaluate.futures) are drawn, or one where a model has one answer only.

    `coverage` is the share of the possible answers that are shown, `coverage_error` its standard error, `precision` the
    share of the draws that show one: nearer to it than to the mean of all, which is what a model without z says at
    best. `distance` is that to the nearest one (squared; 1: as far as that one is from its own nearest), `auroc` how
    well the energy tells possible from impossible ones, where some are known. Empty where the hidden part is not a
    whole number of patches.
    """
    asked = question_of(objective, config)
    part = predictive(objective)
    if asked is None or part is None:
        return {}
    device = next(objective.parameters()).device
    values: dict[str, list[float]] = {}
    objective.eval()
    most = min(config.evaluate.open_samples, config.evaluate.documents)
    for batch in heldout_batches(heldout, config.seed, most, device):
        for found in of_batch(part, inputs, batch, config, asked):
            for key, value in found.items():
                values.setdefault(f"uncertainty.{key}", []).append(value)
    results = {key: sum(found) / len(found) for key, found in values.items()}
    if len(covered := values.get("uncertainty.coverage", [])) > 1:
        results["uncertainty.coverage_error"] = float(np.std(covered, ddof=1) / len(covered) ** 0.5)
    return results


def question_of(objective: Objective, config: Config) -> Asked | None:
    """What a model can be asked of the config's world; None where that is nothing."""
    part, world = predictive(objective), open_world(config)
    if part is None or world is None or part.answered != (world.modality,) or part.told:
        return None
    cut = cut_of(part, world.modality)
    assert cut is not None
    hide = world.hide(cut, config)
    if hide is None:
        grid = " x ".join(map(str, cut.grid))
        print(f"note: no uncertainty: {grid} patches; expected {world.expected}", file=sys.stderr)
        return None
    return Asked(world, cut, hide, min(world.num_answers, config.evaluate.futures))


def of_batch(part: Objective, inputs: Inputs, batch: Batch, config: Config, asked: Asked) -> list[dict[str, float]]:
    """What is said of each sample of a batch that leaves several answers open."""
    name = asked.world.modality
    tokens = part.corrupted(inputs(batch))[0]
    seen, hidden = hidden_by(asked.hide, {name: tokens[name]}, batch)
    noises = [noise_of(batch, number) for number in range(asked.num_answers if part.has_latent else 0)] or [None]
    drawn = torch.stack([part.predict(seen, hidden, noise)[name] for noise in noises], 1)
    bits = part.bits(seen, hidden, tokens)
    results = []
    for row, index in enumerate(batch.draw.index.tolist()):
        known = asked.world.known(index, config, asked.cut, batch.views[name][0][row].cpu().numpy())
        if len(known.probability) < 2:
            continue
        possible, impossible = (
            None if views is None else as_tokens(part, inputs, name, views, batch, row)
            for views in (known.view, known.impossible)
        )
        assert possible is not None
        probability = torch.from_numpy(known.probability)
        question = Question(
            name, repeated(seen[name], row, 1), place_of(hidden[name], row, 1), possible, impossible, probability
        )
        found = of_samples(part, drawn[row], question, asked)
        found |= {} if impossible is None else {"auroc": told_apart(part, question, impossible)}
        results.append(found if bits is None else {**found, "bits": float(bits[row])})
    return results


def as_tokens(part: Objective, inputs: Inputs, name: str, views: np.ndarray, batch: Batch, row: int) -> Tokens:
    """All tokens of what may stand in the place of a sample."""
    index = batch.draw.index[row].expand(len(views))
    draw = Draw(batch.draw.seed, batch.draw.epoch[row].expand(len(views)), index)
    pixels = torch.from_numpy(views).to(index.device)
    return part.corrupted(inputs.only(name)(Batch({name: [pixels]}, draw)))[0][name]


def of_samples(part: Objective, drawn: Float[Tensor, "S M _"], question: Question, asked: Asked) -> dict[str, float]:
    """How what was drawn stands to all that there may be."""
    samples, possible = compared(part, drawn, question)
    found = scored(samples, possible, question.probability, question.probability.float() @ possible)
    return {
        **found._asdict(),
        "distance": float(nearness(samples, possible)[1].mean()),
        "coverage_of_the_truth": expected_coverage(question.probability, asked.num_answers),
        "total_variation_of_the_truth": expected_total_variation(question.probability, asked.num_answers),
        asked.world.ways: float(len(possible)),
        "true_bits": entropy(question.probability.numpy()),
    }


def compared(
    part: Objective, drawn: Float[Tensor, "S M _"], question: Question
) -> tuple[Float[Tensor, "S D"], Float[Tensor, "K D"]]:
    """What was drawn and what there may be, as pixels or, where nobody can look at it, as the target's embeddings: of
    these only directions in which the possible ones differ, for an embedding has no numbers in which they agree.
    """
    place = place_of(question.hidden, 0, len(question.probability))
    answers = at(question.possible, place).float()
    # a method that is shown something of the answer is shown the mean of all, for that does not tell the true one
    mean = answers.mean(0).expand(len(drawn), *answers.shape[1:])
    samples = part.patches_of(drawn, mean, place_of(question.hidden, 0, len(drawn)))
    if samples is None:
        assert isinstance(part, Predictive), f"{type(part).__name__} shows nothing and has no target"
        return projected(flat(drawn), flat(at(part.target({question.name: question.possible})[question.name], place)))
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


def told_apart(part: Objective, question: Question, impossible: Tokens) -> float:
    """AUROC of the energies of the possible completions of one sample against those of the impossible ones."""
    seen, hidden = {question.name: question.seen}, {question.name: question.hidden}
    low, high = (
        part.energies_of(seen, hidden, {question.name: answers})[0].float()
        for answers in (question.possible, impossible)
    )
    return auroc(low, high)
