"""A run as Optuna studies in a storage file, which optuna-dashboard and Optuna itself open.

Two studies: the candidates as the search saw them, and the winners with what was measured and tested of them.
"""

from __future__ import annotations

import datetime
import json
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import optuna
import sqlalchemy
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.errors import RecipeError
from nas.results.exports.export import Export, Exported
from nas.results.exports.tidy import CHOICE, row_of
from nas.results.records import Record
from nas.space.architecture import Option
from nas.storage.output_files import check_file, write_out
from nas.values.metric import METRICS

if TYPE_CHECKING:
    from nas.results.run import Run

DEFAULT_NAME = "optuna.db"
SQLITE = (".db", ".sqlite", ".sqlite3")
JOURNALS = (".log", ".journal")
FOR_DASHBOARD = "constraints"
"""The attribute in which optuna-dashboard 0.21 looks for constraints, a list as Optuna 4 wrote it.

Optuna 5 reads this list and the constraints by name, which say the same.
"""
WINNERS = ", winners"
"""What is added to a run's name for the study of its winners."""
UNKNOWN_EXCESS = 1.0
"""The excess over a limit on a metric of which nothing is known: such a trial is not feasible. JSON has no infinity."""


@final
class OptunaStorage(Export):
    """A storage file of Optuna, with all objectives, constraints and attributes."""

    def write(self, run: Run, place: str | None) -> Exported:
        """Write the storage file whole or not at all. Its ending says which kind of storage it is."""
        path = Path(place) if place is not None else run.run_folder / DEFAULT_NAME
        check_file(path, run_folder=run.run_folder)
        content, studies = storage_bytes(run, path.suffix)
        write_out(path, content)
        left = studies[0].left_out
        what = "architecture lacks" if left == 1 else "architectures lack"
        note = f"{left} {what} the value of an objective, mostly because only their costs were measured."
        storage = f"sqlite:///{path.as_posix()}" if path.suffix.lower() in SQLITE else str(path)
        return Exported(str(path), f"optuna-dashboard {storage}", (note,) if left else ())


@dataclass(frozen=True)
class Study:
    """A study to write: its name, and a trial for each architecture with all objectives. ``left_out`` have not all."""

    name: str
    trials: tuple[FrozenTrial, ...]
    left_out: int = 0


def storage_bytes(run: Run, ending: str) -> tuple[bytes, list[Study]]:
    """Return the content of a storage file, and the studies in it.

    ``ending`` is that of the file: ``.db``, ``.sqlite`` and ``.sqlite3`` are SQLite files, ``.log`` and ``.journal``
    journals.

    Raises:
        RecipeError: another ending.
    """
    studies = studies_of(run)
    if ending.lower() in SQLITE:
        return _sqlite_bytes(run, studies), studies
    if ending.lower() in JOURNALS:
        return _journal_bytes(run, studies), studies
    raise RecipeError(
        f"an Optuna storage is a file that ends in one of {', '.join((*SQLITE, *JOURNALS))}, "
        f"but got {ending or 'none'}."
    )


def studies_of(run: Run) -> list[Study]:
    """Return the study of all candidates, and that of the winners, which is left out where there are none."""
    records = run.records
    evaluated = [record for record in records if record.evaluation is not None]
    options = _options(records)
    moments = _moments(run)
    trials = [_trial(run, record, options, moments) for record in evaluated]
    kept = tuple(trial for trial in trials if trial is not None)
    found = [Study(run.name, kept, len(records) - len(kept))]
    winners = [_winner_trial(run, record, options, moments) for record in records if record.winner is not None]
    if winners:
        whole = tuple(trial for trial in winners if trial is not None)
        found.append(Study(f"{run.name}{WINNERS}", whole, len(winners) - len(whole)))
    return found


def _options(records: Sequence[Record]) -> dict[str, list[Option]]:
    """Return the options of each choice that the run met, in order: Optuna wants the same list for all trials."""
    found: dict[str, dict[Option, None]] = {}
    for record in records:
        for name, option in record.architecture.items():
            found.setdefault(name, {})[option] = None
    return {name: _ordered(list(options)) for name, options in found.items()}


def _ordered(options: list[Option]) -> list[Option]:
    """Return options by their size if all are numbers, else by their names."""
    if all(isinstance(option, int | float) for option in options):
        return sorted(options)
    return sorted(options, key=str)


