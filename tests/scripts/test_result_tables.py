"""The tables of README.md and docs/ are those of METHODS and of the recorded figures."""

import importlib.util
from pathlib import Path

from mmssl.methods import METHODS

ROOT = Path(__file__).parents[2]


def tables():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "scripts" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_hold_the_table_as_it_would_be_written_now():
    table = tables().table()
    for page in ("README.md", "docs/results/masked_language.md"):
        assert f"<!-- methods -->\n{table}\n<!-- /methods -->" in (ROOT / page).read_text()


def test_every_method_has_a_row_with_measured_figures():
    rows = {line.split("`")[1]: line for line in tables().table().splitlines() if line.startswith("| `")}
    assert set(rows) == set(METHODS)
    assert all(any(letter.isdigit() for letter in row.split("|")[4]) for row in rows.values())
