"""Claims about the methods that hide words: the papers' defaults, what they refuse, and that each one learns."""

import inspect

import pytest
import torch
from tiny import ENCODER_OPTIONS, TEXT_METHODS, rows_of_captions, tiny_objective

from mmssl.corruption import replace_tokens, single_tokens, spans, whole_words
from mmssl.errors import ConfigError
from mmssl.methods import METHODS
from mmssl.models import ENCODERS

PAPERS = {
    "bert": {"hidden_ratio": 0.15, "unit": "token", "mask_ratio": 0.8, "random_ratio": 0.1, "next_sentence": False},
    "roberta": {"hidden_ratio": 0.15, "unit": "token", "mask_ratio": 0.8, "random_ratio": 0.1},
    "xlm_roberta": {"hidden_ratio": 0.15, "mask_ratio": 0.8, "random_ratio": 0.1},
    "modernbert": {"hidden_ratio": 0.3, "unit": "token"},
    "collobert_weston": {"centre_ratio": 0.5, "margin": 1.0},
    "text_denoising": {
        "drop_ratio": 0.1, "replace_ratio": 0.05, "shuffle_ratio": 0.1, "keep_ratio": 0.05, "distance": 3
    },
}  # fmt: skip

UNITS = {"token": single_tokens, "whole_word": whole_words, "span": spans()}


@pytest.fixture
def batch(savanna_vocabulary):
    """Six rows of captions."""
    return rows_of_captions(savanna_vocabulary, 6)


def test_defaults_are_those_that_are_documented():
    found = {
        name: {
            key: part.default
            for key, part in inspect.signature(method).parameters.items()
            if part.kind == part.KEYWORD_ONLY
        }
        for name, method in METHODS.items()
        if name in TEXT_METHODS
    }
    assert found == PAPERS


@pytest.mark.parametrize(
    "method, share", [("bert", 0.15), ("modernbert", 0.3), ("text_denoising", 0.3), ("collobert_weston", 0.5)]
)
def test_each_row_hides_the_share_of_its_method(savanna_vocabulary, batch, method, share):
    tokens, _, hidden = tiny_objective(method, savanna_vocabulary).corrupted(batch)
    words = ~savanna_vocabulary.special[tokens["text"].value]
    assert hidden["text"].valid.sum(1).tolist() == [round(share * count) for count in words.sum(1).tolist()]


@pytest.mark.parametrize("method", TEXT_METHODS)
def test_each_method_learns_a_batch(savanna_vocabulary, batch, method):
    objective = tiny_objective(method, savanna_vocabulary)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=0.03)
    losses = []
    for _ in range(20):
        loss = torch.stack([*objective(batch).terms.values()]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    energies = objective.eval().energies(batch).detach()
    others = energies[~torch.eye(6, dtype=torch.bool)]
    assert energies.diagonal().mean() < others.mean()
    untrained = tiny_objective(method, savanna_vocabulary).eval().energies(batch).detach()
    gap = untrained[~torch.eye(6, dtype=torch.bool)].mean() - untrained.diagonal().mean()
    assert gap < 0.5 * (others.mean() - energies.diagonal().mean())  # the control: it was not so before


def test_masks_are_drawn_anew_in_each_epoch(savanna_vocabulary, batch):
    objective = tiny_objective("roberta", savanna_vocabulary)
    later = batch._replace(draw=batch.draw._replace(epoch=batch.draw.epoch + 1))
    positions = [objective.corrupted(one)[2]["text"].position for one in (batch, batch, later)]
    assert torch.equal(positions[0], positions[1])
    assert not torch.equal(positions[0], positions[2])


@pytest.mark.parametrize("unit", UNITS)
def test_units_reach_the_corruption(savanna_vocabulary, batch, unit):
    objective = tiny_objective("bert", savanna_vocabulary, unit=unit, hidden_ratio=0.4)
    tokens, _, hidden = objective.corrupted(batch)
    for name, order in UNITS.items():
        _, expected = replace_tokens(savanna_vocabulary, 0.4, order=order)(tokens["text"], batch.draw.of("text"))
        assert torch.equal(hidden["text"].position, expected.position) is (name == unit)


def test_next_sentence_is_an_option_that_adds_its_own_term(savanna_vocabulary, batch):
    assert tiny_objective("bert", savanna_vocabulary)(batch).terms.keys() == {"text"}
    output = tiny_objective("bert", savanna_vocabulary, next_sentence=True)(batch)
    assert output.terms.keys() == {"text", "next_sentence"}
    assert output.terms["next_sentence"].item() == pytest.approx(0.693, abs=0.2)  # ln 2 before it has learnt


@pytest.mark.parametrize("method", TEXT_METHODS)
def test_only_normalised_energies_claim_to_be_probabilities(savanna_vocabulary, batch, method):
    objective = tiny_objective(method, savanna_vocabulary).eval()
    _, seen, hidden = objective.corrupted(batch)
    logits = objective.predict(seen, hidden)["text"].detach()
    assert logits.shape == (*hidden["text"].position.shape, savanna_vocabulary.size)
    valid, output = hidden["text"].valid, objective(batch)
    answers = batch.views["text"][0].gather(1, hidden["text"].position)
    surprise = -logits.log_softmax(-1).gather(-1, answers[..., None])[..., 0]
    mean = torch.where(valid, surprise, 0.0).sum(1) / valid.sum(1)
    assert torch.allclose(mean, output.energy, atol=1e-5) is objective.normalised
    assert objective.normalised is (method != "collobert_weston")


def test_the_window_network_and_the_masked_methods_refuse_each_other(savanna_vocabulary):
    window = ENCODERS["window"](savanna_vocabulary, **ENCODER_OPTIONS["window"])
    stock = ENCODERS["bert"](savanna_vocabulary, **ENCODER_OPTIONS["bert"])
    with pytest.raises(ConfigError, match=r"encoder\.name window has no vocabulary head; expected bert"):
        METHODS["text_denoising"](window, savanna_vocabulary)
    with pytest.raises(ConfigError, match=r"encoder\.name window has no vocabulary head; expected bert"):
        METHODS["bert"](window, savanna_vocabulary, next_sentence=True)
    with pytest.raises(ConfigError, match=r"collobert_weston needs a window of words; expected encoder\.name window"):
        METHODS["collobert_weston"](stock, savanna_vocabulary)


def test_shares_that_sum_to_more_than_one_are_refused(savanna_vocabulary):
    with pytest.raises(ConfigError, match=r"mask_ratio 0\.8 \+ method\.random_ratio 0\.3: expected at most 1"):
        tiny_objective("bert", savanna_vocabulary, random_ratio=0.3)
    tiny_objective("bert", savanna_vocabulary, mask_ratio=0.7, random_ratio=0.3)


@pytest.mark.parametrize("drop_ratio, keep_ratio", [(0.0, 0.0), (0.6, 0.4)])
def test_noise_of_nothing_or_of_everything_is_refused(savanna_vocabulary, drop_ratio, keep_ratio):
    with pytest.raises(ConfigError, match="expected more than 0 and less than 1"):
        tiny_objective(
            "text_denoising", savanna_vocabulary,
            drop_ratio=drop_ratio, replace_ratio=0.0, shuffle_ratio=0.0, keep_ratio=keep_ratio,
        )  # fmt: skip
