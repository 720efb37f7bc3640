"""Jobs in parallel by Ray Tune, on this machine or on a cluster."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import logging
import os
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO, final

from nas.errors import CandidateError, NasError, TargetError
from nas.hardware.machine import WORKER_BYTES
from nas.jobs.execution import Job, JobSource, Report, Task, as_failure, reports_of

Outcome = Report | NasError
"""The last that is known of a job."""

LOCAL_RAY_VARIABLES = (
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
    "RAY_gcs_rpc_server_reconnect_timeout_s",
    "RAY_process_group_cleanup_enabled",
)
HARD_LIMIT_FACTOR = 1.2
HARD_LIMIT_GRACE_S = 5.0
"""A task checks its time limit itself; a process that is still in it this much later is ended."""
TRIES = 2
"""A job whose process is lost begins anew, for that may not be its fault; when it is lost again, the job has failed."""
DEATH_TEXT = (
    f"the worker's process died in each of {TRIES} tries; "
    "it may have been killed, or have run out of memory or crashed."
)


@dataclass(frozen=True)
class Resources:
    """What one job takes: cores (also its threads) and GPUs, a fraction being a share of one."""

    cpus: int = 1
    gpus: float = 0.0


@final
class RayExecutor:
    """Jobs in parallel by Ray Tune: a searcher and a scheduler that pass everything to the source.

    A local Ray listens on the loopback address alone; ``address`` joins a cluster instead. At most ``workers`` jobs run
    at once, and no more than there is room for, since a job that is handed out is to begin; None, in a cluster, is as
    many as its nodes have cores, GPUs and memory for.
    Actors are reused from job to job, and one Ray session serves all runs.
    """

    def __init__(self, workers: int | None, resources: Resources, *, address: str | None = None) -> None:
        assert workers is not None or address is not None, "a local Ray is as large as it has workers"
        self._most_workers = workers
        self._workers = workers or 1
        self._resources = resources
        self._address = address

    def __enter__(self) -> Self:
        # Tune reads these when it starts; what is kept is kept in the journal, so its own files are only in the way.
        os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
        os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "86400")
        os.environ.setdefault("TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S", "86400")
        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Else Tune itself begins a trial anew whose node is taken away, beside what is done here about that.
        os.environ.setdefault("RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE", "1")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # else what repeats is kept back, and printed by ray.shutdown
        self._environment_before = dict(os.environ)
        if self._address is None:
            # Ray's own switch, named after the systems on which it is the default, binds every port to the loopback
            # address; and who connects must know a token that only this process and its children have. Where Ray was
            # imported before, only the token protects it.
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            # Ray's agents look for a head that is gone for 60 s; a local one never comes back, so when this process is
            # killed soon after it started they are not to outlive it for so long.
            os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
            # What a training started ends with the worker that it ran in, however that ends. Linux only.
            os.environ.setdefault("RAY_process_group_cleanup_enabled", "1")
        import ray

        if not ray.is_initialized():
            _read_token_anew()
            environment = {
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "OMP_NUM_THREADS": str(self._resources.cpus),
                # Ray hides no GPU from who has asked for none, and all of them would find the first.
                **({} if self._resources.gpus else {"CUDA_VISIBLE_DEVICES": ""}),
            }
            options: dict[str, Any] = {"include_dashboard": False, "runtime_env": {"env_vars": environment}}
            if self._address is None:
                options |= {
                    "address": "local",  # else one that was started on this machine is joined, or looked for
                    "num_cpus": self._workers * self._resources.cpus,
                    "object_store_memory": 200 * 2**20,
                }
            else:
                options["address"] = self._address
            try:
                ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
            except ConnectionError as error:
                where = f"at {self._address}" if self._address else "on this machine"
                raise TargetError(f"trainings need a Ray {where}, but it does not answer: {error}") from error
            self._owns_ray = True
        else:
            self._owns_ray = False
        self._stdout = sys.stdout
        try:
            nodes = ray.nodes()  # type: ignore[no-untyped-call]
            self._check_resources(nodes)
        except TargetError:
            self._leave()
            raise
        room = room_for(nodes, self._resources, by_memory=self._most_workers is None)
        self._workers = room if self._most_workers is None else min(self._most_workers, room)
        # So many trials may wait for a process. With fewer, each new one takes over the process that is idle, and no
        # other is ever started.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self._workers)
        logging.getLogger("ray").setLevel(logging.CRITICAL)  # failures become rows; Ray would tell them once more
        sys.stdout = _WithoutRayNews(sys.stdout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        import ray

        if self._owns_ray:
            ray.shutdown()
            for name in LOCAL_RAY_VARIABLES:  # another Ray, joined later, has its own token
                if name not in self._environment_before:
                    os.environ.pop(name, None)
        if isinstance(sys.stdout, _WithoutRayNews):
            sys.stdout = self._stdout

    def _check_resources(self, nodes: list[dict[str, Any]]) -> None:
        """See that some node could ever run a job: Tune would wait for one without a word."""
        needs = {"CPU": self._resources.cpus, "GPU": self._resources.gpus}
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        if not any(all(node.get(name, 0) >= amount for name, amount in needs.items()) for node in alive):
            largest = {name: max((node.get(name, 0) for node in alive), default=0) for name in needs}
            keys = {"CPU": "execution.threads_per_worker", "GPU": "execution.gpus_per_worker"}
            lower = [keys[name] for name, amount in needs.items() if amount > largest[name]] or list(keys.values())
            raise TargetError(
                f"a training takes {needs['CPU']} cores and {needs['GPU']:g} GPUs, but the largest node has "
                f"{largest['CPU']:g} and {largest['GPU']:g}. Lower {' or '.join(lower)}, or join another Ray."
            )

    def run(self, task: Task, source: JobSource, *, time_limit_s: float) -> None:
        hard_limit_s = HARD_LIMIT_FACTOR * time_limit_s + HARD_LIMIT_GRACE_S
        relay = _Relay(source, time_limit_s, hard_limit_s)
        self._fit(task, relay, hard_limit_s)
        while relay.begins_again():
            self._fit(task, relay, hard_limit_s)
        if relay.error is not None:
            raise relay.error

    def _fit(self, task: Task, relay: _Relay, hard_limit_s: float) -> None:
        from ray import tune
        from ray.exceptions import OutOfMemoryError

        searcher, scheduler, trainable = _tune_parts(relay)
        with tempfile.TemporaryDirectory(prefix="nas-tune-") as storage:
            tuner = tune.Tuner(
                tune.with_resources(
                    tune.with_parameters(trainable, task=task, hard_limit_s=hard_limit_s),
                    {"cpu": self._resources.cpus, "gpu": self._resources.gpus},
                ),
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=scheduler,
                    num_samples=-1,
                    max_concurrent_trials=self._workers,
                    reuse_actors=True,
                    metric="training_iteration",  # one that Tune itself reports: nothing here asks for the best
                    mode="max",
                ),
                run_config=tune.RunConfig(
                    name="run",
                    storage_path=str(Path(storage).absolute()),
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=0),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            )
            try:
                tuner.fit()
            except RuntimeError as error:  # so Tune ends when Ray has ended a process because memory ran short
                if not isinstance(error.__cause__, OutOfMemoryError):
                    raise
                relay.run_short_of_memory()


def _read_token_anew() -> None:
    """Have Ray heed the environment again: it keeps the first token and mode for as long as the process lives."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@final
