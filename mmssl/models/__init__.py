"""Models: encoders from `transformers`, and the heads that predict."""

from mmssl.models.convnet import regnet_y, resnet
from mmssl.models.encoder import TEXT_ENCODERS
from mmssl.models.frame_convnet import resnet_video
from mmssl.models.spectrogram_transformer import ast
from mmssl.models.vit import videomae, vit, vjepa2
from mmssl.models.wav2vec2 import wav2vec2

ENCODERS = {
    **TEXT_ENCODERS,
    "vit": vit,
    "ast": ast,
    "videomae": videomae,
    "vjepa2": vjepa2,
    "resnet": resnet,
    "regnet_y": regnet_y,
    "resnet_video": resnet_video,
    "wav2vec2": wav2vec2,
}

__all__ = ["ENCODERS"]
