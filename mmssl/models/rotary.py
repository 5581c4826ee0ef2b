"""The layers of V-JEPA 2, whose queries and keys are turned by the place of their token (Assran et al. 2025,
arXiv:2506.09985, section 2.1: rotary positions in three dimensions).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, VJEPA2Config
from transformers.models.vjepa2.modeling_vjepa2 import VJEPA2Layer

from mmssl.attention import NAME_IN_ROW, attention_in_row
from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut
from mmssl.models.transformer import EPSILON, initialise

LEAST = 6  # features of a head: two for each axis, to be turned


class RotaryLayers(nn.Module):
    """Stock `VJEPA2Layer`s and a last norm, of tokens anywhere on the grid of `cut`; a row is one document.

    The stock encoder cuts whole clips and runs all tokens; its masks are applied afterwards, to features that have
    seen what they hide.
    """

    def __init__(
        self, cut: Cut, *, layers: int, width: int, heads: int, intermediate: int, epsilon: float = EPSILON
    ) -> None:
        super().__init__()
        if width % heads or width // heads < LEAST:
            raise ConfigError(
                f"a width of {width} cannot be split into {heads} heads of rotary positions; "
                f"expected a multiple, {LEAST} numbers a head or more"
            )
        if len(set(cut.size[1:])) > 1:
            raise ConfigError(
                f"encoder.name vjepa2: clips of {cut.size[1]} x {cut.size[2]} pixels; expected square ones"
            )
        AttentionInterface.register(NAME_IN_ROW, attention_in_row)
        self.grid = cut.grid
        self.config = VJEPA2Config(
            patch_size=cut.patch[1], crop_size=cut.size[1], frames_per_clip=cut.size[0], tubelet_size=cut.patch[0],
            in_chans=cut.channels, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
            mlp_ratio=ratio_of(intermediate, width), layer_norm_eps=epsilon,
        )  # fmt: skip
        self.config._attn_implementation = NAME_IN_ROW
        sizes = {"hidden_size": width, "num_attention_heads": heads, "mlp_ratio": self.config.mlp_ratio}
        self.layers = nn.ModuleList(VJEPA2Layer(self.config, **sizes) for _ in range(layers))
        self.norm = nn.LayerNorm(width, eps=epsilon)
        initialise(self.layers)

    def forward(
        self, x: Float[Tensor, "B N D"], document: Int[Tensor, "B N"], position: Int[Tensor, "B N"] | None = None
    ) -> Float[Tensor, "B N D"]:
        assert position is not None, "rotary layers need each token's position"
        assert document.is_cuda or torch.equal(document, document[:, :1].expand_as(document)), "several in a row"
        for layer in self.layers:
            x = layer(x, position)[0]
        return self.norm(x)


def ratio_of(intermediate: int, width: int) -> float:
    """One by which the stock perceptron, which rounds down, becomes so wide."""
    ratio = intermediate / width
    return ratio if int(width * ratio) == intermediate else (intermediate + 0.5) / width
