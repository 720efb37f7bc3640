"""``nas predictor onboard``: what it measures and writes, and the requests that it refuses."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_nas
from fake_bench import VALUES, FakeBench, latency_ms
from in_process import printed, refused
from quick_predictor import fit_quick
from small_tables import (
    ALL,
    DEVICE,
    FP32,
    NEW,
    QUICK,
    SPACE,
    TASK,
    first,
    measurement,
    rows_in,
    slower,
    table_of_two_devices,
    write_table,
)

from nas.cli.main import main
from nas.errors import CandidateError
from nas.hardware.bench import Outcome
from nas.hardware.runtimes.runtime import Deployed
from nas.prediction.predictor import Given
from nas.space.architecture import Architecture
from nas.tables.measured_table import device_name
from nas.values.target import Target

ONBOARD = ("predictor", "onboard")

pytestmark = pytest.mark.usefixtures("small_spaces_here")


@pytest.fixture(name="table")
def small_table(tmp_path: Path) -> Path:
    """The table of two devices."""
    return table_of_two_devices(tmp_path)


class NewDevice(FakeBench):
    """A bench three times as slow as the fake one; it fails on architectures whose ids are in ``broken``."""

    def __init__(self, broken: Sequence[str] = ()) -> None:
        super().__init__(SPACE)
        self.broken = broken
        self.checked: list[Sequence[str]] = []

    def check(self, metrics: Sequence[str]) -> None:
        self.checked.append(metrics)

    def measure(
        self,
        models: Sequence[Deployed],
        metrics: Sequence[str],
        rng: np.random.Generator,
        advance: Callable[[], None] = lambda: None,
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for model in models:
            a = self._by_id[model.path.stem]
            self.measured.append(a.id)
            failed = CandidateError("measure", "the device refuses it")
            outcomes.append(failed if a.id in self.broken else {name: measurement(name, a, 3) for name in metrics})
        return outcomes


@pytest.fixture(name="device")
def new_device(monkeypatch: pytest.MonkeyPatch) -> NewDevice:
    """The bench of every target. It looks at the names of models only, so models are empty files."""
    bench = NewDevice()
    monkeypatch.setattr("nas.hardware.measuring.export_model", lambda module, shape, batch, path, kind: path.touch())
    monkeypatch.setattr("nas.hardware.bench_request.BenchRequest.open", lambda *_: bench)
    return bench


def onboarded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, table: Path, *arguments: str | Path
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Run the command, and return its report as JSON and the rows of the new table."""
    out = table.parent / "new" / "out.csv.gz"
    files = ("--out", out, "--report", table.parent / "page.html")
    common = ("--table", table, "--target", NEW, *TASK, *QUICK, *files, "--json")
    shown = json.loads(printed(capsys, monkeypatch, *ONBOARD, *common, *arguments))
    assert shown["table"] == str(out)
    return shown["metrics"][0], rows_in(out)


