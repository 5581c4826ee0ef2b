"""What `mmssl evaluate` says of a text model, each figure beside the same encoder with random weights."""

import sys
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmssl.batch import Batch
from mmssl.config import Config
from mmssl.corruption import Corruption, replace_tokens
from mmssl.evaluate.calibration import calibration
from mmssl.evaluate.collapse import panel
from mmssl.evaluate.energy import auroc, histogram, of_matrix, summary
from mmssl.evaluate.features import text_features
from mmssl.evaluate.heldout import Read, heldout_batches
from mmssl.evaluate.labelled import labelled_results
from mmssl.modalities.text import Vocabulary, tokenize
from mmssl.modalities.text_data import TextData
from mmssl.objectives import Objective, Ranking
from mmssl.tokens import Tokens, at

OF_THE_DATA = ("text.floor", "text.hidden_words")  # whatever the weights are


class Words(NamedTuple):
    """All hidden words of the held-out rows, and what the model says of them."""

    energy: Tensor  # of the true word
    replaced: Tensor  # of a word drawn from the vocabulary
    frequent: Tensor  # of a word drawn from the text, so as frequent as the true one
    confidence: Tensor  # of the most probable word
    correct: Tensor
    other: tuple[Tensor, Tensor]  # row energies with their own words, and with those of other rows
    masked: list[str]  # each document with its masks, words apart


@torch.no_grad()
def hidden_words(objective: Objective, vocabulary: Vocabulary, batches: Iterator[Batch], corrupt: Corruption) -> Words:
    """Hide words as `corrupt` does and compare what is predicted with what was there."""
    objective.eval()
    columns: list[list[Tensor]] = [[] for _ in range(7)]
    masked: list[str] = []
    ordinary = torch.nonzero(~vocabulary.special)[:, 0]
    for batch in batches:
        tokens = tokenize(vocabulary, batch.views["text"])
        seen, hidden = corrupt(tokens, batch.draw)
        logits = objective.predict({"text": seen}, {"text": hidden})["text"].float()
        energy = -logits.log_softmax(-1) if objective.normalised else -logits
        answer, valid = at(tokens, hidden), hidden.valid
        draws = batch.draw.integers("replaced", len(ordinary), answer.shape[1])
        pool = answer[valid]
        choice = batch.draw.integers("frequent", len(pool), answer.shape[1])
        for column, words in enumerate((answer, ordinary.to(answer.device)[draws], pool[choice])):
            columns[column].append(energy.gather(-1, words[..., None])[..., 0][valid].cpu())
        best = logits.softmax(-1).max(-1)
        columns[3].append(best.values[valid].cpu())
        columns[4].append((best.indices == answer)[valid].cpu())
        for column, energies in enumerate(of_matrix(objective.energies(batch).float()), start=5):
            columns[column].append(energies.cpu())
        masked += masked_documents(vocabulary, seen)
    one, two, three, confidence, correct, own, others = (torch.cat(column) for column in columns)
    return Words(one, two, three, confidence, correct, (own, others), masked)


def masked_documents(vocabulary: Vocabulary, seen: Tokens) -> list[str]:
    """The documents of packed rows that hide something, as words with `[MASK]`."""
    found = []
    for ids, document in zip(seen.value.cpu(), seen.place.document.cpu(), strict=True):
        for number in range(int(document.max()) + 1):
            words = ids[document == number]
            if bool((words == vocabulary.mask).any()):
                tokens = vocabulary.tokenizer.convert_ids_to_tokens(words[~is_end(vocabulary, words)].tolist())
                found.append(
                    " ".join("[MASK]" if token == vocabulary.tokenizer.mask_token else token for token in tokens)
                )
    return found


def is_end(vocabulary: Vocabulary, ids: Tensor) -> Tensor:
    """Which ids only begin or end a document."""
    return (ids == vocabulary.first) | (ids == vocabulary.last)


def floor_of(vocabulary: Vocabulary, masked: list[str]) -> dict[str, float]:
    """The least cross-entropy that any model can reach on these masked captions of the built-in world, from its
    tables.
    """
    from mmssl.savanna import floor, grammar

    words = sorted({word for sentence in grammar()[0] for word in sentence})
    split = [
        word
        for word, ids in zip(words, vocabulary.encode(words), strict=True)
        if len(ids) != 1 or vocabulary.unknown in ids
    ]
    if split:
        print(f"note: no floor: the tokenizer splits {', '.join(split[:3])} (+{len(split) - 1} more)", file=sys.stderr)
        return {}
    return {"text.floor": floor(masked)}


