"""The stock ResNet and RegNet on the pixels of a picture."""

from typing import Annotated, Any

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from transformers import RegNetConfig, RegNetModel, ResNetConfig, ResNetModel

from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut, Grid
from mmssl.models.normalization import use_batch_norm
from mmssl.models.recompute import checkpointed
from mmssl.tokens import Place, Tokens

Count = Annotated[int, Field(ge=1)]
Counts = Annotated[list[Count], Field(min_length=1)]


class ConvolutionalEncoder(nn.Module):
    """Tokens are pixels; the answer has a token for each cell of the last feature map. It must see all of them."""

    gradient_checkpointing = False  # named as in the layers of `transformers`, see `mmssl.models.recompute`
    _gradient_checkpointing_func = staticmethod(checkpointed)

    def __init__(self, stock: ResNetModel | RegNetModel, cut: Cut) -> None:
        super().__init__()
        self.cuts, self.width = {"image": cut}, int((stock.config.hidden_sizes or [0])[-1])
        use_batch_norm(stock)
        self.stock = stock

    def forward(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        value, place, _ = seen["image"]
        rows, columns = place.grid
        if value.shape[1] != rows * columns:
            raise ConfigError(
                f"encoder {self.stock.config.model_type}: sees whole pictures only; "
                "expected encoder.name vit for this method"
            )
        # this view lies channels last, and so do all feature maps; the weights must not: fused AdamW takes a weight and
        # its moments to lie alike in memory, and those of a checkpoint are contiguous
        pixels = rearrange(value, "b (y x) c -> b c y x", y=rows)
        found = self.blocks(self.stock.embedder(pixels))
        grid = found.shape[2:]
        found = rearrange(found, "b c y x -> b (y x) c")
        position = torch.arange(found.shape[1], device=found.device).expand(found.shape[:2])
        document = place.document[:, :1].expand_as(position)
        return {"image": Tokens(found, Place(position, document, tuple(grid)))}

    def blocks(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D Y X"]:
        """All residual blocks, one after the other."""
        recomputes = self.gradient_checkpointing and self.training and torch.is_grad_enabled()
        for block in self.residual_blocks():
            x = self._gradient_checkpointing_func(block, x) if recomputes else block(x)
        return x

    def residual_blocks(self) -> list[nn.Module]:
        """Those of all stages, in order."""
        stages: Any = self.stock.encoder.stages
        return [block for stage in stages for block in stage.layers]


def picture_cut(name: str, modalities: dict[str, Any], widths: list[int], depths: list[int]) -> Cut:
    """A picture as pixels; ConfigError where something else is to be read, or the sizes do not match."""
    if set(modalities) != {"image"} or not isinstance(modalities["image"], Grid):
        raise ConfigError(
            f"encoder {name}: got {', '.join(modalities)}; it reads pictures only, expected encoder.name vit"
        )
    if len(widths) != len(depths):
        raise ConfigError(f"encoder.widths {widths} and encoder.depths {depths}: expected as many of both")
    return modalities["image"].cut((1, 1))


def resnet(
    modalities: dict[str, Any], *, widths: Counts = [64, 128, 256, 512], depths: Counts = [2, 2, 2, 2],  # noqa: B006
    bottleneck: bool = False, small_stem: bool = False,
) -> ConvolutionalEncoder:  # fmt: skip
    """ResNet-18 (He et al. 2015, arXiv:1512.03385); `small_stem`: one 3 x 3 convolution, for pictures below 64 pixels
    (Chen et al. 2020, arXiv:2002.05709, appendix B.9). ResNet-50: widths 256, 512, 1024, 2048, depths 3, 4, 6, 3 and
    `bottleneck`, with strides in the 3 x 3 convolutions (Goyal et al. 2017, arXiv:1706.02677, section 5.1).
    """
    cut = picture_cut("resnet", modalities, widths, depths)
    first = 64 if bottleneck else widths[0]
    config = ResNetConfig(
        embedding_size=first, hidden_sizes=widths, depths=depths, layer_type="bottleneck" if bottleneck else "basic"
    )
    stock = ResNetModel(config)
    if small_stem:
        stock.embedder.embedder.convolution = nn.Conv2d(3, first, 3, padding=1, bias=False)
        stock.embedder.pooler = nn.Identity()  # type: ignore[assignment]
    return ConvolutionalEncoder(stock, cut)


def regnet_y(
    modalities: dict[str, Any], *, widths: Counts = [48, 104, 208, 440], depths: Counts = [1, 3, 6, 6],  # noqa: B006
    groups_width: Count = 8, small_stem: bool = False,
) -> ConvolutionalEncoder:  # fmt: skip
    """RegNetY-400MF (Radosavovic et al. 2020, arXiv:2003.13678); `groups_width`: channels of a group of a convolution;
    `small_stem`: no strides in the stem and the first stage, for pictures below 64 pixels.

    SEER (Goyal et al. 2021, arXiv:2103.01988): RegNetY-32GF, 141 million weights: widths 232, 696, 1392, 3712, depths
    2, 5, 12, 1, groups_width 232; RegNetY-128GF, 637 million: 528, 1056, 2904, 7392, depths 2, 7, 17, 1, groups_width
    264.
    """
    cut = picture_cut("regnet_y", modalities, widths, depths)
    if uneven := [width for width in widths if width % min(width, groups_width)]:
        raise ConfigError(
            f"encoder.widths {uneven[0]} cannot be split into groups of encoder.groups_width {groups_width}; "
            "expected multiples"
        )
    stock = RegNetModel(
        RegNetConfig(
            hidden_sizes=widths, depths=depths, groups_width=groups_width, downsample_in_first_stage=not small_stem
        )
    )
    if small_stem:
        first = stock.config.embedding_size
        stock.embedder.embedder.convolution = nn.Conv2d(3, first, 3, padding=1, bias=False)
    return ConvolutionalEncoder(stock, cut)
