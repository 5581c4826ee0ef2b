"""The scripts as tests find them."""

import importlib
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def scripts(request):
    """The scripts that the module's USED names, as Python finds them when one is run."""
    sys.path.insert(0, str(SCRIPTS))
    yield {name: importlib.import_module(name) for name in request.module.USED}
    sys.path.remove(str(SCRIPTS))