def word_results(objective: Objective, config: Config, data: TextData) -> dict[str, Any]:
    """Cross-entropy, accuracy, calibration and energies on held-out text; all hidden words are masks here."""
    if not data.heldout.size:
        return {}
    device = next(objective.parameters()).device
    ratio = config.method.model_dump().get("hidden_ratio", 0.15)
    # a ranking never sees the word it scores, so its own corruption serves
    corrupt = (
        objective.corrupt if isinstance(objective, Ranking) else replace_tokens(data.vocabulary, ratio, mask_ratio=1.0)
    )
    batches = heldout_batches(data.heldout, config.seed, config.evaluate.documents, device)
    words = hidden_words(objective, data.vocabulary, batches, corrupt)
    results: dict[str, Any] = {
        "text.accuracy": float(words.correct.float().mean()),
        "text.hidden_words": len(words.energy),
    }
    if objective.normalised:
        bars = calibration(words.confidence, words.correct)
        mean = float(words.energy.double().mean())
        results |= {
            "text.cross_entropy": mean,
            "text.perplexity": float(np.exp(mean)),
            "text.calibration_error": bars.error,
        }
        results["calibration"] = {name: getattr(bars, name).tolist() for name in ("confidence", "accuracy", "count")}
        if config.data.source == "savanna":
            results |= floor_of(data.vocabulary, words.masked)
    results |= summary(words.energy, {"word_replaced": words.replaced, "frequent_word_replaced": words.frequent})
    results["energy.ladder.other"] = auroc(*words.other)
    results["energy_histogram"] = histogram(words.energy, words.replaced)
    return results


def caption_results(objective: Objective, vocabulary: Vocabulary, config: Config, heldout: Read) -> dict[str, Any]:
    """Cross-entropy and accuracy on the held-out captions of a run with other modalities, of `savanna` beside the known
    floor; nothing where no words are predicted.
    """
    part = next((part for part in objective.each().values() if part.answered == ("text",)), None)
    if part is None:
        return {}
    device = next(part.parameters()).device
    corrupt = replace_tokens(vocabulary, config.method.arguments()["hidden_ratio"], mask_ratio=1.0)
    read = heldout_batches(heldout, config.seed, config.evaluate.documents, device)
    said = (batch.chosen(here) for batch in read if (here := batch.present("text")).any())
    if (first := next(said, None)) is None:
        return {}
    words = hidden_words(part, vocabulary, chain([first], said), corrupt)
    mean = float(words.energy.double().mean())
    floor = floor_of(vocabulary, words.masked) if config.data.source == "savanna" else {}
    return {
        "text.cross_entropy": mean, "text.perplexity": float(np.exp(mean)),
        "text.accuracy": float(words.correct.float().mean()), **floor,
    }  # fmt: skip


def evaluate_text(
    objective: Objective, config: Config, data: TextData, build: Callable[[], Objective], labelled: Any
) -> dict[str, Any]:
    """All keys of evaluation.json; `build` makes the objective with random weights, `labelled` is (train, test) or
    None.
    """
    results = word_results(objective, config, data) | {"packing.efficiency": data.efficiency}
    random = build().to(next(objective.parameters()).device)
    untrained = word_results(random, config, data)
    results |= {f"random_init.{name}": untrained[name] for name in untrained if "." in name and name not in OF_THE_DATA}
    texts = heldout_texts(data, config.evaluate.documents)
    if len(texts) > 1:
        results |= panel(text_features(objective.encoder, data.vocabulary, texts, config.data.row_length))
    if labelled is not None:
        results |= labelled_results(objective.encoder, random.encoder, data.vocabulary, config, labelled)
    return results


def heldout_texts(data: TextData, count: int) -> list[str]:
    """The first documents (or pieces of them) of the held-out rows."""
    found: list[str] = []
    total = data.heldout.size
    for row in range(total):
        ids = data.heldout(np.array([row]))["text"][0]
        document = tokenize(data.vocabulary, [ids]).place.document[0]
        for number in range(int(document.max()) + 1):
            words = ids[0][document == number]
            found.append(data.vocabulary.decode(words[~is_end(data.vocabulary, words)].tolist()))
        if len(found) >= count:
            break
    return found[:count]
