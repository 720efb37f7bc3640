"""A finished run whose winners several tests export, check and measure again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from run_of_winners import write_run_of_winners


@pytest.fixture(scope="session")
def run_of_winners(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run; tests do not change it."""
    return write_run_of_winners(tmp_path_factory.mktemp("runs"))


@pytest.fixture(name="run")
def run_to_change(run_of_winners: Path, tmp_path: Path) -> Path:
    """A copy of the run, which a test may change."""
    return Path(shutil.copytree(run_of_winners, tmp_path / "runs" / "run"))


@pytest.fixture(name="bundle")
def bundle_to_change(run: Path) -> Path:
    """A winner's bundle in the copy."""
    return sorted((run / "winners").iterdir())[0]
