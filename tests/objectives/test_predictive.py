"""Claims about the predictive objective: energies, what may not leak, where gradient goes, how samples weigh."""

import pytest
import torch
from tiny import gradients, part, rows_of_captions, tiny_objective
from torch import nn

from mmssl.batch import Batch
from mmssl.energy import squared_error
from mmssl.objectives import NextSentence, Predictive, Stream
from mmssl.objectives.predictive import pair_energy, pooled
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, at


@pytest.fixture
def batch(savanna_vocabulary) -> Batch:
    """Six rows of captions."""
    return rows_of_captions(savanna_vocabulary, 6)


METHODS = [("bert", {}), ("modernbert", {}), ("roberta", {"unit": "whole_word"}), ("text_denoising", {})]


@pytest.mark.parametrize("method, options", METHODS)
def test_the_diagonal_of_the_energies_is_the_energy_of_the_forward(savanna_vocabulary, batch, method, options):
    objective = tiny_objective(method, savanna_vocabulary, **options).eval()
    output, energies = objective(batch), objective.energies(batch)
    torch.testing.assert_close(energies.diagonal(), output.energy)
    torch.testing.assert_close(output.terms["text"], output.energy.mean())
    apart = energies - energies.diagonal()
    assert apart[~torch.eye(6, dtype=torch.bool)].abs().mean() > 1e-3  # the control: other pairs have other energies


@pytest.mark.parametrize("method, options", METHODS)
def test_energies_equal_a_loop_over_pairs(savanna_vocabulary, batch, method, options):
    objective = tiny_objective(method, savanna_vocabulary, **options).eval()
    energies = objective.energies(batch)
    tokens, seen, hidden = objective.corrupted(batch)
    log_probability = objective.predict(seen, hidden)["text"].log_softmax(-1)
    count = hidden["text"].valid.sum(1).tolist()
    assert len(set(count)) > 1  # rows of different length are among them
    for row in range(6):
        for column in range(6):
            common = min(count[row], count[column])
            answer = tokens["text"].value[column, hidden["text"].position[column, :common]]
            expected = -log_probability[row, torch.arange(common), answer].mean()
            torch.testing.assert_close(energies[row, column], expected)


@pytest.mark.parametrize("method", ["bert", "modernbert"])
def test_the_gradient_reaches_every_parameter(savanna_vocabulary, batch, method):
    objective = tiny_objective(method, savanna_vocabulary)
    objective(batch).terms["text"].backward()
    silent = [name for name, value in gradients(objective).items() if not value.abs().sum()]
    # a key's bias adds the same to all scores of a query, so the softmax cancels it
    assert [name for name in silent if "key.bias" not in name] == []
    assert gradients(objective).keys() == dict(objective.named_parameters()).keys()


def hidden_logits(objective, vocabulary, batch: Batch, change: bool) -> torch.Tensor:
    """The prediction at the hidden places, with other words beneath them if asked."""
    tokens, _, hidden = objective.corrupted(batch)
    ids = tokens["text"].value.clone()
    if change:
        first, second = torch.nonzero(~vocabulary.special & vocabulary.starts_word)[:2, 0]
        third, fourth = torch.nonzero(~vocabulary.special & ~vocabulary.starts_word)[:2, 0]
        for row, (position, valid) in enumerate(zip(hidden["text"].position, hidden["text"].valid, strict=True)):
            before = ids[row, position[valid]]
            begins = torch.where(before == first, second, first)
            continues = torch.where(before == third, fourth, third)
            ids[row, position[valid]] = torch.where(vocabulary.starts_word[before], begins, continues)
    changed = batch._replace(views={**batch.views, "text": [ids]})
    _, seen, again = objective.corrupted(changed)
    assert torch.equal(again["text"].position, hidden["text"].position)
    return objective.predict(seen, again)["text"].detach()


@pytest.mark.parametrize("method", ["bert", "roberta", "xlm_roberta", "bert with span"])
def test_a_hidden_word_does_not_change_its_own_prediction(savanna_vocabulary, batch, method):
    options = {"unit": "span"} if "span" in method else {}
    for mask_ratio, leaks in ((1.0, False), (0.0, True)):  # the control: unmasked, it does
        objective = tiny_objective(
            method.split()[0], savanna_vocabulary, mask_ratio=mask_ratio, random_ratio=0.0, **options
        ).eval()
        before = hidden_logits(objective, savanna_vocabulary, batch, change=False)
        after = hidden_logits(objective, savanna_vocabulary, batch, change=True)
        assert torch.equal(before, after) is not leaks
        assert float((before - after).abs().max()) > 1e-3 or not leaks


