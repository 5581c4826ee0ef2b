"""Claims about pairs of modalities: who is shown what, what counts for which term, and what is predicted of whom."""

import pytest
import torch
from tiny import tiny_batch, tiny_objective

from mmssl.batch import Batch
from mmssl.errors import ConfigError
from mmssl.methods.across import ALL, pairs_of
from mmssl.objectives import Predictive
from mmssl.objectives.pairs import OneContext, Pair
from mmssl.random import Draw

CONTEXTS = {"audio": {"audio"}, "video": {"video"}, "audio_video": {"audio", "video"}}
COUNT = 24  # so that each context is drawn for some
LIMITS = ("none", "noise", "dimension", "sparsity", "codes")


def asked(count: int, has_sound: bool = True) -> Batch:
    """Samples without content."""
    present = {} if has_sound else {"audio.present": [torch.zeros(count, dtype=torch.bool)]}
    return Batch(present, Draw(0, torch.zeros(count, dtype=torch.long), torch.arange(count)))


def made(method: str = "audio_visual_jepa", **options) -> Predictive:
    """A tiny objective."""
    found = tiny_objective(method, **options)
    assert isinstance(found, Predictive)
    return found


def without_sound(batch: Batch, present: list[bool]) -> Batch:
    """Some of its samples lack their sound."""
    return batch._replace(views={**batch.views, "audio.present": [torch.tensor(present)]})


@pytest.mark.parametrize("alone", [0.0, 0.3, 1.0])
def test_a_share_of_the_samples_is_shown_one_modality_alone_each_as_often(alone):
    shown = OneContext(pairs_of(ALL, (1.0,)), alone)(asked(4000))
    for name, expected in (("video", 1 - alone / 2), ("audio", 1 - alone / 2)):
        share = float(shown.kept[name].float().mean())
        assert abs(share - expected) <= 4 * (expected * (1 - expected) / 4000) ** 0.5
    assert (shown.kept["video"] | shown.kept["audio"]).all()
    names = {0.0: {"audio_video_to_audio", "audio_video_to_video"}, 1.0: {*ALL[:4]}}.get(alone, {*ALL})
    assert {term for terms in shown.terms.values() for term in terms} == names


def test_a_pair_counts_where_its_own_x_is_shown_by_the_inverse_of_the_chance_of_that():
    shown = OneContext(pairs_of(ALL, (1.0, 2.0)), 0.5)(asked(4000))
    chance = {"audio": 0.25, "video": 0.25, "audio_video": 0.5}
    for y, terms in shown.terms.items():
        for term, weight in terms.items():
            x, _, target = term.partition("_to_")
            assert target == y
            is_shown = torch.stack([shown.kept[name] == (name in CONTEXTS[x]) for name in ("audio", "video")]).all(0)
            factor = 1.0 if term == ALL[0] else 2.0  # the last weight repeats
            torch.testing.assert_close(weight, torch.where(is_shown, factor / chance[x], 0.0))
            assert abs(float(weight.mean()) - factor) < 0.2


def test_a_clip_without_sound_is_shown_its_picture_alone_and_costs_nothing_where_no_pair_begins_with_it():
    shown = OneContext(pairs_of(ALL, (1.0,)), 0.5)(asked(50, has_sound=False))
    assert shown.kept["video"].all()
    assert not shown.kept["audio"].any()
    assert shown.terms["video"]["video_to_video"].tolist() == [1.0] * 50
    assert not shown.terms["video"]["audio_video_to_video"].any()
    only_sound = OneContext([Pair(("audio",), "audio")], 0.5)(asked(50, has_sound=False))
    assert not only_sound.terms["audio"]["audio_to_audio"].any()
    assert not only_sound.kept["audio"].any()


def test_which_pairs_are_asked_decides_the_terms_and_the_modalities_that_are_predicted():
    batch = tiny_batch("audio_visual_jepa", COUNT)
    some = ("audio_to_video", "video_to_video")
    objective = made(pairs=some)
    assert set(objective(batch).terms) == {*some}
    assert objective.answered == ("video",)
    assert set(made()(batch).terms) == {*ALL}


def test_a_weight_scales_its_pair_alone():
    batch = tiny_batch("audio_visual_jepa", COUNT)
    plain, weighted = (made(pair_weights=weights)(batch).terms for weights in ((1.0,), (3.0, 1.0)))
    for name in ALL:
        torch.testing.assert_close(weighted[name], plain[name] * (3.0 if name == ALL[0] else 1.0))


@pytest.mark.parametrize("fused", [True, False])
def test_each_term_learns_from_the_modalities_that_it_is_named_after(fused):
    batch = tiny_batch("audio_visual_jepa", COUNT)
    objective = made()
    objective.encoder.fused = fused
    for name in ("video", "audio"):
        batch.views[name][0].requires_grad_()
    terms = objective(batch).terms  # the target gives no gradient
    for term in ALL:
        x = term.partition("_to_")[0].split("_")
        for name in ("video", "audio"):
            (gradient,) = torch.autograd.grad(terms[term], batch.views[name][0], retain_graph=True)
            assert bool(gradient.any()) is (name in x), (term, name)


def test_pairs_with_a_modality_that_no_sample_has_cost_exactly_nothing():
    batch = without_sound(tiny_batch("audio_visual_jepa", COUNT), [False] * COUNT)
    for limit in ("none", "noise"):
        terms = made(limit=limit)(batch).terms
        for key, term in terms.items():
            assert (term == 0) == ("audio" in key), key


