"""Modalities of one sample against each other: energies of each pair of them, and what is left where one is missing."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmssl.batch import Batch
from mmssl.evaluate.energy import of_matrix, of_other_class, of_same_class, rivals, summary
from mmssl.evaluate.media_features import Parts, joined
from mmssl.evaluate.negatives import MOVED
from mmssl.evaluate.retrieval import recalls
from mmssl.objectives import Objective

STILL = {"text", "image"}  # the same in all samples of a file
FEW = 4  # samples that are compared with each other where only each with itself is asked for


def couples(part: Objective, names: Sequence[str]) -> list[tuple[str, str]]:
    """The ordered pairs of different modalities that an objective compares."""
    return [(x, y) for x, y in product(names, repeat=2) if x != y and part.compares(x, y)]


def things_of(names: Iterable[str], files: Int[Tensor, " N"] | None, batch: Batch) -> Int[Tensor, " B"]:
    """A number for what each sample shows of these modalities, by the number of its file: one for all samples of a file
    where it is what is said of it, or a picture; each its own of windows of time.
    """
    index = batch.draw.index.cpu()
    return torch.arange(len(index)) if files is None or STILL.isdisjoint(names) else files[index]


def compared_things(part: Objective, files: Int[Tensor, " N"] | None, batch: Batch) -> Int[Tensor, " B"]:
    """`things_of` what the energy of an objective compares."""
    return things_of((*part.paired, *part.answered), files, batch)


def energies_of(
    part: Objective, couple: tuple[str, str], batch: Batch, known: dict[tuple[str, str], Float[Tensor, "B B"]]
) -> Float[Tensor, "B B"]:
    """The energies of a couple, kept in `known`, of which the other way round may be read off."""
    x, y = couple
    if (y, x) in known and (part.mirrors(x, y) or part.mirrors(y, x)):
        return known[y, x].T
    known[couple] = part.energies_between(x, y, batch).float().cpu()
    return known[couple]


def own_energies(part: Objective, couple: tuple[str, str], batch: Batch, answers: Batch) -> Float[Tensor, " B"]:
    """Of each sample's x with the y of the same place in `answers`: of a few at a time, for where a latent is inferred
    for each pair, those of all pairs take long.
    """
    found = []
    for rows in torch.arange(len(batch.draw.index), device=batch.draw.index.device).split(FEW):
        found.append(part.energies_between(*couple, batch.chosen(rows), answers.chosen(rows)).diagonal().float().cpu())
    return torch.cat(found)


@torch.no_grad()
def pair_results(
    part: Objective, batches: Iterator[Batch], names: Sequence[str], labels: Int[Tensor, " N"],
    files: Int[Tensor, " N"] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The `energy.<x>_to_<y>.*` keys of samples that have both: a pair against the y of other samples, of those of
    another and of the same class (by `labels` of all samples, -1: none), and the same sample's y at another time.
    Samples of one of the `files` (of all samples) that show the same are no wrong answers for each other.
    """
    part.eval()
    matched: dict[tuple[str, str], list[Tensor]] = {couple: [] for couple in couples(part, names)}
    ladder: dict[tuple[str, str], dict[str, list[Tensor]]] = {couple: {} for couple in matched}
    for batch in batches if matched else ():
        label, known = labels[batch.draw.index.cpu()], {}
        for (x, y), own in matched.items():
            both = (batch.present(x) & batch.present(y)).cpu()
            energies = energies_of(part, (x, y), batch, known)[both][:, both]
            thing = things_of((x, y), files, batch)[both]
            found, other = of_matrix(energies, thing)
            own.append(found)
            kinds = {
                "other": other, "other_class": of_other_class(energies, label[both]),
                "same_class": of_same_class(energies, label[both], thing),
            }  # fmt: skip
            if y in MOVED:
                kinds["shifted"] = own_energies(part, (x, y), batch, MOVED[y](batch))[both]
            for kind, values in kinds.items():
                ladder[x, y].setdefault(kind, []).append(values)
    results: dict[str, Any] = {}
    for (x, y), parts in matched.items():
        kinds = {kind: torch.cat(values) for kind, values in ladder[x, y].items()}
        if not len(kinds.get("other", ())):
            continue
        found = summary(torch.cat(parts), {kind: values for kind, values in kinds.items() if len(values)})
        results |= {key.replace("energy.", f"energy.{x}_to_{y}.", 1): value for key, value in found.items()}
    return results


@torch.no_grad()
def retrieval_results(
    part: Objective, batch: Batch, names: Sequence[str], kinds: Int[Tensor, " N"] | None = None,
    files: Int[Tensor, " N"] | None = None,
) -> dict[str, float]:  # fmt: skip
    """R@k of each ordered pair of modalities that the objective compares, among the samples that have both and those
    that show another thing (the captions of one of the `files` of all samples do not compete); of pictures also the
    other view of the same one.

    `retrieval.<x>_to_<y>.distinct.*`: among those of another kind than the sample itself (`kinds` of all samples, -1:
    none known), `retrieval.distinct_candidates` of them on average, the right one counted.
    """
    part.eval()
    results: dict[str, float] = {}
    known: dict[tuple[str, str], Tensor] = {}
    views = [(name, name) for name in names if len(batch.views[name]) > 1 and part.compares(name, name)]
    for x, y in [*views, *couples(part, names)]:
        both = (batch.present(x) & batch.present(y)).cpu()
        if int(both.sum()) < 2:
            continue
        energies = energies_of(part, (x, y), batch, known)[both][:, both]
        wrong = rivals(energies, things_of((x, y), files, batch)[both])
        results |= {f"retrieval.{x}_to_{y}.{key}": value for key, value in recalls(energies, wrong).items()}
        candidates = float(1 + wrong.sum(1).double().mean())
        results["retrieval.candidates"] = max(candidates, results.get("retrieval.candidates", 0.0))
        kind = None if kinds is None else kinds[batch.draw.index.cpu()][both]
        if kind is not None and bool((kind >= 0).all()) and len(kind.unique()) > 1:
            distinct = wrong & rivals(energies, kind)
            found = recalls(energies, distinct)
            results |= {f"retrieval.{x}_to_{y}.distinct.{key}": value for key, value in found.items()}
            results["retrieval.distinct_candidates"] = float(1 + distinct.sum(1).double().mean())
    return results


def without_each(parts: Parts) -> dict[str, Float[Tensor, "N D_of_all"]]:
    """The features of all modalities side by side, as they are of samples that lack one of them: for each in turn."""
    return {
        name: joined({**parts, name: torch.zeros_like(value)}) for name, value in parts.items()
    } if len(parts) > 1 else {}  # fmt: skip
