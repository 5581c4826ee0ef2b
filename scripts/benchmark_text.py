"""The four ways in which `benchmark.py text` trains one and the same BERT, and what they share.

(a) stock collator, float32, padded line by line; (b) the way of run_mlm, texts grouped into full blocks, float32;
(c) as (b) under bf16 autocast; (d) ours. Every step holds 16 rows of at most 128 tokens.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer
from tokenizers.processors import BertProcessing
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, DataCollatorForLanguageModeling, PreTrainedTokenizerFast

ROWS, LENGTH, VOCABULARY = 16, 128, 16384
LAYERS, WIDTH, HEADS, INNER = 4, 256, 4, 1024
MASK_RATIO, LEARNING_RATE, WARMUP_RATIO, WEIGHT_DECAY = 0.15, 5e-4, 0.1, 0.01
HELDOUT_EVERY, VALIDATION_BLOCKS, WARMUP_STEPS = 20, 128, 3
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
STOCK = ("a", "b", "c")


class Budget(NamedTuple):
    """When to stop: after `seconds` of training, or once the validation loss is at most `target`."""

    seconds: float
    target: float = 0.0
    evaluate_seconds: float = 0.0  # time between two validations, not counted as training; 0: none before the end


class Measured(NamedTuple):
    """What one variant did; `validation_loss` is nan where none was asked for."""

    real_tokens: int
    slots: int  # tokens with padding
    steps: int
    seconds: float
    validation_loss: float
    validation_seconds: float  # of training, when the validation loss was at most the target; nan where it never was


class Validation(NamedTuple):
    """Held-out blocks, the same hidden positions for every variant."""

    ids: Int[Tensor, "B N"]  # with [MASK] at the hidden positions
    document: Int[Tensor, "B N"]  # which line of text a token is from, counted in its row; stock models ignore it
    hidden: Int[Tensor, "B M"]
    answer: Int[Tensor, "B M"]


Logits = Callable[[Validation], Float[Tensor, "B M V"]]


def synthetic_lines(count: int, seed: int = 0) -> list[str]:
    """Lines of 4 to 118 Zipf-distributed words: padded to the longest of 16, about 53 % of the tokens are real."""
    generator = np.random.default_rng(seed)
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    lexicon = ["".join(generator.choice(syllables, generator.integers(1, 5))) for _ in range(20000)]
    frequency = 1 / np.arange(1, len(lexicon) + 1)
    lengths = (4 + 115 * generator.random(count) ** 1.1).astype(int)
    words = generator.choice(len(lexicon), lengths.sum(), p=frequency / frequency.sum())
    return [" ".join(lexicon[word] for word in line) for line in np.split(words, lengths.cumsum()[:-1])]


def read_lines(source: str) -> list[str]:
    """The lines that are not blank, of a text file or of each .txt file below a folder."""
    path = Path(source)
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    lines = [line.strip() for file in files for line in file.read_text("utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"source {source}: found no line of text, expected a text file or a folder with .txt files")
    return lines


def prepare(workspace: Path, source: str) -> None:
    """Write what all variants share: the lines, and a WordPiece tokenizer trained on them."""
    lines = read_lines(source) if source else synthetic_lines(10000)
    tokenizer = BertWordPieceTokenizer()
    tokenizer.train_from_iterator(
        iter(lines), VOCABULARY, min_frequency=1, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.post_processor = BertProcessing(("[SEP]", SPECIAL.index("[SEP]")), ("[CLS]", SPECIAL.index("[CLS]")))
    tokenizer.save(str(workspace / "tokenizer.json"))
    (workspace / "lines.txt").write_text("\n".join(lines), "utf-8")


def tokens_of(workspace: Path, lines: list[str], longest: int | None = None) -> list[list[int]]:
    """The token ids of each line, [CLS] and [SEP] included, cut at `longest`."""
    tokenizer = Tokenizer.from_file(str(workspace / "tokenizer.json"))
    if longest:
        tokenizer.enable_truncation(longest)
    return [encoding.ids for encoding in tokenizer.encode_batch(lines)]


def split_lines(workspace: Path) -> tuple[list[str], list[str]]:
    """Lines to train on, and every 20th, held out."""
    lines = (workspace / "lines.txt").read_text("utf-8").split("\n")
    return [line for at, line in enumerate(lines) if at % HELDOUT_EVERY], lines[::HELDOUT_EVERY]


def new_model() -> nn.Module:
    """The model of all variants, with the same initial weights."""
    torch.manual_seed(0)
    return BertForMaskedLM(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=INNER,
        )
    )


def blocks_of(documents: Iterable[list[int]]) -> Int[Tensor, "B N"]:
    """All tokens in a row, cut into full blocks; the remainder is dropped, as run_mlm does."""
    tokens = [token for document in documents for token in document]
    count = len(tokens) // LENGTH
    return rearrange(torch.tensor(tokens[: count * LENGTH]), "(b n) -> b n", n=LENGTH)


def validation_of(workspace: Path) -> Validation:
    """Blocks of the held-out lines, with 19 of 128 positions hidden that are no special tokens."""
    ids = blocks_of(tokens_of(workspace, split_lines(workspace)[1]))[:VALIDATION_BLOCKS]
    if not len(ids):
        raise ValueError(f"the held-out lines fill no block of {LENGTH} tokens, expected a larger source")
    score = torch.rand(ids.shape, generator=torch.Generator().manual_seed(0))
    score[ids < len(SPECIAL)] = -1
    hidden = score.topk(round(MASK_RATIO * LENGTH)).indices.sort().values
    document = (ids == SPECIAL.index("[CLS]")).cumsum(1)
    return Validation(ids.scatter(1, hidden, SPECIAL.index("[MASK]")), document, hidden, ids.gather(1, hidden))


def validation_loss(logits: Logits, validation: Validation) -> float:
    """Mean cross-entropy in nats over all hidden positions of the held-out blocks."""
    losses = []
    with torch.no_grad():
        for start in range(0, len(validation.ids), ROWS):
            part = Validation(*(values[start : start + ROWS] for values in validation))
            scores = rearrange(logits(part).float(), "b m v -> (b m) v")
            losses.append(nn.functional.cross_entropy(scores, part.answer.flatten(), reduction="none"))
    return torch.cat(losses).mean().item()


def batches_of(variant: str, workspace: Path) -> Iterator[Mapping[str, Tensor]]:
    """Endless shuffled batches of the stock collator: padded lines for (a), full blocks for (b) and (c)."""
    lines = split_lines(workspace)[0]
    rows = tokens_of(workspace, lines, LENGTH) if variant == "a" else blocks_of(tokens_of(workspace, lines)).tolist()
    if len(rows) < ROWS:
        raise ValueError(f"the source gives {len(rows)} rows, expected at least the {ROWS} of a batch")
    samples = [{"input_ids": row, "special_tokens_mask": [int(token < len(SPECIAL)) for token in row]} for row in rows]
    names = {token.strip("[]").lower() + "_token": token for token in SPECIAL}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(workspace / "tokenizer.json"), **names)
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASK_RATIO)
    while True:
        for chosen in torch.randperm(len(samples)).split(ROWS):
            if len(chosen) == ROWS:
                yield collator([samples[at] for at in chosen.tolist()])


def linear_schedule(progress: float) -> float:
    """Factor of the learning rate: up over the warm-up, then down to 0 at progress 1."""
    return min(progress / WARMUP_RATIO, max(0.0, 1 - progress) / (1 - WARMUP_RATIO))


def stock_logits(model: nn.Module) -> Logits:
    """Logits of a stock model at the hidden positions, in float32 and without dropout."""

    def logits(part: Validation) -> Float[Tensor, "B M V"]:
        model.eval()
        states = model.get_submodule("bert")(input_ids=part.ids).last_hidden_state
        model.train()
        return model.get_submodule("cls")(states[torch.arange(len(states))[:, None], part.hidden])

    return logits


def stock(variant: str, workspace: Path, budget: Budget) -> Measured:
    """Train as run_mlm_no_trainer does: AdamW with and without decay, linear schedule (over the time), a plain loop."""
    model, batches = new_model().train(), batches_of(variant, workspace)
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    start, elapsed, real, slots, steps = time.perf_counter(), 0.0, 0, 0, 0
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: linear_schedule(elapsed / budget.seconds))
    for step, batch in enumerate(batches):
        if step == WARMUP_STEPS:
            start = time.perf_counter()
        elapsed = time.perf_counter() - start if step >= WARMUP_STEPS else 0.0
        if elapsed >= budget.seconds:
            break
        with torch.autocast("cpu", torch.bfloat16, enabled=variant == "c"):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step >= WARMUP_STEPS:
            steps, slots = steps + 1, slots + batch["input_ids"].numel()
            real += int(batch["attention_mask"].sum())
    missing = float("nan")
    heldout = validation_loss(stock_logits(model), validation_of(workspace)) if budget.evaluate_seconds else missing
    return Measured(real, slots, steps, elapsed, heldout, missing)
