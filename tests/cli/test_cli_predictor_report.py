"""``nas predictor report``: what it prints and writes, and the requests that it refuses."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from fake_bench import latency_ms
from in_process import printed, refused
from small_tables import (
    ALL,
    FP32,
    NEW,
    NEW_TEXT,
    QUICK,
    SPACE,
    TASK,
    first,
    measurement,
    slower,
    table_of_two_devices,
    write_table,
)

import nas
from nas.recipe.recipe import Recipe
from nas.space.search_space import choices_hash
from nas.space.signature import image_signature
from nas.storage.home import home
from nas.storage.journal import RECIPE, Journal
from nas.storage.journal_rows import Began, RecipeText
from nas.storage.measurement_store import MeasurementStore, space_identity
from nas.values.evaluation import Evaluation
from nas.values.measurement import Measurement

REPORT = ("predictor", "report")

pytestmark = pytest.mark.usefixtures("small_spaces_here")


@pytest.fixture(name="table")
def small_table(tmp_path: Path) -> Path:
    """The table of two devices."""
    return table_of_two_devices(tmp_path)


def test_a_table_is_reported_on_by_metric(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The report covers all metrics of the device in 80 columns, and its page lies in the current folder."""
    monkeypatch.chdir(tmp_path)
    text = printed(
        capsys,
        monkeypatch,
        "predictor",
        "report",
        table,
        *TASK,
        *QUICK,
        "--target",
        "board",
        "--limit",
        "latency_ms<=1ms",
    )
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
    """Rows without a value are suggested for measuring next, and the sources are named."""
    out = tmp_path / "new" / "page.html"
    arguments = ("--target", "board", "--metric", "latency_ms", "--sources", "phone", "--out", out, "--json")
    shown = json.loads(printed(capsys, monkeypatch, *REPORT, table, *TASK, *QUICK, *arguments))
    (latency,) = shown["metrics"]
    assert (latency["metric"], latency["target"], latency["sources"]) == ("latency_ms", "board", ["phone"])
    assert latency["held_out"]["samples"] == 12 == latency["measured"]
    assert {each["id"] for each in latency["measure_next"]} == {a.id for a in ALL[12:]}
    assert shown["report"] == str(out)
    assert out.is_file()


