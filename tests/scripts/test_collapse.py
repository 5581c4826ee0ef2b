"""Claims about what keeps each method from collapse: with it embeddings stay healthy, without it they do not."""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

QUICK = ("simclr", "swav", "simsiam", "vicreg")  # one of each family; the others are slow tests


@cache
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "collapse.py"
    spec = importlib.util.spec_from_file_location("collapse_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def verdicts(method: str) -> tuple[str, str]:
    """(with the mechanism, without it)."""
    case = script().CASES[method]
    return tuple(script().measured(script().trained(method, off))["collapse.verdict"] for off in ({}, case.off))


@pytest.mark.parametrize("method", QUICK)
def test_without_its_mechanism_a_method_collapses(method):
    on, off = verdicts(method)
    assert on == "healthy"
    assert off in ("partial", "complete")


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(set(script().CASES) - set(QUICK)))
def test_without_its_mechanism_each_other_method_does_what_the_page_says(method):
    on, off = verdicts(method)
    assert on == "healthy"
    assert (off in ("partial", "complete")) is (method not in script().KEPT_APART)


def test_every_method_on_views_of_pictures_has_a_mechanism_that_can_be_switched_off():
    from mmssl.methods import METHODS, asymmetry, clusters, contrast, redundancy

    modules = {module.__name__ for module in (asymmetry, clusters, contrast, redundancy)}
    named = {name for name, method in METHODS.items() if method.__module__ in modules}
    # clusterfit's targets never change; two methods predict embeddings of patches
    assert {*named, "ijepa", "data2vec"} == {*script().CASES, "clusterfit"}
