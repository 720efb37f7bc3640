"""The files of tables: read within the memory that is free, and written whole."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from nas.errors import RecipeError
from nas.hardware.machine import free_memory_bytes
from nas.tables.table_file import BYTES_PER_CHARACTER, has_header, numbers_in, read_cells, write_cells

MIB = 2**20


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Commas, quotes and line breaks within cells come back, and the same cells give the same bytes."""
    rows = [["1", 'say "so", twice'], ["2", "line\nbreak"]]
    for name in ("a.csv.gz", "b.csv.gz"):
        write_cells(tmp_path / "folder" / name, ["idx", "failure"], rows)
    assert read_cells(tmp_path / "folder" / "a.csv.gz") == (["idx", "failure"], rows)
    assert (tmp_path / "folder" / "a.csv.gz").read_bytes() == (tmp_path / "folder" / "b.csv.gz").read_bytes()
    assert has_header(tmp_path / "folder" / "a.csv.gz", ["idx", "failure"])
    assert not has_header(tmp_path / "folder" / "a.csv.gz", ["idx"])


def bomb(size_mib: int) -> bytes:
    """Return a small file that unpacks to many megabytes."""
    return gzip.compress(b"depth,width\n" + b"1,2\n" * (size_mib * MIB // 4))


def test_a_table_that_unpacks_to_too_much_is_refused_before_it_takes_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message tells how much is free; the memory taken stays far below what the file holds."""
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(bomb(48))
    assert path.stat().st_size < MIB
    monkeypatch.setattr("nas.tables.table_file.free_memory_bytes", lambda: 4 * MIB * BYTES_PER_CHARACTER)
    tracemalloc.start()
    try:
        with pytest.raises(
            RecipeError, match=r"more than 4 MiB of text, and 64 MiB of memory is free\. Leave out rows"
        ):
            read_cells(path)
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


def test_a_first_line_without_an_end_takes_no_memory_either(tmp_path: Path) -> None:
    """A command that looks at the header of an existing file reads at most a megabyte of it."""
    path = tmp_path / "line.csv.gz"
    path.write_bytes(gzip.compress(b"0" * (32 * MIB)))
    tracemalloc.start()
    try:
        assert not has_header(path, ["idx"])
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_plain_file_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the free memory is unknown, there is a bound all the same."""
    path = tmp_path / "large.csv"
    path.write_bytes(b"depth,width\n" + b"1,2\n" * (MIB // 2))
    monkeypatch.setattr("nas.tables.table_file.free_memory_bytes", lambda: None)
    assert len(read_cells(path)[1]) == MIB // 2
    monkeypatch.setattr("nas.tables.table_file.MOST_BYTES", MIB)
    with pytest.raises(RecipeError, match="more than 1 MiB of text, and an unknown amount of memory is free"):
        read_cells(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """Opening it would wait for a writer for ever."""
    os.mkfifo(tmp_path / "pipe.csv.gz")
    with pytest.raises(RecipeError, match=r"pipe\.csv\.gz is no regular file"):
        read_cells(tmp_path / "pipe.csv.gz")


def test_free_memory_is_the_least_of_what_is_told(tmp_path: Path) -> None:
    """The system tells what is available, and a container what it has left."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 900 kB\nMemAvailable:    400 kB\n")
    assert free_memory_bytes(meminfo, tmp_path) == 400 * 1024
    (tmp_path / "memory.max").write_text("500000\n")
    (tmp_path / "memory.current").write_text("300000\n")
    assert free_memory_bytes(meminfo, tmp_path) == 200_000
    (tmp_path / "memory.current").write_text("600000\n")
    assert free_memory_bytes(meminfo, tmp_path) == 0


def test_files_that_a_container_keeps_in_memory_count_as_free(tmp_path: Path) -> None:
    """After a while they fill a container, and no table could be read any more."""
    (tmp_path / "memory.max").write_text("500000\n")
    (tmp_path / "memory.current").write_text("490000\n")
    (tmp_path / "memory.stat").write_text("anon 80000\nfile 400000\ninactive_file 300000\nactive_file 100000\n")
    assert free_memory_bytes(tmp_path / "none", tmp_path) == 410_000


def test_commas_may_separate_thousands_where_a_point_shows_it() -> None:
    """Published tables write 1,012.56; a comma alone may be a decimal one, so it stays a text."""
    numbers = numbers_in(["1,012.56", "", "7"])
    assert isinstance(numbers, np.ndarray)
    assert numbers[[0, 2]].tolist() == [1012.56, 7.0]
    assert numbers_in(["1", "1,012"]) == (2, "1,012")
    assert numbers_in(["10,12.5"]) == (1, "10,12.5")
