"""The right moment: of a clip's own sound at several times, only the true one belongs to its picture."""

from math import gcd, prod

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mmssl.batch import Batch
from mmssl.crop import window
from mmssl.errors import ConfigError
from mmssl.losses.views import Views
from mmssl.modalities.grids import Cut
from mmssl.objectives.branches import Branch
from mmssl.objectives.joint_embedding import Embedder, Extra
from mmssl.random import Draw
from mmssl.tokens import Tokens, without

WINDOW = 3, 4  # of a clip, at most: three quarters are looked at


class SameClip(Extra):
    """-log of the share of the true sound among itself and `num_moments` others of its own clip, by the picture:
    exp(cosine / temperature) over their sum. The mean over samples, `weight` times; exactly 0 for a sample that lacks
    one of the two.

    The hard negatives of Korbar et al. 2018 (arXiv:1807.00230, section 3.1): a window of the picture, the same window
    of the sound, and windows of it that begin a frame later or earlier at least. They let them in by a curriculum, in a
    margin loss. Where a window begins is drawn, and where on the whole clip's grid its tokens stand, the same for all
    of a sample; and the first and the last column of each window of the sound are those beside them (`even_ends`).
    So neither a seam, nor an edge of the clip, nor the time on its clock tells which sound is the true one.

    Windows of other moments also begin up to `reach` frames before and end as many behind the clip, where the batch has
    what is heard there ("SOUND.around"): else the first window of a clip would be compared with later sounds alone, and
    nothing would tell an earlier one from its own.
    """

    def __init__(self, cuts: dict[str, Cut], *, temperature: float, weight: float, num_moments: int) -> None:
        super().__init__()
        self.cuts, self.temperature, self.weight, self.num_moments = cuts, temperature, weight, num_moments
        self.x, self.y = cuts
        self.parts = gcd(*(cut.grid[0] for cut in cuts.values()))
        if self.parts < 2:
            times = " and ".join(f"{cut.grid[0]} of {name}" for name, cut in cuts.items())
            raise ConfigError(
                f"method.same_clip_weight: a clip has {times} patches in time, which begin together at 0 only; "
                "expected numbers with a common divisor, or 0"
            )
        self.looked_at = self.parts * WINDOW[0] // WINDOW[1]  # of the parts; less than all
        frames = cuts[self.x].size[0]
        self.reach = frames * (self.parts - self.looked_at) // self.parts  # the last frame at which a window begins
        self.around = self.reach / frames

    def forward(self, embedder: Embedder, views: Views, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        sound, lead, before, after = self.heard(batch)
        starts = self.starts(batch.draw, before, after)
        place = batch.draw.integers("moment_place", self.parts - self.looked_at + 1)
        # of the picture one window, of the sound the same and, as negatives, others
        pictures = self.windows(self.x, batch.views[self.x][0], starts[:, :1])
        sounds = even_ends(self.windows(self.y, sound, starts + lead))
        picture = self.embedded(embedder, self.x, batch, pictures, place)
        answers = self.embedded(embedder, self.y, batch, sounds, place)
        similarity = (normalize(picture, dim=-1) * normalize(answers, dim=-1)).sum(-1) / self.temperature
        both = batch.present(self.x) & batch.present(self.y)
        per_sample = torch.where(both, -similarity.log_softmax(0)[0], 0.0)
        return {f"{self.x}_to_{self.y}.moment": self.weight * per_sample.mean()}

    def heard(self, batch: Batch) -> tuple[Float[Tensor, "B T *_"], int, Int[Tensor, " B"], Int[Tensor, " B"]]:
        """The sounds, how many frames before the clip they begin, and how many are known before and behind it."""
        if (around := batch.views.get(f"{self.y}.around")) is None:
            none = torch.zeros_like(batch.draw.index)
            return batch.views[self.y][0], 0, none, none
        before, after = (self.reach * batch.present(f"{self.y}.{side}").long() for side in ("before", "after"))
        return around[0], self.reach, before, after

    def starts(self, draw: Draw, before: Int[Tensor, " B"], after: Int[Tensor, " B"]) -> Int[Tensor, "B K"]:
        """The frames at which windows begin: the true one, then others."""
        true = draw.integers("moment", self.reach + 1)[:, None]
        choices = (before + self.reach + 1 + after)[:, None]
        others = 1 + (draw.uniform("other_moments", self.num_moments).double() * (choices - 1)).long()
        first = -before[:, None]
        return torch.cat([true, first + (true - first + others) % choices], 1)

    def windows(
        self, name: str, view: Float[Tensor, "B T *_"], starts: Int[Tensor, "B K"]
    ) -> Float[Tensor, "K B W *_"]:
        """Those of a view of a modality that begin at these frames of it; time comes first in each."""
        cut = self.cuts[name]
        length = cut.size[0] * self.looked_at // self.parts
        begins = (starts * (cut.size[0] / self.cuts[self.x].size[0])).round().long()
        return torch.stack([window(view, begin, length, cut.axes[0]) for begin in begins.T])

    def embedded(
        self, embedder: Embedder, name: str, batch: Batch, windows: Float[Tensor, "K B T *_"], place: Int[Tensor, " B"]
    ) -> Float[Tensor, "K B P"]:
        """The projected windows of a modality, in one pass."""
        branch, count = embedder.by_name[name], len(windows)
        present, placed_at = batch.present(name).repeat(count), place.repeat(count)
        tokens = placed(branch, windows.flatten(0, 1), present, placed_at, self.cuts[name], self.parts)
        feature = branch.feature(embedder.encoder, tokens)
        return branch.projector(feature).float().unflatten(0, (count, -1))


class SameSegments(Extra):
    """-log of the share of a segment's own time among all segments of the same clip, of the sound by the picture and of
    the picture by the sound: exp(cosine / temperature) over their sum. The mean over segments, both ways and samples,
    `weight` times; exactly 0 for a sample that lacks one of the two.

    The negatives of `SameClip` where clips are compared in segments that are embedded alone: they cost nothing more,
    and are the other times for each other.
    """

    def __init__(self, names: tuple[str, str], *, num_segments: int, temperature: float, weight: float) -> None:
        super().__init__()
        self.names, self.num_segments, self.temperature, self.weight = names, num_segments, temperature, weight

    def forward(self, embedder: Embedder, views: Views, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        items = embedder.items(batch)
        points = (views.value[items.index((name, 0))] for name in self.names)
        x, y = (normalize(rearrange(point, "b (s p) -> b s p", s=self.num_segments), dim=-1) for point in points)
        similarity = einsum(x, y, "b s p, b t p -> b s t") / self.temperature
        there, back = (of.log_softmax(-1).diagonal(dim1=1, dim2=2) for of in (similarity, similarity.mT))
        both = batch.present(self.names[0]) & batch.present(self.names[1])
        per_sample = torch.where(both, -0.5 * (there + back).mean(-1), 0.0)
        return {f"{self.names[0]}_to_{self.names[1]}.moment": self.weight * per_sample.mean()}


def even_ends(windows: Float[Tensor, "*K W F"]) -> Float[Tensor, "*K W F"]:
    """Windows of a spectrogram whose first and last column are those beside them.

    The clip's own first and last column see the silence beyond it, 3 dB less of a steady noise: enough to tell, from
    the sound alone, a window that begins or ends with the clip.
    """
    inner = windows[..., 1:-1, :]
    return torch.cat([inner[..., :1, :], inner, inner[..., -1:, :]], -2)


def placed(
    branch: Branch, view: Tensor, present: Bool[Tensor, " B"], place: Int[Tensor, " B"], cut: Cut, parts: int
) -> Tokens:
    """The tokens of a window as if they stood so many parts behind the begin of a whole clip."""
    tokens = without(branch.tokenize([view]), present)
    cells = prod(cut.grid) // parts
    position = tokens.place.position + place[:, None] * cells
    return tokens._replace(place=tokens.place._replace(position=position, grid=cut.grid))
