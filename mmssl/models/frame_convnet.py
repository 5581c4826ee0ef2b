"""A residual network on those frames of a clip that are seen: its tokens lie on the grid of a transformer's."""

from typing import Annotated, Any

from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut, Grid
from mmssl.models.normalization import use_batch_norm
from mmssl.tokens import Tokens

Count = Annotated[int, Field(ge=1)]
Counts = Annotated[list[Count], Field(min_length=1)]


class FrameEncoder(nn.Module):
    """The stock ResNet on the frames of one patch at a time, as its channels: a cell of its last feature map is the
    token of that patch. It sees whole frames, of some or of all times.
    """

    def __init__(self, stock: ResNetModel, cut: Cut) -> None:
        super().__init__()
        self.cuts, self.width = {"video": cut}, int((stock.config.hidden_sizes or [0])[-1])
        use_batch_norm(stock)
        self.stock = stock

    def forward(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        value, place, _ = seen["video"]
        found = rearrange(self.stock(self.frames(value)).last_hidden_state, "(b t) d y x -> b (t y x) d", b=len(value))
        return {"video": Tokens(found, place)}

    def frames(self, value: Float[Tensor, "B N D"]) -> Float[Tensor, "BT C H W"]:
        """The pictures that patches of whole frames consist of."""
        cut = self.cuts["video"]
        _, rows, columns = cut.grid
        assert value.shape[1] % (rows * columns) == 0, "frames are seen whole or not at all"
        _, high, wide = cut.patch
        axes = {"y": rows, "x": columns, "q": high, "r": wide}
        return rearrange(value, "b (t y x) (c q r) -> (b t) c (y q) (x r)", **axes)


def resnet_video(
    modalities: dict[str, Any], *, widths: Counts = [64, 128, 256, 512], depths: Counts = [1, 1, 1, 1],  # noqa: B006
    frames: Count = 1,
) -> FrameEncoder:  # fmt: skip
    """Residual blocks (He et al. 2015, arXiv:1512.03385) in stages that each halve the sides of a frame, after one
    convolution of 3 x 3: a patch has a side of 2 to the power of as many, and `frames` frames. (Denton & Fergus 2018,
    arXiv:1802.07687, have the convolutions of DCGAN or VGG in their place.)
    """
    if set(modalities) != {"video"} or not isinstance(modalities["video"], Grid):
        raise ConfigError(
            f"encoder resnet_video: got {', '.join(modalities)}; it reads clips only, expected encoder.name vit"
        )
    if len(widths) != len(depths):
        raise ConfigError(f"encoder.widths {widths} and encoder.depths {depths}: expected as many of both")
    side, channels = 2 ** len(widths), modalities["video"].channels * frames
    config = ResNetConfig(
        num_channels=channels, embedding_size=widths[0], hidden_sizes=widths, depths=depths, layer_type="basic",
        downsample_in_first_stage=True,
    )  # fmt: skip
    stock = ResNetModel(config)
    stock.embedder.embedder.convolution = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
    stock.embedder.pooler = nn.Identity()  # type: ignore[assignment]
    return FrameEncoder(stock, modalities["video"].cut((frames, side, side)))