@pytest.mark.parametrize("options", [{}, {"next_sentence": True}])
def test_the_mean_gradient_of_equal_parts_is_the_gradient_of_the_whole(savanna_vocabulary, batch, options):
    def gradient(*parts: Batch) -> dict[str, torch.Tensor]:
        objective = tiny_objective("bert", savanna_vocabulary, **options)
        for one in parts:
            (torch.stack([*objective(one).terms.values()]).sum() / len(parts)).backward()
        return gradients(objective)

    whole, thirds = gradient(batch), gradient(*(part(batch, slice(start, start + 2)) for start in (0, 2, 4)))
    for name, value in whole.items():
        torch.testing.assert_close(thirds[name], value, rtol=1e-4, atol=1e-6)
    uneven = gradient(part(batch, slice(0, 5)), part(batch, slice(5, 6)))  # the control: unequal parts
    assert any((uneven[name] - value).abs().max() > 1e-4 for name, value in whole.items())


class Doubling(nn.Module):
    """Stands for an encoder: its embeddings are twice the tokens."""

    def forward(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        return {name: Tokens(2 * tokens.value, tokens.place) for name, tokens in seen.items()}


class AtPlace(nn.Module):
    """Stands for a predictor: the embedding that lies at the place."""

    def forward(self, sx: dict[str, Tokens], place: Place) -> torch.Tensor:
        return at(next(iter(sx.values())), place)


def by_hand() -> tuple[Predictive, Batch]:
    """Two rows of three vectors of one number; the first hides places 0 and 2, the second place 1 only."""
    document = torch.zeros(2, 3, dtype=torch.long)
    place = Place(torch.arange(3).expand(2, 3), document, (3,))
    hidden = Place(torch.tensor([[0, 2], [1, 0]]), torch.tensor([[0, 0], [0, -1]]), (3,))
    stream = Stream(
        tokenize=lambda views: Tokens(views[0], place),
        corrupt=lambda tokens, draw: (tokens, hidden),
        predictor=AtPlace(),
        energy=squared_error,
    )
    values = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]])
    draw = Draw(0, torch.zeros(2, dtype=torch.long), torch.arange(2))
    return Predictive(streams={"numbers": stream}, encoder=Doubling()), Batch({"numbers": [values]}, draw)


def test_energies_worked_by_hand():
    objective, batch = by_hand()
    output = objective(batch)
    # (2 y - y)^2 = y^2: row 0 hides 1 and 3, row 1 hides 5
    assert output.energy.tolist() == [(1 + 9) / 2, 25]
    assert output.terms["numbers"].item() == 15
    assert output.embedding.tolist() == [[4.0], [10.0]]  # the mean of the doubled vectors
    # row 0 given y of row 1: (2 * 1 - 5)^2; row 1 given y of row 0: (2 * 5 - 1)^2; the second place counts for neither
    assert objective.energies(batch).tolist() == [[5, 9], [81, 25]]


def test_a_sample_that_hides_nothing_has_energy_zero_and_no_gradient():
    prediction = torch.tensor([[[torch.inf]], [[2.0]]], requires_grad=True)
    valid = torch.tensor([[False], [True]])
    energy = pair_energy(squared_error, torch.where(valid[..., None], prediction, 0.0), torch.zeros(2, 1, 1), valid)
    assert energy.tolist() == [0, 4]
    energy.sum().backward()
    assert prediction.grad is not None
    assert prediction.grad.flatten().tolist() == [0, 4]


def test_pooled_leaves_padding_out():
    place = Place(torch.arange(3)[None], torch.tensor([[0, 1, -1]]), (3,))
    assert pooled({"text": Tokens(torch.tensor([[[1.0], [3.0], [100.0]]]), place)}).tolist() == [[2.0]]


def test_the_embedding_and_energy_carry_no_gradient(savanna_vocabulary, batch):
    output = tiny_objective("bert", savanna_vocabulary)(batch)
    assert not output.energy.requires_grad
    assert not output.embedding.requires_grad
    assert output.terms["text"].requires_grad


def next_sentence(labels: list[list[int]]) -> float:
    """The loss where each first token is (atanh 1/2, 0), so that the logits are (1/2, 0), and others are far off."""
    module = NextSentence(2)
    with torch.no_grad():
        for layer in (module.pooler, module.classifier):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
    label = torch.tensor(labels)
    values = torch.where((label >= 0)[..., None], torch.tensor([0.5493061443340549, 0.0]), 50.0)
    place = Place(torch.zeros_like(label), torch.zeros_like(label), (label.shape[1],))
    batch = Batch({"next_sentence": [label]}, Draw(0, torch.zeros(len(label)).long(), torch.arange(len(label))))
    return float(module({"text": Tokens(values, place)}, {}, batch)["next_sentence"].detach())


def test_the_next_sentence_loss_worked_by_hand():
    own, other = 0.4740769841801067, 0.9740769841801067  # ln(1 + e^-1/2), ln(1 + e^1/2)
    assert next_sentence([[0, -1]]) == pytest.approx(own)
    assert next_sentence([[1, -1]]) == pytest.approx(other)
    # the mean over samples of the mean over a sample's documents, not the mean over documents
    assert next_sentence([[0, -1, 1, 0], [1, -1, -1, -1]]) == pytest.approx(((2 * own + other) / 3 + other) / 2)
    assert next_sentence([[0, -1, 1, 0], [1, -1, -1, -1]]) != pytest.approx((2 * own + 2 * other) / 4)
