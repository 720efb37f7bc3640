"""``nas export``, ``nas plot``, the drawing of ``nas show``, and ``nas measure --run``: what they print and refuse."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from damaged_journals import change_row
from in_process import printed, refused

from nas.results.run_folder import read_run

OLD_RUNS = Path(__file__).parents[1] / "old_runs"


@pytest.fixture(name="run")
def finished_run(tmp_path: Path) -> Path:
    """A copy of a finished run."""
    return Path(shutil.copytree(OLD_RUNS / "finished-0.6.0", tmp_path / "run"))


Capture = pytest.CaptureFixture[str]


def test_export_prints_its_place_and_how_to_open_it(
    run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(capsys, monkeypatch, "export", run, "--format", "csv")
    assert text == f"{run / 'architectures.csv'}\n"
    text = printed(capsys, monkeypatch, "export", run, "--format", "optuna", "--out", run.parent / "study.db")
    assert text.splitlines() == [
        str(run.parent / "study.db"),
        f"Open it with: optuna-dashboard sqlite:///{run.parent / 'study.db'}",
    ]


def test_export_prints_a_table_on_request(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from nas.cli.main import main

    monkeypatch.setattr(sys, "argv", ["nas", "export", str(run), "--format", "csv", "--out", "-"])
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="utf-8"))
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    rows = list(csv.DictReader(io.StringIO(buffer.getvalue().decode())))
    assert {row["id"] for row in rows} == {row.architecture.id for row in read_run(run).rows}


def test_plot_prints_the_place_of_the_picture(run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    out = run.parent / "front.svg"
    text = printed(capsys, monkeypatch, "plot", run, "--x", "params", "--log", "x", "--out", out, "--title", "A & B")
    assert text == f"{out}\n"
    assert "A &amp; B" in out.read_text(encoding="utf-8")


def test_show_draws_the_front_above_the_winners(run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps to 80 columns and has no colour, because this is no terminal."""
    text = printed(capsys, monkeypatch, "show", run)
    assert "\x1b" not in text
    assert text.index("Test error, %") < text.index("Winner ")
    assert "winners on the front" in text
    assert "Multiply-accumulates" in printed(capsys, monkeypatch, "show", run, "--x", "macs")
    assert "error, %" not in printed(capsys, monkeypatch, "show", run, "--no-plot")
    assert json.loads(printed(capsys, monkeypatch, "show", run, "--json"))["winners"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "RUN", "--format", "excel"), "unknown export 'excel'"),
        (("export", "RUN"), "Missing option '--format'"),
        (("export", "nowhere", "--format", "csv"), "nowhere must be the folder of a run, but it does not exist"),
        (
            ("export", "RUN", "--format", "csv", "--out", "RUN/journal.db"),
            "must not take the place of a file of the run",
        ),
        (("plot", "RUN", "--out", "front.txt"), "a picture ends in .svg, .png, .pdf"),
        (("plot", "RUN", "--out", "front.svg", "--x", "speed"), "--x is a metric, but got 'speed'"),
        (("show", "RUN", "--y", "speed"), "--y is a metric, but got 'speed'"),
        (("measure", "--run", "RUN"), "--run needs architectures to measure: name them with --id"),
        (("measure", "--run", "RUN", "--id", "0123456789ab", "--classes", "3"), "--classes is the run's own"),
        (("measure", "--run", "RUN", "--id", "0123456789ab"), "must be that of an architecture of"),
        (("measure", "--run", "RUN", "--id", "f177d8727cc6"), "was started with a space object"),
        (("measure", "a.onnx", "--id", "0123456789ab"), "--id is for --run"),
        (("measure", "a.onnx", "--input-shape", "3by3"), "--input-shape is the sizes of one input"),
        (("measure", "a.onnx", "--run", "RUN"), "takes ONNX files, --space NAME or --run RUN"),
    ],
)
def test_a_wrong_request_is_one_message(
    arguments: tuple[str, ...], words: str, run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written to the run's folder."""
    before = {path: path.stat().st_size for path in run.rglob("*") if path.is_file()}
    monkeypatch.chdir(run.parent)
    text = refused(capsys, monkeypatch, *(each.replace("RUN", str(run)) for each in arguments))
    assert words in " ".join(text.split())
    after = {path: path.stat().st_size for path in run.rglob("*") if path.is_file()}
    assert {path.name for path in set(after) - set(before)} <= {"journal.db-wal", "journal.db-shm"}


def test_a_damaged_run_is_exported_and_named(run: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sound is written, the damage is told, and the exit status is 1."""
    import sys

    from nas.cli.main import main

    change_row(run, 14, "not JSON")
    monkeypatch.setattr(
        sys, "argv", ["nas", "export", str(run), "--format", "json", "--out", str(run.parent / "a.json")]
    )
    with pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr()
    assert end.value.code == 1
    assert "is damaged" in output.err
    assert json.loads((run.parent / "a.json").read_text())["damages"]
