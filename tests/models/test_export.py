"""Claims about exported checkpoints: stock `transformers` loads them, and gives the same, without mmssl."""

import copy
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mmssl.errors import ConfigError
from mmssl.evaluate.words import log_probabilities
from mmssl.methods import METHODS
from mmssl.modalities.grids import Grid
from mmssl.modalities.image import decode_image
from mmssl.modalities.text import tokenize
from mmssl.models import ENCODERS
from mmssl.models.encoder import TOKENIZER_KINDS, VocabularyHead
from mmssl.models.export import export_encoder, export_text

STOCK = ("bert", "roberta", "xlm_roberta", "modernbert")
TINY = {"layers": 2, "width": 32, "heads": 4, "intermediate": 64, "dropout": 0.1, "max_positions": 64}
MASKED = "The lion chases the [MASK] in the savanna."
WITHOUT_MMSSL = """
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
import torch
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)
"""
USER = """
warnings.simplefilter("ignore")
from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline

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


GRIDS = {  # not square where that is allowed, so that a swapped axis shows
    "image": Grid("image", (24, 24), 3), "audio": Grid("audio", (24, 16), 1), "video": Grid("video", (6, 24, 16), 3),
}  # fmt: skip
VIT = {"layers": 2, "width": 32, "heads": 4, "intermediate": 48, "patch": 8, "audio_patch": (4, 8), "frames": 2}
SHAPES = {"image": (2, 3, 24, 24), "audio": (2, 24, 16), "video": (2, 6, 3, 24, 16)}
CONVOLUTIONAL = {
    "basic": ("resnet", {}),
    "bottleneck": ("resnet", {"bottleneck": True}),
    "regnet": ("regnet_y", {"groups_width": 4}),
}
MEDIA = {
    "image": "ViTModel", "audio": "ViTModel", "video": "VivitModel",
    "basic": "ResNetModel", "bottleneck": "ResNetModel", "regnet": "RegNetModel",
}  # fmt: skip
MEDIA_USER = """
import numpy
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

found = {}
for name in sys.argv[1:]:
    model, loaded = AutoModel.from_pretrained(name, output_loading_info=True)
    with torch.no_grad():
        output = model.eval()(pixel_values=load_file(f"{name}/view.safetensors")["view"])
    tensors = {"hidden": output.last_hidden_state, "pooled": output.pooler_output}
    if name == "image":
        picture = Image.open("picture.png")
        tensors["pixels"] = AutoImageProcessor.from_pretrained(name)(picture, return_tensors="pt")["pixel_values"]
    save_file({key: value.contiguous() for key, value in tensors.items()}, f"{name}/stock.safetensors")
    found[name] = {"class": type(model).__name__, "odd": [len(loaded[key]) for key in sorted(loaded)]}
