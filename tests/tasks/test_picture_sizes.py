"""Pictures of any shape: what is not square is kept as it is, and what cannot be cut or hidden is said at the start."""

import json

import numpy as np
import pyarrow.parquet
import pytest
import torch
from making_media import picture
from media_runs import SMALL, media_config, parts_of, write_media_config
from PIL import Image
from raw_folders import one_line
from running import call, metrics
from transformers import AutoModel

from mmssl.augment import View, augment
from mmssl.batch import Batch
from mmssl.models.export import export_encoder
from mmssl.models.transformer import TransformerEncoder
from mmssl.random import Draw
from mmssl.sections import ViewsConfig

WIDE = "image.size=[16, 32]"  # height, width
SIMCLR = "method={name: simclr, projector_width: 32, embedding_width: 16}"
BLOCKS = f"{{name: ijepa, mask: multiblock, num_targets: 4, block_ratio: 0.3, {SMALL}}}"


def oblong_pictures(folder):
    """Twelve of 80 x 40 pixels, with two labels."""
    for number in range(12):
        picture(folder / ("cat", "dog")[number % 2] / f"{number}.png", number, size=(80, 40))
    return folder


@pytest.mark.parametrize("method", [f"method={{name: mae, {SMALL}}}", SIMCLR])
def test_oblong_pictures_are_trained_on_embedded_and_exported(tmp_path, capsys, method):
    source = oblong_pictures(tmp_path / "source")
    overrides = (f"data.source={source}", "data.heldout=0.5", WIDE, method, "train.steps=2", f"run={tmp_path / 'run'}")
    assert call("pretrain", write_media_config(tmp_path, "image_pretraining"), *overrides) == 0
    assert len(metrics(tmp_path / "run")) == 2
    results = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert {"energy.auroc", "energy.ladder.patches_shuffled", "knn.accuracy"} <= results.keys()
    assert call("embed", tmp_path / "run", source, "--out", tmp_path / "out.parquet") == 0
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").num_rows == 12
    assert call("export", tmp_path / "run", tmp_path / "stock") == 0
    stock = AutoModel.from_pretrained(tmp_path / "stock")
    assert stock(torch.zeros(1, 3, 16, 32)).last_hidden_state.shape == (1, 1 + 8, 32)
    capsys.readouterr()


@torch.no_grad()
def test_the_exported_encoder_of_oblong_pictures_says_the_same(tmp_path):
    *_, objective = parts_of(media_config(tmp_path, "image_pretraining", WIDE))
    encoder = objective.encoder
    assert isinstance(encoder, TransformerEncoder)
    assert encoder.cut("image").size == (16, 32)
    export_encoder(encoder, tmp_path / "stock")
    view = torch.randn(2, 3, 16, 32, generator=torch.Generator().manual_seed(0))
    ours = encoder({"image": encoder.cut("image").tokenize([view])})["image"]
    assert ours.place.grid == (2, 4)
    found = AutoModel.from_pretrained(tmp_path / "stock").eval()(view).last_hidden_state[:, 1:]
    torch.testing.assert_close(found, ours.value, atol=1e-5, rtol=0)
    # the control: the same patches of the turned picture are elsewhere
    assert not torch.allclose(found, AutoModel.from_pretrained(tmp_path / "stock").eval()(view.flip(3))[0][:, 1:])


@pytest.mark.parametrize("decoded_bytes", [4_000_000_000, 0])
def test_a_circle_in_an_oblong_picture_stays_round(tmp_path, decoded_bytes):
    y, x = np.mgrid[:120, :160] + 0.5
    round_one = ((x - 80) ** 2 + (y - 60) ** 2 < 30**2) * np.uint8(255)
    for number in range(2):
        Image.fromarray(round_one).save(tmp_path / f"{number}.png")
    for stored, size in ((0, (16, 32)), (24, (16, 32)), (0, (32, 16))):
        overrides = (f"image.size={list(size)}", f"data.source={tmp_path}", f"image.stored_size={stored}")
        config = media_config(tmp_path, "image_pretraining", *overrides, f"data.decoded_bytes={decoded_bytes}")
        _, data, inputs, _ = parts_of(config)
        view = inputs(first(data.train))
        is_light = view.views["image"][0][0, 0] > 0
        assert is_light.shape == size
        rows, columns = is_light.any(1).sum(), is_light.any(0).sum()
        assert abs(int(rows) - int(columns)) <= 1


