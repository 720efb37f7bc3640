"""Bad tables: files that are none, cells that make no sense, and requests that do not fit them."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

from bad_inputs.bad_input import BadInput
from small_tables import ALL, QUICK, TASK, first, table_of_two_devices, write_table

REPORT = ("predictor", "report", "t.csv.gz", *TASK, *QUICK)
SEARCH = (
    *("search", "--evaluate", "table", "--space", "tiny_space:TinySpace", "--executor", "inline"),
    *("--set", "table.path=t.csv.gz", "--set", "table.accuracy=acc", "--set", "table.input_shape=[1, 8, 8]"),
)
ONBOARD = ("predictor", "onboard", "--table", "t.csv.gz", *TASK, *QUICK, "--target", "onnxruntime-cpu:int8")

OWN_REPORT = ("predictor", "report", "t.csv.gz", "--space", "own:Space", "--input-shape", "1x8x8", "--target", "phone")
OWN_ONBOARD = (
    *("predictor", "onboard", "--table", "t.csv.gz", "--space", "own:Space", "--input-shape", "1x8x8"),
    *("--out", "o.csv.gz", "--target", "onnxruntime-cpu:int8"),
)

Prepared = Callable[[Path], object]


def content(data: bytes) -> Prepared:
    return lambda folder: (folder / "t.csv.gz").write_bytes(data)


def text(data: str) -> Prepared:
    return content(data.encode())


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "t.csv.gz")


def lines(change: Callable[[list[str]], list[str]]) -> Prepared:
    """Return a preparation that writes a sound table and then changes its lines."""

    def prepare(folder: Path) -> None:
        path = sound(folder)
        changed = change(gzip.decompress(path.read_bytes()).decode().splitlines())
        path.write_bytes(gzip.compress(("\n".join(changed) + "\n").encode()))

    return prepare


def sound(folder: Path) -> Path:
    """Write a table with an accuracy and with latencies."""
    columns = {"acc": lambda a: 50 + ALL.index(a), "latency_ms": first(15), "latency_ms_phone": first(15)}
    return write_table(folder / "t.csv.gz", columns)


def last_cells(*cells: str) -> Prepared:
    """Return a preparation of a sound table whose last row ends in these cells."""
    return lines(lambda all_: [*all_[:-1], ",".join([*all_[-1].split(",")[: -len(cells)], *cells])])


def duplicates(folder: Path) -> None:
    """Write two architectures twice, with other latencies."""
    lines(lambda all_: [*all_, *(",".join([*line.split(",")[:-1], "99"]) for line in all_[1:3])])(folder)


def packed(data: bytes) -> bytes:
    return gzip.compress(data)


def two_devices(folder: Path) -> None:
    table_of_two_devices(folder).rename(folder / "t.csv.gz")


def of_own_space(code: str) -> Prepared:
    """Return a preparation that also writes the user's own space, ``code``."""

    def prepare(folder: Path) -> None:
        sound(folder)
        (folder / "own.py").write_text(f"import os\nfrom tiny_space import TinySpace\n{code}\n")

    return prepare


def refused(arguments: tuple[str, ...], words: str, prepare: Prepared = sound) -> BadInput:
    return BadInput(arguments, (words,), prepare)


CELLS = {
    "a latency below zero": ("-1", "must be positive, but row 15 holds -1"),
    "a latency of zero": ("0", "must be positive, but row 15 holds 0"),
    "an absurd latency": ("1e308", "must hold values from 1e-12 to 1e+15, but row 15 holds 1e+308"),
    "a latency of nearly nothing": ("1e-300", "must hold values from 1e-12 to 1e+15, but row 15 holds 1e-300"),
    "latencies of two units": ("1e-11", "within a factor of 1e+09, but row 15 holds 1e-11 and row"),
    "an infinite latency": ("inf", "must hold numbers, but row 15 holds 'inf'"),
    "a latency that is no number": ("nan", "must hold numbers, but row 15 holds 'nan'"),
    "a latency in words": ("fast", "must hold numbers, but row 15 holds 'fast'"),
    "a latency with an underscore": ("1_000", "must hold numbers, but row 15 holds '1_000'"),
    "a latency with a decimal comma": ('"1,5"', "must hold numbers, but row 15 holds '1,5'"),
    "a latency with its unit": ("1.5 ms", "must hold numbers, but row 15 holds '1.5 ms'"),
}

