"""Claims about V-JEPA: an L1 loss between what is predicted and the teacher's normalised embeddings, told by a loop."""

import pytest
import torch
from tiny import tiny_batch, tiny_objective
from torch.nn.functional import l1_loss, mse_loss

COUNT = 3


@pytest.mark.parametrize("options", [{}, {"seen_frames": 2}])
@torch.no_grad()
def test_energies_are_l1_to_the_normalised_embeddings_of_the_teacher(options):
    objective, batch = tiny_objective("vjepa", num_masks=1, **options).eval(), tiny_batch("vjepa", COUNT)
    torch.manual_seed(1)
    for weight in (*objective.student.parameters(), *objective.target.parameters()):
        weight.add_(0.3 * torch.randn_like(weight))  # the teacher is another, and its last norm no plain one
    tokens, seen, hidden = objective.corrupted(batch)
    last = objective.target.module(tokens)["video"].value
    normal = (last - last.mean(-1, keepdim=True)) / (last.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()
    said, found = objective.predict(seen, hidden)["video"], objective(batch).energy
    own = objective.student(tokens)["video"].value
    for row in range(COUNT):
        place = hidden["video"].position[row]
        torch.testing.assert_close(found[row], l1_loss(said[row], normal[row, place]), atol=1e-5, rtol=0)
        # the controls: squares, embeddings as they are, and those of the student
        for other in (
            mse_loss(said[row], normal[row, place]), l1_loss(said[row], last[row, place]),
            l1_loss(said[row], own[row, place]),
        ):  # fmt: skip
            assert (found[row] - other).abs() > 1e-4