def _trial(
    run: Run, record: Record, options: dict[str, list[Option]], moments: Sequence[datetime.datetime]
) -> FrozenTrial | None:
    """Return a candidate as a trial: whole, stopped or failed; None for one that lacks the value of an objective."""
    names = [objective.metric.name for objective in run.objectives]
    values = [record.value(name) for name in names]
    if record.was_stopped and record.failure is None:
        return _made(run, record, options, moments, TrialState.PRUNED, None)
    if all(value is not None for value in values):
        return _made(run, record, options, moments, TrialState.COMPLETE, [v for v in values if v is not None])
    if record.failure is not None:
        return _made(run, record, options, moments, TrialState.FAIL, None)
    return None


def _winner_trial(
    run: Run, record: Record, options: dict[str, list[Option]], moments: Sequence[datetime.datetime]
) -> FrozenTrial | None:
    winner = record.winner
    assert winner is not None
    names = [objective.metric.name for objective in run.objectives]
    if not all(winner.has(name) for name in names):
        return None
    excesses = {str(limit): limit.excess(winner.upper(limit.metric.name)) for limit in run.limits
                if winner.has(limit.metric.name)}  # fmt: skip
    values = [winner.value(name) for name in names]
    return _made(run, record, options, moments, TrialState.COMPLETE, values, excesses)


def _made(
    run: Run,
    record: Record,
    options: dict[str, list[Option]],
    moments: Sequence[datetime.datetime],
    state: TrialState,
    values: list[float] | None,
    excesses: dict[str, float] | None = None,
) -> FrozenTrial:
    if excesses is None:
        judged = [(limit, record.judged(limit)) for limit in run.limits]
        excesses = {str(limit): limit.excess(value) for limit, value in judged if value is not None}
    row = row_of(record, run.limits)
    sources = {f"{name}_source": source for name in _named(run) if (source := record.source(name)) and name in METRICS
               and METRICS[name].source == "measured"}  # fmt: skip
    curve = record.details.get("curve", ())
    constraints = {str(limit): _finite(excesses.get(str(limit), math.inf)) for limit in run.limits}
    trial = create_trial(
        state=state,
        values=values,
        params=dict(record.architecture),
        distributions={name: CategoricalDistribution(options[name]) for name in record.architecture},
        user_attrs={name: value for name, value in {**row, **sources}.items() if not name.startswith(CHOICE)},
        intermediate_values={epoch: float(value) for epoch, value in enumerate(curve, start=1)},
        constraints=constraints,
        system_attrs={FOR_DASHBOARD: list(constraints.values())} if constraints else {},
    )
    if record.at < len(moments):
        trial.datetime_complete = moments[record.at]
        seconds = datetime.timedelta(seconds=float(record.details.get("seconds", 0.0)))
        trial.datetime_start = moments[record.at] - seconds
    return trial


def _finite(excess: float) -> float:
    """Return an excess that JSON has: ``UNKNOWN_EXCESS`` for one that is not known, or of an unbounded prediction."""
    return excess if math.isfinite(excess) else UNKNOWN_EXCESS


def _named(run: Run) -> list[str]:
    """Return the metrics among objectives and limits."""
    metrics = [*(objective.metric for objective in run.objectives), *(limit.metric for limit in run.limits)]
    return list(dict.fromkeys(metric.name for metric in metrics))


def _moments(run: Run) -> list[datetime.datetime]:
    """Return when each row of the run was written, in local time as Optuna has it; none where that is unknown."""
    return [datetime.datetime.fromtimestamp(at) for at in run.timeline.written_at]


def _fill(storage: BaseStorage, run: Run, studies: Sequence[Study]) -> None:
    """Write studies into a storage, with what a reader must know about the run."""
    for each in studies:
        directions = [StudyDirection.MINIMIZE] * len(run.objectives)
        study = optuna.create_study(storage=storage, study_name=each.name, directions=directions)
        study.set_metric_names([objective.metric.name for objective in run.objectives])
        about = {
            "run": run.name,
            "target": run.target,
            "limits": [str(limit) for limit in run.limits],
            "finished": run.is_over,
            "recipe": run.recipe_text,
            "left_out": each.left_out,
            "values": (
                "of the test and of final measurements"
                if each.name.endswith(WINNERS)
                else "of the validation split; costs are measured, else predicted: see …_source"
            ),
        }
        for key, value in about.items():
            study.set_user_attr(key, value)
        if isinstance(storage, RDBStorage):
            _insert(storage, study._study_id, each.trials)
        else:
            study.add_trials(each.trials)


