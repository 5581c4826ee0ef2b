"""The stock ResNet on the pixels of a picture."""

from typing import Annotated, Any

import torch
from einops import rearrange
from pydantic import Field
from torch import nn
from transformers import ResNetConfig, ResNetModel

from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut, Grid
from mmssl.models.normalization import use_batch_norm
from mmssl.tokens import Place, Tokens

Widths = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]


class ConvolutionalEncoder(nn.Module):
    """Tokens are pixels; the answer has a token for each cell of the last feature map. It must see all of them."""

    def __init__(self, stock: ResNetModel, cut: Cut) -> None:
        super().__init__()
        self.cuts, self.width = {"image": cut}, int((stock.config.hidden_sizes or [0])[-1])
        use_batch_norm(stock)
        self.stock = stock

    def forward(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        value, place = seen["image"]
        rows, columns = place.grid
        if value.shape[1] != rows * columns:
            raise ConfigError("encoder resnet: sees whole pictures only; expected encoder.name vit for this method")
        # this view lies channels last, and so do all feature maps; the weights must not: fused AdamW takes a weight and
        # its moments to lie alike in memory, and those of a checkpoint are contiguous
        pixels = rearrange(value, "b (y x) c -> b c y x", y=rows)
        found = self.stock.encoder(self.stock.embedder(pixels)).last_hidden_state
        grid = found.shape[2:]
        found = rearrange(found, "b c y x -> b (y x) c")
        position = torch.arange(found.shape[1], device=found.device).expand(found.shape[:2])
        document = place.document[:, :1].expand_as(position)
        return {"image": Tokens(found, Place(position, document, tuple(grid)))}


def resnet(
    modalities: dict[str, Any], *, widths: Widths = [64, 128, 256, 512], depths: Widths = [2, 2, 2, 2],  # noqa: B006
    bottleneck: bool = False, small_stem: bool = False,
) -> ConvolutionalEncoder:  # fmt: skip
    """ResNet-18 (He et al. 2015, arXiv:1512.03385); `small_stem`: one 3 x 3 convolution, for pictures below 64 pixels
    (Chen et al. 2020, arXiv:2002.05709, appendix B.9).
    """
    if set(modalities) != {"image"} or not isinstance(modalities["image"], Grid):
        raise ConfigError(
            f"encoder resnet: got {', '.join(modalities)}; it reads pictures only, expected encoder.name vit"
        )
    if len(widths) != len(depths):
        raise ConfigError(f"encoder.widths {widths} and encoder.depths {depths}: expected as many of both")
    first = 64 if bottleneck else widths[0]
    config = ResNetConfig(
        embedding_size=first, hidden_sizes=widths, depths=depths, layer_type="bottleneck" if bottleneck else "basic"
    )
    stock = ResNetModel(config)
    if small_stem:
        stock.embedder.embedder.convolution = nn.Conv2d(3, first, 3, padding=1, bias=False)
        stock.embedder.pooler = nn.Identity()  # type: ignore[assignment]
    return ConvolutionalEncoder(stock, modalities["image"].cut((1, 1)))
