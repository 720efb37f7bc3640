"""``nas predictor report`` and ``nas predictor onboard``: what they print and write, what they refuse."""

from __future__ import annotations

import csv
import gzip
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_nas
from fake_bench import VALUES, FakeBench, latency_ms
from quick_predictor import fit_quick
from test_cli import refused
from tiny_space import TinySpace

from nas.cli.main import main
from nas.errors import CandidateError, RecipeError
from nas.hardware.bench import Outcome
from nas.hardware.runtimes.runtime import Deployed
from nas.prediction.predictor import Given
from nas.recipe.recipe import Recipe
from nas.space.architecture import Architecture
from nas.space.search_space import choices_hash, enumerate_space
from nas.storage.home import home
from nas.storage.journal import Journal
from nas.storage.measurement_store import MeasurementStore, space_identity
from nas.tables.measured_table import device_name
from nas.tables.onboarding import Onboarded, doubts_of, sources_from
from nas.tables.table import read_table
from nas.values.evaluation import Evaluation, Failure
from nas.values.measurement import Measurement
from nas.values.target import Target

SPACE = TinySpace()
ALL = list(enumerate_space(SPACE))
TASK = ("--space", "tiny_space:TinySpace", "--input-shape", "1x8x8")
QUICK = ("--predictor", "quick_predictor:fit_quick")
NEW = "onnxruntime-cpu:int8"
NEW_TEXT = "onnxruntime-cpu:int8:batch=1:threads=1"
DEVICE = "onnxruntime-cpu_int8_batch1_threads1"
FP32 = "onnxruntime-cpu_fp32_batch1_threads1"


def write_table(path: Path, columns: Mapping[str, Callable[[Architecture], object]]) -> Path:
    """All fifteen architectures, a column for each of ``columns``; None is an empty cell."""
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
    """The value of the first architectures alone."""
    return lambda a: value(a) if a in ALL[:count] else None


def slower(a: Architecture) -> float:
    return 2 * latency_ms(a) ** 1.1


@pytest.fixture(name="table")
def table_of_two_devices(tmp_path: Path) -> Path:
    """``board`` measured twelve of fifteen, with their energy; ``phone`` all, in latency alone."""
    columns = {
        "latency_ms_board": first(12),
        "energy_mj_board": first(9, lambda a: 3 * latency_ms(a)),
        "latency_ms_phone": slower,
    }
    return write_table(tmp_path / "table.csv.gz", columns)


def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    """What the command prints, with status 0."""
    monkeypatch.setattr(sys, "argv", ["nas", "predictor", *map(str, arguments)])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr()
    assert end.value.code == 0, output.err
    return output.out


def rows_in(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(gzip.decompress(path.read_bytes()).decode().splitlines()))


# Reports