def test_a_target_is_onboarded_with_few_measurements(
    table: Path, device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only measured rows get measured values, all rows get predictions, and older columns stay unchanged."""
    report, rows = onboarded(capsys, monkeypatch, table, "--samples", "6")
    assert device.checked == [["latency_ms"]]
    assert len(device.measured) == 6
    assert (report["target"], report["sources"]) == (DEVICE, ["board", "phone"])
    assert report["held_out"]["samples"] == 6
    for row, old, a in zip(rows, rows_in(table), ALL, strict=True):
        assert {name: row[name] for name in old} == old
        measured = row[f"latency_ms_{DEVICE}"]
        if a.id in device.measured:
            assert float(measured) == pytest.approx(3 * latency_ms(a), rel=1e-6)
            assert float(row[f"lower_latency_ms_{DEVICE}"]) <= float(measured)
        else:
            assert (measured, row[f"lower_latency_ms_{DEVICE}"]) == ("", "")
        parts = ("predicted_lower", "predicted", "predicted_upper")
        low, mean, high = (float(row[f"{part}_latency_ms_{DEVICE}"]) for part in parts)
        assert 0 < low < mean < high == float(row[f"predicted_limit_latency_ms_{DEVICE}"])
        assert row[f"predicted_known_latency_ms_{DEVICE}"] in ("0", "1")


def test_the_output_of_programs_does_not_come_before_the_json(
    table: Path, device: NewDevice, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A space, a runtime or a library may start programs that print."""

    def export(module: object, shape: object, batch: int, path: Path, kind: object) -> None:
        subprocess.run([sys.executable, "-c", "print('printed by a program')"], check=True)
        path.touch()

    monkeypatch.setattr("nas.hardware.measuring.export_model", export)
    onboarded(capfd, monkeypatch, table, "--samples", "6")
    assert len(device.measured) == 6


def test_the_same_seed_measures_the_same_ones(
    table: Path, device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same seed chooses the same architectures, fast and slow, so that an interrupted command can continue."""
    for _ in range(2):
        onboarded(capsys, monkeypatch, table, "--samples", "6", "--sources", "phone")
    assert device.measured[:6] == device.measured[6:]
    places = sorted(sorted(ALL, key=slower).index(a) for a in ALL if a.id in device.measured)
    assert places[0] < 5
    assert places[-1] >= 10


def test_the_target_s_own_column_counts_as_measured(
    device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Values of the target's own column count as samples and not as a source; only the missing ones are measured."""
    columns = {"latency_ms_phone": slower, f"latency_ms_{DEVICE}": first(4, lambda a: 3 * latency_ms(a))}
    table = write_table(tmp_path / "table.csv.gz", columns)
    report, rows = onboarded(capsys, monkeypatch, table, "--samples", "7")
    assert len(device.measured) == 3
    assert not {a.id for a in ALL[:4]} & set(device.measured)
    assert report["sources"] == ["phone"]
    assert report["held_out"]["samples"] == 7
    assert sum(row[f"latency_ms_{DEVICE}"] != "" for row in rows) == 7
    enough = onboarded(capsys, monkeypatch, table, "--samples", "5")[0]
    assert len(device.measured) == 3 + 1
    assert enough["held_out"]["samples"] == 5


def test_energy_is_predicted_with_the_help_of_known_latencies(
    device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Known latencies of the target are a feature of its energy; without such a column there is no feature."""
    features: list[list[str]] = []

    def fit(space: Any, architectures: Any, values: Any, *, given: Sequence[Given] = (), **rest: Any) -> Any:
        features.append([each.name for each in given])
        return fit_quick(space, architectures, values, given=given, **rest)

    monkeypatch.setattr("nas.prediction.trust_request.load_predictor", lambda name: fit)
    monkeypatch.setitem(VALUES, "energy_mj", lambda a: 5 * latency_ms(a))  # type: ignore[misc]
    columns = {"energy_mj_phone": slower, f"latency_ms_{DEVICE}": first(9)}
    table = write_table(tmp_path / "table.csv.gz", columns)
    onboarded(capsys, monkeypatch, table, "--samples", "6", "--metric", "energy_mj")
    assert [] in features  # the latency's own predictor
    assert ["latency_ms"] in features
    features.clear()
    alone = write_table(tmp_path / "alone.csv.gz", {"energy_mj_phone": slower})
    onboarded(capsys, monkeypatch, alone, "--samples", "6", "--metric", "energy_mj")
    assert features
    assert not any(features)


def test_another_precision_of_the_runtime_is_only_a_source(
    device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A column of another precision or batch size, or of no named precision, is a source but no measurement."""
    others = [FP32, DEVICE.replace("batch1", "batch8"), "onnxruntime-cpu"]
    table = write_table(tmp_path / "table.csv.gz", {f"latency_ms_{name}": slower for name in others})
    report, rows = onboarded(capsys, monkeypatch, table, "--samples", "5")
    assert report["sources"] == others
    assert len(device.measured) == 5
    assert [row[f"latency_ms_{FP32}"] for row in rows] == [str(slower(a)) for a in ALL]
    assert sum(row[f"latency_ms_{DEVICE}"] != "" for row in rows) == 5


def test_other_architectures_replace_those_that_fail(
    table: Path, device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failed architectures are replaced by others, measured once each, and all rows are still predicted."""
    device.broken = [a.id for a in ALL[2::3]]
    report, rows = onboarded(capsys, monkeypatch, table, "--samples", "8")
    good = [a.id for a in ALL if a.id in device.measured and a.id not in device.broken]
    assert report["held_out"]["samples"] == 8 == len(good)
    assert len(set(device.measured)) == len(device.measured) > 8
    assert all(row[f"predicted_latency_ms_{DEVICE}"] for row in rows)


def test_too_many_failures_are_an_error(
    table: Path, device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message gives the reason of the last failure, and no table is written."""
    device.broken = [a.id for a in ALL[2:]]
    common = ("--table", table, "--target", NEW, *TASK, *QUICK, "--out", table.parent / "out.csv.gz")
    monkeypatch.setattr(sys, "argv", ["nas", *ONBOARD, *map(str, common)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert "a predictor needs 5 measured architectures, but" in message
    assert "The last one: the device refuses it" in message
    assert not (table.parent / "out.csv.gz").exists()


def test_sources_with_gaps_are_filled_by_their_means(
    device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A row for which no source has a value is not measured, but is predicted."""
    columns = {"latency_ms_a": first(9), "latency_ms_b": lambda a: slower(a) if a in ALL[4:13] else None}
    table = write_table(tmp_path / "table.csv.gz", columns)
    _, rows = onboarded(capsys, monkeypatch, table, "--samples", "13")
    assert set(device.measured) == {a.id for a in ALL[:13]}
    assert all(row[f"predicted_latency_ms_{DEVICE}"] for row in rows)
    assert math.isfinite(float(rows[-1][f"predicted_latency_ms_{DEVICE}"]))


BAD_ONBOARDINGS = {
    "samples": (("--samples", "4"), "--samples must be at least 5 for a predictor, but got 4"),
    "too many": (("--samples", "16"), "a value of a source, 15, but got 16"),
    "out": (("--out", "t.csv"), "to a file named like table.csv.gz, but got 't.csv'"),
    "metric": (("--metric", "params"), "must be a measured one, but params is counted. Known: latency_ms, "),
    "no source": (("--metric", "energy_mj"), "has no other column of it. Measure one with nas measure --space."),
    "empty source": (
        ("--sources", "empty"),
        "a source must have at least 5 values, but column 'latency_ms_empty' of table.csv.gz has 0",
    ),
    "bad source": (("--sources", "zero"), "column 'latency_ms_zero' of table.csv.gz must be positive"),
    "unknown source": (("--sources", "phon"), "Did you mean 'latency_ms_phone'?"),
    "other space": (("--space", "nasbench201"), "it is a table of another space"),
    "target": (("--target", "onnxruntime-gpu"), "Did you mean 'onnxruntime-cpu'?"),
    "not here": (("--target", "own_runtime:Elsewhere"), "own_runtime:Elsewhere:fp32:batch=1:threads=1 needs a board"),
    "limit": (("--limit", "energy_mj<=1mJ"), "a limit must be on a reported metric"),
    "predictor": (("--predictor", "transfr"), "unknown predictor 'transfr'"),
}


@pytest.mark.parametrize("what", BAD_ONBOARDINGS)
def test_a_wrong_request_to_onboard_is_one_message(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command refuses before it measures or writes anything."""
    arguments, message = BAD_ONBOARDINGS[what]
    columns: dict[str, Callable[[Architecture], object]] = {"latency_ms_phone": slower}
    columns |= {"latency_ms_empty": lambda a: None} if what == "empty source" else {}
    columns |= {"latency_ms_zero": lambda a: 0} if what == "bad source" else {}
    table = write_table(tmp_path / "table.csv.gz", columns)
    monkeypatch.chdir(tmp_path)
    if what == "too many":
        monkeypatch.setattr("nas.hardware.bench_request.BenchRequest.open", lambda *_: NewDevice())
    defaults = {"--table": "table.csv.gz", "--target": NEW, "--predictor": "quick_predictor:fit_quick"}
    defaults |= {"--space": "tiny_space:TinySpace", "--input-shape": "1x8x8"}
    changed = dict(zip(arguments[::2], arguments[1::2], strict=True))
    given = [word for pair in (defaults | changed).items() for word in pair]
    text = refused(capsys, monkeypatch, *ONBOARD, *given)
    assert message in text
    assert len(text.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [table]


@pytest.mark.slow
def test_a_target_is_measured_in_processes_of_its_own(
    table: Path, acting: Target, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output fits 80 columns, and the same command finds its measurements again."""
    device, out = device_name(acting), table.parent / "out.csv.gz"
    quick = ("--samples", "5", "--max-rounds", "2", "--within", "1")
    files = ("--out", out, "--report", table.parent / "page.html")
    common = ("--table", table, "--target", "own_runtime:Acting", *TASK, *QUICK, *quick, *files)
    text = printed(capsys, monkeypatch, *ONBOARD, *common)
    shown = text[text.index(f"Latency on {device}") :].splitlines()
    assert all(len(line) <= 80 for line in shown[:-2])
    assert shown[-2:] == [f"Table: {out}", f"Report: {table.parent / 'page.html'}"]
    assert sum(row[f"latency_ms_{device}"] != "" for row in rows_in(out)) == 5
    text = printed(capsys, monkeypatch, *ONBOARD, *common)
    assert f"5 rows have a value of latency_ms_{device} already" in " ".join(text.split())


@pytest.mark.slow
@pytest.mark.usefixtures("onnx_profile")
def test_the_command_onboards_onnx_runtime(tmp_path: Path) -> None:
    """The real command measures five architectures from start to end."""
    table = write_table(tmp_path / "table.csv.gz", {"latency_ms_phone": slower})
    quick = ("--samples", "5", "--max-rounds", "2", "--within", "1", "--out", tmp_path / "out.csv.gz")
    what = ("--table", table, "--target", "onnxruntime-cpu", *TASK, *QUICK, "--report", tmp_path / "page.html")
    done = run_nas(*ONBOARD, *what, *quick, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"][0]["target"] == FP32
    assert sum(row[f"latency_ms_{FP32}"] != "" for row in rows_in(tmp_path / "out.csv.gz")) == 5
