"""Small vocabularies, batches and objectives that many tests share."""

import numpy as np
import torch

from mmssl.batch import Batch
from mmssl.methods import METHODS
from mmssl.modalities.text import Vocabulary, train_tokenizer, vocabulary
from mmssl.models import ENCODERS
from mmssl.objectives import Objective
from mmssl.random import Draw
from mmssl.savanna import captions

STOCK = {"layers": 1, "width": 16, "heads": 2, "intermediate": 24, "dropout": 0.0, "max_positions": 64}
ENCODER_OPTIONS = {
    "bert": STOCK,
    "roberta": STOCK,
    "xlm_roberta": STOCK,
    "modernbert": {**STOCK, "layers": 2, "local_attention": 8, "global_every": 2},
    "window": {"width": 8, "size": 5, "hidden": 12},
}
ENCODER_OF = {"text_denoising": "bert", "collobert_weston": "window"}  # the others are named like their method


def savanna_words() -> Vocabulary:
    """A WordPiece vocabulary of at most 512 tokens, trained on captions of the built-in world."""
    return vocabulary(train_tokenizer(captions(0, np.arange(2000)), "wordpiece", 512, lowercase=True))


def whole_words_of_savanna() -> Vocabulary:
    """A token for each word of the captions: unlike WordPiece, whose training breaks ties at random, always the
    same.
    """
    return vocabulary(train_tokenizer(captions(0, np.arange(2000)), "word", 512, lowercase=True))


def rows_of_captions(words: Vocabulary, count: int, length: int = 40) -> Batch:
    """Rows of three captions (the last is cut at the row's end), each a pair of halves for the next-sentence loss."""
    ids = torch.full((count, length), words.pad)
    other = torch.full((count, length), -1)
    encoded = words.encode(captions(1, np.arange(3 * count)))
    for row in range(count):
        start = 0
        for number in range(3 * row, 3 * row + 3 - row % 2):  # odd rows hold two, so padding differs
            middle = len(encoded[number]) // 2
            document = [words.first, *encoded[number][:middle], words.last, *encoded[number][middle:], words.last]
            document = document[: length - start]
            ids[row, start : start + len(document)] = torch.tensor(document)
            other[row, start] = number % 2
            start += len(document)
    draw = Draw(5, torch.full((count,), 2), 100 + torch.arange(count))
    return Batch({"text": [ids], "next_sentence": [other]}, draw)


def part(batch: Batch, rows: slice | list[int]) -> Batch:
    """Some samples of a batch."""
    views = {name: [view[rows] for view in views] for name, views in batch.views.items()}
    return Batch(views, Draw(batch.draw.seed, batch.draw.epoch[rows], batch.draw.index[rows]))


def tiny_objective(method: str, words: Vocabulary, **options) -> Objective:
    """A method on a tiny encoder without dropout, its weights a function of the method's name and options."""
    name = ENCODER_OF.get(method, method)
    torch.manual_seed(0)
    return METHODS[method](ENCODERS[name](words, **ENCODER_OPTIONS[name]), words, **options)


def gradients(objective: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The gradient of each parameter."""
    return {name: weight.grad.clone() for name, weight in objective.named_parameters() if weight.grad is not None}
