"""A run that was trained and evaluated, and its page."""

from pathlib import Path

import pytest

from mmssl.report import write_report
from tests.report.run_folders import EVALUATION, run_folder


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory) -> Path:
    return run_folder(tmp_path_factory.mktemp("runs") / "quickstart", evaluation=EVALUATION)


@pytest.fixture(scope="session")
def html(evaluated: Path) -> str:
    return write_report([evaluated]).read_text(encoding="utf-8")
