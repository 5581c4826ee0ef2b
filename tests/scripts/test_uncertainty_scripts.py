"""The scripts of the table of uncertainty collect what tiny runs measured, and draw it."""

import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from media_runs import media_text
from PIL import Image
from running import call

USED = ("tables", "uncertainty", "draw_uncertainty", "capacity")
BITS = {"0.1": 0.2, "1e-4": 3.0, "0.01": 1.1}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A folder with a finished run of the masked autoencoder on encounters."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.yaml").write_text(media_text("image_pretraining"))
    assert call("pretrain", folder / "tiny.yaml", f"run={folder / 'mae'}", "data.source=encounters") == 0
    return folder


def written_to(folder: Path, scripts: dict[str, ModuleType], monkeypatch) -> None:
    """Results go into a folder of the test."""
    for script in scripts.values():
        if hasattr(script, "RESULTS"):
            monkeypatch.setattr(script, "RESULTS", folder)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_a_run_is_collected_with_its_random_weights_and_stands_in_the_table(scripts, out, tmp_path, monkeypatch):
    written_to(tmp_path, scripts, monkeypatch)
    scripts["tables"].collect("uncertainty", [f"mae={out / 'mae'}"])
    found = json.loads((tmp_path / "uncertainty.json").read_text())["mae"]
    assert {"uncertainty.coverage", "uncertainty.true_bits", "random_init.uncertainty.auroc"} <= found.keys()
    row = scripts["tables"].uncertain({"mae": found}, scripts["tables"].UNCERTAINTY).splitlines()[2]
    assert row.startswith("| `mae` | 0% (0%) | 0% (0%) | 1.00 (1.00) |")


def test_rows_stand_in_the_order_of_the_methods(scripts):
    names = ["vae_spatial", "jepa_with_latent-noise", "mae", "ijepa", "jepa_with_latent-codes", "vae"]
    ordered = scripts["tables"].in_order(names)
    assert ordered.index("mae") < ordered.index("ijepa")
    assert ordered[ordered.index("jepa_with_latent-codes") + 1] == "jepa_with_latent-noise"
    assert ordered[ordered.index("vae") + 1] == "vae_spatial"
    assert scripts["tables"].method_of("jepa_with_latent-noise") == "jepa_with_latent"


def test_a_row_of_the_picture_is_drawn_for_each_run(scripts, out, tmp_path, monkeypatch):
    written_to(tmp_path, scripts, monkeypatch)
    first = size_of(scripts["draw_uncertainty"].draw(out))
    both = tmp_path / "both"
    for name in ("mae", "simmim"):
        shutil.copytree(out / "mae", both / name)
    second = size_of(scripts["draw_uncertainty"].draw(both))
    assert second[0] == first[0]
    assert second[1] > 1.7 * first[1] - 40


def test_every_row_says_which_method_and_begins_from_one_that_is_trained_before(scripts):
    from mmssl.methods import METHODS

    uncertainty = scripts["uncertainty"]
    assert {method for method, _ in uncertainty.ROWS.values()} <= METHODS.keys()
    assert not {*uncertainty.PRETRAINED.values()} & uncertainty.PRETRAINED.keys()
    assert {*uncertainty.PRETRAINED, *uncertainty.PRETRAINED.values()} <= uncertainty.ROWS.keys()


def test_the_sweep_changes_the_row_of_each_limit(scripts):
    wanted = scripts["capacity"].wanted_of(["codes", "noise"], Path("out"), 7)
    assert "jepa_with_latent-codes-8" in wanted
    words = wanted["jepa_with_latent-codes-2"]
    assert words[-1] == "method.num_codes=2"  # the last one counts
    assert {"train.steps=7", "method.limit=codes"} <= {*words}
    assert not any("sparsity" in name for name in wanted)


def test_a_curve_is_drawn_in_the_order_of_bits(scripts, tmp_path, monkeypatch):
    written_to(tmp_path, scripts, monkeypatch)
    capacity = scripts["capacity"]
    same = dict.fromkeys((*capacity.KEYS, "uncertainty.true_bits"), 0.5)
    runs = {f"jepa_with_latent-noise-{name}": {"uncertainty.bits": bits, **same} for name, bits in BITS.items()}
    assert [figures["uncertainty.bits"] for figures in capacity.curve("noise", runs)] == [0.2, 1.1, 3.0]
    assert capacity.curve("codes", runs) == []
    assert size_of(capacity.draw(runs))[0] > 1000
