"""Tables of a measured space: columns, reuse of the store, failures and interruptions."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_bench import FakeBench, latency_ms
from fault_spaces import Faulty
from torch import nn

from nas.errors import RecipeError
from nas.hardware.bench import Outcome
from nas.hardware.runtimes.runtime import Deployed
from nas.progress import NullProgress
from nas.space.architecture import Architecture, Choice
from nas.space.layer import total_macs, total_params
from nas.space.search_space import SearchSpace, count, enumerate_space
from nas.space.signature import image_signature
from nas.space.tracing import layers_of
from nas.storage.measurement_store import MeasurementStore
from nas.tables.measured_table import measure_table
from nas.tables.table import read_table
from nas.values.evaluation import Evaluation
from nas.values.target import Target

TARGET = Target("onnxruntime-cpu", "int8", batch=4)
DEVICE = "onnxruntime-cpu_int8_batch4_threads1"
SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export no models, because the fake bench does not open them."""
    monkeypatch.setattr(
        "nas.hardware.measuring.export_model", lambda module, shape, batch, path, form: path.write_bytes(b"model")
    )


def table(bench: FakeBench, path: Path, number: int = 6, space: SearchSpace | None = None, **changes: Any) -> Any:
    """Measure rows of Faulty, or of another given space, into ``path``."""
    settings: dict[str, Any] = {"store": None, "seed": 0, "metrics": ["latency_ms"], **changes}
    return measure_table(
        space or Faulty(), number, TARGET, bench, path,
        signature=image_signature(SHAPE, 10), progress=NullProgress(), **settings,
    )  # fmt: skip


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(gzip.decompress(path.read_bytes()).decode().splitlines()))


def identities(rows: Sequence[Evaluation]) -> list[str]:
    return [row.architecture.id for row in rows]


@pytest.mark.slow
def test_a_table_reads_back_with_every_column(tmp_path: Path) -> None:
    """Options are numbers, or empty if inactive; each metric has its median and interval."""
    space = Faulty()
    path = tmp_path / "folder" / "table.csv.gz"
    rows = table(FakeBench(space), path, 12, metrics=["latency_ms", "model_bytes"])
    lines = read(path)
    values = [f"{part}{name}_{DEVICE}" for name in ("latency_ms", "model_bytes") for part in ("", "lower_", "upper_")]
    choices = [choice.name for choice in space.choices]
    assert list(lines[0]) == ["idx", "id", *choices, "params", "mflops", *values, f"flags_{DEVICE}", "failure"]
    assert [line["idx"] for line in lines] == [str(number) for number in range(12)]
    by_id = {architecture.id: architecture for architecture in enumerate_space(space)}
    assert len({line["id"] for line in lines}) == 12
    for line, row in zip(lines, rows, strict=True):
        architecture = by_id[line["id"]]
        for choice in space.choices:
            shown = line[choice.name]
            assert (choice.options[int(shown)] if shown else None) == architecture.get(choice.name)
        layers = layers_of(space, architecture, image_signature(SHAPE, 10))
        assert int(line["params"]) == total_params(layers)
        assert float(line["mflops"]) == total_macs(layers) / 1e6
        lower, median, upper = (float(line[f"{part}latency_ms_{DEVICE}"]) for part in ("lower_", "", "upper_"))
        assert lower < median < upper
        assert median == pytest.approx(row.measurements["latency_ms"].median, rel=1e-6)
        assert median == pytest.approx(latency_ms(architecture), rel=0.05)
        assert line["failure"] == line[f"flags_{DEVICE}"] == ""
    assert any(line["kernel"] == "" for line in lines)


def test_the_seed_draws_the_architectures(tmp_path: Path) -> None:
    """The same seed draws the same architectures, another seed others."""
    first, again, other = (table(FakeBench(Faulty()), tmp_path / "t.csv.gz", seed=seed) for seed in (3, 3, 4))
    assert identities(first) == identities(again)
    assert identities(first) != identities(other)


def test_a_second_run_measures_nothing_anew(tmp_path: Path) -> None:
    """The store gives the same table, unless fresh measurements are requested."""
    first, second, third = (FakeBench(Faulty(), fingerprint="here") for _ in range(3))
    texts = []
    for bench, fresh in ((first, False), (second, False), (third, True)):
        path = tmp_path / f"{len(texts)}.csv.gz"
        table(bench, path, store=MeasurementStore(tmp_path, fresh=fresh))
        texts.append(path.read_bytes())
    assert len(first.measured) == len(third.measured) == 6
    assert second.measured == second.deployed == []
    assert texts[0] == texts[1]


def test_a_failure_is_a_row_with_its_reason_and_no_numbers(tmp_path: Path) -> None:
    """The other architectures are still measured."""
    space = Faulty("build")
    table(FakeBench(space), tmp_path / "t.csv.gz", 20, space)
    lines = read(tmp_path / "t.csv.gz")
    failed = [line for line in lines if line["failure"]]
    assert 0 < len(failed) < 20
    for line in failed:
        assert space.choices[-1].options[int(line["part"])] == "build"
        assert "this part cannot be built" in line["failure"]
        assert {line[name] for name in ("params", "mflops", f"latency_ms_{DEVICE}", f"upper_latency_ms_{DEVICE}")} == {
            ""
        }
    assert all(line[f"latency_ms_{DEVICE}"] for line in lines if not line["failure"])


