"""Architectures named by files, ids and texts are measured, and the report on a predictor says how."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_bench import FakeBench, latency_ms
from small_tables import ALL, SPACE

from nas.errors import RecipeError
from nas.prediction.samples import MeasuredDevice
from nas.progress import NullProgress
from nas.space.architecture import Architecture
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from nas.tables.measured_table import columns_of, measure_table
from nas.tables.named_architectures import NamedArchitectures, named_in, with_named, write_next
from nas.tables.named_space import NamedSpace
from nas.values.metric import METRICS
from nas.values.target import Target

TARGET = Target("onnxruntime-cpu")
NAMED = NamedSpace("tiny_space:TinySpace", {}, image_signature((1, 8, 8), 10))


def asking(architectures: Sequence[Architecture], *metrics: str) -> Any:
    """Return reports on these metrics that ask for these architectures."""
    return [SimpleNamespace(metric=METRICS[name], to_measure=tuple(architectures)) for name in metrics]


def test_every_way_of_naming(tmp_path: Path) -> None:
    """A report's file, a report's JSON, a bundle's file, an id and a text; each architecture counts once."""
    write_next(asking(ALL[:2], "latency_ms"), tmp_path / "next.json", NAMED, SPACE, str(TARGET), tmp_path)
    report = {"metrics": [{"metric": "latency_ms", "measure_next": [{"id": "?", "architecture": dict(ALL[2])}]}]}
    (tmp_path / "report.json").write_text(json.dumps({**report, "measure_command": "nas measure", "table": None}))
    (tmp_path / "architecture.json").write_text(json.dumps({"id": ALL[3].id, "architecture": dict(ALL[3])}))
    names = [str(tmp_path / f"{name}.json") for name in ("next", "report", "architecture")]
    assert named_in(SPACE, [*names, ALL[4].id, json.dumps(dict(ALL[5])), ALL[0].id]) == [*ALL[:4], ALL[5], ALL[4]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.json", "takes a JSON file, ids or a JSON text such as .*, but none.json does not exist"),
        (".", "but . is a folder"),
        ("{", "takes JSON, but the text of --architectures is not"),
        ("[" * 100_000, "takes JSON, but the text"),
        ("[]", r"must name at least one architecture, but \[\] has none"),
        ('[{"architecture": []}]', "must name at least one architecture"),
        ("[3]", "is a table of choices such as .* has 3"),
        ('{"depht": 1}', "names the choice 'depht', which the space does not have. Did you mean 'depth'"),
        ('{"width": 99}', "width must be one of"),
        ('{"depth": 1}', "every active choice must have a value"),
        ("0123456789ab", "but 0123456789ab is of none"),
    ],
)
def test_a_wrong_name_is_refused(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what is taken, and what is wrong."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=message):
        named_in(SPACE, [name])


def test_an_id_is_looked_up_in_small_spaces_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a hash, so all architectures are tried."""
    monkeypatch.setattr("nas.tables.named_architectures.MOST_SEARCHED", 3)
    with pytest.raises(RecipeError, match=r"at most 3 architectures, but this one has \d+: name a JSON file"):
        named_in(SPACE, [ALL[0].id])


def lines_of(path: Path) -> list[dict[str, Any]]:
    return list(csv.DictReader(gzip.decompress(path.read_bytes()).decode().splitlines()))


@pytest.mark.slow
def test_rows_are_added_to_a_table_that_nas_measure_wrote(tmp_path: Path) -> None:
    """The table keeps its other rows, an architecture has one row, and the command names the table."""
    table, bench = tmp_path / "table.csv.gz", FakeBench(SPACE)
    task = {
        "signature": image_signature((1, 8, 8), 10),
        "metrics": ["latency_ms"],
        "store": None,
        "progress": NullProgress(),
    }
    rows = measure_table(SPACE, 6, TARGET, bench, table, seed=0, **task)  # type: ignore[arg-type]
    new = [each for each in ALL if each not in {row.architecture for row in rows}][:3]
    (tmp_path / "next.json").write_text(json.dumps([dict(each) for each in [*new, rows[0].architecture]]))
    wanted = NamedArchitectures(NAMED, [str(tmp_path / "next.json")], table, ["latency_ms"], 0, fresh=True)
    assert len(wanted.measure(TARGET, bench, NullProgress())) == 4
    lines = lines_of(table)
    assert [line["idx"] for line in lines] == [str(number) for number in range(9)]
    assert {line["id"] for line in lines} == {row.architecture.id for row in rows} | {each.id for each in new}
    device = "onnxruntime-cpu_fp32_batch1_threads1"
    command = write_next(asking(ALL[:1], "latency_ms"), tmp_path / "other.json", NAMED, SPACE, device, table)
    assert command == (
        "nas measure --space tiny_space:TinySpace --input-shape 1x8x8 --target onnxruntime-cpu:fp32:batch=1:threads=1 "
        f"--architectures {tmp_path / 'other.json'} --out {table}"
    )
    assert columns_of(SPACE, TARGET, ["latency_ms"]) == list(lines[0])


def test_a_table_of_another_origin_gets_no_command(tmp_path: Path) -> None:
    """Its columns are others, and its device is often on another desk."""
    table = tmp_path / "table.csv.gz"
    table.write_bytes(gzip.compress(b"width,latency_ms_pixel3\n1,2\n"))
    for device in ("pixel3", "onnxruntime-cpu_fp32_batch1_threads1", "my_board_batch8_threads4"):
        assert write_next(asking(ALL[:1], "latency_ms"), tmp_path / "next.json", NAMED, SPACE, device, table) is None
    assert write_next(asking([], "latency_ms"), tmp_path / "next.json", NAMED, SPACE, str(TARGET), tmp_path) is None
    chosen = Architecture({**ALL[0], "precision": "int8"})
    assert (
        write_next(asking([chosen], "latency_ms"), tmp_path / "next.json", NAMED, SPACE, str(TARGET), tmp_path) is None
    )
    assert (
        write_next(asking(ALL[:1], "latency_ms"), tmp_path / "next.json", NAMED, SPACE, "table:pixel3", tmp_path)
        is None
    )
    assert not (tmp_path / "next.json").exists()


def test_the_command_for_a_run_names_the_run_and_the_metrics(tmp_path: Path) -> None:
    """The space, its options and the shapes are the run's own."""
    named = NamedSpace("nasbench201", {"channels": 4}, image_signature((3, 32, 32), 7))
    command = write_next(
        asking(ALL[:1], "latency_ms", "energy_mj"), tmp_path / "next.json", named, SPACE, str(TARGET), tmp_path
    )
    assert command == (
        f"nas measure --run {tmp_path} --architectures {tmp_path / 'next.json'} --metric latency_ms --metric energy_mj"
    )


def test_code_of_a_user_is_named_in_the_command_for_a_run(tmp_path: Path) -> None:
    """Naming it says that it may run, so that the command can be pasted as it is."""
    command = write_next(asking(ALL[:1], "latency_ms"), tmp_path / "next.json", NAMED, SPACE, str(TARGET), tmp_path)
    assert command == (
        f"nas measure --run {tmp_path} --architectures {tmp_path / 'next.json'} --space tiny_space:TinySpace "
        "--metric latency_ms"
    )


def test_options_of_a_space_are_part_of_the_command_for_a_table(tmp_path: Path) -> None:
    """What can be pasted measures what was asked for, and quotes what a shell would take for itself."""
    table = tmp_path / "table.csv.gz"
    columns = columns_of(SPACE, TARGET, ["latency_ms", "energy_mj"])
    table.write_bytes(gzip.compress(f"{','.join(columns)}\n{','.join('1' for _ in columns)}\n".encode()))
    named = NamedSpace(
        "nasbench201", {"channels": 4, "preset": "a b", "deep": True, "code": "3"}, image_signature((3, 32, 32), 7)
    )
    device = "onnxruntime-cpu_fp32_batch1_threads1"
    command = write_next(
        asking(ALL[:1], "latency_ms", "energy_mj"), tmp_path / "next.json", named, SPACE, device, table
    )
    assert command == (
        "nas measure --space nasbench201 --option channels=4 --option 'preset=a b' --option deep=true "
        "--option 'code=\"3\"' --classes 7 "
        "--target onnxruntime-cpu:fp32:batch=1:threads=1 --metric latency_ms --metric energy_mj "
        f"--architectures {tmp_path / 'next.json'} --out {table}"
    )


@pytest.mark.slow
def test_the_report_on_a_run_finds_what_the_command_has_measured(tmp_path: Path) -> None:
    """Rows in the run's folder join the run's own, which count where both exist; they are not suggested again."""
    own = {ALL[0]: 5.0, ALL[1]: 6.0}
    data = MeasuredDevice(
        describer_of(SPACE, image_signature((1, 8, 8), 10)),
        str(TARGET),
        {"latency_ms": own},
        pool={"latency_ms": ALL[2:6]},
    )
    assert with_named(data, tmp_path).values == data.values
    names = [json.dumps(dict(each)) for each in ALL[1:4]]
    table = tmp_path / "measured-latency_ms.csv.gz"
    NamedArchitectures(NAMED, names, table, ["latency_ms"], 0, fresh=True).measure(
        TARGET, FakeBench(SPACE), NullProgress()
    )
    found = with_named(data, tmp_path)
    values = found.values["latency_ms"]
    assert list(values) == ALL[:4]
    assert (values[ALL[0]], values[ALL[1]]) == (5.0, 6.0)
    assert values[ALL[2]] == pytest.approx(latency_ms(ALL[2]), rel=0.1)
    assert found.pool["latency_ms"] == ALL[4:6]
