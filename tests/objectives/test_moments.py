"""Claims about the right moment: moved sounds cost by their likeness, absent ones nothing, weight 0 changes nothing."""

import math

import pytest
import torch
from tiny import tiny_batch, tiny_objective
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.errors import ConfigError
from mmssl.losses.views import Views
from mmssl.modalities.grids import Cut
from mmssl.objectives import Branch, JointEmbedding, SameClip
from mmssl.objectives.joint_embedding import Embedder
from mmssl.objectives.moments import even_ends
from mmssl.random import Draw
from mmssl.spectrogram import LogMel
from mmssl.tokens import Tokens

METHOD = "audio_visual_contrastive"
HAS_SOUND = [True, False, True, True]
KEY = "video_to_audio.moment"
COUNT = 40
SIDES = ("before", "after")
# four frames of one pixel and eight columns of the spectrogram, each a patch: three quarters of them are looked at
CUTS = {"video": Cut("video", (4, 1, 1), (1, 1, 1), 2), "audio": Cut("audio", (8, 2), (1, 2), 1)}
LIKE, UNLIKE = -2 * math.log(math.exp(2) / (math.exp(2) + 1)), -2 * math.log(1 / (math.exp(2) + 1))


class Noting(nn.Module):
    """An encoder that leaves its tokens as they are, and notes them."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: dict[str, Tokens] = {}

    def forward(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        self.noted |= seen
        return seen


def ends(first: tuple[float, float], last: tuple[float, float]) -> Tensor:
    """Four moments of which the first and the last say something, of all samples: (B, 4, 2)."""
    return torch.tensor([first, (0, 0), (0, 0), last], dtype=torch.float).expand(COUNT, 4, 2)


def draws() -> Draw:
    """Those of the samples."""
    return Draw(3, torch.zeros(COUNT, dtype=torch.long), torch.arange(COUNT))


def costs(
    video: Tensor, audio: Tensor, present: bool = True, count: int = 1, known: tuple[bool, bool] | None = None
) -> tuple[float, Noting]:
    """What the clips cost at temperature 0.5 and weight 2, and what the encoder saw; each sound fills two columns. With
    `known` the sound has a frame before and one behind the clip, which are known or not.
    """
    encoder = Noting()
    branches = {name: Branch(name=name, tokenize=cut.tokenize, projector=nn.Identity()) for name, cut in CUTS.items()}
    views = {
        "video": [video[..., None, None]],
        "audio": [audio.repeat_interleave(2, 1)],
        "audio.present": [torch.full((COUNT,), present)],
    }
    if known is not None:
        sides = {
            f"audio.{side}.present": [torch.full((COUNT,), is_known)]
            for side, is_known in zip(SIDES, known, strict=True)
        }
        views |= {"audio": [views["audio"][0][:, 2:-2]], "audio.around": views["audio"]} | sides
    part = SameClip(CUTS, temperature=0.5, weight=2.0, num_moments=count)
    nothing = Views(torch.zeros(2, COUNT, 2), torch.ones(2, COUNT, dtype=torch.bool), (0, 1))
    return float(part(Embedder(encoder, branches), nothing, Batch(views, draws()))[KEY]), encoder


def begins() -> Tensor:
    """At which frame the window of each sample's picture begins."""
    return starts_of(SameClip(CUTS, temperature=0.5, weight=2.0, num_moments=1))[:, 0]


def starts_of(part: SameClip, before: int = 0, after: int = 0) -> Tensor:
    """The frames at which windows begin where so many are known around the clips."""
    return part.starts(draws(), torch.full((COUNT,), before), torch.full((COUNT,), after))


def test_the_cost_worked_by_hand():
    # a window that begins at 0 shows the first moment, one that begins at 1 the last: cosine 1 with the true sound
    # and 0 with the other, over a temperature of 1/2
    told = ends((1, 0), (0, 1))
    assert costs(told, 3 * told)[0] == pytest.approx(LIKE, rel=1e-5)
    # a picture that is always the first one: right where the window begins at 0, wrong where it begins at 1
    share = float(begins().double().mean())
    assert 0.2 < share < 0.8
    found, _ = costs(ends((1, 0), (1, 0)), told)
    assert found == pytest.approx((1 - share) * LIKE + share * UNLIKE, rel=1e-5)


def test_a_sound_that_is_always_alike_costs_as_chance():
    assert costs(ends((1, 0), (0, 1)), ends((1, 1), (1, 1)))[0] == pytest.approx(2 * math.log(2), rel=1e-5)


def test_the_picture_is_compared_with_as_many_other_moments_as_asked():
    told = ends((1, 0), (0, 1))
    expected = -2 * math.log(math.exp(2) / (math.exp(2) + 3))  # there is one other begin, which comes three times
    assert costs(told, told, count=3)[0] == pytest.approx(expected, rel=1e-5)


def test_a_clip_without_sound_costs_nothing():
    told = ends((1, 0), (0, 1))
    assert costs(told, told, present=False)[0] == 0.0
    assert costs(told, told)[0] > 0.2  # the control


def test_windows_of_all_begins_stand_at_the_same_drawn_place():
    clock = torch.arange(4.0)[:, None].expand(4, 2).expand(COUNT, 4, 2)
    _, encoder = costs(clock, clock)
    picture, sound = encoder.noted["video"], encoder.noted["audio"]
    first = picture.place.position[:, 0]
    assert set(first.tolist()) == {0, 1}
    expected = first[:, None] + torch.arange(3)
    assert torch.equal(picture.place.position, expected)
    columns = 2 * first[:, None] + torch.arange(6)
    assert torch.equal(sound.place.position, columns.repeat(2, 1))  # the true ones, then the others
    assert picture.place.grid == (4, 1, 1)
    # what is shown there does not depend on where it stands
    begin = begins()
    assert set(zip(first.tolist(), begin.tolist(), strict=True)) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert torch.equal(picture.value[:, 0, 0], begin.float())
    assert torch.equal(sound.value[:COUNT, 0, 0], begin.float())
    assert torch.equal(sound.value[COUNT:, 0, 0], 1.0 - begin)


