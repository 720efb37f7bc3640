"""A measurement is found again by its target, space and architecture together."""

from __future__ import annotations

import importlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
from tiny_space import TinySpace
from torch import nn

from nas.errors import TargetError
from nas.space.architecture import Architecture, Choice
from nas.space.search_space import SearchSpace
from nas.space.signature import image_signature
from nas.space.tracing import trace
from nas.storage.measurement_store import LEAST_OF_A_SOURCE, STORE, MeasurementStore, layers_identity, space_identity
from nas.values.measurement import Measurement

TARGET = "onnxruntime-cpu:fp32:batch=1:threads=1"
WIDE, NARROW = Architecture({"width": 8}), Architecture({"width": 4})
SHAPE = (1, 8, 8)
SOURCE = """
from torch import nn
from nas.space.architecture import Choice

class Own:
    choices = (Choice("width", (2, 4)),)

    def build(self, architecture):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, architecture["width"]), nn.Linear(architecture["width"], 10))
"""
ADDER = """
import sys
from pathlib import Path
from types import ModuleType
from nas.space.architecture import Architecture
from nas.values.measurement import Measurement
from nas.storage.measurement_store import MeasurementStore
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    store = MeasurementStore(Path(sys.argv[1]) / str(number // 2))
    found = {"latency_ms": Measurement("latency_ms", "target", ((float(number + 1),),))}
    store.find("none", "space", Architecture({"width": 4}))
    store.add(f"{sys.argv[2]}-{number}", "space", Architecture({"width": 4}), found)
"""
"""Makes ten stores, as others do, with two rows in each."""


def latency(milliseconds: float, *flags: str) -> dict[str, Measurement]:
    rounds = ((milliseconds, 1.1 * milliseconds), (milliseconds,))
    return {"latency_ms": Measurement("latency_ms", TARGET, rounds, {"cores": [0, 1]}, flags, (1.0, 1.01))}


