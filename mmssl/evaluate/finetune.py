"""Fine-tuning: the whole encoder and a linear head on labelled text, for a stated time."""

import copy
import time

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmssl.evaluate.features import padded
from mmssl.modalities.text import Vocabulary
from mmssl.random import hashed, permutation
from mmssl.schedule import scale

BATCH, LEARNING_RATE, MOST_EPOCHS = 32, 3e-4, 10


def pooled_logits(encoder: nn.Module, head: nn.Module, vocabulary: Vocabulary, sequences: list[list[int]]) -> Tensor:
    """Class scores from the mean of a text's token embeddings."""
    tokens = padded(sequences, vocabulary, next(head.parameters()).device)
    value = encoder({"text": tokens})["text"].value
    weight = tokens.place.valid[..., None].to(value.dtype)
    return head((value * weight).sum(1) / weight.sum(1))


def finetune(
    encoder: nn.Module, vocabulary: Vocabulary, train_texts: list[str], train_labels: Int[Tensor, " N"],
    test_texts: list[str], test_labels: Int[Tensor, " Q"], *, longest: int, seconds: float, seed: int,
) -> float:  # fmt: skip
    """Test accuracy after `seconds` of AdamW (at most ten epochs) on a copy of the encoder; the last step counts.

    Learning rate 3e-4 (small encoders), linear decay over the time, batches of 32, texts cut at `longest` tokens.
    """
    torch.manual_seed(hashed(seed, "finetune"))
    encoder = copy.deepcopy(encoder).train()
    device = next(encoder.parameters()).device
    width: int = encoder.width  # type: ignore[assignment]
    head = nn.Linear(width, int(max(train_labels.max(), test_labels.max())) + 1).to(device)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=LEARNING_RATE)
    train, test = ([ids[: longest - 2] for ids in vocabulary.encode(texts)] for texts in (train_texts, test_texts))
    began, epoch = time.monotonic(), 0
    total = MOST_EPOCHS * -(-len(train) // BATCH)
    step = 0
    while epoch < MOST_EPOCHS and time.monotonic() - began < seconds:
        order = permutation(seed, epoch, len(train), "finetune")
        for start in range(0, len(order), BATCH):
            progress = min(1.0, max(step / total, (time.monotonic() - began) / seconds))
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * scale("linear", progress, 0.1)
            chosen = order[start : start + BATCH].tolist()
            logits = pooled_logits(encoder, head, vocabulary, [train[number] for number in chosen])
            cross_entropy(logits, train_labels[chosen].to(device)).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            if progress >= 1:
                break
        epoch += 1
    encoder.eval()
    with torch.no_grad():
        parts = [test[start : start + 64] for start in range(0, len(test), 64)]
        found = torch.cat([pooled_logits(encoder, head, vocabulary, part).argmax(-1).cpu() for part in parts])
    return float((found == test_labels).float().mean())
