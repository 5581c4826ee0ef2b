"""What labels can be told from a sound without any learning: the statistics of its log-mel spectrogram."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from mmssl.config import Config
from mmssl.evaluate.heldout import heldout_batches
from mmssl.evaluate.knn import knn_accuracy
from mmssl.evaluate.media_features import AT_ONCE
from mmssl.evaluate.probe import linear_probe
from mmssl.inputs import Inputs
from mmssl.modalities.labelled_media import LabelledMedia
from mmssl.modalities.media_data import Reader

CPU = torch.device("cpu")


def statistics(reader: Reader, inputs: Inputs, config: Config) -> Float[Tensor, "N S"]:
    """The mean and the deviation of each band over the time of each sound: S is twice the bands (of each channel)."""
    found = []
    for batch in heldout_batches(reader, config.seed, reader.size, CPU, AT_ONCE):
        sound = batch.views["audio"][0]
        columns = inputs.log_mel(rearrange(sound, "b ... t -> (b ...) t"))
        deviation, mean = torch.std_mean(columns, 1, correction=0)
        found.append(torch.stack([mean, deviation], 1).reshape(len(sound), -1))
    return torch.cat(found)


def logmel_results(labelled: LabelledMedia, inputs: Inputs, config: Config) -> dict[str, float]:
    """kNN and probe on these statistics, for kNN with the mean and deviation of the training part taken out: the
    baseline of any encoder of sounds, beside random weights.
    """
    train, test = (statistics(part, inputs, config) for part in (labelled.train, labelled.test))
    deviation, mean = torch.std_mean(train, 0, correction=0)
    x, y = ((part - mean) / deviation.clamp(min=1e-6) for part in (train, test))
    probe = linear_probe(train, labelled.train_labels, test, labelled.test_labels, seed=config.seed)
    return {
        "logmel.knn.accuracy": knn_accuracy(x, labelled.train_labels, y, labelled.test_labels),
        "logmel.probe.accuracy": probe.accuracy,
    }
