"""Trackers: TensorBoard's events read back, MLflow's runs, what is missing, and what happens when one fails."""

from __future__ import annotations

import importlib
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from awkward_fronts import winner
from exported_runs import awkward_runs, whole
from tensorboardX.proto.event_pb2 import Event

from nas.errors import RecipeError
from nas.results.exports import mlflow_runs
from nas.results.exports.exporting import export
from nas.results.exports.mlflow_runs import URI_VARIABLE, safe, uri_of
from nas.results.exports.tracked import RunFacts
from nas.results.exports.tracking import TrackerPlace, Trackers, check_trackers
from nas.values.evaluation import Evaluation


def events_in(folder: Path) -> Iterator[Event]:
    """Yield the events in the files of a folder: records of a length, a checksum, the event and a checksum."""
    for path in sorted(folder.glob("events.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def scalars(folder: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for event in events_in(folder):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found[value.tag].append(value.simple_value)
    return found


def test_tensorboard_has_the_search_and_a_session_for_each_architecture(tmp_path: Path) -> None:
    run = whole(tmp_path)
    told = export(run, "tensorboard", tmp_path / "events")
    assert told.opened_by == f"tensorboard --logdir {tmp_path / 'events'}"
    folder = tmp_path / "events" / run.name
    trained = [row for row in run.rows if row.stage == "train" and not row.failed]
    curves = scalars(folder / "search")
    assert curves["evaluation/validation_error"] == pytest.approx([row.values["error"] for row in trained])
    assert curves["best_so_far/validation_error"][-1] == pytest.approx(
        min(row.values["error"] for row in trained if row.reached_full_fidelity)
    )
    for row in run.rows:
        if row.stage == "winner":
            own = scalars(folder / "architectures" / row.architecture.id)
            assert own["test_error"] == pytest.approx([row.details["test_error"]])
            assert own["latency_ms"][-1] == pytest.approx(row.measurements["latency_ms"].median)
    tags = {v.tag for e in events_in(folder / "architectures" / trained[0].architecture.id) for v in e.summary.value}
    assert "_hparams_/session_start_info" in tags


@pytest.mark.slow
def test_events_are_replaced_by_a_later_export_and_nothing_else_is(tmp_path: Path) -> None:
    run = whole(tmp_path)
    for _ in range(2):
        export(run, "tensorboard", tmp_path)
    assert len(scalars(tmp_path / run.name / "search")["evaluation/validation_error"]) == sum(
        row.stage == "train" and not row.failed for row in run.rows
    )
    assert not list(tmp_path.glob(".*"))
    (tmp_path / "mine" / run.name).mkdir(parents=True)
    (tmp_path / "mine" / run.name / "notes.txt").write_text("mine")
    with pytest.raises(RecipeError, match="holds something else"):
        export(run, "tensorboard", tmp_path / "mine")
    assert (tmp_path / "mine" / run.name / "notes.txt").read_text() == "mine"
    with pytest.raises(RecipeError, match="events go into a folder, but"):
        export(run, "tensorboard", tmp_path / "mine" / run.name / "notes.txt")


@pytest.mark.parametrize("what", ["empty", "infinite prediction", "no choices", "a choice of several types"])
def test_awkward_runs_are_events_too(what: str, tmp_path: Path) -> None:
    run = awkward_runs(tmp_path)[what]
    export(run, "tensorboard", tmp_path / "events")
    assert (tmp_path / "events" / run.name / "search").is_dir()


@pytest.mark.slow
def test_mlflow_has_a_run_for_the_search_and_one_for_each_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second export adds nothing twice."""
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    run = whole(tmp_path)
    for _ in range(2):
        told = export(run, "mlflow", tmp_path / "mlflow.db")
    assert told.opened_by == f"mlflow ui --backend-store-uri sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=told.place)
    experiment = client.get_experiment_by_name("nas")
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = [each for each in found if "mlflow.parentRunId" not in each.data.tags]
    assert parent.info.status == "FINISHED"
    assert parent.data.params["target"] == run.target
    nested = {each.data.tags["nas.architecture"]: each for each in found if each is not parent}
    for row in run.rows:
        if row.stage in ("train", "winner") and not row.failed:
            values = nested[row.architecture.id].data
            assert values.params == {safe(name): str(option) for name, option in row.architecture.items()}
            if row.stage == "winner":
                assert values.metrics["test_error"] == row.details["test_error"]
            else:
                assert values.metrics["validation_error"] == row.values["error"]
    trained = [row for row in run.rows if row.stage == "train" and not row.failed]
    history = client.get_metric_history(parent.info.run_id, "validation_error")
    assert [each.value for each in history] == [row.values["error"] for row in trained]


@pytest.mark.slow
def test_mlflow_has_long_curves_and_later_retrainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More epochs than one request takes; and the winner that was retrained after the run had been exported."""
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    curve = [1 / epoch for epoch in range(1, 1202)]
    first = winner({"depth": 1}, 36, 1.0)
    trained = Evaluation("train", first.architecture, 0, {"error": 0.2}, details={"curve": curve, "epochs": 1201})
    later = winner({"depth": 1}, 18, 1.0)
    later = replace(later, details={**later.details, "retraining": 1})
    run = replace(whole(tmp_path), rows=(trained, first))
    export(run, "mlflow", tmp_path / "mlflow.db")
    told = export(replace(run, rows=(*run.rows, later)), "mlflow", tmp_path / "mlflow.db")
    client = MlflowClient(tracking_uri=told.place)
    (found,) = client.search_runs(
        [client.get_experiment_by_name("nas").experiment_id], "tags.`mlflow.parentRunId` LIKE '%'"
    )
    kept = sorted(client.get_metric_history(found.info.run_id, "curve"), key=lambda each: each.step)
    assert [each.value for each in kept] == curve
    assert found.data.metrics["test_error"] == later.details["test_error"]


def test_an_mlflow_server_that_is_down_is_told_at_once(tmp_path: Path) -> None:
    """MLflow itself tries for 70 seconds, without a word."""
    pytest.importorskip("mlflow")
    began = time.monotonic()
    with pytest.raises(RecipeError, match=r"answers within 10 s at http://127\.0\.0\.1:1, but: .*refused"):
        export(whole(tmp_path), "mlflow", "http://127.0.0.1:1")
    assert time.monotonic() - began < 20


def test_an_mlflow_server_that_is_silent_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection, and never answers."""
    pytest.importorskip("mlflow")
    monkeypatch.setattr(mlflow_runs, "ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(RecipeError, match=r"within 0\.3 s at .*timed out"):
            export(whole(tmp_path), "mlflow", place)


def test_mlflow_that_refuses_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    (tmp_path / "notes.db").write_text("this is no database, but a text of some length")
    with pytest.raises(RecipeError, match="MLflow must take the run at sqlite:"):
        export(whole(tmp_path), "mlflow", tmp_path / "notes.db")


@pytest.mark.parametrize(
    ("form", "extra", "package"),
    [("mlflow", "mlflow", "mlflow-skinny"), ("tensorboard", "tensorboard", "tensorboardX")],
)
def test_a_missing_package_names_the_extra(
    form: str, extra: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in ("mlflow", "tensorboardX"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(RecipeError, match=rf"needs the package {package}, .* pip install 'nas\[{extra}\]'"):
        export(whole(tmp_path), form, tmp_path / "out")
    with pytest.raises(RecipeError, match="pip install"):
        check_trackers([form])


def test_a_tracker_is_a_name_with_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert TrackerPlace.parse("tensorboard:logs/a") == TrackerPlace("tensorboard", "logs/a")
    assert TrackerPlace.parse("mlflow:http://localhost:5000") == TrackerPlace("mlflow", "http://localhost:5000")
    for text, words in {
        "wandb": "unknown export 'wandb'",
        "mlflow: ": "follows the colon",
        "csv": "a tracker is an export that can follow a run",
        "made_exports:Nothing:here": "has no 'Nothing'",
        "made_exports:NO_EXPORT": "an export must be a class derived from nas.Export",
    }.items():
        with pytest.raises(RecipeError, match=words):
            TrackerPlace.parse(text)
    assert TrackerPlace.parse("made_exports:RowList:logs/a") == TrackerPlace("made_exports:RowList", "logs/a")
    monkeypatch.delenv(URI_VARIABLE, raising=False)
    assert uri_of(None, tmp_path) == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert uri_of("http://localhost:5000", tmp_path) == "http://localhost:5000"
    monkeypatch.setenv(URI_VARIABLE, "http://localhost:5001")
    assert uri_of(None, tmp_path) == "http://localhost:5001"


def test_a_tracker_that_fails_is_dropped_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search goes on, and the sentence tells how to add everything later."""

    class Failing:
        def begin(self, facts: RunFacts) -> None: ...

        def add(self, rows: Sequence[Evaluation]) -> None:
            raise ConnectionError("the server is down")

        def end(self, status: str) -> None:
            raise AssertionError("a dropped tracker is asked no more")

    monkeypatch.setattr(TrackerPlace, "open", lambda self, folder: Failing())
    said: list[str] = []
    run = whole(tmp_path)
    trackers = Trackers(["mlflow"], RunFacts.of(run), said.append)
    trackers.add(run.rows)
    trackers.add(run.rows)
    trackers.end("FINISHED")
    assert said == [
        f"mlflow no longer follows this run: the server is down. Later, add all of it with: nas export {tmp_path} "
        "--format mlflow"
    ]


def test_names_are_made_safe_for_mlflow() -> None:
    assert safe("stage1.kernel") == "stage1.kernel"
    assert safe("a/b:<c>") == "a_b__c_"
    assert safe("x" * 300) == "x" * 250
