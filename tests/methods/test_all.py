"""Claims about every method, by its defaults on tiny sizes: it learns, tells pairs apart, resumes and is exported."""

from functools import cache
from typing import NamedTuple

import pytest
import torch
from tiny import MEDIA, TEXT_METHODS, begin, tiny_batch, tiny_objective, words_of_tests
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM

from mmssl.batch import Batch
from mmssl.checkpoint import restore, save
from mmssl.errors import ConfigError
from mmssl.methods import METHODS
from mmssl.models.encoder import VocabularyHead
from mmssl.models.export import export_encoder, export_text
from mmssl.objectives import Objective
from mmssl.optimizer import optimizer, set_state, state_of
from mmssl.sections import TrainConfig
from mmssl.train import restore_weights, tensors_of

CASES = [(name, "vit") for name in METHODS] + [(name, "resnet") for name in ("simclr", "byol", "swav")]
STEPS = 50
# a contrast at temperature 0.5 cannot fall below log(1 + (2 B - 2) e^-2 ...): that of SimCLR falls by a sixth; eight
# samples cannot take the correlations out of 32 features
FALLS = {"simclr": 0.9, "barlow_twins": 0.75}
# their queue begins with random keys, and soon holds those of the very samples; DINO's teacher becomes surer; what one
# player of a game wins, the other loses
RISING = ("moco", "moco_v2", "dino", "gan")
APART = (
    "siamese",
    "npid",
    "moco",
)  # a linear projection of random features tells the patterns apart before any training
# a step draws z, energies take the posterior's mean or fixed draws
LATENT = (
    "vae", "frame_prediction_latent", "multimodal", "conditional_vae", "jepa_with_latent", "diffusion", "latent_diffusion",
)  # fmt: skip