"""An installed wheel brings its tasks and configs along, and no top-level package but its own."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("mmssl", "tasks", "configs", "pyproject.toml", "README.md")
has_backend = importlib.util.find_spec("hatchling") is not None
pytestmark = pytest.mark.skipif(not has_backend, reason="the build backend hatchling is not installed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the repository."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PARTS:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    build = f"from hatchling.build import build_wheel; build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", build], check=True, cwd=source, capture_output=True, timeout=120)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_tasks_configs_and_the_template_inside_the_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"mmssl/tasks/masked_language.py", "mmssl/configs/quickstart.yaml", "mmssl/report/template.html.j2"} <= names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"mmssl"}
    assert not [name for name in names if "__pycache__" in name]


def test_the_unpacked_wheel_runs_a_packaged_config_from_another_folder(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    (tmp_path / "elsewhere").mkdir()
    command = [sys.executable, "-m", "mmssl", "data", "configs/quickstart.yaml", "data.samples=200"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "PYTHONSAFEPATH": "1"}
    end = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path / "elsewhere", env=environment, timeout=300
    )
    assert end.returncode == 0, end.stderr
    assert "[MASK]" in end.stdout
    where = subprocess.run(
        [sys.executable, "-c", "import mmssl.cli; print(mmssl.cli.__file__)"], capture_output=True, text=True,
        cwd=tmp_path / "elsewhere", env=environment, timeout=120,
    )  # fmt: skip
    assert where.stdout.startswith(str(tmp_path / "installed"))
