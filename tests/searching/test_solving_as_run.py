"""A solved run becomes a run of its own, whose search has ended and whose winners can be made."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from commands import assert_nothing_twice, evaluations_of
from fake_bench import FakeClock, latency_ms
from fault_spaces import Faulty
from other_target import OTHER, SLOWER, OtherBench
from quick_runs import search
from table_space import DEVICE, Chain, write_table

import nas
from nas.errors import JournalError, RecipeError
from nas.searching.solving import as_run

OLD_RUNS = Path(__file__).parents[1] / "old_runs"


@pytest.mark.slow
def test_winners_are_made_for_the_other_target(tmp_path: Path, quick_export: None) -> None:
    """Only candidates without a model are retrained; all winners are measured there and tested."""
    search(
        tmp_path,
        trials=8,
        sampler="random",
        predictor="quick_predictor:fit_quick",
        early_stopping={"enabled": False},
        training={"epochs": 1, "subset": 0.05},
        retraining={"epochs": 1, "winners": 3},
    )
    bench, folder = OtherBench(), tmp_path / "slower"
    instruments = nas.Instruments(bench=bench, looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())
    solved = nas.solve(
        tmp_path / "run",
        ["latency_ms <= 100ms"],
        target=OTHER,
        space=Faulty(),
        trust=True,
        as_run=folder,
        progress=None,
        instruments=instruments,
    )
    assert any("Written as a run" in note and "space=…" in note for note in solved.notes)
    record = nas.load_run(folder)
    assert not record.is_over
    assert record.recipe.target.startswith(OTHER)
    assert record.recipe.limits == ("latency_ms <= 100ms",)
    already = {row.architecture for row in evaluations_of(folder, "retrain")}
    assert already == {row.architecture for row in evaluations_of(tmp_path / "run", "retrain")}
    front = nas.resume(folder, space=Faulty(), progress=None, instruments=instruments)
    assert front.winners
    for winner in front:
        assert winner.value("latency_ms") == pytest.approx(SLOWER * latency_ms(winner.architecture), rel=0.05)
        assert winner.bundle is not None
        assert (winner.bundle / "model.onnx").is_file()
    assert_nothing_twice(folder)
    assert len(evaluations_of(folder, "train")) == 8
    assert nas.load_run(folder).is_over


HERE = nas.Instruments(looks_apart=False)


def search_table(folder: Path, trials: int) -> Path:
    """Return the folder of a finished run in a table."""
    recipe = {
        "name": "run",
        "evaluate": "table",
        "trials": trials,
        "sampler": "random",
        "predictor": "quick_predictor:fit_quick",
        "table": {
            "path": str(write_table(folder / "table.csv.gz")),
            "accuracy": "val_acc",
            "device": DEVICE,
            "input_shape": [1, 8, 8],
        },
        "measuring": {"initial": 6},
        "execution": {"executor": "inline"},
    }
    nas.search(recipe, space=Chain(), runs=folder, progress=None, instruments=HERE)
    return folder / "run"


@pytest.mark.slow
def test_a_run_in_a_table_for_another_device(tmp_path: Path) -> None:
    """Its winners are looked up, and their latencies are those of the other device."""
    run, folder = search_table(tmp_path, 16), tmp_path / "other"
    options = {"target": "other", "space": Chain(), "trust": True, "progress": None, "as_run": folder}
    nas.solve(run, **options)
    front = nas.resume(folder, space=Chain(), progress=None, instruments=HERE)
    assert front.winners
    for winner in front:
        assert winner.measurements["latency_ms"].target == "table:other"
    with pytest.raises(JournalError, match="already holds one"):
        nas.solve(run, **options)


@pytest.mark.parametrize("target", ["other", None])
def test_a_run_of_few_candidates_goes_on(target: str | None, tmp_path: Path) -> None:
    """What the run measured itself is taken over; on another device more are measured before anything is predicted."""
    run, folder = search_table(tmp_path, 4), tmp_path / "few"
    nas.solve(run, target=target, space=Chain(), trust=True, progress=None, as_run=folder)
    front = nas.resume(folder, space=Chain(), progress=None, instruments=HERE)
    assert front.winners
    own, gone_on = (len({row.architecture for row in evaluations_of(each, "measure")}) for each in (run, folder))
    assert gone_on == own if target is None else gone_on > 4


def test_what_stops_writing_leaves_no_half_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without its rows would be searched anew from the start when it is resumed."""
    run, folder = copied(OLD_RUNS / "finished-0.6.0", tmp_path), tmp_path / "runs" / "tight"

    def refuse(source: object, path: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def stop(journal: object, *rows: object) -> None:
        raise KeyboardInterrupt

    for patched, replacement, expected in (
        ("nas.searching.solving.as_run.shutil.copyfile", refuse, JournalError),
        ("nas.storage.journal.Journal.append", stop, KeyboardInterrupt),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(patched, replacement)
            with pytest.raises(expected):
                nas.solve(run, ["latency_ms <= 0.8ms"], as_run=folder, progress=None)
        assert list(folder.parent.iterdir()) == []
    nas.solve(run, ["latency_ms <= 0.8ms"], as_run=folder, progress=None)
    assert nas.load_run(folder).rows


def test_a_run_that_began_there_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measuring for the new run may take minutes."""
    folder, real = tmp_path / "runs" / "tight", as_run.check_new
    looks: list[Path] = []

    def look(place: Path) -> None:
        real(place)
        looks.append(place)
        if len(looks) == 1:
            shutil.copytree(OLD_RUNS / "finished-0.6.0", place)

    monkeypatch.setattr("nas.searching.solving.as_run.check_new", look)
    monkeypatch.setattr("nas.searching.solving.solve.check_new", look)
    with pytest.raises(JournalError, match="already holds one"):
        nas.solve(copied(OLD_RUNS / "finished-0.6.0", tmp_path), as_run=folder, progress=None)
    assert len(nas.load_run(folder).front) == 2


def copied(run: Path, folder: Path) -> Path:
    """Return a copy of a run, with weights of a tuned parent."""
    copy = Path(shutil.copytree(run, folder / "run", dirs_exist_ok=True))
    (copy / "parent.safetensors").write_bytes(b"of a tuned parent")
    return copy


def test_a_folder_that_is_not_empty_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "tight").mkdir()
    (tmp_path / "tight" / "notes.txt").write_text("mine")
    with pytest.raises(JournalError, match="is not empty"):
        nas.solve(copied(OLD_RUNS / "finished-0.6.0", tmp_path), as_run=tmp_path / "tight", progress=None)
    assert (tmp_path / "tight" / "notes.txt").read_text() == "mine"


def test_an_old_run_is_written_without_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under other limits on its own target, nothing but the winners is left to do."""
    run = copied(OLD_RUNS / "finished-0.6.0", tmp_path)
    nas.solve(run, ["latency_ms <= 0.8ms"], as_run=tmp_path / "tight", progress=None)
    assert (tmp_path / "tight" / "parent.safetensors").read_bytes() == b"of a tuned parent"
    record = nas.load_run(tmp_path / "tight")
    assert {row.architecture for row in record.rows if row.stage == "train"} == {
        row.architecture for row in nas.load_run(run).rows if row.stage == "train"
    }
    assert not record.is_over
    with pytest.raises(RecipeError, match="a run's name has letters"):
        nas.solve(run, as_run=tmp_path / "no good", progress=None)