@pytest.mark.parametrize("limit", LIMITS)
def test_every_pair_has_a_z_of_its_own_cost_where_there_is_one(limit):
    objective, batch = made(limit=limit, latent_width=4, num_codes=4), tiny_batch("audio_visual_jepa", COUNT)
    terms = set(objective(batch).terms)
    assert objective.has_latent is (limit != "none")
    assert {*ALL} <= terms
    assert ({f"{name}.z" for name in ALL} <= terms) is (limit != "none")


def test_a_pair_that_stands_twice_and_one_without_a_learned_target_are_refused():
    with pytest.raises(ConfigError, match="audio_to_video stands there twice"):
        made(pairs=("audio_to_video", "video_to_video", "audio_to_video"))
    with pytest.raises(ConfigError, match=r"no pair shows video, of which the targets are made.*video_to_audio"):
        made(pairs=("audio_to_video",))
    with pytest.raises(ConfigError, match="drop_modality 0: no pair of audio_to_audio is left"):
        made(pairs=("audio_to_audio",), drop_modality=0.0)


@pytest.mark.parametrize(
    "method, x, y", [("audio_from_video", "video", "audio"), ("video_from_audio", "audio", "video")]
)
@torch.no_grad()
def test_the_other_modality_is_predicted_without_being_seen(method, x, y):
    objective, batch = made(method).eval(), tiny_batch(method, COUNT)
    tokens, seen, hidden = objective.corrupted(batch)
    assert objective.answered == (y,)
    assert hidden[y].position.shape[1] == tokens[y].value.shape[1]  # all of it
    said = objective.predict(seen, hidden)[y]
    changed = {name: [view.roll(1, 0) for view in batch.views[name]] for name in (x, y)}
    for name, same in ((y, True), (x, False)):
        other = batch._replace(views={**batch.views, name: changed[name]})
        _, seen_then, _ = objective.corrupted(other)
        assert torch.equal(objective.predict(seen_then, hidden)[y], said) is same


@pytest.mark.parametrize("method", ["audio_from_video", "video_from_audio"])
@torch.no_grad()
def test_with_z_there_are_several_answers_and_without_it_one(method):
    batch = tiny_batch(method, COUNT)
    for width, several in ((4, True), (0, False)):
        objective = made(method, latent_width=width).eval()
        _, seen, hidden = objective.corrupted(batch)
        first, second = (
            objective.predict(seen, hidden, lambda size, k=k: batch.draw.normal(f"{k}", size)) for k in range(2)
        )
        (name,) = objective.answered
        assert torch.equal(first[name], second[name]) is not several
        assert objective.has_latent is several


@torch.no_grad()
def test_a_pair_of_modalities_has_one_energy_whichever_is_asked_for():
    objective, batch = made("audio_from_video").eval(), tiny_batch("audio_from_video", COUNT)
    forth, back = (
        objective.energies_between("video", "audio", batch),
        objective.energies_between("audio", "video", batch),
    )
    assert torch.equal(forth, back.T)
    torch.testing.assert_close(forth, objective.energies(batch))
    assert not objective.compares("audio", "audio")
    # the control: where both are predicted the two ways differ
    both, batch = made().eval(), tiny_batch("audio_visual_jepa", COUNT)
    assert not torch.allclose(
        both.energies_between("video", "audio", batch), both.energies_between("audio", "video", batch).T
    )


@torch.no_grad()
def test_energies_across_do_not_depend_on_whether_the_first_sample_has_both():
    objective, batch = made().eval(), tiny_batch("audio_visual_jepa", COUNT)
    lacking = without_sound(batch, [False] + [True] * (COUNT - 1))
    whole, found = (objective.energies_between("video", "audio", one) for one in (batch, lacking))
    torch.testing.assert_close(found[:, 1:], whole[:, 1:])
    assert not found[:, 0].any()


@pytest.mark.parametrize(
    "method, options",
    [
        ("audio_visual_jepa", {}), ("audio_visual_jepa", {"pairs": ("video_to_video",)}), ("audio_from_video", {}),
        ("audio_visual_jepa", {"pairs": ("audio_to_audio", "audio_to_video", "video_to_audio"), "limit": "noise"}),
        ("video_from_audio", {"latent_width": 0}),
    ],
)  # fmt: skip
def test_whatever_learns_takes_part_in_the_loss(method, options):
    objective, batch = made(method, **options), tiny_batch(method, COUNT)
    torch.stack([*objective(batch).terms.values()]).sum().backward()
    learning = {name: weight for name, weight in objective.named_parameters() if weight.requires_grad}
    assert not [name for name, weight in learning.items() if weight.grad is None]
    assert len(learning) > 10


@torch.no_grad()
def test_the_energy_of_a_sample_counts_the_pairs_that_are_asked_of_it():
    batch = tiny_batch("audio_visual_jepa", COUNT)
    across = made(pairs=("audio_to_video", "video_to_audio"), drop_modality=1.0).eval()
    output, shown = across(batch), across.show(batch)
    total = sum(weight.sign() for terms in shown.terms.values() for weight in terms.values())
    assert total.tolist() == [1.0] * COUNT
    torch.testing.assert_close(2 * output.energy.mean(), torch.stack([*output.terms.values()]).sum())