print(json.dumps(found))
"""


def without_mmssl(code: str, folder, *arguments: str) -> dict:
    """What the code prints in a process that cannot import mmssl."""
    command = [sys.executable, "-c", WITHOUT_MMSSL + code, *arguments]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "newly initialized" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1])


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
    found = without_mmssl(USER, folder, json.dumps(texts[:4]), MASKED, *STOCK)
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


def sharpened(encoder):
    """With larger weights, and statistics and positions of its own, so that differences show."""
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.mul_(2 if weight.ndim >= 2 else 1)
            weight.add_(0.1 * torch.randn_like(weight) if weight.ndim == 1 else 0)
    return encoder


@pytest.fixture(scope="module")
def exported_media(tmp_path_factory):
    """(encoder, view, folder, what a process without mmssl found) of each encoder of media."""
    folder = tmp_path_factory.mktemp("media")
    made = {}
    generator = torch.Generator().manual_seed(0)
    picture = np.random.default_rng(0).integers(0, 255, (32, 40, 3), dtype=np.uint8)
    Image.fromarray(picture).save(folder / "picture.png")
    for name in MEDIA:
        torch.manual_seed(0)
        if name in CONVOLUTIONAL:
            view = torch.randn(2, 3, 64, 64, generator=generator)
            modalities = {"image": Grid("image", (64, 64), 3)}
            made_by, options = CONVOLUTIONAL[name]
            encoder = ENCODERS[made_by](modalities, widths=[8, 16], depths=[1, 2], **options)
            tokens_of(encoder.train(), "image", view)  # running statistics
        else:
            view = torch.randn(SHAPES[name], generator=generator)
            encoder = sharpened(ENCODERS["vit"]({name: GRIDS[name]}, **VIT))
        export_encoder(encoder, folder / name)
        save_file({"view": view[:, None] if name == "audio" else view}, folder / name / "view.safetensors")
        made[name] = encoder.eval(), view
    found = without_mmssl(MEDIA_USER, folder, *MEDIA)
    return {name: (*made[name], folder / name, found[name]) for name in MEDIA}


def tokens_of(encoder, name: str, view: torch.Tensor) -> torch.Tensor:
    """Our embeddings of a whole view."""
    with torch.no_grad():
        return encoder({name: encoder.cuts[name].tokenize([view])})[name].value


@pytest.mark.parametrize("name", MEDIA)
def test_a_process_without_mmssl_gets_the_same_tokens(name, exported_media):
    encoder, view, folder, found = exported_media[name]
    assert found["class"] == MEDIA[name]
    assert not any(found["odd"])  # no weight is missing, none is left over
    hidden = load_file(folder / "stock.safetensors")["hidden"]
    hidden = hidden.flatten(2).mT if name in CONVOLUTIONAL else hidden[:, 1:]
    ours = tokens_of(encoder, "image" if name in CONVOLUTIONAL else name, view)
    torch.testing.assert_close(hidden, ours, atol=1e-5, rtol=1e-5)
    # the control: weights that are a little off are not within that distance
    changed = copy.deepcopy(encoder)
    with torch.no_grad():
        for weight in changed.parameters():
            weight.add_(torch.randn_like(weight), alpha=1e-2)
    assert float((hidden - tokens_of(changed, "image" if name in CONVOLUTIONAL else name, view)).abs().max()) > 1e-3


@pytest.mark.parametrize("name", GRIDS)
def test_the_pooler_hands_on_the_class_token(name, exported_media):
    stock = load_file(exported_media[name][2] / "stock.safetensors")
    torch.testing.assert_close(stock["pooled"], stock["hidden"][:, 0])


def test_the_image_processor_reads_a_picture_as_we_do(exported_media):
    folder = exported_media["image"][2]
    found = load_file(folder / "stock.safetensors")["pixels"]
    ours = (torch.from_numpy(decode_image(folder.parent / "picture.png", 24)).float() / 255 - 0.5) / 0.25
    assert found.shape == (1, 3, 24, 24)
    # other code resizes, with other rounding
    assert float((found[0] - ours).abs().mean()) < 0.05
    assert float((found[0] - ours.flip(2)).abs().mean()) > 0.2


def test_the_encoder_itself_is_left_as_it_was(tmp_path):
    encoder = ENCODERS["vit"]({"image": GRIDS["image"]}, **VIT)
    view = torch.randn(SHAPES["image"])
    before = tokens_of(encoder, "image", view)
    export_encoder(encoder, tmp_path)
    assert torch.equal(tokens_of(encoder, "image", view), before)


def test_what_no_stock_class_computes_is_refused(vocabularies, tmp_path):
    words = vocabularies["word"]
    small = {"widths": [8, 16], "depths": [1, 1], "small_stem": True}
    refusals = {
        r"encoder\.small_stem has .* ResNetModel one of 7 x 7 and stride 2; .* encoder\.small_stem=false": ENCODERS[
            "resnet"
        ]({"image": GRIDS["image"]}, **small),
        r"encoder\.small_stem has .* RegNetModel one of 3 x 3 and stride 2; .* encoder\.small_stem=false": ENCODERS[
            "regnet_y"
        ]({"image": GRIDS["image"]}, **small),
        r"an encoder of video, audio has no stock class.*expected one of image, audio or video alone": ENCODERS["vit"](
            {name: GRIDS[name] for name in ("video", "audio")}, **VIT, fused=True
        ),
        "an encoder of text has no stock class": ENCODERS["vit"]({"text": words}, **VIT),
        "WindowEncoder has no stock class": ENCODERS["window"](words),
    }
    for message, encoder in refusals.items():
        with pytest.raises(ConfigError, match=message):
            export_encoder(encoder, tmp_path)
    assert not list(tmp_path.iterdir())
