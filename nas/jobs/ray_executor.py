"""Jobs in parallel by Ray Tune, on this machine or on a cluster."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from nas.errors import TargetError
from nas.jobs.execution import JobSource, Work
from nas.jobs.node_needs import NodeNeeds
from nas.jobs.quiet_output import QuietOutput
from nas.jobs.ray_cleanup import RayCleanup
from nas.jobs.ray_environment import (
    CLUSTER,
    forget,
    local_ray_variables,
    set_pending_trials,
    set_tune_variables,
    set_variables,
    worker_variables,
)
from nas.jobs.ray_nodes import Nodes
from nas.jobs.ray_trials import placement, scheduler, searcher, trainable
from nas.jobs.relay import Relay, hard_limit_of
from nas.jobs.resources import Resources
from nas.jobs.sending import Sending
from nas.jobs.workers_now import WorkersNow
from nas.signals import deferred
from nas.storage.scratch import temporary_folder
from nas.tasks.data_source import leaving


@final
class RayExecutor:
    """Runs jobs in parallel by Ray Tune, with a searcher and a scheduler that pass everything to the source.

    A local Ray listens on the loopback address only; ``address`` joins a cluster instead. At most ``workers`` jobs run
    at once, and never more than the nodes have room for, so that each job starts as soon as it is handed out. None
    takes the room of the cluster: its cores, GPUs and memory. Nodes may join and leave while jobs run.
    Actors are reused from job to job, and one Ray session serves all runs.
    """

    def __init__(
        self,
        workers: int | None,
        resources: Resources,
        *,
        address: str | None = None,
        needs: NodeNeeds | None = None,
        say: Callable[[str], None] = lambda text: None,
        folder: Path | None = None,
    ) -> None:
        """``needs`` are what nodes of a cluster must have; ``say`` is told of nodes that join, are lost or lack it.

        A file in ``folder`` tells what runs, and another one may lower or raise the number of workers meanwhile.
        """
        assert workers is not None or address is not None, "a local Ray needs a number of workers"
        self._workers = workers or 1
        self._resources = resources
        self._nodes = Nodes(resources, workers, needs if address is not None else None, say)
        self._address = address
        self._now = None if folder is None else WorkersNow(folder)
        self._variables: tuple[str, ...] = ()
        self._cleanup: RayCleanup | None = None
        self._sending = Sending(_RayStore())

    @property
    def machines(self) -> Collection[str | None]:
        """The identifiers of the machines of nodes that train."""
        return self._nodes.machines

    def __enter__(self) -> Self:
        set_tune_variables()
        self._variables = set_variables(CLUSTER if self._address else local_ray_variables())
        import ray

        self._owns_ray = not ray.is_initialized()
        self._stdout = sys.stdout
        try:
            if self._owns_ray:
                with deferred():  # an exception in the middle of Ray's start would end in a segmentation fault
                    self._start_ray()
            if self._address is not None:
                at = ray.get_runtime_context().gcs_address if self._address == "auto" else self._address
                self._nodes.watch_head(at)
            self._nodes.begin()
            if self._now is not None:
                self._now.begin()
        except BaseException:
            self._leave()
            raise
        set_pending_trials()
        logging.getLogger("ray").setLevel(logging.CRITICAL)  # failures become rows; Ray would report them again
        sys.stdout = QuietOutput(sys.stdout)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def run(self, work: Work, source: JobSource, *, time_limit_s: float) -> None:
        """Do ``work`` for each job of ``source``; a job that exceeds ``time_limit_s`` by far loses its process."""
        hard_limit_s = hard_limit_of(time_limit_s)
        relay = Relay(source, time_limit_s, hard_limit_s)
        try:
            self._run_pass(work, relay, hard_limit_s)
            while not relay.is_over:
                self._run_pass(work, relay, hard_limit_s)
        finally:
            if self._now is not None:
                self._now.tell(self._nodes.workers, self._nodes.told, [])
        if relay.error is not None:
            raise relay.error

    def _start_ray(self) -> None:
        """Start a local Ray, or join the cluster.

        Raises:
            TargetError: it does not answer.
        """
        import ray

        _read_token_anew()
        self._cleanup = RayCleanup()  # also in a cluster: it tells how to go on if Ray ends this process
        if self._address is None:
            options: dict[str, Any] = {
                "address": "local",  # otherwise Ray searches this machine for a running Ray, and joins it
                "_temp_dir": str(self._cleanup.folder),
                "num_cpus": self._workers * self._resources.cpus,
                "object_store_memory": 200 * 2**20,
            }
        else:
            options = {"address": self._address}
        try:
            with _own_sigterm(), _loopback_alone(self._address is None), _without_monitors():
                ray.init(
                    include_dashboard=False,
                    job_config=_job_config(),
                    runtime_env={"env_vars": worker_variables(self._resources)},
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **options,
                )
        except Exception as error:  # Ray raises a plain Exception when one of its processes is lost
            where = f"at {self._address}" if self._address else "on this machine"
            told = " ".join(str(error).split())
            raise TargetError(
                f"trainings need a Ray {where}, but it does not answer: {told} Try again, or train without Ray: "
                "--executor inline."
            ) from error

    def _leave(self) -> None:
        import ray

        self._sending = Sending(_RayStore())
        with deferred():
            if self._owns_ray:
                ray.shutdown()
            self._nodes.end()
            if self._owns_ray:
                forget(self._variables)
            if self._cleanup is not None:
                self._cleanup.end()
                self._cleanup = None
            if isinstance(sys.stdout, QuietOutput):
                sys.stdout = self._stdout
            if self._now is not None:
                self._now.end()

    def _run_pass(self, work: Work, relay: Relay, hard_limit_s: float) -> None:
        """Run Tune until the relay has no more jobs for it."""
        import ray
        from ray import tune
        from ray.exceptions import OutOfMemoryError

        relay.begin_pass()
        with leaving(self._sending.with_arrival):
            sent = ray.put(work)
        with temporary_folder("tune") as storage:
            tuner = tune.Tuner(
                tune.with_resources(
                    tune.with_parameters(trainable(), sent=[sent], hard_limit_s=hard_limit_s),
                    placement(self._resources, self._nodes.shunned),
                ),
                tune_config=tune.TuneConfig(
                    search_alg=searcher(relay, self._nodes),
                    scheduler=scheduler(relay, self._nodes, self._resources, self._now),
                    num_samples=-1,
                    reuse_actors=True,
                    metric="training_iteration",  # Tune itself reports it; nobody reads Tune's best trial
                    mode="max",
                ),
                run_config=tune.RunConfig(
                    name="run",
                    storage_path=str(storage),
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=0),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            )
            try:
                tuner.fit()
            except Exception as error:  # Ray has ended a process because memory ran short, and so Tune ends
                self._nodes.check_head()
                if relay.error is not None:
                    raise relay.error from None
                if not isinstance(error, RuntimeError) or not isinstance(error.__cause__, OutOfMemoryError):
                    raise
                relay.run_short_of_memory()


@final
@dataclass(frozen=True)
class _RayStore:
    """Ray's store."""

    def put(self, value: object) -> Any:
        import ray

        return ray.put(value)

    def get(self, reference: Any) -> Any:
        import ray

        return ray.get(reference)

    def call(self, node: str, function: Callable[..., Any], *arguments: Any) -> Any:
        import ray
        from ray.exceptions import RayTaskError
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there: Any = NodeAffinitySchedulingStrategy(node, soft=False)
        remote: Any = ray.remote(num_cpus=0, scheduling_strategy=there)(function)
        try:
            return ray.get(remote.remote(*arguments))
        except RayTaskError as error:
            raise error.cause from None

    @property
    def node(self) -> str:
        import ray

        return str(ray.get_runtime_context().get_node_id())

    @property
    def nodes(self) -> int:
        import ray

        return sum(bool(node["Alive"]) for node in ray.nodes())  # type: ignore[no-untyped-call]


