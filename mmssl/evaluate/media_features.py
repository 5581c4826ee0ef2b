"""What a model of pictures, sounds and videos makes of held-out samples: features, those of views, compared vectors."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.augment import View
from mmssl.batch import Batch
from mmssl.config import Config
from mmssl.distributed import alone
from mmssl.evaluate.collapse import panel, with_compared, worse
from mmssl.evaluate.finetune import Embed
from mmssl.evaluate.heldout import batch_of, heldout_batches
from mmssl.inputs import Inputs
from mmssl.modalities.media_data import Reader
from mmssl.objectives import Objective
from mmssl.objectives.predictive import pooled
from mmssl.tokens import without

AT_ONCE = 64  # samples whose features are computed together
VIEWED, VIEWS = 64, 8  # held-out samples of which so many views are compared with each other, at most
VIEWS_OF = ("image", "audio")  # the modalities that have several views
COMPARED = 256  # held-out samples whose compared vectors are looked at, at most
Parts = dict[str, Float[Tensor, "N D"]]  # of each modality


def prepared(
    reader: Reader,
    inputs: Inputs,
    config: Config,
    rows: int,
    device: torch.device,
    wanted: tuple[View, ...] = (View(),),
    at_once: int = 16,
    augmented: bool = False,
) -> Iterator[Batch]:
    """The first samples as the objective sees them; two views of a picture or a sound are always two augmentations."""
    for batch in heldout_batches(reader, config.seed, rows, device, at_once):
        yield inputs(batch, wanted=wanted, augmented=augmented)


def embedded(encoder: nn.Module, batch: Batch, name: str, view: int = 0) -> Float[Tensor, "B D"]:
    """The mean embedding of the tokens of a modality alone; zeros where a sample lacks it."""
    cuts: dict[str, Any] = encoder.cuts  # type: ignore[assignment]
    tokens = without(cuts[name].tokenize([batch.views[name][view]]), batch.present(name))
    return pooled(encoder({name: tokens})).float()


@torch.no_grad()
def features(encoder: nn.Module, reader: Reader, inputs: Inputs, config: Config, rows: int) -> Parts:
    """The mean embedding of each sample's tokens, each modality alone; zeros where a sample lacks it."""
    encoder.eval()
    found: dict[str, list[Tensor]] = {name: [] for name in inputs.modalities}
    for batch in prepared(reader, inputs, config, rows, next(encoder.parameters()).device, at_once=AT_ONCE):
        for name in inputs.modalities:
            found[name].append(embedded(encoder, batch, name).cpu())
    return {name: torch.cat(parts) for name, parts in found.items() if parts}


def joined(parts: Parts) -> Float[Tensor, "N D_of_all"]:
    """All modalities' features side by side."""
    return torch.cat(list(parts.values()), dim=1)


def trainable_features(reader: Reader, inputs: Inputs, config: Config) -> Embed:
    """Features of all modalities side by side, with gradient, of samples by their number; plain, not augmented."""

    def embed(encoder: nn.Module, numbers: list[int]) -> Float[Tensor, "B D"]:
        batch = inputs(batch_of(reader, config.seed, np.array(numbers), next(encoder.parameters()).device))
        return torch.cat([embedded(encoder, batch, name) for name in inputs.modalities], 1)

    return embed


@torch.no_grad()
def features_of_views(
    encoder: nn.Module, reader: Reader, inputs: Inputs, config: Config
) -> dict[str, Float[Tensor, "S V D"]]:
    """The features of augmented views of the first pictures and sounds, under the name of their modality; none where
    neither is read, or fewer than two samples have one.
    """
    encoder.eval()
    device, wanted = next(encoder.parameters()).device, (View(),) * VIEWS
    found: dict[str, Tensor] = {}
    for name in filter(inputs.modalities.__contains__, VIEWS_OF):
        parts = [
            torch.stack([embedded(encoder, batch, name, view) for view in range(VIEWS)], 1)[batch.present(name)].cpu()
            for batch in prepared(reader, inputs.only(name), config, VIEWED, device, wanted, at_once=AT_ONCE)
        ]
        if sum(map(len, parts)) > 1:
            found[name] = torch.cat(parts)
    return found


@torch.no_grad()
def compared_vectors(part: Objective, batches: Iterator[Batch]) -> Float[Tensor, "N P"] | None:
    """What the energy of a part compares, where that is one vector a sample."""
    part.eval()
    found = []
    with alone():
        for batch in batches:
            # a criterion may need two samples at least
            output = part(batch) if len(batch.draw.index) > 1 else None
            if output is not None and output.compared is None:
                break
            found += [] if output is None else [output.compared.float().cpu()]
    return torch.cat(found) if found else None


def collapse_results(
    parts: Parts, views: dict[str, Float[Tensor, "S V D"]], compared: dict[str, Float[Tensor, "N P"]]
) -> dict[str, Any]:
    """The collapse panel of each modality; without a prefix that of the only one, or of all side by side.

    `compared` are the compared vectors of each part of the objective; the verdict without a prefix is the worst of
    theirs and those of the features, and `collapse.modalities` says which modalities are not healthy ("" where all
    are).
    """
    is_alone = len(parts) == 1
    results: dict[str, Any] = panel(joined(parts), views.get(next(iter(parts))) if is_alone else None)
    for name, value in parts.items() if not is_alone else ():
        results |= {f"{name}.{key}": found for key, found in panel(value, views.get(name)).items()}
        results["collapse.verdict"] = worse(results["collapse.verdict"], results[f"{name}.collapse.verdict"])
    if not is_alone:
        verdicts = {name: results[f"{name}.collapse.verdict"] for name in parts}
        said = [f"{name} {verdict}" for name, verdict in verdicts.items() if verdict != "healthy"]
        results["collapse.modalities"] = ", ".join(said)
    for name, vectors in compared.items():
        results = with_compared(results, vectors, name)
    return results


def collapse_of(objective: Objective, reader: Reader, inputs: Inputs, config: Config) -> dict[str, Any]:
    """The `collapse.*` keys of a model; none where fewer than two samples are held out."""
    if min(reader.size, config.evaluate.documents) < 2:
        return {}
    parts = features(objective.encoder, reader, inputs, config, config.evaluate.documents)
    views = features_of_views(objective.encoder, reader, inputs, config)
    device, rows = next(objective.parameters()).device, min(COMPARED, config.evaluate.documents)
    compared = {}
    for name, part in objective.each().items():
        found = compared_vectors(part, prepared(reader, inputs, config, rows, device, part.views, at_once=AT_ONCE))
        compared |= {} if found is None else {name: found}
    return collapse_results(parts, views, compared)
