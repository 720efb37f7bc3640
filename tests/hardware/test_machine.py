"""Cache sizes as Linux lists them, and memory within a container's limit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nas.hardware.machine import cache_bytes, fastest_cores, linux_cache_bytes, memory_bytes, usable_memory_bytes


def list_cache(root: Path, index: int, **files: str) -> None:
    folder = root / "cpu3" / "cache" / f"index{index}"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


def test_instruction_caches_are_left_out(tmp_path: Path) -> None:
    """Data and unified caches come by level, with their suffix turned into a factor."""
    list_cache(tmp_path, 0, level="1", type="Data", size="48K")
    list_cache(tmp_path, 1, level="1", type="Instruction", size="32K")
    list_cache(tmp_path, 2, level="2", type="Unified", size="2048K")
    list_cache(tmp_path, 3, level="3", type="Unified", size="32M")
    assert linux_cache_bytes(3, tmp_path) == {"L1": 48 * 2**10, "L2": 2 * 2**20, "L3": 32 * 2**20}


def test_a_cache_without_a_size_is_not_made_up(tmp_path: Path) -> None:
    """As some ARM kernels list them; and a core that is not listed has none."""
    list_cache(tmp_path, 0, level="1", type="Data", size="512")
    list_cache(tmp_path, 1, level="2", type="Unified")
    assert linux_cache_bytes(3, tmp_path) == {"L1": 512}
    assert linux_cache_bytes(4, tmp_path) == {}


@pytest.mark.skipif(
    not sys.platform.startswith(("linux", "darwin")), reason="caches are listed on Linux and macOS only"
)
def test_the_caches_of_this_machine_are_plausible() -> None:
    """Where the system tells, a first-level cache is neither a register nor a memory."""
    assert all(2**10 <= size <= 2**32 for size in cache_bytes().values())


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_containers_memory_is_what_there_is(tmp_path: Path, file: str) -> None:
    """Where it has a limit; older kernels write a very large number for none."""
    whole = usable_memory_bytes(tmp_path)
    assert whole == memory_bytes()
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("1048576\n")
    assert usable_memory_bytes(tmp_path) == 2**20
    for text in ("max\n", "9223372036854771712\n"):
        (tmp_path / file).write_text(text)
        assert usable_memory_bytes(tmp_path) == whole or whole is None


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, [5]), (2, [3, 5]), (3, [3, 5, 7]), (4, [3, 4, 5, 7]), (9, [2, 3, 4, 5, 6, 7])]
)
def test_threads_of_one_core_are_taken_last(monkeypatch: pytest.MonkeyPatch, count: int, chosen: list[int]) -> None:
    """Two fast cores of two threads each come before a slow one, whose threads are the last."""
    monkeypatch.setattr("nas.hardware.machine.allowed_cores", lambda: [2, 3, 4, 5, 6, 7])
    monkeypatch.setattr("nas.hardware.machine._top_clock", lambda core: 5 if core < 6 else 3)
    monkeypatch.setattr("nas.hardware.machine._siblings", lambda core: str(core // 2))
    assert fastest_cores(count) == chosen
