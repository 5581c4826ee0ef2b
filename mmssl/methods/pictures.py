"""What the methods on views of pictures share: the branch, the crops, and the limits of their arguments."""

from typing import Annotated, Any

from pydantic import Field
from torch import nn

from mmssl.augment import View
from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut
from mmssl.models.projector import perceptron
from mmssl.objectives import Branch

Views = Annotated[int, Field(ge=2)]
PAIR = (View(), View())


def cut_of(encoder: Any) -> Cut:
    """How the encoder cuts pictures; ConfigError where the task reads none."""
    if "image" not in getattr(encoder, "cuts", {}):
        raise ConfigError("method: needs pictures, and an encoder of them; expected task image_pretraining")
    return encoder.cuts["image"]


def picture_branch(encoder: Any, projector: nn.Module) -> dict[str, Branch]:
    """Pictures through the encoder and a projector."""
    return {"image": Branch(name="image", tokenize=cut_of(encoder).tokenize, projector=projector)}


def projected(encoder: Any, *widths: int, last_norm: bool = False) -> dict[str, Branch]:
    """Pictures through a projector of these widths."""
    cut_of(encoder)
    return picture_branch(encoder, perceptron(encoder.width, *widths, last_norm=last_norm))


def crops(
    encoder: Any, area: tuple[float, float], num_small: int, small_size: int, small_area: tuple[float, float]
) -> tuple[View, ...]:
    """Two views of the whole size and some small ones (Caron et al. 2020, arXiv:2006.09882, section 3.2: multi-crop);
    ConfigError where the small ones do not fit.
    """
    cut = cut_of(encoder)
    if num_small and small_size > min(cut.size):
        raise ConfigError(
            f"method.small_size: got {small_size}, pictures have {min(cut.size)} pixels; "
            "expected no more, or method.num_small=0"
        )
    if num_small:
        cut.sized((small_size, small_size))
    return (*(View(area=area) for _ in range(2)), *(View(size=small_size, area=small_area) for _ in range(num_small)))