class TestStore:
    def test_keeps_whole_measurements(self, tmp_path: Path) -> None:
        """Another store in the same folder has the samples, conditions and drifts."""
        found = latency(2.0) | {"model_bytes": Measurement("model_bytes", TARGET, ((70.0,),))}
        MeasurementStore(tmp_path / "new").add("print", "space", WIDE, found)
        assert MeasurementStore(tmp_path / "new").find("print", "space", WIDE) == found

    def test_finds_nothing_by_another_name(self, tmp_path: Path) -> None:
        """Target, space and architecture must all be the same, and a store without a file is empty."""
        store = MeasurementStore(tmp_path)
        assert store.find("print", "space", WIDE) == {}
        assert list(tmp_path.iterdir()) == []
        store.add("print", "space", WIDE, latency(2.0))
        for fingerprint, space, architecture in (
            ("other", "space", WIDE),
            ("print", "other", WIDE),
            ("print", "space", NARROW),
        ):
            assert store.find(fingerprint, space, architecture) == {}

    def test_the_last_one_counts(self, tmp_path: Path) -> None:
        """This holds metric by metric: a metric that was not measured again keeps its value."""
        store = MeasurementStore(tmp_path)
        size = {"model_bytes": Measurement("model_bytes", TARGET, ((70.0,),))}
        store.add("print", "space", WIDE, latency(2.0) | size)
        store.add("print", "space", WIDE, latency(3.0))
        assert store.find("print", "space", WIDE) == latency(3.0) | size

    def test_stores_no_doubtful_measurement(self, tmp_path: Path) -> None:
        """A measurement with a flag is not stored, and an older one without a flag stays."""
        store = MeasurementStore(tmp_path)
        store.add("print", "space", WIDE, latency(2.0, "the machine was busy"))
        assert not (tmp_path / STORE).exists()
        store.add("print", "space", WIDE, latency(3.0))
        store.add("print", "space", WIDE, latency(2.0, "the machine was busy"))
        assert store.find("print", "space", WIDE) == latency(3.0)

    def test_a_fresh_one_keeps_what_it_does_not_look_up(self, tmp_path: Path) -> None:
        """It stores new measurements for later runs."""
        MeasurementStore(tmp_path).add("print", "space", WIDE, latency(2.0))
        fresh = MeasurementStore(tmp_path, fresh=True)
        assert fresh.find("print", "space", WIDE) == {}
        fresh.add("print", "space", WIDE, latency(3.0))
        assert fresh.find("print", "space", WIDE) == {}
        assert MeasurementStore(tmp_path).find("print", "space", WIDE) == latency(3.0)

    def test_takes_rows_from_several_processes_at_once(self, tmp_path: Path) -> None:
        """No row is lost and no process fails, though none finds a file at first."""
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", ADDER, str(tmp_path), str(name)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in range(4)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            process.communicate()
        assert [process.returncode for process in processes] == [0] * 4
        for name in range(4):
            for number in range(20):
                found = MeasurementStore(tmp_path / str(number // 2)).find(f"{name}-{number}", "space", NARROW)
                assert found["latency_ms"].rounds == ((number + 1.0,),)

    def test_another_file_of_that_name_is_left_alone(self, tmp_path: Path) -> None:
        """The error has its path and what to do."""
        (tmp_path / STORE).write_text("my notes, which are no data base" * 100)
        store = MeasurementStore(tmp_path)
        with pytest.raises(TargetError, match=r"measurements\.db, but SQLite says: file is not a database\. Move "):
            store.find("print", "space", WIDE)
        with pytest.raises(TargetError, match="or set NAS_HOME to another folder"):
            store.add("print", "space", WIDE, latency(2.0))
        assert (tmp_path / STORE).read_text().startswith("my notes")

    def test_a_file_that_another_process_writes_is_not_to_be_moved(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is sound; the other process ends some time."""
        monkeypatch.setattr("nas.storage.measurement_store.LOCKED_S", 0.01)
        store = MeasurementStore(tmp_path)
        store.add("print", "space", WIDE, latency(2.0))
        with closing(sqlite3.connect(tmp_path / STORE, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(TargetError, match=r"another process has been writing to it for 0.01 s\. Wait for"):
                store.add("print", "space", NARROW, latency(1.0))

    def test_a_data_base_of_another_program_is_refused(self, tmp_path: Path) -> None:
        """A database with other tables is refused."""
        with closing(sqlite3.connect(tmp_path / STORE)) as connection:
            connection.execute("CREATE TABLE measurements (what TEXT)")
        with pytest.raises(TargetError, match="but SQLite says: no such column"):
            MeasurementStore(tmp_path).find("print", "space", WIDE)

    def test_an_empty_file_holds_nothing(self, tmp_path: Path) -> None:
        """A full disk may leave an empty file, which is no error and is filled later."""
        (tmp_path / STORE).touch()
        store = MeasurementStore(tmp_path)
        assert store.find("print", "space", WIDE) == {}
        store.add("print", "space", WIDE, latency(2.0))
        assert store.find("print", "space", WIDE) == latency(2.0)

    def test_rows_are_plain_json(self, tmp_path: Path) -> None:
        """So any program can read them."""
        MeasurementStore(tmp_path).add("print", "space", WIDE, latency(2.0))
        with closing(sqlite3.connect(tmp_path / STORE)) as connection:
            ((body,),) = connection.execute("SELECT body FROM measurements").fetchall()
        assert json.loads(body)["median"] == pytest.approx(2.0, rel=0.1)


def width(number: int) -> Architecture:
    return Architecture({"width": number, "op": "conv", "slim": True, "ratio": 0.5})


def on(target: str, milliseconds: float) -> dict[str, Measurement]:
    return {"latency_ms": Measurement("latency_ms", target, ((milliseconds,),))}


class TestSources:
    def test_are_what_was_measured_on_other_targets(self, tmp_path: Path) -> None:
        """They are of the same space, with any layers: one source for each fingerprint, in the order of measuring."""
        store = MeasurementStore(tmp_path)
        for number in range(1, LEAST_OF_A_SOURCE + 1):
            store.add("gpu", f"space-{number}", width(number), on("torch-cuda", number / 10))
            store.add("print", f"space-{number}", width(number), on("onnxruntime-cpu", number))
            store.add("cpu", f"space-{number}", width(number), on("torch-cpu", 2 * number))
        gpu, cpu = store.sources("space", "latency_ms", without={"print"})
        assert (gpu.target, cpu.target) == ("torch-cuda", "torch-cpu")
        assert list(gpu.architectures) == [width(number) for number in range(1, LEAST_OF_A_SOURCE + 1)]
        assert cpu.values.tolist() == [2.0 * number for number in range(1, LEAST_OF_A_SOURCE + 1)]
        assert [type(option) for option in gpu.architectures[0].values()] == [int, str, bool, float]

    def test_hold_no_architecture_that_the_caller_measured(self, tmp_path: Path) -> None:
        """A source would know more of them than of the next proposal; with too few others it is none."""
        store = MeasurementStore(tmp_path)
        for number in range(LEAST_OF_A_SOURCE + 2):
            store.add("gpu", f"space-{number}", width(number), on("torch-cuda", number + 1))
        (source,) = store.sources("space", "latency_ms", without=(), apart_from={width(0), width(1)})
        assert list(source.architectures) == [width(number) for number in range(2, LEAST_OF_A_SOURCE + 2)]
        assert store.sources("space", "latency_ms", without=(), apart_from=set(map(width, range(3)))) == []

    def test_are_large_enough_and_of_this_space_and_metric(self, tmp_path: Path) -> None:
        """Architectures count, not measurements, and a space whose name only begins in the same way is another."""
        store = MeasurementStore(tmp_path)
        for number in range(1, LEAST_OF_A_SOURCE):
            store.add("gpu", f"space-{number}", width(number), on("torch-cuda", number))
        store.add("gpu", "space-1", width(1), on("torch-cuda", 99))
        store.add("gpu", "space2-1", width(77), on("torch-cuda", 1))
        assert store.sources("space", "latency_ms", without={"print"}) == []
        store.add("gpu", "space-77", width(77), on("torch-cuda", 7))
        assert store.sources("space", "item_ms", without={"print"}) == []
        assert store.sources("spac", "latency_ms", without={"print"}) == []
        assert store.sources("space", "latency_ms", without={"gpu"}) == []
        (source,) = store.sources("space", "latency_ms", without={"print"})
        assert len(source.architectures) == len(source.values) == LEAST_OF_A_SOURCE
        assert source.values[0] == 99  # the last measurement counts

    def test_hold_nothing_without_a_logarithm(self, tmp_path: Path) -> None:
        """A value of 0, as of a model without weights, is left out."""
        store = MeasurementStore(tmp_path)
        for number in range(LEAST_OF_A_SOURCE):
            found = {"weight_bytes": Measurement("weight_bytes", "torch-cuda", ((float(number),),))}
            store.add("gpu", f"space-{number}", width(number), found)
        assert store.sources("space", "weight_bytes", without={"print"}) == []

    def test_are_none_where_nothing_is_reused_or_there_is_no_store(self, tmp_path: Path) -> None:
        """A fresh store finds no sources."""
        assert MeasurementStore(tmp_path).sources("space", "latency_ms", without={"print"}) == []
        store = MeasurementStore(tmp_path)
        for number in range(1, LEAST_OF_A_SOURCE + 1):
            store.add("gpu", f"space-{number}", width(number), on("torch-cuda", number))
        assert MeasurementStore(tmp_path, fresh=True).sources("space", "latency_ms", without={"print"}) == []
        (tmp_path / STORE).write_text("my notes, which are no data base" * 100)
        with pytest.raises(TargetError, match="file is not a database"):
            store.sources("space", "latency_ms", without={"print"})

    def test_a_store_of_before_version_0_5_0_is_refused(self, tmp_path: Path) -> None:
        """Its rows lack the choices. It stays as it was, and one sentence says what to do."""
        store = MeasurementStore(tmp_path)
        store.add("gpu", "space-1", width(1), on("torch-cuda", 1))
        statement(tmp_path, "ALTER TABLE measurements DROP COLUMN choices")
        before = (tmp_path / STORE).read_bytes()
        for work in (
            lambda: store.find("gpu", "space-1", width(1)),
            lambda: store.sources("space", "latency_ms", without={"print"}),
            lambda: store.add("gpu", "space-2", width(2), on("torch-cuda", 2)),
        ):
            with pytest.raises(TargetError, match=r"a version before 0\.5\.0 wrote it, .* Move that file away"):
                work()
        assert (tmp_path / STORE).read_bytes() == before


class Wider(TinySpace):
    """A space of the same code with one more option."""

    choices = (Choice("width", (4, 8, 16, 32)), *TinySpace.choices[1:])


@pytest.fixture(name="imported")
def importer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], SearchSpace]:
    """Return a function that writes a module's source, imports it again, and returns its space."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(source: str) -> SearchSpace:
        (tmp_path / "own_space_module.py").write_text(source)
        monkeypatch.delitem(sys.modules, "own_space_module", raising=False)
        importlib.invalidate_caches()
        space: SearchSpace = importlib.import_module("own_space_module").Own()
        return space

    return load


class TestIdentity:
    def test_is_of_choices_shapes_and_classes(self) -> None:
        """A difference in any of them is another space, and an equal space has the same identity."""
        same = {
            space_identity(TinySpace(), image_signature(SHAPE, 10)),
            space_identity(TinySpace(), image_signature(list(SHAPE), 10)),
        }
        others = {
            space_identity(TinySpace(), image_signature((3, 8, 8), 10)),
            space_identity(TinySpace(), image_signature(SHAPE, 11)),
            space_identity(Wider(), image_signature(SHAPE, 10)),
        }
        assert len(same) == 1
        assert len(same | others) == 4

    def test_is_of_the_source_code(self, imported: Callable[[str], SearchSpace]) -> None:
        """An edit anywhere in the module's file makes another space, and undoing it restores the old one."""
        first = space_identity(imported(SOURCE), image_signature(SHAPE, 10))
        edited = space_identity(
            imported(SOURCE.replace("nn.Flatten()", "nn.Flatten(), nn.ReLU()")), image_signature(SHAPE, 10)
        )
        again = space_identity(imported(SOURCE), image_signature(SHAPE, 10))
        assert first == again != edited

    def test_is_of_the_whole_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Blocks that spaces share lie in other modules of their package."""
        package = tmp_path / "own_package"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "space.py").write_text(SOURCE)
        (package / "blocks.py").write_text("WIDTH = 1\n")
        monkeypatch.syspath_prepend(tmp_path)
        space = importlib.import_module("own_package.space").Own()
        before = space_identity(space, image_signature(SHAPE, 10))
        (package / "blocks.py").write_text("WIDTH = 2\n")
        assert space_identity(space, image_signature(SHAPE, 10)) != before
        monkeypatch.delitem(sys.modules, "own_package.space")
        monkeypatch.delitem(sys.modules, "own_package")

    def test_needs_no_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The identity of a space from a prompt or from standard input is made of its choices alone."""
        made = type("Made", (TinySpace,), {"__module__": "builtins"})()
        assert space_identity(made, image_signature(SHAPE, 10)) == space_identity(made, image_signature(SHAPE, 10))
        monkeypatch.setitem(sys.modules, "from_input", module := ModuleType("from_input"))
        module.__file__ = "<stdin>"
        read = type("Made", (TinySpace,), {"__module__": "from_input"})()
        assert space_identity(read, image_signature(SHAPE, 10)) == space_identity(made, image_signature(SHAPE, 10))

    def test_of_layers_is_of_each_of_them(self) -> None:
        """Sizes, order and settings of layers count, such as activation and dilation, and weights do not."""

        def identity(*modules: nn.Module) -> str:
            module = nn.Sequential(*modules, nn.Flatten(), nn.Linear(4 * 64, 10))
            return layers_identity(*trace(module, image_signature(SHAPE, 10)))

        first, again = (identity(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()) for _ in range(2))
        assert first == again
        others = {
            identity(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU()),
            identity(nn.ReLU(), nn.Conv2d(1, 4, 3, padding=1)),
            identity(nn.Conv2d(1, 4, 3, padding=1), nn.GELU()),
            identity(nn.Conv2d(1, 4, 3, padding=1), nn.GELU("tanh")),
            identity(nn.Conv2d(1, 4, 3, padding=2, dilation=2), nn.ReLU()),
        }
        assert len({first} | others) == 6


def statement(folder: Path, text: str) -> None:
    with closing(sqlite3.connect(folder / STORE)) as connection, connection:
        connection.execute(text)


class TestDamagedRows:
    @pytest.mark.parametrize(
        "change",
        [
            "body = replace(body, '2.0', '1.0')",
            "body = '{'",
            "body = '[]'",
            "body = '{}'",
            "metric = 'energy_mj'",
            "architecture = 'abc'",
            "checksum = 5",
        ],
    )
    def test_are_measured_again(self, tmp_path: Path, change: str) -> None:
        """A row that is not as it was written is no measurement; an older sound one counts."""
        store = MeasurementStore(tmp_path)
        store.add("print", "space", WIDE, latency(3.0))
        store.add("print", "space", WIDE, latency(2.0))
        statement(tmp_path, f"UPDATE measurements SET {change} WHERE number = 2")
        assert store.find("print", "space", WIDE) == latency(3.0)

    def test_of_older_versions_are_judged_by_their_shape(self, tmp_path: Path) -> None:
        """They have no checksum."""
        store = MeasurementStore(tmp_path)
        store.add("print", "space", WIDE, latency(2.0))
        statement(tmp_path, "ALTER TABLE measurements DROP COLUMN checksum")
        assert store.find("print", "space", WIDE) == latency(2.0)
        store.add("print", "space", NARROW, latency(3.0))
        assert store.find("print", "space", NARROW) == latency(3.0)
        statement(tmp_path, "UPDATE measurements SET body = '{}' WHERE number = 1")
        assert store.find("print", "space", WIDE) == {}
