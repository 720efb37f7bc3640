"""What other libraries take to drive a thousand workers, for ``experiments.simulated_search``.

All search the same space. Optuna's studies get the made-up workers that our searches get, and the same errors. Syne
Tune gets these errors in a simulator of its own. Ray Tune has none: its trials are real, and return at once.
"""

from __future__ import annotations

import functools
import logging
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import optuna

import nas
from experiments.searchers.optuna_searcher import suggest
from experiments.virtual_cluster import SPREAD, VirtualCluster
from nas.errors import CandidateError
from nas.jobs.execution import Job, Report, Work
from nas.jobs.ray_executor import RayExecutor
from nas.jobs.resources import Resources
from nas.space.layer import total_macs
from nas.space.search_space import load_space, settle
from nas.space.tracing import layers_of

SIGNATURE = nas.image_signature((3, 32, 32), 10)
TIME_LIMIT_S = 7200.0


@dataclass(frozen=True)
class Driven:
    """What a driver took.

    Attributes:
        evaluations: the trainings that were told.
        driver_s: the seconds of the processor that it took, without the trainings.
        peak_mib: the most memory of its process.
        idle_share: the share of the workers' time without a training; None where that is not known.
        wall_s: the seconds of the made-up clock, or of the real one for real trials.
    """

    evaluations: int
    driver_s: float
    peak_mib: float
    idle_share: float | None
    wall_s: float


class StudyJobs:
    """Jobs that an Optuna study proposes, and that are told to it. Each trains to the end."""

    def __init__(self, study: optuna.Study, space: nas.SearchSpace, trials: int) -> None:
        self._study, self._space, self._left = study, space, trials
        self._trials: dict[str, optuna.Trial] = {}
        self.told = 0

    def next_job(self) -> Job | None:
        """Ask the study for a trial, until there were as many as wanted."""
        if self._left == 0:
            return None
        self._left -= 1
        trial = self._study.ask()
        architecture = settle(self._space, functools.partial(suggest, trial))
        name = f"{architecture.id} {trial.number}"  # Optuna may propose one twice
        self._trials[name] = trial
        return {"id": name, "architecture": dict(architecture), "seed": 0}

    def on_report(self, job: Job, report: Report) -> bool:
        """Let it go on."""
        return True

    def on_restart(self, job: Job) -> None:
        """Know nothing of it."""

    def on_end(self, job: Job, report: Report) -> None:
        """Tell the study both losses."""
        self._study.tell(self._trials.pop(job["id"]), [report["error"], report["cost"]])
        self.told += 1

    def on_failure(self, job: Job, failure: CandidateError) -> None:
        """Tell the study that it failed."""
        self._study.tell(self._trials.pop(job["id"]), state=optuna.trial.TrialState.FAIL)


def with_cost(work: Work, space: nas.SearchSpace) -> Work:
    """Return the work whose last report has the multiply-accumulates as ``cost``: workers count them, not drivers."""

    def counted(job: Job) -> Iterator[Report]:
        for report in work(job):
            if report.get("done"):
                macs = total_macs(layers_of(space, nas.Architecture(job["architecture"]), SIGNATURE))
                yield {**report, "cost": float(macs)}
            else:
                yield report

    return counted


def by_optuna(work: Work, trials: int, workers: int, seconds: float, *, keeps: bool) -> Driven:
    """Drive made-up workers by Optuna's TPE. With ``keeps`` trials are in a journal's file, else in memory."""
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = load_space("mobilenet", {}, SIGNATURE)
    cluster = VirtualCluster(workers, np.random.default_rng(trials), mean_s=seconds)
    with tempfile.TemporaryDirectory() as folder:
        storage = optuna.storages.JournalStorage(JournalFileBackend(f"{folder}/journal.log")) if keeps else None
        study = optuna.create_study(
            directions=["minimize"] * 2,
            sampler=optuna.samplers.TPESampler(seed=0, constant_liar=True),
            storage=storage,
        )
        jobs = StudyJobs(study, space, trials)
        cluster.run(with_cost(work, space), jobs, time_limit_s=TIME_LIMIT_S)
    spent = cluster.spent
    return Driven(jobs.told, spent.driver_s, peak_mib(), spent.idle_share, cluster.now_s)


