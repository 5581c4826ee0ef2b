"""Models: encoders from `transformers`, and the heads that predict."""

from mmssl.models.encoder import ENCODERS

__all__ = ["ENCODERS"]
