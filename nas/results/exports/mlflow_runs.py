"""A run in MLflow: one run for the search, and nested in it one for each evaluated architecture."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

from nas.errors import RecipeError
from nas.results.exports.export import Exported, TrackedExport
from nas.results.exports.extras import extra
from nas.results.exports.tracked import RunFacts, values_in
from nas.storage.output_files import check_file
from nas.storage.retraining_rows import RETRAINING
from nas.values.evaluation import Evaluation

if TYPE_CHECKING:
    from nas.results.run import Run

DEFAULT_NAME = "mlflow.db"
SQLITE = "sqlite:///"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
"""The environment variable of MLflow itself that names a tracking server or store."""
EXPERIMENT = "nas"
EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
"""The environment variable of MLflow itself that names the experiment."""
IDENTITY, ARCHITECTURE, STAGES = "nas.run", "nas.architecture", "nas.stages"
"""Tags: which run a search is, which architecture a nested run is about, and which of its rows were added."""
PARENT, NAME, NOTE = "mlflow.parentRunId", "mlflow.runName", "mlflow.note.content"
MOST_PARAMS, MOST_METRICS, MOST_VALUE, MOST_NAME = 100, 1000, 6000, 250
"""MLflow's own limits: parameters and metrics in one request, and characters of a value and of a name."""
ANSWER_S = 10.0
"""The time in which a server must answer at all."""
VALIDATION = "validation_"
TOLD = ("measure", "train", "check", "winner")


@final
class Mlflow(TrackedExport):
    """Runs of MLflow in a SQLite file or on a server: one for the search, and one for each architecture."""

    def check(self) -> None:
        extra("mlflow")

    def follow(self, run_folder: Path, place: str | None) -> MlflowTracker:
        """Return the tracker of a run. ``place`` is a SQLite file or the URI of a store or a server."""
        return MlflowTracker(uri_of(place, run_folder))

    def write(self, run: Run, place: str | None) -> Exported:
        """Add a run to MLflow. Raises RecipeError where the store or the server refuses it."""
        from sqlalchemy.exc import SQLAlchemyError

        uri = uri_of(place, run.run_folder)
        if uri.startswith(SQLITE):
            check_file(Path(uri.removeprefix(SQLITE)), run_folder=run.run_folder)
        refusals: tuple[type[Exception], ...] = (extra("mlflow.exceptions").MlflowException, SQLAlchemyError)
        try:
            self.add_all(run, uri)
        except refusals as error:
            why = " ".join(str(error).split())[:300]
            raise RecipeError(f"MLflow must take the run at {uri}, but it says: {why}") from error
        return Exported(uri, f"mlflow ui --backend-store-uri {uri}" if uri.startswith("sqlite:") else None)


def uri_of(place: str | None, run_folder: Path) -> str:
    """Return MLflow's URI of a place: itself, or that of a SQLite file; by default MLflow's own variable decides."""
    if place is None:
        place = os.environ.get(URI_VARIABLE) or str(run_folder / DEFAULT_NAME)
    if "://" in place or place.startswith("databricks"):
        return place
    return f"{SQLITE}{Path(place).absolute().as_posix()}"


def check_answers(uri: str) -> None:
    """Check that a server answers at ``uri``, if it is one of a server: MLflow would try for more than a minute.

    Raises:
        RecipeError: no server answers within ``ANSWER_S``.
    """
    if not uri.startswith(("http://", "https://")):
        return
    requests = importlib.import_module("requests")  # MLflow brings it
    try:
        requests.get(uri, timeout=ANSWER_S, allow_redirects=False, stream=True).close()
    except requests.exceptions.SSLError:  # an answer: MLflow has settings of its own for certificates
        return
    except requests.RequestException as error:
        why = " ".join(str(error).split())[:300]
        raise RecipeError(
            f"MLflow needs a server that answers within {ANSWER_S:g} s at {uri}, but: {why}. Start one with mlflow "
            "server, or name a file that ends in .db."
        ) from error


