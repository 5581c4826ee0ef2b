"""What the methods on views of pictures or sounds share: the branch, the crops, and the limits of their arguments."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from pydantic import Field
from torch import nn

from mmssl.augment import View
from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut
from mmssl.models.projector import perceptron
from mmssl.objectives import Branch
from mmssl.sections import sides

Views = Annotated[int, Field(ge=2)]
Areas = tuple[float, float]  # from the smallest to the largest, as ratios of a picture
PAIR = (View(), View())
TASKS = {"image": "image_pretraining", "audio": "audio_pretraining"}  # what has views, and the task that reads it alone


def cut_of(encoder: Any) -> Cut:
    """How the encoder cuts pictures or, where it reads none, sounds; ConfigError where the task reads neither."""
    cuts = getattr(encoder, "cuts", {})
    name = next((name for name in TASKS if name in cuts), None)
    if name is None:
        reads = ", ".join(cuts) or "text"
        raise ConfigError(
            f"method: needs pictures or sounds, the task reads {reads}; expected task {' or '.join(TASKS.values())}"
        )
    return cuts[name]


def picture_cut(encoder: Any, name: str, does: str) -> Cut:
    """How the encoder cuts pictures; ConfigError where the method `name` would do to a sound what it `does`."""
    cut = cut_of(encoder)
    if cut.name != "image":
        raise ConfigError(f"method {name}: {does}, which makes no sense of a sound; expected task image_pretraining")
    return cut


def branches_of(encoder: Any, projector: nn.Module) -> dict[str, Branch]:
    """Pictures or sounds through the encoder and a projector."""
    cut = cut_of(encoder)
    return {cut.name: Branch(name=cut.name, tokenize=cut.tokenize, projector=projector)}


def projected(encoder: Any, *widths: int, last_norm: bool = False) -> dict[str, Branch]:
    """Pictures or sounds through a projector of these widths."""
    cut_of(encoder)
    return branches_of(encoder, perceptron(encoder.width, *widths, last_norm=last_norm))


def crops(encoder: Any, area: Areas, num_small: int, small_size: int, small_area: Areas) -> tuple[View, ...]:
    """Two views of the whole size and some small ones (Caron et al. 2020, arXiv:2006.09882, section 3.2: multi-crop);
    ConfigError where the small ones do not fit.

    A small view of a picture is a square of `small_size` pixels; of a sound a window of so many columns of the
    spectrogram at its own pace. The areas are of pictures; windows of sounds are as the config says.
    """
    cut = cut_of(encoder)
    made = CROPS[cut.name](cut, area, small_size, small_area)
    if num_small and small_size > made.most:
        raise ConfigError(f"method.small_size: got {small_size}, {made.limit}; expected no more, or method.num_small=0")
    if num_small:
        cut.sized(sides(made.small.size))
    return (*(made.large,) * 2, *(made.small,) * num_small)


class Crops(NamedTuple):
    """The views of one kind, and the largest `small_size` with the words for it."""

    large: View
    small: View
    most: int
    limit: str


def crops_of_pictures(cut: Cut, area: Areas, small_size: int, small_area: Areas) -> Crops:
    """Windows of these areas, resized."""
    most = min(cut.size)
    return Crops(View(area=area), View(size=small_size, area=small_area), most, f"pictures have {most} pixels")


def crops_of_sounds(cut: Cut, area: Areas, small_size: int, small_area: Areas) -> Crops:
    """Windows of time."""
    columns, bands = cut.size
    return Crops(View(), View(size=(small_size, bands)), columns, f"sounds have {columns} columns of the spectrogram")


CROPS: dict[str, Callable[[Cut, Areas, int, Areas], Crops]] = {"image": crops_of_pictures, "audio": crops_of_sounds}