def _insert(storage: RDBStorage, study_id: int, trials: Sequence[FrozenTrial]) -> None:
    """Add finished trials to a study with one statement a table.

    Optuna's own way asks the storage several times for each parameter and attribute of each trial: 20 ms a trial.
    """
    with storage.engine.begin() as connection:
        first = 1 + (
            connection.execute(sqlalchemy.select(sqlalchemy.func.max(models.TrialModel.trial_id))).scalar() or 0
        )
        rows: dict[type[models.BaseModel], list[dict[str, Any]]] = {}
        distributions: dict[str, str] = {}
        for number, trial in enumerate(trials):
            for model, row in _rows_of(trial, distributions):
                rows.setdefault(model, []).append({"trial_id": first + number, **row})
            moments = {"datetime_start": trial.datetime_start, "datetime_complete": trial.datetime_complete}
            rows.setdefault(models.TrialModel, []).append(
                {
                    "trial_id": first + number,
                    "number": number,
                    "study_id": study_id,
                    "state": trial.state,
                    **{name: None if at is None else _in_utc(at) for name, at in moments.items()},
                }
            )
        for model, found in rows.items():
            connection.execute(model.__table__.insert(), found)


def _rows_of(
    trial: FrozenTrial, distributions: dict[str, str]
) -> Iterator[tuple[type[models.BaseModel], dict[str, Any]]]:
    """Yield the rows of a trial by table. ``distributions`` are those of parameters seen before, as JSON."""
    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield models.TrialValueModel, {"objective": objective, "value": stored, "value_type": kind}
    for name, option in trial.params.items():
        distribution = trial.distributions[name]
        if name not in distributions:
            distributions[name] = distribution_to_json(distribution)
        value = distribution.to_internal_repr(option)
        yield (
            models.TrialParamModel,
            {"param_name": name, "param_value": value, "distribution_json": distributions[name]},
        )
    attributes = (
        (models.TrialUserAttributeModel, trial.user_attrs),
        (models.TrialSystemAttributeModel, trial.system_attrs),
    )
    for model, attrs in attributes:
        for key, attribute in attrs.items():
            yield model, {"key": key, "value_json": json.dumps(attribute)}
    for step, value in trial.intermediate_values.items():
        stored, its_kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        row = {"step": step, "intermediate_value": stored, "intermediate_value_type": its_kind}
        yield models.TrialIntermediateValueModel, row


def _in_utc(at: datetime.datetime) -> datetime.datetime:
    """Return a local time without a zone as Optuna's tables hold it: in UTC, without a zone."""
    return at.astimezone(datetime.UTC).replace(tzinfo=None)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep Optuna from printing, and from warning that names of metrics are new."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _sqlite_bytes(run: Run, studies: Sequence[Study]) -> bytes:
    """Return a SQLite file. It is made in memory: on a disk each trial waits for it several times."""
    from sqlalchemy.pool import StaticPool

    with _quietly():
        arguments = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
        storage = RDBStorage("sqlite://", engine_kwargs=arguments)
        try:
            _fill(storage, run, studies)
            connection: Any = storage.engine.raw_connection()
            try:
                content: bytes = connection.driver_connection.serialize()
            finally:
                connection.close()
        finally:
            storage.engine.dispose()
    return content


def _journal_bytes(run: Run, studies: Sequence[Study]) -> bytes:
    with _quietly():
        backend = _JournalInMemory()
        _fill(JournalStorage(backend), run, studies)
        return backend.content


@final
class _JournalInMemory(BaseJournalBackend):
    """The lines of a journal's file. Optuna's own backend waits for the disk and a lock several times a trial."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    @property
    def content(self) -> bytes:
        """The file as Optuna's own backend would have written it."""
        return "".join(f"{line}\n" for line in self._lines).encode()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        return map(json.loads, self._lines[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._lines += [json.dumps(log, separators=(",", ":")) for log in logs]