@final
class MlflowTracker:
    """Adds a run to the tracking store or server at ``uri``, under the experiment ``nas``.

    Adding the same run again goes on with the runs that are there. Nothing is uploaded but names and numbers.
    """

    def __init__(self, uri: str) -> None:
        check_answers(uri)
        with warnings.catch_warnings():
            # MLflow 3.17 uses what SQLAlchemy 2.1 calls deprecated, which is nothing that a user can change.
            warnings.simplefilter("ignore")
            self._client = extra("mlflow.tracking").MlflowClient(tracking_uri=uri)
            self._client.search_experiments(max_results=1)  # loads the store
        self._experiment = self._parent = ""
        self._nested: dict[str, tuple[str, set[str]]] = {}
        self._evaluated = 0
        self._least: dict[str, float] = {}

    def begin(self, facts: RunFacts) -> None:
        name = os.environ.get(EXPERIMENT_VARIABLE) or EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        self._experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        identity = identity_of(facts)
        same = self._client.search_runs([self._experiment], f"tags.`{IDENTITY}` = '{identity}'", max_results=1)
        if same:
            self._parent = same[0].info.run_id
            self._client.update_run(self._parent, status="RUNNING")
            self._nested = dict(self._known())
            return
        note = f"Run folder: `{facts.folder}`\n\n```toml\n{facts.recipe_text}\n```"
        tags = {IDENTITY: identity, NAME: facts.name, NOTE: note[:MOST_VALUE]}
        self._parent = self._client.create_run(self._experiment, tags=tags).info.run_id
        told = {"target": facts.target, "objectives": ", ".join(facts.objectives), "limits": ", ".join(facts.limits)}
        self._log(self._parent, {}, told, {})

    def add(self, rows: Sequence[Evaluation]) -> None:
        for row in rows:
            if row.stage in TOLD:
                self._add(row)

    def end(self, status: str) -> None:
        self._client.set_terminated(self._parent, status)

    def _known(self) -> Iterator[tuple[str, tuple[str, set[str]]]]:
        """Yield the nested runs that are there, by architecture, with the stages that were added."""
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{PARENT}` = '{self._parent}'", max_results=1000, page_token=token
            )
            for run in page:
                tags = run.data.tags
                yield tags[ARCHITECTURE], (run.info.run_id, set(filter(None, tags.get(STAGES, "").split(","))))
            token = page.token
            if not token:
                return

    def _add(self, row: Evaluation) -> None:
        values = values_in(row)
        if row.stage == "train":
            self._evaluated += 1
            self._note_least(row, values)
        run_id, stages = self._nested_run(row)
        again = row.details.get(RETRAINING)  # a winner that was retrained later has a row for each time
        key = f"{row.stage}-{row.round}" + (f"-{again}" if again else "")
        if key in stages:
            return
        stages.add(key)
        tags = {STAGES: ",".join(sorted(stages)), "stage": row.stage}
        tags |= {"failure": row.failure.reason[:MOST_VALUE]} if row.failure else {}
        tags |= {"stopped_early": "true"} if row.details.get("stopped_early") else {}
        self._log(run_id, values, {}, tags, row.details.get("curve", ()))
        self._client.set_terminated(run_id, "FAILED" if row.failed else "FINISHED")
        if row.stage == "train" and not row.failed:
            self._log_search(values)

    def _note_least(self, row: Evaluation, values: Mapping[str, float]) -> None:
        if row.reached_full_fidelity:
            for name, value in values.items():
                if name.startswith(VALIDATION):
                    self._least[name] = min(value, self._least.get(name, value))

    def _log_search(self, values: Mapping[str, float]) -> None:
        """Add an evaluation to the curves of the search itself."""
        told = {name: value for name, value in values.items() if name.startswith(VALIDATION)}
        least = {f"least_{name}": value for name, value in self._least.items()}
        self._log(self._parent, {**told, **least}, {}, {}, step=self._evaluated)

    def _nested_run(self, row: Evaluation) -> tuple[str, set[str]]:
        name = row.architecture.id
        if name not in self._nested:
            tags = {PARENT: self._parent, NAME: name, ARCHITECTURE: name}
            run_id = self._client.create_run(self._experiment, tags=tags).info.run_id
            self._nested[name] = run_id, set()
            self._log(run_id, {}, dict(row.architecture), {})
        return self._nested[name]

    def _log(
        self,
        run_id: str,
        values: Mapping[str, float],
        params: Mapping[str, object],
        tags: Mapping[str, str],
        curve: Sequence[float] = (),
        step: int = 0,
    ) -> None:
        entities = extra("mlflow.entities")
        now_ms = int(1000 * time.time())
        metrics = [entities.Metric(safe(name), value, now_ms, step) for name, value in values.items()]
        metrics += [entities.Metric("curve", float(error), now_ms, epoch) for epoch, error in enumerate(curve, start=1)]
        given = [entities.Param(safe(name), str(value)[:MOST_VALUE]) for name, value in params.items()]
        marks = [entities.RunTag(name, value) for name, value in tags.items()]
        for start in range(0, len(given), MOST_PARAMS):
            self._client.log_batch(run_id, params=given[start : start + MOST_PARAMS])
        for start in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(run_id, metrics=metrics[start : start + MOST_METRICS])
        if marks:  # last: they say that the row was added
            self._client.log_batch(run_id, tags=marks)


def identity_of(facts: RunFacts) -> str:
    """Return what tells a run from others: a hash of its folder and its recipe."""
    text = f"{facts.folder.absolute()}\n{facts.recipe_text}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def safe(name: str) -> str:
    """Return a name that MLflow takes: letters, digits, dots, dashes, blanks and underscores."""
    return re.sub(r"[^\w.\- ]", "_", name)[:MOST_NAME].strip() or "_"
