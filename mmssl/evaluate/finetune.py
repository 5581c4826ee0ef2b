"""Fine-tuning: the whole encoder and a linear head on labelled samples, for a stated time."""

import copy
import time
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmssl.evaluate.features import padded
from mmssl.modalities.text import Vocabulary
from mmssl.random import hashed, permutation
from mmssl.schedule import scale

BATCH, LEARNING_RATE, MOST_EPOCHS, AT_ONCE = 32, 3e-4, 10, 64
Embed = Callable[[nn.Module, list[int]], Float[Tensor, "B D"]]  # (encoder, numbers of samples) -> features


def text_embedding(vocabulary: Vocabulary, texts: list[str], longest: int) -> Embed:
    """The mean of each text's token embeddings; texts are cut at `longest` tokens."""
    sequences = [ids[: longest - 2] for ids in vocabulary.encode(texts)]

    def embed(encoder: nn.Module, numbers: list[int]) -> Float[Tensor, "B D"]:
        device = next(encoder.parameters()).device
        tokens = padded([sequences[number] for number in numbers], vocabulary, device)
        value = encoder({"text": tokens})["text"].value
        weight = tokens.place.valid[..., None].to(value.dtype)
        return (value * weight).sum(1) / weight.sum(1)

    return embed


def finetune(
    encoder: nn.Module, vocabulary: Vocabulary, train_texts: list[str], train_labels: Int[Tensor, " N"],
    test_texts: list[str], test_labels: Int[Tensor, " Q"], *, longest: int, seconds: float, seed: int,
) -> float:  # fmt: skip
    """`tuned_accuracy` on texts, cut at `longest` tokens."""
    train, test = (text_embedding(vocabulary, texts, longest) for texts in (train_texts, test_texts))
    return tuned_accuracy(encoder, train, train_labels, test, test_labels, seconds=seconds, seed=seed)


def tuned_accuracy(
    encoder: nn.Module, train: Embed, train_labels: Int[Tensor, " N"], test: Embed, test_labels: Int[Tensor, " Q"], *,
    seconds: float, seed: int,
) -> float:  # fmt: skip
    """Test accuracy after `seconds` of AdamW (at most ten epochs) on a copy of the encoder; the last step counts.

    Learning rate 3e-4 (small encoders), linear decay over the time, batches of 32.
    """
    torch.manual_seed(hashed(seed, "finetune"))
    encoder = copy.deepcopy(encoder).eval()
    device = next(encoder.parameters()).device
    with torch.no_grad():
        width = train(encoder, [0]).shape[1]
    head = nn.Linear(width, int(max(train_labels.max(), test_labels.max())) + 1).to(device)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=LEARNING_RATE)
    encoder.train()
    for chosen, rate in rates(len(train_labels), seconds, seed):
        for group in optimizer.param_groups:
            group["lr"] = rate
        cross_entropy(head(train(encoder, chosen)), train_labels[chosen].to(device)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    encoder.eval()
    parts = torch.arange(len(test_labels)).split(AT_ONCE)
    with torch.no_grad():
        found = torch.cat([head(test(encoder, part.tolist())).argmax(-1).cpu() for part in parts])
    return float((found == test_labels).float().mean())


def rates(count: int, seconds: float, seed: int) -> Iterator[tuple[list[int], float]]:
    """The samples of each step and its learning rate, until ten epochs or the time are over."""
    began, step, total = time.monotonic(), 0, MOST_EPOCHS * -(-count // BATCH)
    for epoch in range(MOST_EPOCHS):
        order = permutation(seed, epoch, count, "finetune")
        for start in range(0, count, BATCH):
            progress = max(step / total, (time.monotonic() - began) / seconds)
            if progress >= 1:
                return
            if count - start > 1:  # a batch's own statistics need two samples
                yield order[start : start + BATCH].tolist(), LEARNING_RATE * scale("linear", progress, 0.1)
            step += 1
