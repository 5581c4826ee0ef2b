"""Claims about clips in segments: each is embedded alone and tells no time, and only its own time costs little."""

import math

import pytest
import torch
from tiny import GRIDS, tiny_batch, tiny_modalities, tiny_objective
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.errors import ConfigError
from mmssl.losses.views import Views
from mmssl.methods.cross_modal import evened
from mmssl.objectives import Branch, JointEmbedding, SameSegments, SegmentedBranch
from mmssl.objectives.joint_embedding import Embedder
from mmssl.random import Draw

METHOD = "audio_visual_contrastive"
KEY = "video_to_audio.moment"
COUNT, SEGMENTS = 4, 4
HAS_SOUND = [True, False, True, True]
HIT, MISS = -math.log(math.exp(2) / (math.exp(2) + 1)), math.log(math.exp(2) + 1)


def made(**options) -> JointEmbedding:
    """A tiny objective that compares clips in segments."""
    found = tiny_objective(METHOD, **{"num_segments": SEGMENTS, **options})
    assert isinstance(found, JointEmbedding)
    return found.eval()


def points(objective: JointEmbedding, name: str, view: Tensor, batch: Batch) -> Tensor:
    """Each segment's point of a view, (B, S, P)."""
    branch = objective.embedder.by_name[name]
    assert isinstance(branch, SegmentedBranch)
    with torch.no_grad():
        return branch(objective.encoder, [view], batch)[0][0].unflatten(1, (SEGMENTS, -1))


def costs(video: list[list[float]], audio: list[list[float]], present: bool = True) -> float:
    """What two segments of each of two samples cost at temperature 1/2 and weight 1."""
    names = ("video", "audio")
    value = torch.tensor([video, audio]).flatten(1)[:, None].expand(2, 2, -1)
    branches = {name: Branch(name=name, tokenize=evened, projector=nn.Identity()) for name in names}  # type: ignore[arg-type]
    views = {"video": [torch.zeros(2)], "audio": [torch.zeros(2)], "audio.present": [torch.full((2,), present)]}
    batch = Batch(views, Draw(3, torch.zeros(2, dtype=torch.long), torch.arange(2)))
    part = SameSegments(names, num_segments=2, temperature=0.5, weight=1.0)
    both = Views(value, torch.ones(2, 2, dtype=torch.bool), (0, 1))
    return float(part(Embedder(nn.Identity(), branches), both, batch)[KEY])


def test_the_cost_worked_by_hand():
    told, swapped = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 3.0], [3.0, 0.0]]
    assert costs(told, told) == pytest.approx(HIT, rel=1e-5)
    assert costs(told, swapped) == pytest.approx(MISS, rel=1e-5)
    # always alike: as chance
    assert costs(told, [[1.0, 1.0], [1.0, 1.0]]) == pytest.approx(math.log(2), rel=1e-5)
    assert costs(told, told, present=False) == 0.0


def test_a_segment_sees_no_other():
    objective, batch = made(), tiny_batch(METHOD, COUNT)
    for name in ("video", "audio"):
        view = batch.views[name][0]
        changed = view.clone()
        quarter = view.shape[1] // SEGMENTS
        changed[:, quarter : 2 * quarter] += 1.0
        before, after = (points(objective, name, one, batch) for one in (view, changed))
        differs = (before != after).flatten(2).any(2)
        assert differs.tolist() == [[False, True, False, False]] * COUNT
        # the control: as a whole all tokens see each other
        tokenize = objective.embedder.by_name[name].tokenize
        with torch.no_grad():
            whole = [objective.encoder({name: tokenize([one])})[name].value for one in (view, changed)]
        assert (whole[0] != whole[1]).any(2).all()


def test_a_segment_does_not_tell_its_time():
    objective, batch = made(), tiny_batch(METHOD, COUNT)
    view = batch.views["video"][0]
    moved = view.roll(view.shape[1] // SEGMENTS, 1)
    before, after = (points(objective, "video", one, batch) for one in (view, moved))
    torch.testing.assert_close(after, before.roll(1, 1))
    assert not torch.allclose(after, before, atol=1e-3)  # the control: the segments of a clip differ


def places(objective: JointEmbedding, name: str, batch: Batch) -> tuple[Tensor, int]:
    """Where the tokens of each segment of each sample stand, (B, S, N), and how many there are in a segment."""
    seen: list[Tensor] = []
    hook = objective.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0][name].place.position))
    points(objective, name, batch.views[name][0], batch)
    hook.remove()
    return seen[0].unflatten(0, (-1, SEGMENTS)), seen[0].shape[1]