def test_a_table_is_reported_on_by_metric(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All metrics of the device, within 80 columns; the page lies in the current folder."""
    monkeypatch.chdir(tmp_path)
    text = told(capsys, monkeypatch, "report", table, *TASK, *QUICK, "--target", "board", "--limit", "latency_ms<=1ms")
    assert all(len(line) <= 80 for line in text.splitlines())
    for words in (
        "Latency on board",
        "Energy on board",
        "What to measure next",
        "latency ≤ 1 ms",
        "No limit was asked",
    ):
        assert words in text
    assert text.splitlines()[-1] == "Report: predictor_report.html"
    page = (tmp_path / "predictor_report.html").read_text(encoding="utf-8")
    assert "Latency on board" in page
    assert 'id="check-energy_mj"' in page


def test_json_is_all_that_stands_on_standard_output(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What could be measured next are the rows without a value; sources are named."""
    out = tmp_path / "new" / "page.html"
    arguments = ("--target", "board", "--metric", "latency_ms", "--sources", "phone", "--out", out, "--json")
    shown = json.loads(told(capsys, monkeypatch, "report", table, *TASK, *QUICK, *arguments))
    (latency,) = shown["metrics"]
    assert (latency["metric"], latency["target"], latency["sources"]) == ("latency_ms", "board", ["phone"])
    assert latency["held_out"]["samples"] == 12 == latency["measured"]
    assert {each["id"] for each in latency["measure_next"]} == {a.id for a in ALL[12:]}
    assert shown["report"] == str(out)
    assert out.is_file()


def test_fewer_samples_are_drawn_when_asked_for(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A large table would take hours; the number that there is stays told."""
    arguments = ("--target", "phone", "--samples", "6", "--out", tmp_path / "page.html", "--json")
    (latency,) = json.loads(told(capsys, monkeypatch, "report", table, *TASK, *QUICK, *arguments))["metrics"]
    assert latency["held_out"]["samples"] == 6
    assert latency["measured"] == 15
    assert latency["measure_next"] == []


def test_a_target_names_its_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As it is written for a search too; a table of one device needs no name."""
    one = write_table(tmp_path / "one.csv.gz", {f"latency_ms_{FP32}": latency_ms})
    for target in ((), ("--target", "onnxruntime-cpu"), ("--target", FP32)):
        arguments = (*target, "--out", tmp_path / "page.html", "--json")
        (latency,) = json.loads(told(capsys, monkeypatch, "report", one, *TASK, *QUICK, *arguments))["metrics"]
        assert latency["target"] == FP32


def make_run(folder: Path, count: int, space: str = "tiny_space:TinySpace", table: str | None = None) -> Path:
    """A run that measured the latency and the size of so many architectures, or looked them up in a table."""
    recipe = Recipe(
        space=space,
        target=NEW,
        seed=3,
        limits=["latency_ms<=1ms"],
        predictor="quick_predictor:fit_quick",
        evaluate="train" if table is None else "table",
        table={"path": table, "accuracy": "acc", "device": "phone", "input_shape": (1, 8, 8)},
    )
    source = {"data set": {"image shape": [1, 8, 8], "classes": 10}} if table is None else {"table": {"rows": 30}}
    note = {**source, "space": {"name": space, "choices": choices_hash(SPACE)}}
    with Journal.start(folder, recipe.to_toml(), clock=lambda: 0.0) as journal:
        journal.append("note", note)
        for a in ALL[:count]:
            measurements = {name: measurement(name, a) for name in ("latency_ms", "model_bytes")}
            journal.append_evaluations([Evaluation("measure", a, measurements=measurements)])
    return folder


def measurement(name: str, architecture: Architecture, factor: float = 1.0) -> Measurement:
    return Measurement(name, NEW_TEXT, ((factor * VALUES[name](architecture),),) * 3)


def test_a_run_is_reported_on_from_its_journal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its space, shapes, limits and predictor are those of its recipe; the page lies beside it."""
    run = make_run(tmp_path / "run", 11)
    shown = json.loads(told(capsys, monkeypatch, "report", run, "--json"))
    latency, size = shown["metrics"]
    assert latency["limits"] == ["latency_ms <= 1"]
    assert (latency["predictor"], size["metric"]) == ("quick_predictor:fit_quick", "model_bytes")
    assert latency["held_out"]["samples"] == 11
    suggested = {each["id"] for each in latency["measure_next"]}
    assert suggested
    assert suggested <= {a.id for a in ALL[11:]}
    page = (run / "predictor_report.html").read_text(encoding="utf-8")
    assert "<dt>seed</dt><dd>3</dd>" in page
    other = told(capsys, monkeypatch, "report", run, "--metric", "latency_ms", "--limit", "latency_ms<=2", "--json")
    assert [each["limits"] for each in json.loads(other)["metrics"]] == [["latency_ms <= 2"]]


def test_a_run_in_a_table_is_reported_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By what its recipe says of the task, since there is no data set; the target is the table's device."""
    run = make_run(tmp_path / "run", 11, table="table.csv.gz")
    latency, _ = json.loads(told(capsys, monkeypatch, "report", run, "--json"))["metrics"]
    assert latency["target"] == "table:phone"
    assert latency["held_out"]["samples"] == 11


def test_a_run_transfers_from_other_targets_of_this_machine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As its search did; what was measured on the run's own target would tell the predictor what it is asked."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("nas.storage.measurement_store.LEAST_OF_A_SOURCE", 5)
    store, identity = MeasurementStore(home()), space_identity(SPACE, (1, 8, 8), 10)
    for target in (NEW_TEXT, "torch-cpu:fp32:batch=1:threads=1"):
        for a in ALL[:6]:
            found = Measurement("latency_ms", target, ((latency_ms(a),),) * 3)
            store.add(f"machine with {target}", f"{identity}-layers", a, {"latency_ms": found})
    run = make_run(tmp_path / "run", 11)
    latency, size = json.loads(told(capsys, monkeypatch, "report", run, "--json"))["metrics"]
    assert latency["sources"] == ["torch-cpu:fp32:batch=1:threads=1"]
    assert size["sources"] == []


def test_the_space_of_a_run_that_was_given_an_object_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The recipe does not know where its class is."""
    run = make_run(tmp_path / "run", 11, space="given")
    text = refused(capsys, monkeypatch, "predictor", "report", run)
    assert "was made with a space object; name its class with --space my_module:MySpace" in text
    told(capsys, monkeypatch, "report", run, "--space", "tiny_space:TinySpace")
    text = refused(capsys, monkeypatch, "predictor", "report", run, "--space", "fault_spaces:Faulty")
    assert "must have the choices that the run" in text


BAD_REPORTS = {
    "no space": (("table.csv.gz",), "does not say what space it is of: name that of table.csv.gz with --space NAME"),
    "no file": (("tabel.csv.gz", *TASK), "but tabel.csv.gz does not exist"),
    "other space": (("table.csv.gz", "--space", "nasbench201"), "it is a table of another space"),
    "no device": (("table.csv.gz", *TASK), "table.csv.gz has 2 devices: name one with --target. Known: board, phone."),
    "device": (("table.csv.gz", *TASK, "--target", "bord"), "but got 'bord'. Did you mean 'board'?"),
    "metric": (("table.csv.gz", *TASK, "--metric", "latency"), "Did you mean 'latency_ms'?"),
    "no such values": (
        ("table.csv.gz", *TASK, "--target", "phone", "--metric", "energy_mj"),
        "'energy_mj_phone'. Did you mean 'latency_ms_phone'?",
    ),
    "limit": (
        ("table.csv.gz", *TASK, "--target", "phone", "--limit", "energy_mj<=1mJ"),
        "a limit must be on a metric that is reported on, but got energy_mj <= 1",
    ),
    "source": (("table.csv.gz", *TASK, "--target", "phone", "--sources", "bord"), "Did you mean 'latency_ms_board'?"),
    "target as source": (
        ("table.csv.gz", *TASK, "--target", "phone", "--sources", "phone"),
        "sources are other devices than the target, but got 'phone'",
    ),
    "predictor": (("table.csv.gz", *TASK, "--target", "phone", "--predictor", "stackd"), "unknown predictor 'stackd'"),
    "no run": ((".",), "takes the folder of a run or a table, but . has no recipe.toml"),
    "a run's target": (
        (".", "--target", "board"),
        "a run says its target, shapes and options itself, but got --target",
    ),
    "a run's option": ((".", "--option", "a=1"), "but got --option"),
    "option": (("table.csv.gz", *TASK, "--option", "a"), "--option takes KEY=VALUE, such as channels=8, but got 'a'"),
    "zero": (("table.csv.gz", *TASK, "--target", "zero"), "column 'latency_ms_zero' of table.csv.gz must be positive"),
    "too few": (("few.csv.gz", *TASK), "needs 5 measured architectures, but latency_ms on board has 4"),
    "no metric": (("none.csv.gz", *TASK), "must have a column such as latency_ms_<device>, but none.csv.gz has none"),
}


@pytest.mark.parametrize("what", BAD_REPORTS)
def test_a_wrong_request_for_a_report_is_one_message(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says the rule, the value and what to do, and no page is written."""
    arguments, message = BAD_REPORTS[what]
    columns = {"latency_ms_board": latency_ms, "latency_ms_phone": slower}
    if what == "zero":
        columns["latency_ms_zero"] = lambda a: 0.0
    write_table(tmp_path / "table.csv.gz", columns)
    write_table(tmp_path / "few.csv.gz", {"latency_ms_board": first(4)})
    write_table(tmp_path / "none.csv.gz", {"test_acc": latency_ms})
    monkeypatch.chdir(tmp_path)
    given = arguments if "--predictor" in arguments else (*arguments, *QUICK)
    text = refused(capsys, monkeypatch, "predictor", "report", *given)
    assert message in text
    assert len(text.splitlines()) == 1
    assert not list(tmp_path.glob("*.html"))


# Onboarding


class NewDevice(FakeBench):
    """Three times as slow as the fake bench; ``broken`` are ids of architectures that it cannot run."""

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
    """The bench of every target. Models are empty files, for it looks at their names alone."""
    bench = NewDevice()
    monkeypatch.setattr("nas.hardware.measuring.export_model", lambda module, shape, batch, path, kind: path.touch())
    monkeypatch.setattr("nas.cli.predictor.make_bench", lambda *_: bench)
    return bench


def onboarded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, table: Path, *arguments: str | Path
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The JSON form, and the rows of the new table."""
    out = table.parent / "new" / "out.csv.gz"
    files = ("--out", out, "--report", table.parent / "page.html")
    common = ("--table", table, "--target", NEW, *TASK, *QUICK, *files, "--json")
    shown = json.loads(told(capsys, monkeypatch, "onboard", *common, *arguments))
    assert shown["table"] == str(out)
    return shown["metrics"][0], rows_in(out)


def test_a_target_is_onboarded_with_few_measurements(
    table: Path, device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured values stand in the measured rows alone, predictions in all, and what was there is as it was."""
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


def test_the_same_seed_measures_the_same_ones(
    table: Path, device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that an interrupted command goes on; fast and slow ones are among them."""
    for _ in range(2):
        onboarded(capsys, monkeypatch, table, "--samples", "6", "--sources", "phone")
    assert device.measured[:6] == device.measured[6:]
    places = sorted(sorted(ALL, key=slower).index(a) for a in ALL if a.id in device.measured)
    assert places[0] < 5
    assert places[-1] >= 10


def test_the_target_s_own_column_counts_as_measured(
    device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only what is missing is measured, nothing of it twice, and the own column is no source."""
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


def test_energy_is_told_from_the_latencies_that_the_table_knows(
    device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They are measured or predicted on the very target; without such a column energy is learnt alone."""
    told_of: list[list[str]] = []

    def fit(space: Any, architectures: Any, values: Any, *, given: Sequence[Given] = (), **rest: Any) -> Any:
        told_of.append([each.name for each in given])
        return fit_quick(space, architectures, values, given=given, **rest)

    monkeypatch.setattr("nas.prediction.predictor.load_predictor", lambda name: fit)
    monkeypatch.setitem(VALUES, "energy_mj", lambda a: 5 * latency_ms(a))  # type: ignore[misc]
    columns = {"energy_mj_phone": slower, f"latency_ms_{DEVICE}": first(9)}
    table = write_table(tmp_path / "table.csv.gz", columns)
    onboarded(capsys, monkeypatch, table, "--samples", "6", "--metric", "energy_mj")
    assert [] in told_of  # the latency's own predictor
    assert ["latency_ms"] in told_of
    told_of.clear()
    alone = write_table(tmp_path / "alone.csv.gz", {"energy_mj_phone": slower})
    onboarded(capsys, monkeypatch, alone, "--samples", "6", "--metric", "energy_mj")
    assert told_of
    assert not any(told_of)


def test_another_precision_of_the_runtime_is_a_source_and_no_truth(
    device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The fp32 column says nothing sure of int8, nor does one of another batch size or without a precision."""
    others = [FP32, DEVICE.replace("batch1", "batch8"), "onnxruntime-cpu"]
    table = write_table(tmp_path / "table.csv.gz", {f"latency_ms_{name}": slower for name in others})
    report, rows = onboarded(capsys, monkeypatch, table, "--samples", "5")
    assert report["sources"] == others
    assert len(device.measured) == 5
    assert [row[f"latency_ms_{FP32}"] for row in rows] == [str(slower(a)) for a in ALL]
    assert sum(row[f"latency_ms_{DEVICE}"] != "" for row in rows) == 5


def test_others_take_the_place_of_what_fails(
    table: Path, device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the device refuses is told, and predicted all the same."""
    device.broken = [a.id for a in ALL[::3]]
    report, rows = onboarded(capsys, monkeypatch, table, "--samples", "8")
    good = [a.id for a in ALL if a.id in device.measured and a.id not in device.broken]
    assert report["held_out"]["samples"] == 8 == len(good)
    assert len(set(device.measured)) == len(device.measured) > 8
    assert all(row[f"predicted_latency_ms_{DEVICE}"] for row in rows)


def test_too_many_failures_are_an_error(
    table: Path, device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason of the last."""
    device.broken = [a.id for a in ALL[2:]]
    common = ("--table", table, "--target", NEW, *TASK, *QUICK, "--out", table.parent / "out.csv.gz")
    monkeypatch.setattr(sys, "argv", ["nas", "predictor", "onboard", *map(str, common)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert "a predictor needs 5 measured architectures, but" in message
    assert "The last one: the device refuses it" in message
    assert not (table.parent / "out.csv.gz").exists()


def test_failures_flags_and_what_was_there_are_told() -> None:
    """A flag with the number of measurements that have it."""
    flagged = Measurement("latency_ms", NEW_TEXT, ((1.0,),), flags=("busy", "hot"))
    rows = {
        3: Evaluation("measure", ALL[3], measurements={"latency_ms": flagged}),
        4: Evaluation("measure", ALL[4], measurements={"latency_ms": replace(flagged, flags=("busy",))}),
        5: Evaluation("measure", ALL[5], failure=Failure("measure", "it hung")),
    }
    assert doubts_of(Onboarded({}, 2, rows), "latency_ms_board") == [
        "2 rows of the table's own column latency_ms_board count as measured",
        f"{ALL[5].id} failed: it hung",
        "2 of 3 measurements are doubtful: busy",
        "1 of 3 measurements are doubtful: hot",
    ]
    assert doubts_of(Onboarded({}, 0, {}), "latency_ms_board") == []


def test_sources_with_gaps_are_filled_by_their_means(
    device: NewDevice, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A row that no source has a value for is not measured, but predicted."""
    columns = {"latency_ms_a": first(9), "latency_ms_b": lambda a: slower(a) if a in ALL[4:13] else None}
    table = write_table(tmp_path / "table.csv.gz", columns)
    _, rows = onboarded(capsys, monkeypatch, table, "--samples", "13")
    assert set(device.measured) == {a.id for a in ALL[:13]}
    assert all(row[f"predicted_latency_ms_{DEVICE}"] for row in rows)
    assert math.isfinite(float(rows[-1][f"predicted_latency_ms_{DEVICE}"]))


BAD_ONBOARDINGS = {
    "samples": (("--samples", "4"), "--samples must be at least 5, for a predictor needs them, but got 4"),
    "too many": (("--samples", "16"), "but got 16 of 15"),
    "out": (("--out", "t.csv"), "to a file named like table.csv.gz, but got 't.csv'"),
    "metric": (("--metric", "params"), "a target is onboarded by a measured metric, but params is counted"),
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
    "limit": (("--limit", "energy_mj<=1mJ"), "a limit must be on a metric that is reported on"),
    "predictor": (("--predictor", "transfr"), "unknown predictor 'transfr'"),
}


@pytest.mark.parametrize("what", BAD_ONBOARDINGS)
def test_a_wrong_request_to_onboard_is_one_message(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is measured; nothing is written."""
    arguments, message = BAD_ONBOARDINGS[what]
    columns: dict[str, Callable[[Architecture], object]] = {"latency_ms_phone": slower}
    columns |= {"latency_ms_empty": lambda a: None} if what == "empty source" else {}
    columns |= {"latency_ms_zero": lambda a: 0} if what == "bad source" else {}
    table = write_table(tmp_path / "table.csv.gz", columns)
    monkeypatch.chdir(tmp_path)
    if what == "too many":
        monkeypatch.setattr("nas.cli.predictor.make_bench", lambda *_: NewDevice())
    defaults = {"--table": "table.csv.gz", "--target": NEW, "--predictor": "quick_predictor:fit_quick"}
    defaults |= {"--space": "tiny_space:TinySpace", "--input-shape": "1x8x8"}
    changed = dict(zip(arguments[::2], arguments[1::2], strict=True))
    given = [word for pair in (defaults | changed).items() for word in pair]
    text = refused(capsys, monkeypatch, "predictor", "onboard", *given)
    assert message in text
    assert len(text.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [table]


def test_a_device_with_few_values_is_no_source(
    table: Path,
) -> None:
    """It is left out where none is named, and refused by its name, before anything is measured."""
    lines = gzip.decompress(table.read_bytes()).decode().splitlines()
    few = [f"{line},{'latency_ms_watch' if n == 0 else n if n < 4 else ''}" for n, line in enumerate(lines)]
    table.write_bytes(gzip.compress("\n".join([*few, ""]).encode()))
    read = read_table(table, SPACE)
    assert [source.target for source in sources_from(read, "latency_ms", "new", ())] == ["board", "phone"]
    with pytest.raises(RecipeError, match=r"at least 5 values, but column 'latency_ms_watch' of .* has 3"):
        sources_from(read, "latency_ms", "new", ["watch"])


def test_a_target_is_measured_in_processes_of_its_own(
    table: Path, acting: Target, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nas measure uses too; for a person at a terminal of 80 columns. Interrupted, it goes on from the store."""
    device, out = device_name(acting), table.parent / "out.csv.gz"
    quick = ("--samples", "5", "--max-rounds", "2", "--within", "1")
    files = ("--out", out, "--report", table.parent / "page.html")
    common = ("--table", table, "--target", "own_runtime:Acting", *TASK, *QUICK, *quick, *files)
    text = told(capsys, monkeypatch, "onboard", *common)
    shown = text[text.index(f"Latency on {device}") :].splitlines()
    assert all(len(line) <= 80 for line in shown[:-2])
    assert shown[-2:] == [f"Table: {out}", f"Report: {table.parent / 'page.html'}"]
    assert sum(row[f"latency_ms_{device}"] != "" for row in rows_in(out)) == 5
    assert "5 of 5 architectures were measured on this target before" in told(capsys, monkeypatch, "onboard", *common)


@pytest.mark.slow
@pytest.mark.usefixtures("onnx_profile")
def test_the_command_onboards_onnx_runtime(tmp_path: Path) -> None:
    """From its start to its end in a process of its own."""
    table = write_table(tmp_path / "table.csv.gz", {"latency_ms_phone": slower})
    quick = ("--samples", "5", "--max-rounds", "2", "--within", "1", "--out", tmp_path / "out.csv.gz")
    what = ("--table", table, "--target", "onnxruntime-cpu", *TASK, *QUICK, "--report", tmp_path / "page.html")
    done = run_nas("predictor", "onboard", *what, *quick, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"][0]["target"] == FP32
    assert sum(row[f"latency_ms_{FP32}"] != "" for row in rows_in(tmp_path / "out.csv.gz")) == 5