@pytest.mark.parametrize("is_evened", [True, False])
def test_the_edge_of_a_clip_does_not_tell_where_a_sound_begins(is_evened):
    noise = torch.randn(400, 4096, generator=torch.Generator().manual_seed(0))
    spectrogram = LogMel(8000, 8, 0.032)(0.1 * noise)  # 16 columns
    windows = torch.stack([spectrogram[:, begin : begin + 12] for begin in (0, 2, 4)])
    ends = (even_ends(windows) if is_evened else windows)[:, :, [0, -1]].mean((1, 3))
    # 400 x 8 numbers of 5 dB each: their mean is known to 0.1 dB, 0.005 as it is scaled; the edge takes 3 dB, 0.15
    assert (float(ends.max() - ends.min()) < 0.03) == is_evened


@pytest.mark.parametrize("frames, columns", [(8, 64), (6, 50), (16, 16)])
def test_others_begin_at_another_frame_and_lie_within_the_clip(frames, columns):
    cuts = {"video": Cut("video", (frames, 1, 1), (1, 1, 1), 2), "audio": Cut("audio", (columns, 2), (1, 2), 1)}
    part = SameClip(cuts, temperature=1.0, weight=1.0, num_moments=4)
    starts = starts_of(part)
    assert (starts[:, 1:] != starts[:, :1]).all()
    assert int(starts.min()) == 0
    assert int(starts.max()) + frames * part.looked_at // part.parts == frames


@pytest.mark.parametrize("before, after", [(2, 0), (0, 2), (2, 2)])
def test_others_begin_around_the_clip_where_that_is_known(before, after):
    cuts = {"video": Cut("video", (8, 1, 1), (1, 1, 1), 2), "audio": Cut("audio", (64, 2), (1, 2), 1)}
    part = SameClip(cuts, temperature=1.0, weight=1.0, num_moments=8)
    assert (part.reach, part.around) == (2, 0.25)
    starts = starts_of(part, before, after)
    assert torch.equal(starts[:, 0], starts_of(part)[:, 0])  # the true one lies in the clip
    assert (starts[:, 1:] != starts[:, :1]).all()
    counts = torch.bincount((starts[:, 1:] + before).flatten(), minlength=before + after + 3)
    assert len(counts) == before + after + 3
    assert (counts > 0).all()
    # of each true begin all others are as likely: 320 draws at these rates, within five standard deviations
    rate = 1 / (before + after + 2)
    edge = counts[0 if before else -1] / (COUNT * 8)
    assert abs(float(edge) - rate) < 5 * (rate * (1 - rate) / (COUNT * 8)) ** 0.5


@pytest.mark.parametrize("known, kinds", [((True, True), (-1, 2)), ((True, False), (-1, 1)), ((False, False), (0, 1))])
def test_the_cost_of_what_is_heard_around_worked_by_hand(known, kinds):
    # the first window sounds like the one before it, the last like the one behind: cosine 1 with the true sound and
    # with that one, 0 with all others
    told = ends((1, 0), (0, 1))
    sound = torch.cat([told[:, :1], told, told[:, -1:]], 1)
    begin, other = starts_of(SameClip(CUTS, temperature=0.5, weight=2.0, num_moments=1), *map(int, known)).T
    assert (int(other.min()), int(other.max())) == kinds
    is_alike = (begin == 0) == (other <= 0)
    expected = torch.where(is_alike, 2 * math.log(2), LIKE).mean()
    found, _ = costs(told, sound, known=known)
    assert found == pytest.approx(float(expected), rel=1e-5)
    assert (found > LIKE + 0.1) == any(known)  # without what is around, nothing is missed


def test_patches_that_begin_together_at_0_only_are_refused():
    cuts = {"video": Cut("video", (4, 1, 1), (1, 1, 1), 2), "audio": Cut("audio", (9, 2), (1, 2), 1)}
    with pytest.raises(ConfigError, match="4 of video and 9 of audio patches in time"):
        SameClip(cuts, temperature=1.0, weight=1.0, num_moments=1)


def made(**options) -> JointEmbedding:
    """A tiny objective."""
    found = tiny_objective(METHOD, **options)
    assert isinstance(found, JointEmbedding)
    return found


@pytest.mark.parametrize("options", [{"same_clip_weight": 0.0}, {"num_moments": 0}])
def test_without_weight_or_number_the_method_is_that_of_other_clips(options):
    batch, plain = tiny_batch(METHOD), made(**options)
    assert plain(batch).terms.keys() == {"video_audio"}
    terms = made()(batch).terms
    assert terms.keys() == {"video_audio", KEY}
    assert torch.equal(terms["video_audio"], plain(batch).terms["video_audio"])


def test_a_clip_without_sound_gets_no_gradient_whatever_lies_there():
    found = []
    for filling in (0.0, 7.0):
        objective, batch = made(), tiny_batch(METHOD, 4)
        sound = batch.views["audio"][0].clone()
        sound[1] = filling
        sound.requires_grad_()
        views = {"video": batch.views["video"], "audio": [sound], "audio.present": [torch.tensor(HAS_SOUND)]}
        terms = objective(batch._replace(views=views)).terms
        torch.stack([*terms.values()]).sum().backward()
        assert sound.grad is not None
        assert sound.grad.flatten(1).any(1).tolist() == HAS_SOUND
        found.append([*(term.detach() for term in terms.values()), *(one.grad for one in objective.parameters())])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