def test_more_than_the_space_has_is_refused(tmp_path: Path) -> None:
    """The refusal comes before any measurement; measuring the whole space is allowed."""
    bench, whole = FakeBench(Faulty()), count(Faulty())
    with pytest.raises(RecipeError, match=f"but it has {whole} and {whole + 1} were asked for"):
        table(bench, tmp_path / "t.csv.gz", whole + 1)

    class Twins(Faulty):
        """A space where all depths give the same network."""

        def canonical(self, values: Any) -> dict[str, Any]:
            return {"width": values["width"], "part": "plain"}

    with pytest.raises(RecipeError, match="draws gave 6 different ones and 7 were asked for"):
        table(bench, tmp_path / "t.csv.gz", 7, Twins())
    assert (bench.deployed, list(tmp_path.iterdir())) == ([], [])
    assert len(set(identities(table(bench, tmp_path / "t.csv.gz", whole)))) == whole


def test_a_table_has_the_name_of_one(tmp_path: Path) -> None:
    """Only names that end in .csv.gz are accepted."""
    with pytest.raises(RecipeError, match=r"like table\.csv\.gz, but got 'table\.csv'"):
        table(FakeBench(Faulty()), tmp_path / "table.csv")


@pytest.mark.parametrize(
    "content",
    [b"my notes", gzip.compress(b"idx,id,kernel\r\n", mtime=0), b""],
    ids=["text", "another table", "empty"],
)
def test_another_file_is_not_written_over(tmp_path: Path, content: bytes) -> None:
    """A file with other columns is kept; a table with the same columns is replaced."""
    path = tmp_path / "table.csv.gz"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"table\.csv\.gz exists and has other columns\. Choose another"):
        table(FakeBench(Faulty()), path)
    assert path.read_bytes() == content
    path.unlink()
    table(FakeBench(Faulty()), path, 5)
    table(FakeBench(Faulty()), path, 6)
    assert len(read(path)) == 6
    with pytest.raises(RecipeError, match="has other columns"):
        table(FakeBench(Faulty()), path, metrics=["model_bytes"])


def test_an_interrupted_table_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file holds the first architectures, and the next run measures only the rest."""
    monkeypatch.setattr("nas.tables.measured_table.TOGETHER", 4)

    class Stopped(FakeBench):
        def measure(
            self,
            models: Sequence[Deployed],
            metrics: Sequence[str],
            rng: np.random.Generator,
            advance: Callable[[], None] = lambda: None,
        ) -> list[Outcome]:
            if self.measured:
                raise KeyboardInterrupt
            return super().measure(models, metrics, rng, advance)

    path, store = tmp_path / "t.csv.gz", MeasurementStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        table(Stopped(Faulty(), fingerprint="here"), path, 10, store=store)
    held = read(path)
    assert len(held) == 4
    bench = FakeBench(Faulty(), fingerprint="here")
    rows = table(bench, path, 10, store=store)
    assert bench.measured == identities(rows)[4:]
    assert read(path)[:4] == held
    assert len(read(path)) == 10


def test_an_interrupted_table_keeps_the_rows_that_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of architectures whose turn to be measured again had not come."""
    monkeypatch.setattr("nas.tables.measured_table.TOGETHER", 4)

    class Stopped(FakeBench):
        def measure(self, *given: Any) -> list[Outcome]:
            if self.measured:
                raise KeyboardInterrupt
            return super().measure(*given)

    path = tmp_path / "t.csv.gz"
    rows = table(FakeBench(Faulty()), path, 10)
    with pytest.raises(KeyboardInterrupt):
        table(Stopped(Faulty()), path, 10)
    assert len(read(path)) == 10
    assert {line["id"] for line in read(path)} == set(identities(rows))


class Clashing:
    """A space whose choices have the names of a table's other columns."""

    choices = (
        Choice("params", (4, 8)),
        Choice("idx", (1, 2)),
        Choice("failure", ("no", "yes")),
        Choice(f"latency_ms_{DEVICE}", (0, 1)),
        Choice("width", (3, 5)),
    )

    def build(self, architecture: Architecture) -> nn.Module:
        width = int(architecture["params"]) * int(architecture["idx"]) * int(architecture["width"])
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 10))


def test_choices_may_be_named_like_other_columns(tmp_path: Path) -> None:
    """Their columns have longer names, and the table is read back as it was measured."""
    space, path = Clashing(), tmp_path / "t.csv.gz"
    rows = table(FakeBench(space), path, 20, space)
    (line, *_) = read(path)
    names = [name for name in line if name.startswith("choice.")]
    assert names == ["choice.params", "choice.idx", "choice.failure", f"choice.latency_ms_{DEVICE}"]
    found = read_table(path, space)
    assert [dict(architecture) for architecture in found.architectures] == [dict(row.architecture) for row in rows]
    assert (found.column("params") > 100).all()
    assert found.column("idx").tolist() == list(range(20))
    assert set(found.values(f"latency_ms_{DEVICE}")) == {row.architecture for row in rows}
