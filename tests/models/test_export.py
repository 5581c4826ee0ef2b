"""Claims about exported checkpoints: stock `transformers` loads them, and gives the same, without mmssl."""

import copy
import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from mmssl.errors import ConfigError
from mmssl.evaluate.words import log_probabilities
from mmssl.methods import METHODS
from mmssl.modalities.text import tokenize
from mmssl.models import ENCODERS
from mmssl.models.encoder import TOKENIZER_KINDS, VocabularyHead
from mmssl.models.export import export_text

STOCK = ("bert", "roberta", "xlm_roberta", "modernbert")
TINY = {"layers": 2, "width": 32, "heads": 4, "intermediate": 64, "dropout": 0.1, "max_positions": 64}
MASKED = "The lion chases the [MASK] in the savanna."
USER = """
import json, sys, warnings

class NoMmssl:
    def find_spec(self, name, *rest):
        if name.split(".")[0] == "mmssl":
            raise ImportError("mmssl is not installed here")

sys.meta_path.insert(0, NoMmssl())
try:
    import mmssl
    raise SystemExit("mmssl could be imported")
except ImportError:
    pass
warnings.simplefilter("ignore")
import torch
from safetensors.torch import save_file
from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline

torch.set_num_threads(1)
texts, masked, found = json.loads(sys.argv[1]), sys.argv[2], {}
for name in sys.argv[3:]:
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(name).eval(), AutoTokenizer.from_pretrained(name)
    inputs = tokenizer(texts, return_tensors="pt", padding=True)  # rows of unequal length: the stock mask is at work
    with torch.no_grad():
        logits = model(**inputs).logits
    save_file({"logits": logits, "mask": inputs["attention_mask"]}, f"{name}/stock.safetensors")
    fill = pipeline("fill-mask", model=model, tokenizer=tokenizer, device="cpu")
    best = fill(masked.replace("[MASK]", tokenizer.mask_token))
    pair = tokenizer(texts[0], texts[1])
    found[name] = {
        "class": type(model).__name__,
        "words": [[one["token"], one["score"]] for one in best],
        "longest": tokenizer.model_max_length,
        "types": pair.get("token_type_ids"),
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def exported(vocabularies, texts, tmp_path_factory):
    """(encoder, vocabulary, folder, what a process without mmssl found) of each stock encoder."""
    folder = tmp_path_factory.mktemp("exported")
    made = {}
    for name in STOCK:
        words = vocabularies[TOKENIZER_KINDS[name]]
        torch.manual_seed(0)
        encoder = ENCODERS[name](words, **TINY)
        with torch.no_grad():
            for weight in encoder.parameters():
                weight.mul_(4 if weight.ndim == 2 else 1)
        export_text(encoder, words, folder / name)
        made[name] = encoder, words
    command = [sys.executable, "-c", USER, json.dumps(texts[:4]), MASKED, *STOCK]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: (*made[name], folder / name, found[name]) for name in STOCK}


def logits_of(encoder, words, documents: list[list[int]]) -> torch.Tensor:
    """The logits of documents packed into one row."""
    ids = [token for body in documents for token in (words.first, *body, words.last)]
    tokens = tokenize(words, [torch.tensor([ids])])
    with torch.no_grad():
        return VocabularyHead(encoder)(encoder.eval()({"text": tokens}), tokens.place)[0]


@pytest.mark.parametrize("name", STOCK)
def test_a_process_without_mmssl_gets_the_same_logits(name, exported, texts):
    encoder, words, folder, found = exported[name]
    assert found["class"] == type(encoder.stock).__name__
    stock = load_file(folder / "stock.safetensors")
    mask = stock["mask"].bool()
    assert not mask.all()
    ours = logits_of(encoder, words, words.encode(texts[:4]))  # the same tokens, without padding
    torch.testing.assert_close(stock["logits"][mask], ours, atol=1e-5, rtol=0)
    # the control: weights that are a little off are not within that distance
    changed = copy.deepcopy(encoder)
    with torch.no_grad():
        first = next(changed.parameters())
        first.add_(torch.randn_like(first), alpha=1e-2)
    other = logits_of(changed, words, words.encode(texts[:4]))
    assert float((stock["logits"][mask] - other).abs().max()) > 1e-4


@pytest.mark.parametrize("name", STOCK)
def test_the_pipeline_fills_in_the_words_that_we_fill_in(name, exported):
    encoder, words, _, found = exported[name]
    objective = METHODS[name](encoder, words)
    ours = log_probabilities(objective, words, words.encode_masked(MASKED)).exp()[0]
    ordinary = [(token, score) for token, score in found["words"] if not words.special[token]]
    assert len(ordinary) >= 3
    # the stock pipeline's softmax holds the special tokens, too: ratios are the same
    first, score = ordinary[0]
    for token, value in ordinary[1:]:
        assert value / score == pytest.approx(float(ours[token] / ours[first]), rel=1e-4)
    assert first == int(ours.argmax())


@pytest.mark.parametrize("name", STOCK)
def test_the_tokenizer_knows_the_longest_text(name, exported):
    assert exported[name][3]["longest"] == TINY["max_positions"]


def test_the_tokenizer_of_bert_marks_the_second_text_of_a_pair(exported):
    assert set(exported["bert"][3]["types"]) == {0, 1}
    for name in ("roberta", "xlm_roberta", "modernbert"):
        assert not any(exported[name][3]["types"] or [])


@pytest.mark.parametrize("name", STOCK)
def test_packed_rows_do_not_leak_after_an_export(name, exported, texts):
    encoder, words, _, _ = exported[name]
    one, two = words.encode(texts[:2])
    together = logits_of(encoder, words, [one, two])[: len(one) + 2]
    torch.testing.assert_close(together, logits_of(encoder, words, [one]), atol=1e-5, rtol=0)


def test_the_window_network_has_no_stock_class(vocabularies, tmp_path):
    words = vocabularies["word"]
    with pytest.raises(ConfigError, match=r"WindowEncoder has no stock class"):
        export_text(ENCODERS["window"](words), words, tmp_path)
    assert not list(tmp_path.iterdir())
