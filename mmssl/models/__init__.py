"""Models: encoders from `transformers`, and the heads that predict."""

from mmssl.models.convnet import resnet
from mmssl.models.encoder import TEXT_ENCODERS
from mmssl.models.vit import vit

ENCODERS = {**TEXT_ENCODERS, "vit": vit, "resnet": resnet}

__all__ = ["ENCODERS"]