def test_places_are_drawn_for_each_sample_and_are_the_same_for_its_segments():
    found, cells = places(made(), "video", tiny_batch(METHOD, 32))
    first = found[:, :, 0]
    assert (first == first[:, :1]).all()
    assert set((first[:, 0] // cells).tolist()) == set(range(SEGMENTS))
    assert torch.equal(found - found[..., :1], torch.arange(cells).expand_as(found))


def test_the_place_of_a_picture_does_not_tell_that_of_its_sound():
    objective, batch = made(), tiny_batch(METHOD, 256)
    number = []
    for name in ("video", "audio"):
        found, cells = places(objective, name, batch)
        number.append(found[:, 0, 0] // cells)
    share = float((number[0] == number[1]).double().mean())
    assert abs(share - 1 / SEGMENTS) < 4 * (3 / 16 / 256) ** 0.5


def test_what_tells_the_begin_and_the_end_of_a_sound_is_not_read():
    cut = tiny_modalities(METHOD)["audio"].cut((4, 4))  # type: ignore[union-attr]
    sound = torch.randn(2, *GRIDS["audio"].size)
    changed = sound.clone()
    changed[:, [0, -1]] += 9.0
    assert torch.equal(evened(cut)([sound]).value, evened(cut)([changed]).value)
    assert not torch.equal(cut.tokenize([sound]).value, cut.tokenize([changed]).value)  # the control
    stereo = cut._replace(channels=2)
    both = torch.randn(2, 2, *GRIDS["audio"].size)
    assert evened(stereo)([both]).value.shape == stereo.tokenize([both]).value.shape


def test_a_clip_without_sound_gets_no_gradient_and_costs_nothing():
    objective, batch = made(), tiny_batch(METHOD, COUNT)
    sound = batch.views["audio"][0].clone().requires_grad_()
    views = {"video": batch.views["video"], "audio": [sound], "audio.present": [torch.tensor(HAS_SOUND)]}
    terms = objective(batch._replace(views=views)).terms
    assert terms.keys() == {"video_audio", KEY}
    terms[KEY].backward()
    assert sound.grad is not None
    assert sound.grad.flatten(1).any(1).tolist() == HAS_SOUND
    assert made(same_clip_weight=0.0)(batch).terms.keys() == {"video_audio"}


def test_the_energy_of_a_moved_sound_is_that_of_segments_moved():
    objective, batch = made(), tiny_batch(METHOD, COUNT)
    with torch.no_grad():
        energies = objective.energies_between("video", "audio", batch)
    video, audio = (points(objective, name, batch.views[name][0], batch).flatten(1) for name in ("video", "audio"))
    similarity = nn.functional.cosine_similarity(video[:, None], audio[None], dim=-1)
    torch.testing.assert_close(energies, 1 - similarity, atol=1e-5, rtol=1e-5)


def test_pictures_say_the_same_at_all_times():
    objective, batch = tiny_objective("multimodal", num_segments=2).eval(), tiny_batch("multimodal", COUNT)
    part = objective.each()["contrast"]
    assert isinstance(part, JointEmbedding)
    with torch.no_grad():
        image = part.embedder(batch, (1,))[0].value[0].unflatten(1, (2, -1))
        sound = part.embedder(batch, (2,))[0].value[0].unflatten(1, (2, -1))
        energies = part.energies_between("image", "audio", batch)
    assert torch.equal(image[:, 0], image[:, 1])
    assert not torch.allclose(sound[:, 0], sound[:, 1])
    # of what is compared, the dimensions in which it can spread: those of one segment of words, and of all of a clip
    told = part(batch).compared
    assert told is not None
    assert told.shape == (COUNT, 16)
    clip = made()(tiny_batch(METHOD, COUNT)).compared
    assert clip is not None
    assert clip.shape == (COUNT, 4 * 16)
    expected = 1 - nn.functional.cosine_similarity(image[:, None, 0], sound.mean(1)[None], dim=-1)
    torch.testing.assert_close(energies, expected, atol=1e-5, rtol=1e-5)


def test_segments_that_are_no_whole_patches_are_refused():
    with pytest.raises(ConfigError, match="num_segments 3: video has 4 patches in time; expected a divisor"):
        made(num_segments=3)
