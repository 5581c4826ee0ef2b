"""Claims about the source: who may import what, and calls that could run what a file says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mmssl"
MODULES = sorted(PACKAGE.rglob("*.py"))
ALLOWED = {  # the library -> where it may be imported; a folder allows all that lies in it
    "datasets": ("data.py", "sources.py"),
    "accelerate": ("train.py", "checkpoint.py", "evaluate/"),
    "torch.distributed": ("distributed.py", "sharding.py"),
}
UNSAFE = {
    "pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
    "joblib.load", "dill.load", "dill.loads", "eval", "exec", "os.system", "marshal.loads",
}  # fmt: skip


def is_within(name: str, library: str) -> bool:
    """Whether a dotted name is the library or a part of it."""
    return name == library or name.startswith(f"{library}.")


def full_names(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for: {"np": "numpy", "load": "torch.load"}."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """The full name of an attribute chain, "" for anything else."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        parent = dotted(node.value, names)
        return f"{parent}.{node.attr}" if parent else ""
    return ""


def used(tree: ast.Module) -> set[str]:
    """Every name that is imported, from a library or as a part of one, or reached by attributes."""
    names = full_names(tree)
    found = set(names.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module}
        elif isinstance(node, ast.Attribute):
            found.add(dotted(node, names))
    return found


def misplaced(source: str, path: str) -> Iterator[str]:
    """Libraries that a module may not use."""
    names = used(ast.parse(source))
    for library, places in ALLOWED.items():
        allowed = any(path == place or (place.endswith("/") and path.startswith(place)) for place in places)
        if not allowed and any(is_within(name, library) for name in names):
            yield library


def unsafe(source: str) -> Iterator[str]:
    """Calls that could run what a file or a user says."""
    tree = ast.parse(source)
    names = full_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            options = {keyword.arg: getattr(keyword.value, "value", True) for keyword in node.keywords}
            if dotted(node.func, names) in UNSAFE:
                yield f"line {node.lineno}: {dotted(node.func, names)}"
            for option in ("allow_pickle", "shell", "trust_remote_code"):
                if options.get(option, False):
                    yield f"line {node.lineno}: {option}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_libraries_are_imported_only_in_their_place_and_nothing_unsafe_is_called(path):
    source = path.read_text()
    assert list(misplaced(source, path.relative_to(PACKAGE).as_posix())) == []
    assert list(unsafe(source)) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_pyav_is_imported_only_where_a_file_is_opened(path):
    assert not any(is_within(name, "av") for name in used(ast.Module(top_level(ast.parse(path.read_text())), [])))


def top_level(tree: ast.Module) -> list[ast.stmt]:
    """The statements of a module that run when it is imported."""
    return [each for each in tree.body if not isinstance(each, ast.FunctionDef | ast.ClassDef)]


@pytest.mark.parametrize("source, is_found", [
    ("import av", True), ("from av.error import FFmpegError", True), ("def f():\n    import av", False),
])  # fmt: skip
def test_an_import_of_pyav_at_the_top_is_found(source, is_found):
    assert any(is_within(name, "av") for name in used(ast.Module(top_level(ast.parse(source)), []))) == is_found


def test_the_places_exist_and_use_what_they_may():
    for library, place in (
        ("datasets", "data.py"),
        ("accelerate", "train.py"),
        ("torch.distributed", "distributed.py"),
    ):
        assert list(misplaced((PACKAGE / place).read_text(), f"elsewhere/{place}")) == [library]
    assert len(MODULES) > 40


@pytest.mark.parametrize(
    "source, library",
    [
        ("import datasets", "datasets"),
        ("from datasets.exceptions import DatasetsError", "datasets"),
        ("def f():\n    import accelerate", "accelerate"),
        ("from torch import distributed", "torch.distributed"),
        ("import torch.distributed as dist", "torch.distributed"),
        ("import torch\ntorch.distributed.barrier()", "torch.distributed"),
        ("from torch.distributed.fsdp import fully_shard", "torch.distributed"),
    ],
)
def test_a_misplaced_import_is_found(source, library):
    assert list(misplaced(source, "objectives/base.py")) == [library]
    assert list(misplaced(source, ALLOWED[library][0])) == []


@pytest.mark.parametrize("source", ["import mmssl.distributed", "from mmssl.distributed import gather", "import data"])
def test_the_houses_own_modules_are_not_taken_for_libraries(source):
    assert list(misplaced(source, "objectives/base.py")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(file)",
        "from pickle import loads as read\nread(text)",
        "import torch\ntorch.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import yaml\nyaml.load(text, Loader)",
        "eval(text)",
        "exec(text)",
        "import subprocess\nsubprocess.run(text, shell=True)",
        "model.from_pretrained(path, trust_remote_code=flag)",
    ],
)
def test_an_unsafe_call_is_found(source):
    assert len(list(unsafe(source))) == 1


@pytest.mark.parametrize(
    "source",
    ["model.eval()", "import safetensors\nsafetensors.torch.load(data)", "import yaml\nyaml.safe_load(text)",
     "import numpy as np\nnp.load(path, allow_pickle=False)"],
)  # fmt: skip
def test_a_safe_call_is_not_taken_for_an_unsafe_one(source):
    assert list(unsafe(source)) == []
