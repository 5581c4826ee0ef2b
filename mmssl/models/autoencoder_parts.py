"""The parts of a masked autoencoder, told from those of any other objective."""

from typing import NamedTuple

import torch

from mmssl.energy import squared_error
from mmssl.modalities.grids import Cut
from mmssl.models.predictor import TransformerPredictor
from mmssl.models.target import Data
from mmssl.models.transformer import TransformerEncoder
from mmssl.objectives import Objective, Predictive, Stream
from mmssl.objectives.predictive import as_seen, nothing
from mmssl.random import Draw


class Autoencoder(NamedTuple):
    """The parts of an objective that the stock class has, too."""

    encoder: TransformerEncoder
    predictor: TransformerPredictor
    cut: Cut
    num_hidden: int
    is_normalised: bool


def parts_of(objective: Objective, name: str, targets: tuple[type[Data], ...]) -> Autoencoder | None:
    """Those of an objective that predicts one of these targets at hidden patches of one modality and does nothing
    else; else None.
    """
    if type(objective) is not Predictive or len(objective.regularizers) or tuple(objective.by_name) != (name,):
        return None
    stream, encoder, target = objective.by_name[name], objective.encoder, objective.target
    predictor = stream.predictor
    is_plain = type(stream) is Stream and (stream.energy, stream.base, stream.fill) == (squared_error, nothing, as_seen)
    if not (is_plain and type(encoder) is TransformerEncoder and type(predictor) is TransformerPredictor):
        return None
    if tuple(encoder.cuts) != (name,) or predictor.latent is not None or type(target) not in targets:
        return None
    cut = encoder.cut(name)
    lengths = (cut.size[0], cut.channels, *cut.size[1:]) if name == "video" else (cut.channels, *cut.size)
    first = torch.zeros(1).long()
    _, hidden = stream.corrupt(stream.tokenize([torch.zeros(1, *lengths)]), Draw(0, first, first))
    return Autoencoder(encoder, predictor, cut, hidden.position.shape[1], type(target) is not Data)
