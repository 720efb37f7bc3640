"""A run as an Optuna storage: read back with Optuna, it has all objectives, constraints and attributes."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from exported_runs import awkward_runs, whole
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.errors import RecipeError
from nas.results.exports.exporting import export
from nas.results.run import Run
from nas.results.run_folder import read_run
from nas.storage.journal import JournalReader
from nas.values.evaluation import Evaluation

OLD_RUN = Path(__file__).parents[1] / "old_runs" / "finished-0.6.0"
AWKWARD = sorted(awkward_runs(Path("runs/x")))


def studies(path: Path) -> dict[str, optuna.Study]:
    """Return the studies in a storage file by name."""
    storage = f"sqlite:///{path}" if path.suffix == ".db" else JournalStorage(JournalFileBackend(str(path)))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return {name: optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)}


def exported(run: Run, path: Path) -> dict[str, optuna.Study]:
    assert export(run, "optuna", path).place == str(path)
    return studies(path)


@pytest.mark.parametrize("name", ["study.db", "study.log"])
def test_it_reads_back_with_all_values(name: str, tmp_path: Path) -> None:
    """Each candidate is a trial as the search saw it: whole, stopped early or failed."""
    run = whole(tmp_path)
    found = exported(run, tmp_path / name)
    assert set(found) == {"digits", "digits, winners"}
    study = found["digits"]
    assert study.metric_names == ["error", "latency_ms"]
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MINIMIZE"]
    assert study.user_attrs["recipe"] == run.recipe_text
    trials = {trial.user_attrs["id"]: trial for trial in study.trials}
    evaluated = [record for record in run.records if record.evaluation is not None]
    for record in evaluated:
        trial = trials[record.architecture.id]
        assert trial.params == dict(record.architecture)
        if record.failure is not None:
            assert trial.state == TrialState.FAIL
            assert trial.user_attrs["failure"] == record.failure.reason
        elif record.was_stopped:
            assert trial.state == TrialState.PRUNED
            assert list(trial.intermediate_values.values()) == record.details["curve"]
        elif trial.state == TrialState.COMPLETE:
            assert trial.values == [record.value("error"), record.value("latency_ms")]
            assert trial.user_attrs["latency_ms_source"] == record.source("latency_ms")
            assert trial.user_attrs["latency_ms_source"] in ("measured", "predicted")
            excess = trial.constraints["latency_ms <= 0.5ms"]
            judged = record.judged(run.limits[0])
            assert judged is not None
            assert excess == run.limits[0].excess(judged)
            assert trial.system_attrs["constraints"] == [excess]  # where optuna-dashboard looks for it
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}


def test_a_journal_is_not_written_trial_by_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna's own backend waits for a lock and the disk for each trial: over a minute for 15,000 of them."""
    monkeypatch.setattr(JournalFileBackend, "append_logs", lambda *_: pytest.fail("each trial waits for the disk"))
    assert export(whole(tmp_path), "optuna", tmp_path / "study.log").place == str(tmp_path / "study.log")


def test_a_file_of_sqlite_has_the_rows_that_optuna_would_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written table by table: trial by trial, 2,000 candidates took 40 s."""
    run = read_run(shutil.copytree(OLD_RUN, tmp_path / "run"))
    with monkeypatch.context() as patch:
        patch.setattr(Study, "add_trial", lambda *_: pytest.fail("each trial is written alone"))
        export(run, "optuna", tmp_path / "quick.db")

    def one_by_one(storage: RDBStorage, study_id: int, trials: Sequence[FrozenTrial]) -> None:
        for trial in trials:
            storage.create_new_trial(study_id, trial)

    monkeypatch.setattr("nas.results.exports.optuna_study._insert", one_by_one)
    export(run, "optuna", tmp_path / "own.db")
    quick, own = (contents(tmp_path / f"{name}.db") for name in ("quick", "own"))
    assert quick == own
    assert all(own[table] for table in ("trials", "trial_params", "trial_values", "trial_intermediate_values"))


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of each table of a file, but the numbers that no other table names."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}
        kept = {
            name: [each for each in found if each in ("trial_id", "study_id") or not each.endswith("_id")]
            for name, found in columns.items()
        }
        return {
            name: sorted(connection.execute(f"SELECT {', '.join(found)} FROM {name}"), key=repr)
            for name, found in kept.items()
            if found
        }


def test_winners_have_test_scores_and_final_measurements(tmp_path: Path) -> None:
    run = whole(tmp_path)
    study = exported(run, tmp_path / "study.db")["digits, winners"]
    assert len(study.trials) == len(run.front)
    for winner in run.front:
        trial = next(t for t in study.trials if t.user_attrs["id"] == winner.architecture.id)
        assert trial.values == [winner.test_error, winner.value("latency_ms")]
        assert (max(trial.constraints.values()) <= 0) == winner.meets(run.limits)
    best = {trial.user_attrs["id"] for trial in study.best_trials}
    meeting = {winner.architecture.id for winner in run.front if winner.meets(run.limits)}
    assert best <= meeting


def test_trials_have_the_times_of_their_trainings(tmp_path: Path) -> None:
    """The dashboard orders trials by them, and shows how long each took."""
    run = read_run(shutil.copytree(OLD_RUN, tmp_path / "run"))
    study = exported(run, tmp_path / "study.db")[run.name]
    with JournalReader(tmp_path / "run") as journal:
        written = {row.architecture.id: (at, row) for at, row in journal.timed_rows(Evaluation) if row.stage == "train"}
    assert len(study.trials) == len(written)
    for trial in study.trials:
        at, row = written[trial.user_attrs["id"]]
        assert trial.datetime_complete is not None
        assert trial.datetime_complete.timestamp() == pytest.approx(at, abs=0.001)
        assert trial.duration is not None
        assert trial.duration.total_seconds() == pytest.approx(row.details.get("seconds", 0.0), abs=0.001)


@pytest.mark.parametrize("what", AWKWARD)
def test_awkward_runs_are_studies_too(what: str, tmp_path: Path) -> None:
    """A choice keeps one list of options, and nothing that JSON does not have is written."""
    run = awkward_runs(tmp_path)[what]
    found = exported(run, tmp_path / "study.log")
    for line in (tmp_path / "study.log").read_text().splitlines():
        json.loads(line, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    study = found[run.name]
    assert len(study.directions) == len(run.objectives)
    if what == "nothing feasible":
        assert all(max(trial.constraints.values()) > 0 for trial in study.trials if trial.constraints)


def test_architectures_without_all_objectives_are_counted(tmp_path: Path) -> None:
    run = awkward_runs(tmp_path)["measured alone"]
    told = export(run, "optuna", tmp_path / "study.db")
    assert any("lack the value of an objective" in note for note in told.notes)
    assert told.opened_by == f"optuna-dashboard sqlite:///{tmp_path / 'study.db'}"
    assert studies(tmp_path / "study.db")[run.name].trials == []


def test_the_ending_decides_the_form(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"a file that ends in one of \.db, .*, but got \.txt"):
        export(whole(tmp_path), "optuna", tmp_path / "study.txt")