BAD_INPUTS = {
    "a table in the home of nobody": refused(
        (*SEARCH, "--set", "table.path=~nosuchuser/t.csv"), "~nosuchuser/t.csv does not exist"
    ),
    "a table of rows in the home of nobody": refused(
        (
            *SEARCH[:3],
            "--space",
            "table",
            "--set",
            "space.table=~nosuchuser/t.csv",
            "--set",
            'space.choices=["a"]',
            "--set",
            "table.path=t.csv.gz",
            "--set",
            "table.accuracy=acc",
        ),
        "~nosuchuser/t.csv does not exist",
    ),
    # Files
    "no table": BadInput(REPORT, ("but t.csv.gz does not exist",)),
    "a pipe as a table": refused(REPORT, "t.csv.gz is no regular file", pipe),
    "a table in pieces": refused(REPORT, "cannot be read: ", content(packed(b"depth,width\n" * 90)[:-20])),
    "a table with a wrong sum": refused(REPORT, "cannot be read: ", content(packed(b"depth\n" * 90)[:-8] + b"x" * 8)),
    "an empty table": refused(REPORT, "t.csv.gz is empty", content(b"")),
    "a header alone": refused(REPORT, "t.csv.gz has no rows", text("depth,width,latency_ms\n")),
    "a picture as a table": refused(REPORT, "cannot be read: ", content(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))),
    "a table in UTF-16": refused(REPORT, "cannot be read: ", content("depth,width\n1,2\n".encode("utf-16"))),
    "an open quote": refused(REPORT, "is no valid CSV", text('depth,width\n1,"2\n')),
    "a cell of a megabyte": refused(REPORT, "is no valid CSV: field larger", text(f"depth,width\n1,{'2' * 10**6}\n")),
    # Rows and columns
    "a short row": refused(REPORT, "must have the", lines(lambda all_: [*all_, "1"])),
    "a long row": refused(REPORT, "must have the", lines(lambda all_: [*all_, all_[-1] + ",1"])),
    "a column twice": refused(
        REPORT, "has 'acc' twice", lines(lambda all_: [f"acc,{all_[0]}", *("1," + x for x in all_[1:])])
    ),
    "a table of another space": refused(REPORT, "it is a table of another space", text("op,latency_ms\n1,2\n")),
    "an option that there is not": refused(
        REPORT, "must hold numbers of options", lines(lambda all_: [*all_, ",".join("9" * len(all_[0].split(",")))])
    ),
    "several rows of one architecture": BadInput(
        (*REPORT, "--target", "phone", "--samples", "8"),
        ("2 of 15 architectures have several rows with different values", "the first row of each is used"),
        duplicates,
        status=0,
    ),
    **{name: refused((*REPORT, "--target", "phone"), words, last_cells(cell)) for name, (cell, words) in CELLS.items()},
    # A search
    "an accuracy above 100": refused(SEARCH, "must be per cent, from 0 to 100", last_cells("101", "1", "1")),
    "an accuracy below 0": refused(SEARCH, "must be per cent, from 0 to 100", last_cells("-1", "1", "1")),
    "accuracies as shares": refused(
        SEARCH,
        "no value in 'acc' of t.csv.gz is above 1",
        lambda folder: write_table(folder / "t.csv.gz", {"acc": lambda a: 0.5, "latency_ms": first(15)}),
    ),
    "an absurd time of training": refused((*SEARCH, "--set", "table.training_s=1e308"), "table.training_s: "),
    "an endless time of training": refused((*SEARCH, "--set", "table.training_s=inf"), "table.training_s: "),
    "a pause of years": refused((*SEARCH, "--set", "table.pause_s=1e9"), "table.pause_s: "),
    "a device that there is not": refused((*SEARCH, "--set", "table.device=toaster"), "Set table.device"),
    "an accuracy that there is not": refused(
        (*SEARCH, "--set", "table.accuracy=accuracy"), "has none named 'accuracy'"
    ),
    # Requests
    "a target that there is not": refused((*REPORT, "--target", "toaster"), "--target must be a device of t.csv.gz"),
    "two devices and no target": refused(REPORT, "has 2 devices: name one with --target", two_devices),
    "a source that there is not": refused(
        (*REPORT, "--target", "phone", "--sources", "toaster"), "none named 'latency_ms_toaster'"
    ),
    "itself as a source": refused(
        (*REPORT, "--target", "phone", "--sources", "phone"), "sources must be other devices than the target"
    ),
    "a metric that it does not have": refused(
        (*REPORT, "--target", "phone", "--metric", "energy_mj"), "none named 'energy_mj_phone'"
    ),
    "an onboarded table with another name": refused(
        (*ONBOARD, "--out", "out.csv"), "a table is written as gzip CSV, to a file named like table.csv.gz"
    ),
    "two samples": refused((*ONBOARD, "--out", "o.csv.gz", "--samples", "2"), "--samples must be at least"),
    "a space that ends the process that imports it": BadInput(
        OWN_REPORT, ("fails to import: ProcessExitError: os._exit(0)",), of_own_space("os._exit(0)")
    ),
    "a space that ends the process that makes it": BadInput(
        OWN_ONBOARD,
        ("cannot be made: ProcessExitError: os._exit(0)",),
        of_own_space("class Space(TinySpace):\n    def __init__(self):\n        os._exit(0)"),
    ),
    "onboarding from a pipe": refused((*ONBOARD, "--out", "o.csv.gz"), "t.csv.gz is no regular file", pipe),
}