def _read_token_anew() -> None:
    """Make Ray read its token and mode from the environment again. It keeps the first ones as long as the process."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep Ray from handling SIGTERM by an exception, which in the middle of its start would crash this process."""
    from ray._private import utils

    original = utils.set_sigterm_handler
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = original


@contextlib.contextmanager
def _without_monitors() -> Iterator[None]:
    """Let a Ray that is started here have no autoscaler and none that reads logs: two processes with nothing to do."""
    from ray._private import parameter

    original = parameter.RayParams
    parameter.RayParams = functools.partial(original, no_monitor=True, include_log_monitor=False)  # type: ignore
    try:
        yield
    finally:
        parameter.RayParams = original  # type: ignore[misc]


@contextlib.contextmanager
def _loopback_alone(is_local: bool) -> Iterator[None]:
    """Let a local Ray bind the loopback address, even if Ray was imported before its variable for that was set."""
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = before and not is_local
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _job_config() -> Any:
    """Return a job configuration that does not put the current folder first on the workers' path.

    A file there, such as json.py, would hide a module of Python. ``PYTHONPATH`` has all that workers need.
    """
    from ray.job_config import JobConfig

    class PathOfTheDriver(JobConfig):
        def _get_proto_job_config(self) -> Any:
            self._py_driver_sys_path = []
            return super()._get_proto_job_config()  # type: ignore[no-untyped-call]

    return PathOfTheDriver()
