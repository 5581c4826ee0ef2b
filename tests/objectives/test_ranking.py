"""Claims about the ranking of windows: a loss worked by hand, and that a centre never sees itself."""

from functools import partial

import pytest
import torch
from tiny import gradients, part, rows_of_captions, tiny_objective

from mmssl.batch import Batch
from mmssl.modalities.text import Vocabulary, tokenize
from mmssl.models.encoder import WindowEncoder, WindowScorer
from mmssl.objectives import Ranking
from mmssl.random import Draw
from mmssl.tokens import Place, at

A, B, C, D = 10, 11, 12, 13  # words of which the vectors are 0.1, 0.2, 0.3, -0.4
HIDDEN = Place(torch.tensor([[2, 0], [1, 3]]), torch.tensor([[0, -1], [0, 0]]), (5,))


def by_hand(vocabulary: Vocabulary, negatives: list[list[int]]) -> tuple[Ranking, Batch]:
    """score(a b c) = 2 hardtanh(a + b + c) over two windows of `CLS a b c SEP`; beyond it and at CLS, SEP zeros."""
    encoder = WindowEncoder(vocabulary, width=1, size=3, hidden=1)
    scorer = WindowScorer(encoder)
    with torch.no_grad():
        encoder.words.weight.zero_()
        encoder.words.weight[[A, B, C, D], 0] = torch.tensor([0.1, 0.2, 0.3, -0.4])
        for weight, value in ((scorer.context.weight, 1), (scorer.centre.weight, 1), (scorer.score.weight, 2)):
            weight.fill_(value)
        scorer.context.bias.zero_()
    objective = Ranking(
        name="text",
        tokenize=partial(tokenize, vocabulary),
        corrupt=lambda tokens, draw: (tokens, HIDDEN),
        negative=lambda draw, true: torch.tensor(negatives),
        encoder=encoder,
        scorer=scorer,
        margin=1.0,
    )
    ids = torch.tensor([[vocabulary.first, A, B, C, vocabulary.last]] * 2)
    return objective, Batch({"text": [ids]}, Draw(0, torch.zeros(2, dtype=torch.long), torch.arange(2)))


def test_the_loss_worked_by_hand(savanna_vocabulary):
    objective, batch = by_hand(savanna_vocabulary, [[C, A], [D, C]])
    output = objective(batch)
    # scores: row 0, b in a_c: 2 * 0.6 = 1.2, with c instead: 1.4 -> hinge 1 - 1.2 + 1.4 = 1.2
    # row 1, a before b: 0.6, with d: -0.4 -> 1 - 0.6 - 0.4 = 0; c after b: 1.0, with c itself: 1.0 -> 1
    assert output.terms["text"].item() == pytest.approx((1.2 + (0 + 1.0) / 2) / 2)
    assert output.energy.tolist() == pytest.approx([-1.2, -(0.6 + 1.0) / 2])


def test_the_score_is_bent_at_one(savanna_vocabulary):
    objective, batch = by_hand(savanna_vocabulary, [[C, A], [D, C]])
    with torch.no_grad():
        dict(objective.named_parameters())["encoder.words.weight"][B] = 9.0
    assert objective(batch).energy.tolist() == pytest.approx([-2.0, -2.0])  # 2 * hardtanh(more than 1)


def test_a_satisfied_margin_gives_no_loss_and_no_gradient(savanna_vocabulary):
    for word, satisfied in ((D, True), (C, False)):  # the control: an unsatisfied one gives both
        objective, batch = by_hand(savanna_vocabulary, [[word, word]] * 2)
        objective.margin = 0.3
        loss = objective(batch).terms["text"]
        loss.backward()
        assert (loss.item() == 0) is satisfied
        assert (sum(float(value.abs().sum()) for value in gradients(objective).values()) == 0) is satisfied


@pytest.fixture
def batch(savanna_vocabulary) -> Batch:
    """Five rows of captions."""
    return rows_of_captions(savanna_vocabulary, 5)


def ranking(vocabulary: Vocabulary) -> Ranking:
    """The method on a small window network."""
    objective = tiny_objective("collobert_weston", vocabulary)
    assert isinstance(objective, Ranking)
    return objective


def test_a_centre_word_does_not_change_what_its_window_says_of_it(savanna_vocabulary, batch):
    objective = ranking(savanna_vocabulary)
    tokens, _, hidden = objective.corrupted(batch)
    ids = tokens["text"].value
    place = hidden["text"].position[0]
    centre, neighbour = next((int(p), k) for k, p in enumerate(place[:-1]) if place[k + 1] == p + 1)
    other = ids.clone()
    other[0, centre] = int(torch.nonzero(~savanna_vocabulary.special)[3])

    def scores(values: torch.Tensor) -> torch.Tensor:
        seen, again = objective.corrupt(tokenize(savanna_vocabulary, [values]), batch.draw)
        assert torch.equal(again.position, hidden["text"].position)
        return objective.predict({"text": seen}, {"text": again})["text"][0]

    before, after = scores(ids), scores(other)
    assert torch.equal(before[neighbour], after[neighbour])
    assert not torch.equal(before[neighbour + 1], after[neighbour + 1])  # the control: the next window sees it


def test_a_window_ends_with_its_document(savanna_vocabulary, batch):
    objective = ranking(savanna_vocabulary)
    ids = batch.views["text"][0]
    second = int((ids[0] == savanna_vocabulary.first).nonzero()[1])
    other = ids.clone()
    other[0, second + 1 : second + 4] = int(torch.nonzero(~savanna_vocabulary.special)[3])

    def context(values: torch.Tensor, position: int) -> torch.Tensor:
        place = Place(torch.full((5, 1), position), torch.full((5, 1), int(position >= second)), (40,))
        sx = objective.encoder({"text": tokenize(savanna_vocabulary, [values])})
        return objective.scorer.of_context(sx["text"], place)[0]

    assert torch.equal(context(ids, second - 1), context(other, second - 1))
    assert not torch.equal(context(ids, second), context(other, second))  # the control: inside it is seen


def test_energies_equal_a_loop_over_pairs(savanna_vocabulary, batch):
    objective = tiny_objective("collobert_weston", savanna_vocabulary)
    energies = objective.energies(batch)
    tokens, seen, hidden = objective.corrupted(batch)
    scores, answer, count = (
        objective.predict(seen, hidden)["text"],
        at(tokens["text"], hidden["text"]),
        hidden["text"].valid.sum(1),
    )
    for row in range(5):
        for column in range(5):
            common = torch.arange(int(min(count[row], count[column])))
            torch.testing.assert_close(energies[row, column], -scores[row, common, answer[column, common]].mean())
    torch.testing.assert_close(energies.diagonal(), objective(batch).energy)


def test_the_mean_gradient_of_equal_parts_is_the_gradient_of_the_whole(savanna_vocabulary, batch):
    def gradient(*parts: Batch) -> dict[str, torch.Tensor]:
        objective = tiny_objective("collobert_weston", savanna_vocabulary)
        for one in parts:
            (objective(one).terms["text"] / len(parts)).backward()
        return gradients(objective)

    four = part(batch, slice(0, 4))
    whole, halves = gradient(four), gradient(part(four, slice(0, 2)), part(four, slice(2, 4)))
    for name, value in whole.items():
        torch.testing.assert_close(halves[name], value, rtol=1e-4, atol=1e-7)
    assert not torch.allclose(gradient(part(four, slice(0, 2)))["scorer.score.weight"], whole["scorer.score.weight"])
