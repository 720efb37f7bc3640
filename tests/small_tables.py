"""Small tables and measurements for tests of ``nas predictor``: fifteen architectures on made-up devices."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Mapping
from pathlib import Path

from fake_bench import VALUES, latency_ms
from tiny_space import TinySpace

from nas.space.architecture import Architecture
from nas.space.search_space import enumerate_space
from nas.values.measurement import Measurement

SPACE = TinySpace()
ALL = list(enumerate_space(SPACE))
TASK = ("--space", "tiny_space:TinySpace", "--input-shape", "1x8x8")
QUICK = ("--predictor", "quick_predictor:fit_quick")
NEW = "onnxruntime-cpu:int8"
NEW_TEXT = "onnxruntime-cpu:int8:batch=1:threads=1"
DEVICE = "onnxruntime-cpu_int8_batch1_threads1"
FP32 = "onnxruntime-cpu_fp32_batch1_threads1"


def write_table(path: Path, columns: Mapping[str, Callable[[Architecture], object]]) -> Path:
    """Write all fifteen architectures with these columns, whose functions return None for an empty cell."""
    options = {choice.name: list(choice.options) for choice in SPACE.choices}
    lines = [["idx", *options, *columns]]
    for index, a in enumerate(ALL):
        numbers = [str(options[name].index(a[name])) if name in a else "" for name in options]
        values = [value(a) for value in columns.values()]
        lines.append([str(index), *numbers, *("" if value is None else str(value) for value in values)])
    text = "\n".join(",".join(line) for line in lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()))
    return path


def first(count: int, value: Callable[[Architecture], float] = latency_ms) -> Callable[[Architecture], object]:
    """Return a column that holds the value of the first ``count`` architectures only."""
    return lambda a: value(a) if a in ALL[:count] else None


def slower(a: Architecture) -> float:
    """Return the latency on a device that is more than twice as slow."""
    return 2 * latency_ms(a) ** 1.1


def table_of_two_devices(folder: Path) -> Path:
    """Write a table in which ``board`` has 12 of 15 latencies and 9 energies, and ``phone`` all latencies."""
    columns = {
        "latency_ms_board": first(12),
        "energy_mj_board": first(9, lambda a: 3 * latency_ms(a)),
        "latency_ms_phone": slower,
    }
    return write_table(folder / "table.csv.gz", columns)


def rows_in(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table by column."""
    return list(csv.DictReader(gzip.decompress(path.read_bytes()).decode().splitlines()))


def measurement(name: str, architecture: Architecture, factor: float = 1.0) -> Measurement:
    """Return ``factor`` times the fake bench's value, measured on the new target in three equal rounds."""
    return Measurement(name, NEW_TEXT, ((factor * VALUES[name](architecture),),) * 3)