class _WithoutRayNews(io.TextIOBase):
    """Standard output without what Ray's listener thread prints on it, which no setting of Ray's turns off."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if threading.current_thread().name == "ray_listen_error_messages":
            return len(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding


@final
class _Relay:
    """Keeps track of which Tune trial does which job, and carries the first exception that ends the run out of Tune.

    A job whose process was lost is handed out again, before others. Tune's own retries would report it twice unasked.
    When memory runs short Tune ends whatever runs, so nobody knows who took it: all begin anew, one after the other.
    """

    def __init__(self, source: JobSource, time_limit_s: float, hard_limit_s: float) -> None:
        self._source = source
        self._time_limit_s = time_limit_s
        self._hard_limit_s = hard_limit_s
        self._jobs: dict[str, Job] = {}
        self._lost: deque[Job] = deque()
        self._deaths: Counter[str] = Counter()
        self._one_by_one = False
        self.error: Exception | None = None

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        """Tune pickles what it is given so as to restore it, which is never asked of it: the journal is for that."""
        return object, ()

    def next_job(self, trial_id: str) -> Job | None:
        if self.error is not None or (self._one_by_one and (self._jobs or not self._lost)):
            return None
        try:
            job = self._lost.popleft() if self._lost else self._source.next_job()
            if job is not None and job["id"] in self._deaths:
                self._source.on_restart(job)
        except Exception as error:
            self.error = error
            return None
        if job is not None:
            self._jobs[trial_id] = job
        return job

    def goes_on(self, trial_id: str, outcome: Outcome) -> bool:
        if self.error is not None or isinstance(outcome, Exception):
            return False
        try:
            return self._source.on_report(self._jobs[trial_id], outcome)
        except Exception as error:
            self.error = error
            return False

    def end(self, trial_id: str, outcome: Outcome) -> None:
        job = self._jobs.pop(trial_id, None)
        if self.error is not None or job is None:
            return
        try:
            if not isinstance(outcome, Exception):
                self._source.on_end(job, outcome)
            else:
                self._source.on_failure(job, as_failure(outcome))
        except Exception as error:
            self.error = error

    def begins_again(self) -> bool:
        """Whether to run Tune once more: it asks for no more jobs once there were none."""
        if self.error is not None:
            return False
        goes_on_with_others = self._one_by_one and not self._lost
        if goes_on_with_others:
            self._one_by_one = False
        return bool(self._lost) or goes_on_with_others

    def run_short_of_memory(self) -> None:
        """Tune has ended whatever ran. What has a try left has it alone."""
        self._one_by_one = True
        for trial_id in list(self._jobs):
            self.die(trial_id, 0.0, None)

    def die(self, trial_id: str, lasted_s: float, error: Exception | None) -> None:
        """The job's process died, or ``error`` came up in it before the task could begin."""
        if error is not None:
            self.end(trial_id, as_failure(error))
        elif lasted_s >= self._hard_limit_s:
            self.end(trial_id, CandidateError("timeout", self._hang_text(lasted_s)))
        elif (job := self._jobs.get(trial_id)) is not None:
            self._deaths[job["id"]] += 1
            if self._deaths[job["id"]] < TRIES:
                self._lost.append(self._jobs.pop(trial_id))
            else:
                self.end(trial_id, CandidateError("worker", DEATH_TEXT))

    def _hang_text(self, lasted_s: float) -> str:
        return (
            f"a training must take at most {self._time_limit_s:g} s, "
            f"but hung; its process was ended after {lasted_s:.0f} s."
        )