def first(reader) -> Batch:
    """The first sample of a reader as a batch."""
    index = torch.arange(1)
    return Batch(reader(np.arange(1)), Draw(0, index, index))


def test_a_random_window_of_an_oblong_picture_has_about_its_aspect():
    y, x = torch.meshgrid(torch.arange(32), torch.arange(64), indexing="ij")
    ramps = torch.stack([2 * x, 2 * y, 0 * x]).to(torch.uint8).expand(64, 3, 32, 64)
    draw = Draw(3, torch.zeros(64, dtype=torch.long), torch.arange(64))
    views = ViewsConfig(smallest_area=0.3, flip_ratio=0.0, jitter_ratio=0.0, grey_ratio=0.0)
    for wanted, shape in ((View(), (32, 64)), (View(size=16, area=(0.2, 0.4)), (16, 16))):
        found = augment(ramps, draw, 0, views, wanted)
        assert found.shape == (64, 3, *shape)
        # how much of the picture a pixel of the view spans, across and down: as in torchvision at most 4/3 apart
        across = (found[:, 0, 0, -4] - found[:, 0, 0, 3]) / (shape[1] - 7)
        down = (found[:, 1, -4, 0] - found[:, 1, 3, 0]) / (shape[0] - 7)
        assert 0.6 < float((across / down).min()) <= float((across / down).max()) < 1.6


@pytest.mark.parametrize(
    "overrides, parts",
    [
        (["image.size=[16]"], ("image.size", "[16]", "expected an integer or a list of at least 2")),
        (["image.size=[16, 32, 3]"], ("image.size", "[16, 32, 3]", "an integer or a list of at most 2")),
        (["image.size=[0, 32]"], ("image.size.0", "got 0", "at least 1")),
        (["image.size=wide"], ("image.size", "wide", "an integer")),
        (["image.size=0"], ("image.size", "got 0", "at least 1")),
        ([WIDE, "image.stored_size=8"], ("image.stored_size", "8", "shorter side of image.size (16)")),
        (["image.size=[16, 20]"], ("encoder.patch", "image of 16 x 20", "patches of 8 x 8", "expected divisors")),
        (["encoder.patch=16"], ("encoder.patch", "1 patch", "expected at least 2")),
        (["method.hidden_ratio=0.0"], ("method.hidden_ratio", "got 0.0", "more than 0")),
        (["method.hidden_ratio=1.0"], ("method.hidden_ratio", "got 1.0", "less than 1")),
        ([f"method={BLOCKS}"], ("method.num_targets 4", "4 of a picture", "more than fit")),
        ([f"method={BLOCKS}", "method.block_ratio=1.0"], ("method.block_ratio", "got 1.0", "less than 1")),
        ([SIMCLR.replace("simclr, projector_width: 32, embedding_width: 16", "deepercluster"), WIDE],
         ("image.size [16, 32]", "turned", "expected a square")),
        ([SIMCLR.replace("simclr", "swav"), "method.small_size=12"], ("image of 12 x 12", "8 x 8", "divisors")),
    ],
)  # fmt: skip
def test_a_size_that_cannot_be_used_is_said_before_the_first_step(pretrain, tmp_path, overrides, parts):
    one_line(pretrain("image_pretraining", "data.samples=8", *overrides), 2, *parts)
    assert not (tmp_path / "run" / "metrics.jsonl").exists() or not metrics(tmp_path / "run")
    assert not list(tmp_path.glob("run/checkpoints/*"))


def test_arrays_are_no_pictures(pretrain, tmp_path):
    (tmp_path / "source").mkdir()
    np.save(tmp_path / "source" / "a.npy", np.zeros((16, 16), np.float32))
    one_line(pretrain("image_pretraining", f"data.source={tmp_path / 'source'}"), 3, "source", "expected")
