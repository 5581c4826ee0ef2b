"""Stacks of the stock ViT layer behind embeddings of our own: any modality, only the tokens that are seen."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from math import prod
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, ViTConfig
from transformers.models.vit.modeling_vit import ViTLayer, ViTMLP
from transformers.models.vjepa2.modeling_vjepa2 import VJEPA2MLP

from mmssl.attention import NAME, Packing, attention
from mmssl.errors import ConfigError
from mmssl.modalities.grids import Cut, Words
from mmssl.tokens import Place, Tokens

CPU = torch.device("cpu")
EPSILON = 1e-6  # of the layer norms
PERCEPTRONS = (ViTMLP, VJEPA2MLP)  # of the layers of all stacks
Positions = Literal["grid", "row", "none"]  # added to tokens: of each axis, of their number in a row, or nothing


class Layers(nn.Module):
    """Pre-norm transformer layers and a last norm; tokens see those of their own document, or the earlier ones."""

    def __init__(
        self, *, layers: int, width: int, heads: int, intermediate: int, epsilon: float = EPSILON,
        last_epsilon: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if width % heads:
            raise ConfigError(f"a width of {width} cannot be split into {heads} heads; expected a multiple")
        AttentionInterface.register(NAME, attention)
        config = ViTConfig(
            hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=intermediate,
            layer_norm_eps=epsilon,
        )  # fmt: skip
        config._attn_implementation = NAME
        self.config = config
        self.layers = nn.ModuleList(ViTLayer(config) for _ in range(layers))
        self.norm = nn.LayerNorm(width, eps=epsilon if last_epsilon is None else last_epsilon)
        initialise(self.layers)

    def forward(
        self, x: Float[Tensor, "B N D"], document: Int[Tensor, "B N"], position: Int[Tensor, "B N"] | None = None,
        *, is_causal: bool = False,
    ) -> Float[Tensor, "B N D"]:  # fmt: skip
        # where tokens lie is added to them before; other stacks look at `position`
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


@lru_cache(maxsize=64)
def row_table(grid: tuple[int, ...], width: int, device: torch.device) -> Float[Tensor, "N D"]:
    """Sines and cosines in turn of a token's number in the row of all tokens, whatever the grid (Vaswani et al. 2017,
    arXiv:1706.03762, section 3.5), as VideoMAE has them (Tong et al. 2022, arXiv:2203.12602).
    """
    number = torch.arange(prod(grid), dtype=torch.float64)[:, None]
    feature = torch.arange(width)
    angle = number / 10_000.0 ** (2 * (feature // 2).double() / width)
    return torch.where(feature % 2 == 0, angle.sin(), angle.cos()).float().to(device)


TABLES = {"grid": position_table, "row": row_table}


def positions(place: Place, width: int, kind: Positions = "grid") -> Float[Tensor, "B N D"] | float:
    """The position embedding of each place."""
    return 0.0 if kind == "none" else TABLES[kind](place.grid, width, place.position.device)[place.position]


def answers_of(parts: Iterable[nn.Module], run: Callable[[], Any]) -> list[Tensor]:
    """What modules answer within a run, in the order in which they are called."""
    found: list[Tensor] = []
    # within the layers' own forward: where their weights are shared among processes, they are whole only there
    hooks = [part.register_forward_hook(lambda *call: found.append(call[-1])) for part in parts]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return found


class TransformerEncoder(nn.Module):
    """Embed, add where each token lies, run the layers: on what is seen only, each modality alone or all together.

    A class token stands before each sequence, as in the stock ViT; it is the summary of the sequence's first modality.
    Without one there is no summary, of several it is their mean. `stack` makes the layers. `learns_positions`: a vector
    is learnt for each place, so that all views have one size.
    """

    layers: Any  # a `Layers`, or what is called alike and has a config, layers and a last norm
    positions: Positions

    def __init__(
        self, cuts: dict[str, Cut | Words], *, stack: Callable[[], nn.Module], width: int, fused: bool,
        positions: Positions = "grid", has_class_token: bool = True, num_class_tokens: int = 1,
        learns_positions: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.cuts, self.width, self.fused, self.positions = cuts, width, fused, positions
        self.embed = nn.ModuleDict({name: cut.embedding(width) for name, cut in cuts.items()})
        initialise(self.embed)
        self.modality = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in cuts})
        if learns_positions:  # a vector for each place, which begins as sines and cosines
            for name, vector in self.modality.items():
                self.modality[name] = nn.Parameter(vector.detach() + position_table(self.cut(name).grid, width, CPU))
        shape = (width,) if num_class_tokens == 1 else (num_class_tokens, width)
        self.first = nn.Parameter(0.02 * torch.randn(shape)) if has_class_token else None
        self.layers = stack()

    def forward(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        groups = [seen] if self.fused else [{name: tokens} for name, tokens in seen.items()]
        return {name: tokens for group in groups for name, tokens in self.together(group).items()}

    def together(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        """The modalities of one sequence."""
        return self.joined(self.apart(seen))

    def apart(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        """What layers of each modality's own make of it: here there are none."""
        return seen

    def joined(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        """What the shared layers make of what `apart` found, of all in one sequence."""
        parts = [self.embedded(name, tokens) for name, tokens in seen.items()]
        documents = [tokens.place.document for tokens in seen.values()]
        where = [tokens.place.position for tokens in seen.values()]
        if self.first is not None:  # it belongs to the first document of the row
            parts.insert(0, torch.atleast_2d(self.first).expand(len(parts[0]), -1, -1).to(parts[0].dtype))
            documents.insert(0, documents[0].new_zeros(parts[0].shape[:2]))
            where.insert(0, torch.zeros_like(documents[0]))
        lengths = [part.shape[1] for part in parts]
        values = [*self.layers(torch.cat(parts, 1), torch.cat(documents, 1), torch.cat(where, 1)).split(lengths, 1)]
        summary = None if self.first is None else values.pop(0).mean(1)
        summaries = [summary, *[None] * (len(values) - 1)]
        return {
            name: Tokens(part, seen[name].place, summary)
            for name, part, summary in zip(seen, values, summaries, strict=True)
        }

    def added(self, name: str, tokens: Tokens) -> list[Float[Tensor, "B N D"]]:
        """What the perceptron of each layer adds to the tokens of one modality alone, from first to last layer."""
        parts = [part for part in self.layers.modules() if isinstance(part, PERCEPTRONS)]
        return [answer[:, self.num_first :] for answer in answers_of(parts, lambda: self.together({name: tokens}))]

    @property
    def num_layers(self) -> int:
        """Those of the stack."""
        return len(self.layers.layers)

    @property
    def num_first(self) -> int:
        """Tokens before those of the modalities."""
        return 0 if self.first is None else len(torch.atleast_2d(self.first))

    def cut(self, name: str) -> Cut:
        """How a modality of patches is cut."""
        found = self.cuts[name]
        assert isinstance(found, Cut)
        return found

    def embedded(self, name: str, tokens: Tokens) -> Float[Tensor, "B N D"]:
        """The layers' input for one modality."""
        where = positions(tokens.place, self.width, self.positions)
        return self.embed[name](tokens.value) + (where + self.vectors(name, tokens.place))

    def vectors(self, name: str, place: Place) -> Float[Tensor, "*N D"]:
        """What is learnt of a modality, or of each of its places: ConfigError where a view has other places."""
        found = self.modality[name]
        if found.ndim == 1:
            return found
        if place.grid != self.cut(name).grid:
            mine, theirs = (" x ".join(map(str, grid)) for grid in (self.cut(name).grid, place.grid))
            raise ConfigError(f"{name} of {theirs} patches: the encoder learns positions of {mine}; expected one size")
        return found[place.position]
