"""A new target learns from what was measured before on this machine and on boards, with a table and without one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_bench import FakeBench, latency_ms
from in_process import printed, refused
from small_tables import ALL, DEVICE, FP32, NEW, QUICK, SPACE, TASK, first, measurement, rows_in, slower, write_table

from nas.space.architecture import Architecture
from nas.space.signature import image_signature
from nas.storage.home import home
from nas.storage.measurement_store import MeasurementStore, layers_identity, space_identity
from nas.values.measurement import Measurement

ONBOARD = ("predictor", "onboard")
BOARD = "pi/onnxruntime-cpu:fp32:batch=1:threads=1"
ON_BOARD = "pi/onnxruntime-cpu_fp32_batch1_threads1"
IDENTITY = space_identity(SPACE, image_signature((1, 8, 8), 10))


class NewTarget(FakeBench):
    """A bench three times as slow as the fake one, whose measurements are kept."""

    def __init__(self) -> None:
        super().__init__(SPACE, fingerprint="new-1")

    def _measurement(self, name: str, architecture: Architecture, rng: object) -> Measurement:
        return measurement(name, architecture, 3)


@pytest.fixture(name="bench")
def new_target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> NewTarget:
    """The bench of every target, and a home without measurements. A source needs five."""
    bench = NewTarget()
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("nas.storage.measurement_store.LEAST_OF_A_SOURCE", 5)
    monkeypatch.setattr("nas.hardware.measuring.export_model", lambda module, shape, batch, path, kind: path.touch())
    monkeypatch.setattr("nas.hardware.bench_request.BenchRequest.open", lambda *_: bench)
    return bench


pytestmark = pytest.mark.usefixtures("small_spaces_here")


def keep(
    target: str,
    architectures: Sequence[Architecture] = ALL,
    value: Callable[[Architecture], float] = latency_ms,
    fingerprint: str | None = None,
) -> None:
    """Keep measurements as a search would."""
    store = MeasurementStore(home())
    for each in architectures:
        found = replace(measurement("latency_ms", each), target=target, rounds=((value(each),),) * 3)
        store.add(fingerprint or f"{target}-1", f"{IDENTITY}-{layers_identity(())}", each, {"latency_ms": found})


def onboarded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str | Path
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Run the command, and return its report as JSON and the rows of the new table."""
    out = folder / "out.csv.gz"
    common = (
        "--target",
        NEW,
        *TASK,
        *QUICK,
        "--samples",
        "6",
        "--out",
        out,
        "--report",
        folder / "page.html",
        "--json",
    )
    shown = json.loads(printed(capsys, monkeypatch, *ONBOARD, *common, *arguments))
    return shown["metrics"][0], rows_in(out)


def test_without_a_table_it_is_one_of_what_was_measured_before(
    bench: NewTarget, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The measurements of this machine and of a board are its columns and the sources; other spaces do not count."""
    keep("onnxruntime-cpu:fp32:batch=1:threads=1", ALL[:12])
    keep(BOARD, ALL[4:], slower)
    report, rows = onboarded(capsys, monkeypatch, tmp_path)
    assert sorted(report["sources"]) == [FP32, ON_BOARD]
    assert len(bench.measured) == 6
    assert sorted(row["id"] for row in rows) == sorted(each.id for each in ALL)
    by_id = {row["id"]: row for row in rows}
    for n, each in enumerate(ALL):
        row = by_id[each.id]
        assert (row[f"latency_ms_{FP32}"] != "") == (n < 12)
        assert (row[f"latency_ms_{ON_BOARD}"] != "") == (n >= 4)
        assert float(row[f"predicted_latency_ms_{DEVICE}"]) > 0
        assert (row[f"latency_ms_{DEVICE}"] != "") == (each.id in bench.measured)
        options = {choice.name: choice.options for choice in SPACE.choices if choice.name in each}
        assert {name: options[name][int(row[name])] for name in options} == dict(each)


@pytest.mark.slow
def test_a_table_gets_the_targets_that_it_lacks(
    bench: NewTarget, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its own columns stay as they are, also where another value was kept; named sources are the only ones."""
    table = write_table(tmp_path / "table.csv.gz", {f"latency_ms_{FP32}": first(12)})
    keep("onnxruntime-cpu:fp32:batch=1:threads=1", ALL, slower)
    keep(BOARD, ALL[4:], slower)
    report, rows = onboarded(capsys, monkeypatch, tmp_path, "--table", table)
    assert report["sources"] == [FP32, ON_BOARD]
    for row, old in zip(rows, rows_in(table), strict=True):
        assert {name: row[name] for name in old} == old
    assert [row[f"latency_ms_{ON_BOARD}"] != "" for row in rows] == [n >= 4 for n in range(len(ALL))]
    report, _ = onboarded(capsys, monkeypatch, tmp_path, "--table", table, "--sources", ON_BOARD)
    assert report["sources"] == [ON_BOARD]


@pytest.mark.parametrize("fresh", [False, True])
def test_what_was_measured_on_the_target_itself_counts(
    bench: NewTarget,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fresh: bool,
) -> None:
    """It is no source, and only what is missing is measured. Another version of the target tells nothing."""
    keep("onnxruntime-cpu:fp32:batch=1:threads=1")
    text = "onnxruntime-cpu:int8:batch=1:threads=1"
    keep(text, ALL[:4], lambda a: 3 * latency_ms(a), fingerprint="new-1")
    keep(text, ALL, lambda a: 50 * latency_ms(a), fingerprint="older-1")
    report, rows = onboarded(capsys, monkeypatch, tmp_path, *(["--fresh-measurements"] if fresh else []))
    assert report["sources"] == [FP32]
    assert report["held_out"]["samples"] == 6
    assert len(bench.measured) == (6 if fresh else 2)
    known = {row["id"]: float(row[f"latency_ms_{DEVICE}"]) for row in rows if row[f"latency_ms_{DEVICE}"]}
    assert len(known) == 6
    assert all(known[each.id] == pytest.approx(3 * latency_ms(each), rel=1e-5) for each in ALL if each.id in known)


def test_of_two_versions_of_a_source_the_one_with_more_values_counts(
    bench: NewTarget, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keep(BOARD, ALL, slower, fingerprint="long-1")
    keep(BOARD, ALL[:6], lambda a: 99.0, fingerprint="short-1")
    _, rows = onboarded(capsys, monkeypatch, tmp_path)
    assert all(float(row[f"latency_ms_{ON_BOARD}"]) < 99 for row in rows)


def test_without_a_table_and_measurements_there_is_a_message(
    bench: NewTarget, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is measured, and nothing written."""
    keep(BOARD, ALL[:4])
    text = refused(capsys, monkeypatch, *ONBOARD, "--target", NEW, *TASK, "--out", str(tmp_path / "out.csv.gz"))
    assert "or from kept measurements of latency_ms in the space on another target, of at least" in text
    assert "name a table with --table." in text
    assert bench.measured == []
    assert not (tmp_path / "out.csv.gz").exists()
    assert "name that of kept measurements with --space" in refused(capsys, monkeypatch, *ONBOARD, "--target", NEW)
