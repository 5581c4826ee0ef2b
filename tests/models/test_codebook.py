"""Claims about quantising: the nearest vector, its gradient and moving means by hand, on any number of processes."""

import pytest
import torch
from processes import on_processes
from tiny import part, tiny_batch, tiny_objective
from torch import Tensor

from mmssl import distributed
from mmssl.models.codebook import DEAD, DECAY, Codebook
from mmssl.models.vector_code import VectorCode
from mmssl.tokens import Place, Tokens

PLACE = Place(torch.arange(4).expand(3, 4), torch.zeros(3, 4, dtype=torch.long), (2, 2))


def made(num_codes: int = 5, width: int = 3) -> VectorCode:
    """A code that reads embeddings as they are."""
    torch.manual_seed(0)
    code = VectorCode(width, width, num_codes, weight=0.25)
    with torch.no_grad():
        code.project.weight.copy_(torch.eye(width))
        code.project.bias.zero_()
    code.codebook.size.fill_(1.0)
    code.codebook.total.copy_(code.codebook.centres)
    return code


def embeddings(width: int = 3) -> Tokens:
    """Of three samples on a grid of 2 x 2."""
    value = torch.randn(3, 4, width, generator=torch.Generator().manual_seed(1))
    return Tokens(value.requires_grad_(), PLACE)


def test_assignments_are_those_of_brute_force():
    code, sx = made(), embeddings()
    distance = (sx.value[:, :, None] - code.codebook.centres).square().sum(-1)
    expected = distance.argmin(-1)
    assert torch.equal(code.ids(sx), expected)
    found = code(sx, sx, None)
    torch.testing.assert_close(found.z.value, code.codebook.centres[expected])
    torch.testing.assert_close(found.cost, 0.25 * distance.min(-1).values.mean(1) / 3)
    assert len(expected.unique()) > 2


def test_the_gradient_of_the_vector_is_handed_on_and_the_commitment_pulls_to_it():
    code, sx = made(), embeddings()
    weight = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(2))
    found = code(sx, sx, None)
    (handed,) = torch.autograd.grad((found.z.value * weight).sum(), sx.value, retain_graph=True)
    torch.testing.assert_close(handed, weight)
    (pulled,) = torch.autograd.grad(found.cost.sum(), sx.value)
    vectors = code.codebook.centres[code.ids(sx)]
    torch.testing.assert_close(pulled, 0.25 * 2 * (sx.value - vectors).detach() / 12)
    assert not list(code.codebook.parameters())  # vectors get no gradient at all


def test_vectors_follow_the_mean_of_what_is_nearest_to_them_after_the_step_only():
    book = Codebook(2, 1)
    book.centres.copy_(torch.tensor([[0.0], [10.0]]))
    book.size.copy_(torch.tensor([2.0, 1.0]))
    book.total.copy_(book.size[:, None] * book.centres)
    book.train()
    book(torch.tensor([[1.0], [2.0], [3.0], [8.0]]))
    assert book.centres.flatten().tolist() == [0, 10]
    book.settle()
    # van den Oord et al. 2017, eq. 6-8
    size = [DECAY * 2 + (1 - DECAY) * 3, DECAY * 1 + (1 - DECAY) * 1]
    total = [DECAY * 0 + (1 - DECAY) * 6, DECAY * 10 + (1 - DECAY) * 8]
    assert book.size.tolist() == pytest.approx(size)
    assert book.centres.flatten().tolist() == pytest.approx([total[0] / size[0], total[1] / size[1]], abs=1e-5)
    before = book.centres.clone()
    book.settle()
    assert torch.equal(book.centres, before)
    book.eval()
    book(torch.tensor([[1.0]]))
    book.settle()
    assert torch.equal(book.centres, before)


def test_a_vector_that_is_hardly_used_becomes_one_of_the_batch():
    book = Codebook(3, 1)
    book.centres.copy_(torch.tensor([[0.0], [10.0], [1000.0]]))
    book.size.copy_(torch.tensor([2.0, 2.0, DEAD]))
    book.total.copy_(book.size[:, None] * book.centres)
    book.train()
    book(torch.tensor([[0.0], [4.0], [10.0]]))
    book.settle()
    assert book.centres[2].item() == 4
    assert book.size[2].item() > 1
    torch.testing.assert_close(book.total[2] / book.size[2], book.centres[2])


@torch.no_grad()
def test_codes_of_what_is_not_seen_are_drawn_by_their_frequency():
    code = made().eval()
    code.codebook.size.copy_(torch.tensor([6.0, 3.0, 1.0, 0.0, 0.0]))
    count = 4000
    sx = Tokens(
        embeddings().value[:1, :1].expand(count, 1, 3),
        Place(*[part[:1, :1].expand(count, 1) for part in PLACE[:2]], (2, 2)),
    )
    place = Place(PLACE.position[:1].expand(count, 4), PLACE.document[:1].expand(count, 4), (2, 2))
    noise = torch.randn(count, 4, generator=torch.Generator().manual_seed(0))
    z = code.inferred(sx, sx, place, noise, lambda z: z.value.sum((1, 2))).value
    known = code.vectors(code.ids(sx))
    assert torch.equal(z[:, :1], known)
    drawn = torch.cdist(z[:, 1:].flatten(0, 1), code.codebook.centres).argmin(1).bincount(minlength=5) / (3 * count)
    torch.testing.assert_close(drawn, torch.tensor([0.6, 0.3, 0.1, 0.0, 0.0]), atol=0.02, rtol=0)
    mean = code.inferred(sx, sx, place, None, lambda z: z.value.sum((1, 2))).value[0, 3]
    torch.testing.assert_close(mean, code.frequency() @ code.codebook.centres)


def stepped() -> dict[str, Tensor]:
    """The codebook after three steps on this process's share of a batch."""
    objective, batch = tiny_objective("vqvae"), tiny_batch("vqvae")
    size = 8 // distributed.processes()
    mine = part(batch, slice(distributed.rank() * size, (distributed.rank() + 1) * size))
    objective.train()
    for step in range(3):
        objective(mine)
        objective.after_step(step / 3)
    return {name: value for name, value in objective.named_buffers() if "codebook" in name}


def test_on_two_processes_the_codebook_is_that_of_one(tmp_path):
    expected = stepped()
    assert not torch.equal(expected["code.codebook.centres"], tiny_objective("vqvae").code.codebook.centres)
    for answers in on_processes(2, stepped, tmp_path):
        assert answers.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(answers[name], value)