def _tune_parts(relay: _Relay) -> tuple[Any, Any, type]:
    """Ray Tune's three extension points, each as thin as it can be: what to do is the source's to say."""
    from ray import tune
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler
    from ray.tune.search import Searcher

    class SourceSearcher(Searcher):
        """Hands out the source's jobs and tells it of their ends."""

        def __init__(self) -> None:
            super().__init__(metric="training_iteration", mode="max")

        def suggest(self, trial_id: str) -> Any:
            job = relay.next_job(trial_id)
            return Searcher.FINISHED if job is None else {"job": dict(job)}

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            if result is not None:
                relay.end(trial_id, result["outcome"][0])

        def save(self, checkpoint_path: str) -> None:
            """Nothing: the journal is the only state."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing: the journal is the only state."""

        def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
            """Nothing: the journal is the only state."""

    class SourceScheduler(FIFOScheduler):
        """Stops a trial when the source says so."""

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            goes_on = relay.goes_on(trial.trial_id, result["outcome"][0])
            decision: str = TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP
            return decision

        def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
            started = trial.run_metadata.start_time  # only when its process was there, which takes seconds
            relay.die(trial.trial_id, 0.0 if started is None else time.time() - started, _cause(trial))

    class JobTrainable(tune.Trainable):
        """Does one job after the other in one actor."""

        def setup(self, config: dict[str, Any], task: Task, hard_limit_s: float) -> None:  # type: ignore[override]
            self._task = task
            self._hard_limit_s = hard_limit_s
            self._sink = open(os.devnull, "w")  # noqa: SIM115 (it must outlive every call)
            self._begin(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._left_s = self._hard_limit_s
            with self._watched():
                self._reports.close()
            self._begin(new_config)
            return True

        def _begin(self, config: dict[str, Any]) -> None:
            self._left_s = self._hard_limit_s
            self._reports = reports_of(self._task, config["job"])

        @contextlib.contextmanager
        def _watched(self) -> Iterator[None]:
            """Ends this process when a job has had its time, of which waiting, for the driver or a job, is no part.

            From a thread that needs no interpreter, so no hang, in whatever code, can prevent it.
            """
            began_s = time.monotonic()
            faulthandler.dump_traceback_later(max(0.001, self._left_s), exit=True, file=self._sink)
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()
                self._left_s -= time.monotonic() - began_s

        def step(self) -> dict[str, Any]:
            outcome: Outcome
            try:
                with self._watched():
                    outcome = next(self._reports)
            except NasError as error:
                outcome = error
            except Exception as error:  # whatever a candidate raises is its own failure
                outcome = as_failure(error)
            done = isinstance(outcome, Exception) or bool(outcome.get("done"))
            return {"outcome": [outcome], "done": done}  # in a list, because Tune flattens mappings

    return SourceSearcher(), SourceScheduler(), JobTrainable  # type: ignore[no-untyped-call]


def _cause(trial: Any) -> Exception | None:
    """What came up in a trial's process outside of the task, such as a space that cannot be imported there."""
    from ray.exceptions import RayActorError, RayTaskError

    error = trial.get_pickled_error()
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        error = error.cause
    return None if error is None or isinstance(error, RayActorError) else error


def room_for(nodes: Sequence[Mapping[str, Any]], resources: Resources, *, by_memory: bool) -> int:
    """How many jobs fit on all nodes that are alive, as ``ray.nodes`` tells of them; at least one."""
    room = 0
    for node in nodes:
        if not node["Alive"]:
            continue
        has = node["Resources"]
        fits = [has.get("CPU", 0) // resources.cpus]
        if resources.gpus:
            gpus = has.get("GPU", 0)
            fits.append(gpus // resources.gpus if resources.gpus >= 1 else gpus * int(1 / resources.gpus + 1e-9))
        if by_memory and "memory" in has:
            fits.append(has["memory"] // WORKER_BYTES)
        room += int(min(fits))
    return max(1, room)


def local_gpus() -> int:
    """GPUs of this machine that torch can use."""
    import torch

    return torch.cuda.device_count()