def by_syne_tune(work: Work, trials: int, workers: int, seconds: float) -> Driven:
    """Drive Syne Tune's simulated workers by its evolution for several objectives. It stops no training early."""
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend.simulator_backend.simulator_backend import SimulatorBackend
    from syne_tune.backend.simulator_backend.simulator_callback import SimulatorCallback
    from syne_tune.backend.trial_status import Status
    from syne_tune.config_space import choice as categorical

    from experiments.searchers.syne_tune_searcher import evolution

    logging.getLogger("syne_tune").setLevel(logging.ERROR)
    space, rng = load_space("mobilenet", {}, SIGNATURE), np.random.default_rng(trials)
    choices = {choice.name: choice.options for choice in space.choices}
    trained_s = 0.0

    class Simulated(SimulatorBackend):  # type: ignore[misc]
        def _run_job_and_collect_results(
            self, trial_id: int, config: Mapping[str, Any] | None = None
        ) -> tuple[str, list[dict[str, Any]]]:
            nonlocal trained_s
            began_s = time.process_time()
            given = config or self._trial_dict[trial_id].config
            architecture = settle(space, lambda choice: choices[choice.name][int(given[choice.name])])
            took_s = seconds * float(rng.lognormal(-(SPREAD**2) / 2, SPREAD))
            job = {"id": architecture.id, "architecture": dict(architecture), "seed": 0}
            (*_, last) = with_cost(work, space)(job)
            trained_s += time.process_time() - began_s
            return Status.completed, [{"loss0": last["error"], "loss1": last["cost"], "elapsed_time": took_s}]

    numbers = {name: categorical(list(range(len(options)))) for name, options in choices.items()}
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, SYNETUNE_FOLDER=folder):  # not in the home
        backend = Simulated(entry_point=__file__, elapsed_time_attr="elapsed_time")
        tuner = Tuner(
            backend,
            evolution(numbers, ["loss0", "loss1"], 0),
            StoppingCriterion(max_num_trials_completed=trials),
            n_workers=workers,
            sleep_time=0,
            callbacks=[SimulatorCallback()],
            save_tuner=False,
            trial_backend_path=folder,
        )
        began_s = time.process_time()
        tuner.run()
        driver_s = time.process_time() - began_s - trained_s
    done, wall_s = tuner.tuning_status.num_trials_completed, backend.time_keeper.time()
    return Driven(done, driver_s, peak_mib(), None, wall_s)


def by_ray_tune(work: Work, trials: int, workers: int, seconds: float) -> Driven:
    """Drive real trials, which return at once, by Ray Tune's own random search, on two workers of a local Ray."""
    from ray import tune

    space = load_space("mobilenet", {}, SIGNATURE)
    options = {choice.name: tune.choice(list(choice.options)) for choice in space.choices}
    with RayExecutor(2, Resources()), tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            _returned,
            param_space=options,
            tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        began_s, began_wall_s = time.process_time(), time.perf_counter()
        found = tuner.fit()
        driver_s, wall_s = time.process_time() - began_s, time.perf_counter() - began_wall_s
    return Driven(len(found), driver_s, peak_mib(), None, wall_s)


def _returned(options: Mapping[str, Any]) -> dict[str, float]:
    return {"error": 0.5}


def peak_mib() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


DRIVERS: dict[str, Callable[[Work, int, int, float], Driven]] = {
    "optuna": functools.partial(by_optuna, keeps=False),
    "optuna-journal": functools.partial(by_optuna, keeps=True),
    "syne-tune": by_syne_tune,
    "ray-tune": by_ray_tune,
}
"""What drives, by its name, given the work, the number of trainings, the workers, and the mean seconds of one."""
