"""Ways of one modality into a joint embedding: of a view as a whole, piece by piece, or segment by segment."""

from itertools import groupby

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.objectives.predictive import Tokenize, pooled
from mmssl.tokens import Place, Tokens, without


class Branch(nn.Module):
    """One modality's way: views -> tokens -> the encoder -> mean over tokens -> projector."""

    tokenize: Tokenize

    def __init__(self, *, name: str, tokenize: Tokenize, projector: nn.Module) -> None:
        super().__init__()
        self.name, self.tokenize, self.projector = name, tokenize, projector

    def forward(
        self, encoder: nn.Module, views: list[Tensor], batch: Batch
    ) -> tuple[Float[Tensor, "V B P"], Float[Tensor, "V B D"]]:
        """The projected views and the encoder's own embeddings of them; views of one size go in one pass."""
        present = batch.present(self.name)
        groups = [list(group) for _, group in groupby(views, key=lambda view: view.shape)]
        feature = torch.cat([self.features(encoder, torch.cat(group), present.repeat(len(group))) for group in groups])
        value = rearrange(self.projector(feature), "(v b) p -> v b p", v=len(views))
        return value.float(), rearrange(feature, "(v b) d -> v b d", v=len(views))

    def features(self, encoder: nn.Module, view: Tensor, present: Bool[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """The mean of the encoder's embeddings of a view's tokens."""
        return self.feature(encoder, without(self.tokenize([view]), present))

    def feature(self, encoder: nn.Module, tokens: Tokens) -> Float[Tensor, "B D"]:
        """The mean of the encoder's embeddings of tokens."""
        return pooled({self.name: encoder({self.name: tokens})[self.name]})


class SegmentedBranch(Branch):
    """A view is cut into `num_segments` of equal time, which its grid's first axis must be a multiple of; each is
    embedded and projected alone, and its point is all of them side by side (`losses/segments.py`).

    Where on the whole view's grid the tokens of its segments stand is drawn, the same for all of a view: a segment does
    not tell its time. Each modality has a draw of its own: one place for picture and sound would tell which belong
    together.
    """

    def __init__(self, *, name: str, tokenize: Tokenize, projector: nn.Module, num_segments: int) -> None:
        super().__init__(name=name, tokenize=tokenize, projector=projector)
        self.num_segments = num_segments

    def forward(
        self, encoder: nn.Module, views: list[Tensor], batch: Batch
    ) -> tuple[Float[Tensor, "V B P"], Float[Tensor, "V B D"]]:
        feature = torch.stack([self.segments(encoder, view, batch) for view in views])
        value = self.projector(rearrange(feature, "v b s d -> (v b s) d"))
        value = rearrange(value, "(v b s) p -> v b (s p)", v=len(views), s=self.num_segments)
        return value.float(), reduce(feature, "v b s d -> v b d", "mean")

    def segments(self, encoder: nn.Module, view: Tensor, batch: Batch) -> Float[Tensor, "B S D"]:
        """The mean of the encoder's embeddings of each segment's tokens."""
        tokens = without(self.tokenize([view]), batch.present(self.name))
        value = rearrange(tokens.value, "b (s n) d -> (b s) n d", s=self.num_segments)
        document = rearrange(tokens.place.document, "b (s n) -> (b s) n", s=self.num_segments)
        first = value.shape[1] * batch.draw.integers(f"segment_place.{self.name}", self.num_segments)
        cells = torch.arange(value.shape[1], device=first.device)
        position = first.repeat_interleave(self.num_segments)[:, None] + cells
        alone = Tokens(value, Place(position, document, tokens.place.grid))
        return rearrange(self.feature(encoder, alone), "(b s) d -> b s d", s=self.num_segments)


class JigsawBranch(Branch):
    """A view of five axes, (B, pieces, C, h, w), is embedded piece by piece, the embeddings in their order joined by a
    linear layer (Misra & van der Maaten 2019, arXiv:1912.01991, section 3.2); others go the usual way.
    """

    def __init__(
        self, *, name: str, tokenize: Tokenize, projector: nn.Module, piece: nn.Module, joined: nn.Module
    ) -> None:
        super().__init__(name=name, tokenize=tokenize, projector=projector)
        self.piece, self.joined = piece, joined

    def forward(
        self, encoder: nn.Module, views: list[Tensor], batch: Batch
    ) -> tuple[Float[Tensor, "V B P"], Float[Tensor, "V B D"]]:
        values, features, present = [], [], batch.present(self.name)
        for view in views:
            if view.ndim == 4:
                value, feature = super().forward(encoder, [view], batch)
                values.append(value[0])
                features.append(feature[0])
                continue
            num_pieces = view.shape[1]
            pieces = rearrange(view, "b n c h w -> (b n) c h w")
            feature = self.features(encoder, pieces, present.repeat_interleave(num_pieces))
            joined = self.joined(rearrange(self.piece(feature), "(b n) p -> b (n p)", n=num_pieces))
            values.append(joined.float())
            features.append(reduce(feature, "(b n) d -> b d", "mean", n=num_pieces))
        return torch.stack(values), torch.stack(features)
