"""Shapes and types in signatures are checked while the tests run."""

import os
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are tiny: threads only wait for each other
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
HYPOTHESIS_FOLDER = tempfile.TemporaryDirectory()  # removed at exit
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = HYPOTHESIS_FOLDER.name

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("mmssl", "beartype.beartype")

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("house", database=None, deadline=None, derandomize=True)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    """No test writes outside tmp_path: not in the current folder, and not in a home cache."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf" / "datasets"))


@pytest.fixture(scope="session")
def savanna_vocabulary():
    """A WordPiece vocabulary trained on captions of the built-in world."""
    from tiny import savanna_words

    return savanna_words()
