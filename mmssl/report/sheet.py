"""What the model will see: packed rows with their masks."""

from pathlib import Path

import torch

from mmssl.batch import Batch
from mmssl.evaluate.heldout import heldout_batches
from mmssl.modalities.text import Vocabulary
from mmssl.modalities.text_data import TextData
from mmssl.objectives import Objective
from mmssl.tokens import at

ROWS = 4


def show_rows(objective: Objective, data: TextData, seed: int, out: Path | None) -> None:
    """Print the first training rows as they are seen, and the words that are asked for."""
    batch = next(heldout_batches(data.train, seed, ROWS, torch.device("cpu")))
    sheet = "\n".join([data.summary(), *masked_lines(objective, batch, data.vocabulary)])
    print(sheet)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "sheet.txt").write_text(sheet + "\n")


def masked_lines(objective: Objective, batch: Batch, vocabulary: Vocabulary) -> list[str]:
    """Each row as it is seen, and the words that are asked for."""
    all_tokens, all_seen, all_hidden = objective.corrupted(batch)
    tokens, seen, hidden = all_tokens["text"], all_seen["text"], all_hidden["text"]
    decode = vocabulary.tokenizer.convert_ids_to_tokens
    lines = []
    for row in range(len(seen.value)):
        shown = [word for word, valid in zip(decode(seen.value[row].tolist()), seen.place.valid[row].tolist()) if valid]
        asked = [
            word for word, valid in zip(decode(at(tokens, hidden)[row].tolist()), hidden.valid[row].tolist()) if valid
        ]
        lines += ["", f"row {row}: " + " ".join(shown), f"hidden ({len(asked)}): " + " ".join(asked)]
    return lines
