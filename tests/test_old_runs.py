"""Runs that versions 0.5.0 and 0.6.0 wrote still open, resume, and give their models."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import assert_nothing_twice, rows_of
from fake_bench import FakeBench, FakeClock
from fault_spaces import Faulty

import nas
from nas.formats.onnx_session import outputs_of
from nas.reports.report import write_report
from nas.storage.journal import JOURNAL, JournalReader
from nas.storage.journal_rows import Began, RoundEnded, RungsJudged, TurnedAway
from nas.tasks.images.images import Images

OLD_RUNS = Path(__file__).parent / "old_runs"
FAULTS = "raise"
"""The space that all runs searched has parts that raise in training."""
NEWER = "-0.6.0"
"""Ends the folders of version 0.6.0."""


@pytest.fixture(name="run", params=["finished", "interrupted", f"finished{NEWER}", f"interrupted{NEWER}"])
def copied_run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a run. It goes on only on the processor that it began on. Candidates are not exported here."""
    run = Path(shutil.copytree(OLD_RUNS / request.param, tmp_path / request.param))
    with JournalReader(run) as journal:
        processor = journal.rows(Began)[0].machine["processor"]
    monkeypatch.setattr("nas.hardware.devices.local_device.processor_name", lambda: processor)
    monkeypatch.setattr(
        "nas.hardware.measuring.export_model", lambda module, shape, batch, path, form: path.write_bytes(b"model")
    )
    return run


def is_finished(run: Path) -> bool:
    return run.name.startswith("finished")


def resume(run: Path) -> nas.Front:
    space = Faulty(FAULTS)
    clock = FakeClock()
    instruments = nas.Instruments(bench=FakeBench(space), looks_apart=False, clock=clock, stopwatch=FakeClock())
    return nas.resume(run, space=space, progress=None, instruments=instruments)


def test_an_old_run_opens_without_its_space(run: Path) -> None:
    """Its rows, its predictors' errors and its notes are read, and its folder stays as it was."""
    before = (run / JOURNAL).read_bytes()
    record = nas.load_run(run)
    assert record.is_over == (is_finished(run))
    assert record.recipe.sampler.name == "gp"
    assert record.recipe.predictor.name == "quick_predictor:fit_quick"
    assert record.fits[0].samples == 8
    assert record.notes["data set"]["name"] == "digits"
    assert record.notes["versions"]["nas"] == ("0.6.0" if run.name.endswith(NEWER) else "0.5.0")
    assert record.damages == ()
    assert sum(record.notes["turned away before training, by a limit"].values()) > 30
    assert len(record.front) == (2 if record.is_over else 0)
    assert (run / JOURNAL).read_bytes() == before


def test_old_notes_become_rows_of_their_own_kinds(run: Path) -> None:
    with JournalReader(run) as journal:
        assert [row.trainings for row in journal.rows(RungsJudged)] == [3]
        assert journal.rows(RungsJudged)[0].stops_after == [1, 2]
        rounds = {row.round for row in journal.rows(TurnedAway)}
        assert rounds == ({1} if run.name == f"interrupted{NEWER}" else {1, 2})
        assert [row.round for row in journal.rows(RoundEnded)] == ([0, 1, 2, 3] if is_finished(run) else [0, 1])


def test_an_old_run_writes_its_report(run: Path) -> None:
    write_report(run / "report.html", nas.load_run(run))
    assert "latency" in (run / "report.html").read_text(encoding="utf-8")


def test_an_old_run_resumes(run: Path) -> None:
    """What it had stays; what was missing is done once; and it comes to its end."""
    before = rows_of(run)
    front = resume(run)
    after = rows_of(run)
    assert after[: len(before)] == before
    assert (len(after) > len(before)) == (not is_finished(run))
    assert_nothing_twice(run)
    record = nas.load_run(run)
    assert record.is_over
    trained = [row for row in record.rows if row.stage == "train"]
    assert len(trained) == record.recipe.trials == 16
    assert len(front) == 2
    connection = sqlite3.connect(run / JOURNAL)
    assert connection.execute("PRAGMA user_version").fetchone() == (1 if run.name.endswith(NEWER) else 0,)
    connection.close()


def test_winners_of_an_old_run_load_and_predict(tmp_path: Path, digits: Images) -> None:
    """The torch module and the deployed model agree with the exported file."""
    run = Path(shutil.copytree(OLD_RUNS / "finished", tmp_path / "run"))
    images = digits.test.images[:8]
    for winner in nas.load_run(run).front:
        assert winner.bundle is not None
        expected = outputs_of(winner.bundle / "model.onnx", digits.prepared((torch.from_numpy(images),)))
        module = winner.load(Faulty(FAULTS))
        with torch.inference_mode():
            found = module(*digits.inputs_of((torch.from_numpy(images),))).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        probabilities = winner.predict(images)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
        assert (probabilities.argmax(axis=1) == expected.argmax(axis=1)).all()
        with pytest.raises(nas.RecipeError, match=r"pass it again: winner.load\(space=…\)"):
            winner.load()
        with pytest.raises(ValueError, match=r"images must be uint8 of shape \(N, 1, 8, 8\), but got float64"):
            winner.predict(images / 255)


def test_winners_of_version_0_6_0_load(tmp_path: Path) -> None:
    """The space is passed again."""
    run = Path(shutil.copytree(OLD_RUNS / f"finished{NEWER}", tmp_path / "run"))
    for winner in nas.load_run(run).front:
        assert sum(each.numel() for each in winner.load(Faulty(FAULTS)).parameters()) == winner.value("params")
