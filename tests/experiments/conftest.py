"""Fixtures of the tests that search in the made-up table of chains."""

from __future__ import annotations

from pathlib import Path

import pytest
from chain_table import SPACE, made_up_rows, write_rows

from experiments.search_tasks import TableTask
from experiments.table_search.study import study_of
from nas.tables.table import Table, read_table


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of experiments are slow tests: what users run does not depend on them."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("slow")


@pytest.fixture(name="path")
def table_file(tmp_path: Path) -> Path:
    """The made-up table as a file."""
    path = tmp_path / "made-up.csv"
    write_rows(path, made_up_rows())
    study_of.cache_clear()
    return path


@pytest.fixture(name="table")
def made_up_table(path: Path) -> Table:
    """The made-up table, read from its file."""
    return read_table(path, SPACE)


@pytest.fixture(name="task")
def simple_task(table: Table) -> TableTask:
    """The task of error and latency on the made-up table."""
    return TableTask.of(table, "val_acc", "test_acc", ["latency_ms_x"])