def test_fewer_samples_are_drawn_when_asked_for(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A large table would take hours, so --samples draws from it; the number of all measurements is still given."""
    arguments = ("--target", "phone", "--samples", "6", "--out", tmp_path / "page.html", "--json")
    (latency,) = json.loads(printed(capsys, monkeypatch, *REPORT, table, *TASK, *QUICK, *arguments))["metrics"]
    assert latency["held_out"]["samples"] == 6
    assert latency["measured"] == 15
    assert latency["measure_next"] == []


def test_a_target_names_its_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A device may be named as its columns name it or as a target; the only device of a table needs no name."""
    one = write_table(tmp_path / "one.csv.gz", {f"latency_ms_{FP32}": latency_ms})
    for target in ((), ("--target", "onnxruntime-cpu"), ("--target", FP32)):
        arguments = (*target, "--out", tmp_path / "page.html", "--json")
        (latency,) = json.loads(printed(capsys, monkeypatch, *REPORT, one, *TASK, *QUICK, *arguments))["metrics"]
        assert latency["target"] == FP32


def make_run(folder: Path, count: int, space: str = "tiny_space:TinySpace", table: str | None = None) -> Path:
    """Make a run that measured the latency and size of ``count`` architectures, or looked them up in ``table``."""
    recipe = Recipe(
        space=space,
        target=NEW,
        seed=3,
        limits=["latency_ms<=1ms"],
        predictor="quick_predictor:fit_quick",
        evaluate="train" if table is None else "table",
        table={"path": table, "accuracy": "acc", "device": "phone", "input_shape": (1, 8, 8)},
    )
    began = Began(
        space={"name": space, "choices": choices_hash(SPACE)},
        machine={},
        versions={},
        data_set={"image shape": [1, 8, 8], "classes": 10} if table is None else None,
        table=None if table is None else {"rows": 30},
    )
    with Journal.start(folder, recipe.to_toml(), clock=lambda: 0.0) as journal:
        journal.append(RecipeText(recipe.to_toml()), began)
        for a in ALL[:count]:
            measurements = {name: measurement(name, a) for name in ("latency_ms", "model_bytes")}
            journal.append(Evaluation("measure", a, measurements=measurements))
    return folder


def test_a_run_is_reported_on_from_its_journal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Space, shapes, limits and predictor come from the recipe, and the page lies in the run's folder."""
    run = make_run(tmp_path / "run", 11)
    shown = json.loads(printed(capsys, monkeypatch, *REPORT, run, "--trust", "--json"))
    latency, size = shown["metrics"]
    assert latency["limits"] == ["latency_ms <= 1ms"]
    assert (latency["predictor"], size["metric"]) == ("quick_predictor:fit_quick", "model_bytes")
    assert latency["held_out"]["samples"] == 11
    suggested = {each["id"] for each in latency["measure_next"]}
    assert suggested
    assert suggested <= {a.id for a in ALL[11:]}
    page = (run / "predictor_report.html").read_text(encoding="utf-8")
    assert "<dt>seed</dt><dd>3</dd>" in page
    other = printed(
        capsys, monkeypatch, *REPORT, run, "--trust", "--limit", "latency_ms<=2ms", "--metric", "latency_ms", "--json"
    )
    assert [each["limits"] for each in json.loads(other)["metrics"]] == [["latency_ms <= 2ms"]]


def test_a_recipe_that_was_edited_changes_no_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The journal's copy names the target and the seed; the file that differs is told."""
    run = make_run(tmp_path / "run", 11)
    edited = (run / RECIPE).read_text().replace("seed = 3", "seed = 4").replace(NEW, "onnxruntime-cpu")
    (run / RECIPE).write_text(edited)
    text = printed(capsys, monkeypatch, *REPORT, run, "--trust", "--metric", "latency_ms")
    assert "seed was 3 and is 4 now" in " ".join(text.split())
    assert "<dt>seed</dt><dd>3</dd>" in (run / "predictor_report.html").read_text(encoding="utf-8")


def test_a_page_takes_no_file_of_the_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nor a pipe: then what to measure next lies where it usually does."""
    run = make_run(tmp_path / "run", 11)
    said = refused(capsys, monkeypatch, *REPORT, run, "--trust", "--out", run / RECIPE)
    assert "--out must not take the place of a file of the run itself" in said
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = threading.Thread(target=pipe.read_bytes)
    reader.start()
    printed(capsys, monkeypatch, *REPORT, run, "--trust", "--metric", "latency_ms", "--out", pipe)
    reader.join()
    assert (run / "measure_next.json").is_file()


def test_a_run_in_a_table_is_reported_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a data set, the task comes from the recipe; the target is the table's device."""
    run = make_run(tmp_path / "run", 11, table="table.csv.gz")
    latency, _ = json.loads(printed(capsys, monkeypatch, *REPORT, run, "--trust", "--json"))["metrics"]
    assert latency["target"] == "table:phone"
    assert latency["held_out"]["samples"] == 11


def test_a_run_transfers_from_other_targets_of_this_machine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Measurements of other targets are sources, but none of the run's own target or networks, which leak answers."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("nas.storage.measurement_store.LEAST_OF_A_SOURCE", 4)
    store, identity = MeasurementStore(home()), space_identity(SPACE, image_signature((1, 8, 8), 10))
    for target in (NEW_TEXT, "torch-cpu:fp32:batch=1:threads=1"):
        for a in ALL[-6:]:
            found = Measurement("latency_ms", target, ((latency_ms(a),),) * 3)
            store.add(f"machine with {target}", f"{identity}-layers", a, {"latency_ms": found})
    run = make_run(tmp_path / "run", 11)
    latency, size = json.loads(printed(capsys, monkeypatch, *REPORT, run, "--trust", "--json"))["metrics"]
    assert latency["sources"] == ["torch-cpu:fp32:batch=1:threads=1"]
    assert size["sources"] == []


def test_a_run_s_own_code_is_run_only_where_its_user_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody else's run folder may name any code. Names on the command line are the user's own."""
    run = make_run(tmp_path / "run", 11, space="harmful:Space")
    (tmp_path / "harmful.py").write_text("import pathlib\npathlib.Path('harm').touch()\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    text = refused(capsys, monkeypatch, *REPORT, run)
    assert "names code of its own, harmful:Space and quick_predictor:fit_quick, which this command must run" in text
    assert "say so with --trust" in text
    text = refused(capsys, monkeypatch, *REPORT, run, "--predictor", "quick_predictor:fit_quick")
    assert "names code of its own, harmful:Space, which" in text
    for read in (("show", run), ("show", "--runs", tmp_path), ("report", run)):
        printed(capsys, monkeypatch, *read)
    assert nas.load_run(run).recipe.space.name == "harmful:Space"
    assert not (tmp_path / "harm").exists()
    mine = ("--space", "tiny_space:TinySpace", "--predictor", "quick_predictor:fit_quick", "--json")
    printed(capsys, monkeypatch, *REPORT, make_run(tmp_path / "mine", 11), *mine)
    refused(capsys, monkeypatch, *REPORT, run, "--trust")
    assert (tmp_path / "harm").exists()


@pytest.mark.slow
def test_the_space_of_a_run_that_was_given_an_object_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A recipe cannot locate the class of a space object, so --space must name it."""
    run = make_run(tmp_path / "run", 11, space="given")
    text = refused(capsys, monkeypatch, *REPORT, run, "--trust")
    assert "was started with a space object: name its class with --space my_module:MySpace" in text
    printed(capsys, monkeypatch, *REPORT, run, "--trust", "--space", "tiny_space:TinySpace")
    text = refused(capsys, monkeypatch, *REPORT, run, "--trust", "--space", "fault_spaces:Faulty")
    assert "must have the choices that the run" in text


BAD_REPORTS = {
    "no space": (("table.csv.gz",), "does not name its search space: name that of table.csv.gz with --space NAME"),
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
        "a limit must be on a reported metric, but got energy_mj <= 1",
    ),
    "source": (("table.csv.gz", *TASK, "--target", "phone", "--sources", "bord"), "Did you mean 'latency_ms_board'?"),
    "target as source": (
        ("table.csv.gz", *TASK, "--target", "phone", "--sources", "phone"),
        "but got the target itself, 'phone'",
    ),
    "predictor": (("table.csv.gz", *TASK, "--target", "phone", "--predictor", "stackd"), "unknown predictor 'stackd'"),
    "no run": ((".",), "takes the folder of a run or a table, but . has no recipe.toml"),
    "a run's target": (
        (".", "--target", "board"),
        "a run has its own target, shapes and options, but got --target",
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
    """The message says the rule, the value and what to do, and no page is written."""
    arguments, message = BAD_REPORTS[what]
    columns = {"latency_ms_board": latency_ms, "latency_ms_phone": slower}
    if what == "zero":
        columns["latency_ms_zero"] = lambda a: 0.0
    write_table(tmp_path / "table.csv.gz", columns)
    write_table(tmp_path / "few.csv.gz", {"latency_ms_board": first(4)})
    write_table(tmp_path / "none.csv.gz", {"test_acc": latency_ms})
    monkeypatch.chdir(tmp_path)
    given = arguments if "--predictor" in arguments else (*arguments, *QUICK)
    text = refused(capsys, monkeypatch, *REPORT, *given)
    assert message in text
    assert len(text.splitlines()) == 1
    assert not list(tmp_path.glob("*.html"))
