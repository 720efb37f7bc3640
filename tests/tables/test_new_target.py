"""Bringing a new target into a table: its sources, what a reader must know, and how to continue."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from small_tables import ALL, NEW_TEXT, SPACE, table_of_two_devices

from nas.errors import RecipeError
from nas.tables.interruption import noting_how_to_continue
from nas.tables.onboarding import Onboarded, doubts_of, sources_from
from nas.tables.table import read_table
from nas.values.evaluation import Evaluation, Failure
from nas.values.measurement import Measurement


def test_failures_flags_and_earlier_values_are_reported() -> None:
    """Earlier values, failures and flags each have a sentence; flags come with the number of measurements."""
    flagged = Measurement("latency_ms", NEW_TEXT, ((1.0,),), flags=("busy", "hot"))
    rows = {
        3: Evaluation("measure", ALL[3], measurements={"latency_ms": flagged}),
        4: Evaluation("measure", ALL[4], measurements={"latency_ms": replace(flagged, flags=("busy",))}),
        5: Evaluation("measure", ALL[5], failure=Failure("measure", "it hung")),
    }
    assert doubts_of(Onboarded({}, 2, rows), "latency_ms_board") == [
        "2 rows have a value of latency_ms_board already, and count as measured",
        f"{ALL[5].id} failed: it hung",
        "2 of 3 measurements are doubtful: busy",
        "1 of 3 measurements are doubtful: hot",
    ]
    assert doubts_of(Onboarded({}, 0, {}), "latency_ms_board") == []


def test_a_device_with_few_values_is_no_source(tmp_path: Path) -> None:
    """Such a device is left out by default, and refused if it is named."""
    table = table_of_two_devices(tmp_path)
    lines = gzip.decompress(table.read_bytes()).decode().splitlines()
    few = [f"{line},{'latency_ms_watch' if n == 0 else n if n < 4 else ''}" for n, line in enumerate(lines)]
    table.write_bytes(gzip.compress("\n".join([*few, ""]).encode()))
    read = read_table(table, SPACE)
    assert [source.target for source in sources_from(read, "latency_ms", "new", ())] == ["board", "phone"]
    with pytest.raises(RecipeError, match=r"at least 5 values, but column 'latency_ms_watch' of .* has 3"):
        sources_from(read, "latency_ms", "new", ["watch"])


@pytest.mark.parametrize(
    ("fresh", "note"),
    [
        (False, "Run the same command again to continue."),
        (True, "Run the same command again, without --fresh-measurements, to continue."),
    ],
)
def test_an_interruption_tells_how_to_continue(fresh: bool, note: str) -> None:
    """The note advises against --fresh-measurements, which would ignore the finished measurements."""
    with pytest.raises(KeyboardInterrupt) as caught, noting_how_to_continue(fresh):
        raise KeyboardInterrupt
    assert caught.value.__notes__ == [note]
