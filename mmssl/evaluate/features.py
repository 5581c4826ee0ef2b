"""Features of documents: what an encoder gives to a probe."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.config import Config
from mmssl.data import documents
from mmssl.errors import CheckpointError
from mmssl.modalities.text import Vocabulary, tokenize
from mmssl.tokens import Tokens

TOKENS_AT_ONCE = 8192


def padded(sequences: Sequence[list[int]], vocabulary: Vocabulary, device: torch.device) -> Tokens:
    """One document a row, each between its first and last token, padded to the longest."""
    longest = max(len(ids) for ids in sequences) + 2
    rows = torch.full((len(sequences), longest), vocabulary.pad)
    for row, ids in zip(rows, sequences, strict=True):
        row[: len(ids) + 2] = torch.tensor([vocabulary.first, *ids, vocabulary.last])
    return tokenize(vocabulary, [rows.to(device)])


def chunks(sequences: Sequence[list[int]], longest: int) -> Iterator[tuple[list[int], list[list[int]]]]:
    """(document of each piece, pieces) of about TOKENS_AT_ONCE tokens, short ones together."""
    parts = [
        (number, ids[start : start + longest - 2])
        for number, ids in enumerate(sequences)
        for start in range(0, max(1, len(ids)), longest - 2)
    ]
    parts.sort(key=lambda part: len(part[1]))
    start = 0
    while start < len(parts):
        end = start + 1
        while end < len(parts) and (end + 1 - start) * (len(parts[end][1]) + 2) <= TOKENS_AT_ONCE:
            end += 1
        yield [number for number, _ in parts[start:end]], [ids for _, ids in parts[start:end]]
        start = end


@torch.no_grad()
def text_features(
    encoder: nn.Module, vocabulary: Vocabulary, texts: Sequence[str], longest: int
) -> Float[Tensor, "B D"]:
    """The mean embedding of each text's tokens (special ones left out); texts of more than `longest` tokens in
    pieces.
    """
    encoder.eval()
    device = next(encoder.parameters()).device
    width: int = encoder.width  # type: ignore[assignment]
    total, count = torch.zeros(len(texts), width), torch.zeros(len(texts), 1)
    for numbers, sequences in chunks(vocabulary.encode(list(texts)), longest):
        tokens = padded(sequences, vocabulary, device)
        embedded = encoder({"text": tokens})["text"].value.float()
        ordinary = tokens.place.valid & ~vocabulary.special.to(device)[tokens.value]
        index = torch.tensor(numbers)
        total.index_add_(0, index, (embedded * ordinary[..., None]).sum(1).cpu())
        count.index_add_(0, index, ordinary.sum(1, keepdim=True).float().cpu())
    return total / count.clamp(min=1)


def write_features(encoder: nn.Module, vocabulary: Vocabulary, config: Config, source: str, out: Path) -> None:
    """The features of all documents of a source as parquet: path, label, feature (a list of D floats).

    Raises DataError where the source cannot be read, CheckpointError where the file cannot be written.
    """
    dataset = documents(source, config.data, Path(config.run) / config.data.cache, seed=config.seed)
    texts: list[str] = list(dataset["text"])
    features = text_features(encoder, vocabulary, texts, config.data.row_length).numpy()
    named = dataset.select_columns(["origin", "label"]).rename_column("origin", "path")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        named.add_column("feature", list(features)).to_parquet(str(out))  # type: ignore[call-arg]
    except OSError as error:
        raise CheckpointError(f"{out}: {error.strerror}; expected a file that can be written") from error
    print(f"{len(texts):,} documents x {features.shape[1]} features -> {out}")
