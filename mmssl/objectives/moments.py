"""The right moment: of a clip's own sound at several times, only the true one belongs to its picture."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from mmssl.batch import Batch
from mmssl.losses.views import Views
from mmssl.objectives.joint_embedding import Embedder, Extra
from mmssl.random import Draw

NEAREST = 1 / 8  # of a sound's length: what is moved by less could be called right, too


class SameClip(Extra):
    """-log of the share of the true sound among itself and `num_shifted` moved ones of its own clip, by the picture:
    exp(cosine / temperature) over their sum. The mean over samples, `weight` times; exactly 0 for a sample that lacks
    one of the two.

    The hard negatives of Korbar et al. 2018 (arXiv:1807.00230, section 3.1), who take another window of a long video
    and let them in by a curriculum, in a margin loss; here what leaves the window at its end comes in at its beginning.
    A sound is moved by `NEAREST` of its length at least, in either direction. The moved ones are projected by
    themselves, so that batch normalisation takes away what they all have in common, as their seam.
    """

    def __init__(self, *, temperature: float, weight: float, num_shifted: int, x: str = "video", y: str = "audio"):
        super().__init__()
        self.temperature, self.weight, self.num_shifted, self.x, self.y = temperature, weight, num_shifted, x, y

    def forward(self, embedder: Embedder, views: Views, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        items = embedder.items(batch)
        picture, sound = (views.chosen((items.index((name, 0)),)) for name in (self.x, self.y))
        # the picture with the true sound first, then with the moved ones
        moved = shifted(batch.views[self.y][0], batch.draw, self.num_shifted)
        others, _ = embedder.by_name[self.y](embedder.encoder, moved, batch.present(self.y))
        sounds = normalize(torch.cat([sound.value, others]), dim=-1)
        similarity = (normalize(picture.value, dim=-1) * sounds).sum(-1) / self.temperature
        both = picture.present[0] & sound.present[0]
        per_sample = torch.where(both, -similarity.log_softmax(0)[0], 0.0)
        return {f"{self.x}_to_{self.y}.moment": self.weight * per_sample.mean()}


def shifted(sound: Float[Tensor, "B *T"], draw: Draw, count: int) -> list[Float[Tensor, "B *T"]]:
    """Samples (B, T), or spectrograms (B, ..., T, bands), each moved `count` times along T as its draw says."""
    axis = 1 if sound.ndim == 2 else sound.ndim - 2
    length = sound.shape[axis]
    share = NEAREST + (1 - 2 * NEAREST) * draw.uniform("shifted_sound", count)
    steps = (share * length).round().long().clamp(1, max(1, length - 1))
    shape = [-1 if number in (0, axis) else 1 for number in range(sound.ndim)]
    found = []
    for step in steps.T:
        source = (torch.arange(length, device=sound.device) - step[:, None]) % length
        index = source.reshape([len(sound) if number == 0 else size for number, size in enumerate(shape)])
        found.append(sound.take_along_dim(index, axis))
    return found
