"""Stacks of the stock ViT layer behind embeddings of our own: any modality, only the tokens that are seen."""

from functools import lru_cache

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, ViTConfig
from transformers.models.vit.modeling_vit import ViTLayer, ViTMLP

from mmssl.attention import NAME, Packing, attention
from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut, Words
from mmssl.tokens import Place, Tokens

EPSILON = 1e-6  # of the layer norms


class Layers(nn.Module):
    """Pre-norm transformer layers and a last norm; tokens see those of their own document, or the earlier ones."""

    def __init__(self, *, layers: int, width: int, heads: int, intermediate: int) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"a width of {width} cannot be split into {heads} heads; expected a multiple")
        AttentionInterface.register(NAME, attention)
        config = ViTConfig(
            hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=intermediate,
            layer_norm_eps=EPSILON,
        )  # fmt: skip
        config._attn_implementation = NAME
        self.config = config
        self.layers = nn.ModuleList(ViTLayer(config) for _ in range(layers))
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        initialise(self.layers)

    def forward(
        self, x: Float[Tensor, "B N D"], document: Int[Tensor, "B N"], is_causal: bool = False
    ) -> Float[Tensor, "B N D"]:
        packing = Packing(document, is_causal)
        for layer in self.layers:
            x = layer(x, None, packing=packing)
        return self.norm(x)


def initialise(module: nn.Module) -> None:
    """Xavier-uniform matrices and zero biases, as MAE's code does for its ViT."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


@lru_cache(maxsize=64)
def position_table(grid: tuple[int, ...], width: int, device: torch.device) -> Float[Tensor, "N D"]:
    """Sines and cosines of the coordinates, each axis an equal share of the width (He et al. 2021, arXiv:2111.06377).

    Frequencies fall from 1 to 1 / 10000 along an axis's share (Vaswani et al. 2017, section 3.5); what is left of
    the width is 0.
    """
    waves = width // (2 * len(grid))
    if waves == 0:
        raise ConfigError(f"a width of {width} has no room for positions on {len(grid)} axes; expected more")
    frequency = 10_000.0 ** (-torch.arange(waves, dtype=torch.float64) / waves)
    axes = torch.meshgrid(*(torch.arange(size, dtype=torch.float64) for size in grid), indexing="ij")
    angles = torch.stack(axes, -1).flatten(0, -2)[..., None] * frequency  # (N, A, waves)
    table = rearrange([angles.sin(), angles.cos()], "f n a w -> n (a f w)")
    return nn.functional.pad(table, (0, width - table.shape[1])).float().to(device)


def positions(place: Place, width: int) -> Float[Tensor, "B N D"]:
    """The position embedding of each place."""
    return position_table(place.grid, width, place.position.device)[place.position]


class TransformerEncoder(nn.Module):
    """Embed, add where each token lies, run the layers: on what is seen only, each modality alone or all together.

    A class token stands before each sequence, as in the stock ViT; it is the summary of the sequence's first modality.
    """

    def __init__(
        self, cuts: dict[str, Cut | Words], *, layers: int, width: int, heads: int, intermediate: int, fused: bool
    ) -> None:
        super().__init__()
        self.cuts, self.width, self.fused = cuts, width, fused
        self.embed = nn.ModuleDict({name: cut.embedding(width) for name, cut in cuts.items()})
        initialise(self.embed)
        self.modality = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in cuts})
        self.first = nn.Parameter(0.02 * torch.randn(width))
        self.layers = Layers(layers=layers, width=width, heads=heads, intermediate=intermediate)

    def forward(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        groups = [seen] if self.fused else [{name: tokens} for name, tokens in seen.items()]
        return {name: tokens for group in groups for name, tokens in self.together(group).items()}

    def together(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        """The modalities of one sequence."""
        parts = [self.embedded(name, tokens) for name, tokens in seen.items()]
        documents = [tokens.place.document for tokens in seen.values()]
        # the class token belongs to the first document of the row
        parts.insert(0, self.first.expand(len(parts[0]), 1, -1).to(parts[0].dtype))
        documents.insert(0, documents[0].new_zeros(len(documents[0]), 1))
        lengths = [part.shape[1] for part in parts]
        first, *values = self.layers(torch.cat(parts, 1), torch.cat(documents, 1)).split(lengths, 1)
        summaries = [first[:, 0], *[None] * (len(values) - 1)]
        return {
            name: Tokens(part, seen[name].place, summary)
            for name, part, summary in zip(seen, values, summaries, strict=True)
        }

    def added(self, name: str, tokens: Tokens) -> list[Float[Tensor, "B N D"]]:
        """What the perceptron of each layer adds to the tokens of one modality alone, from first to last layer."""
        found: list[Tensor] = []
        # within the layers' own forward: where their weights are shared among processes, they are whole only there
        hooks = [
            part.register_forward_hook(lambda module, given, answer: found.append(answer[:, 1:]))
            for part in self.layers.modules()
            if isinstance(part, ViTMLP)
        ]
        try:
            self.together({name: tokens})
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def cut(self, name: str) -> Cut:
        """How a modality of patches is cut."""
        found = self.cuts[name]
        assert isinstance(found, Cut)
        return found

    def embedded(self, name: str, tokens: Tokens) -> Float[Tensor, "B N D"]:
        """The layers' input for one modality."""
        return self.embed[name](tokens.value) + (positions(tokens.place, self.width) + self.modality[name])
