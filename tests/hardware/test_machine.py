"""Cache sizes as Linux lists them, memory within a container's limit, and the choice of cores."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nas.hardware.machine import (
    cache_bytes,
    default_workers,
    fastest_cores,
    linux_cache_bytes,
    memory_bytes,
    physical_cores,
    processor_name,
    products_of_bytes_overflow,
    usable_memory_bytes,
)
from nas.tasks.deployed.predict import bytes_overflow


def list_cache(root: Path, index: int, **files: str) -> None:
    folder = root / "cpu3" / "cache" / f"index{index}"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


def test_an_arm_processor_is_named_by_its_board(tmp_path: Path) -> None:
    """Its entry in /proc/cpuinfo has numbers of its design alone."""
    info, board = tmp_path / "cpuinfo", tmp_path / "model"
    info.write_text("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n")
    board.write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert processor_name(info, board) == "Raspberry Pi 5 Model B Rev 1.0"
    info.write_text("processor\t: 0\nmodel name\t: AMD EPYC\n")
    assert processor_name(info, board) == "AMD EPYC"


def test_instruction_caches_are_left_out(tmp_path: Path) -> None:
    """Data and unified caches are listed by level, with the unit of their size applied."""
    list_cache(tmp_path, 0, level="1", type="Data", size="48K")
    list_cache(tmp_path, 1, level="1", type="Instruction", size="32K")
    list_cache(tmp_path, 2, level="2", type="Unified", size="2048K")
    list_cache(tmp_path, 3, level="3", type="Unified", size="32M")
    assert linux_cache_bytes(3, tmp_path) == {"L1": 48 * 2**10, "L2": 2 * 2**20, "L3": 32 * 2**20}


def test_a_cache_without_a_size_is_not_made_up(tmp_path: Path) -> None:
    """A cache without a size, as on some ARM kernels, and an unknown core give no cache."""
    list_cache(tmp_path, 0, level="1", type="Data", size="512")
    list_cache(tmp_path, 1, level="2", type="Unified")
    assert linux_cache_bytes(3, tmp_path) == {"L1": 512}
    assert linux_cache_bytes(4, tmp_path) == {}


@pytest.mark.skipif(
    not sys.platform.startswith(("linux", "darwin")), reason="caches are listed on Linux and macOS only"
)
def test_the_caches_of_this_machine_are_plausible() -> None:
    """A known first-level cache is larger than registers and smaller than a memory."""
    assert all(2**10 <= size <= 2**32 for size in cache_bytes().values())


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_containers_memory_is_what_there_is(tmp_path: Path, file: str) -> None:
    """A container's limit applies; older kernels write a very large number for no limit."""
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
    """Two fast cores are chosen first, then a slow one, and second threads of a core last."""
    monkeypatch.setattr("nas.hardware.machine.allowed_cores", lambda: [2, 3, 4, 5, 6, 7])
    monkeypatch.setattr("nas.hardware.machine._top_clock", lambda core: 5 if core < 6 else 3)
    monkeypatch.setattr("nas.hardware.machine._siblings", lambda core: str(core // 2))
    assert fastest_cores(count) == chosen


@pytest.mark.parametrize(("allowed", "quota", "count"), [([2, 3, 4, 5], 4, 2), ([0, 2], 2, 2), ([2, 3, 4], 1, 1)])
def test_threads_of_one_physical_core_count_once(
    allowed: list[int], quota: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs on both threads of a physical core slow each other, and a container's limit holds too."""
    monkeypatch.setattr("nas.hardware.machine.allowed_cores", lambda: allowed)
    monkeypatch.setattr("nas.hardware.machine.usable_cores", lambda: quota)
    monkeypatch.setattr("nas.hardware.machine._siblings", lambda core: str(core // 2))
    assert physical_cores() == count


def test_large_data_leave_room_for_fewer_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each worker holds the data and a copy, and all of them take at most half of the memory."""
    monkeypatch.setattr("nas.hardware.machine.usable_cores", lambda: 8)
    monkeypatch.setattr("nas.hardware.machine.usable_memory_bytes", lambda: 16 * 2**30)
    assert default_workers(1) == 8
    assert default_workers(2) == 4
    assert default_workers(1, data_bytes=2**30) == 2
    assert default_workers(1, data_bytes=8 * 2**30) == 1


@pytest.mark.parametrize(
    ("processor", "flags", "overflow"),
    [
        ("x86_64", "flags : avx2 fma", True),
        ("x86_64", "flags : avx2 avx512_vnni", False),
        ("AMD64", "flags : avx2 avx_vnni", False),
        ("AMD64", None, True),
        ("aarch64", "Features : asimd", False),
    ],
)
def test_bytes_overflow_on_x86_without_vnni(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processor: str, flags: str | None, overflow: bool
) -> None:
    """Where it is unknown, they are taken to overflow."""
    monkeypatch.setattr("platform.machine", lambda: processor)
    info = tmp_path / "cpuinfo"
    if flags is not None:
        info.write_text(flags)
    assert products_of_bytes_overflow(info) is overflow
    assert bytes_overflow(info) is overflow, "predict.py has a function of its own"
