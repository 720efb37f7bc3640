"""What Ray Tune is given: a searcher and a scheduler that pass everything to a relay, and an actor that does jobs."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from nas.errors import NasError
from nas.jobs.execution import Work
from nas.jobs.ray_nodes import Nodes, last_line
from nas.jobs.relay import Relay
from nas.jobs.resources import Resources
from nas.jobs.worker import Worker
from nas.jobs.workers_now import WorkersNow
from nas.signals import check


def searcher(relay: Relay, nodes: Nodes) -> Any:
    """Tune's searcher: hands out the relay's jobs, and reports their ends to it."""
    from ray.tune.search import Searcher

    class SourceSearcher(Searcher):
        def __init__(self) -> None:
            super().__init__(metric="training_iteration", mode="max")

        def suggest(self, trial_id: str) -> Any:
            if not looked(relay, nodes) or relay.running >= nodes.workers:
                return None if relay.error is None else Searcher.FINISHED
            job = relay.next_job(trial_id)
            if job is None:
                return None if relay.running and relay.error is None else Searcher.FINISHED
            return {"job": dict(job)}

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            if result is not None:
                relay.end(trial_id, result["outcome"][0])

        def save(self, checkpoint_path: str) -> None:
            """Do nothing: the journal is the only state."""

        def restore(self, checkpoint_path: str) -> None:
            """Do nothing: the journal is the only state."""

        def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
            """Do nothing: the journal is the only state."""

    return SourceSearcher()


def scheduler(relay: Relay, nodes: Nodes, resources: Resources, now: WorkersNow | None = None) -> Any:
    """Tune's scheduler: stops a trial when the source says so, and reports lost processes to the relay.

    A trial is placed on any node that was not set aside.
    """
    from ray.tune.schedulers import FIFOScheduler, TrialScheduler

    class SourceScheduler(FIFOScheduler):
        def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
            trial.placement_group_factory = placement(resources, nodes.shunned)

        def choose_trial_to_run(self, tune_controller: Any) -> Any:
            check()  # Tune asks at each of its steps
            nodes.check_head()
            end_if_none_can_train(relay, nodes)
            _exchange(relay, nodes, now)
            return super().choose_trial_to_run(tune_controller)

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            relay.place(trial.trial_id, str(result.get("node_ip", "")))
            goes_on = relay.goes_on(trial.trial_id, result["outcome"][0])
            decision: str = TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP
            return decision

        def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
            if refused := _refusal(trial):
                relay.refuse(trial.trial_id)
                _set_aside(relay, nodes, *refused)
                return
            started = trial.run_metadata.start_time  # None before its process has started, which takes seconds
            relay.die(trial.trial_id, 0.0 if started is None else time.time() - started, _cause(trial))

    return SourceScheduler()  # type: ignore[no-untyped-call]


def trainable() -> type:
    """Tune's trainable: an actor whose worker does one job after the other."""
    from ray import tune

    class JobTrainable(tune.Trainable):
        def setup(self, config: dict[str, Any], sent: list[Any], hard_limit_s: float) -> None:  # type: ignore[override]
            import ray

            work: Work = ray.get(sent[0])
            self._worker = Worker(work, hard_limit_s)
            self._worker.begin(config["job"])

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._worker.begin(new_config["job"])
            return True

        def step(self) -> dict[str, Any]:
            outcome = self._worker.next_outcome()
            done = isinstance(outcome, Exception) or bool(outcome.get("done"))
            return {"outcome": [outcome], "done": done}  # in a list, because Tune flattens mappings

    return JobTrainable


def placement(resources: Resources, shunned: tuple[str, ...]) -> Any:
    """Return where Tune may place a trial: on any node with room, except some."""
    from ray.tune import PlacementGroupFactory

    where: dict[str, Any] = (
        {"bundle_label_selector": [{"ray.io/node-id": f"!in({','.join(shunned)})"}]} if shunned else {}
    )
    return PlacementGroupFactory([dict(resources.needs)], **where)


def end_if_none_can_train(relay: Relay, nodes: Nodes) -> None:
    """Raise the error that ends the run, if no node is left: trials that wait for one would keep Tune running."""
    if relay.error is not None and not nodes.can_train:
        raise relay.error


def _exchange(relay: Relay, nodes: Nodes, now: WorkersNow | None) -> None:
    """Tell others what runs, and do what they asked for."""
    if now is None or not now.is_due:
        return
    if (allowed := now.allowed) is not None:
        nodes.allow(allowed)
    now.tell(nodes.workers, nodes.told, relay.doing())


def looked(relay: Relay, nodes: Nodes) -> bool:
    """Look at the nodes. Return False, and end the run, if none is left that can do the work, and none comes."""
    try:
        nodes.look()
    except NasError as error:
        relay.error = relay.error or error
    return relay.error is None


def _set_aside(relay: Relay, nodes: Nodes, node: str, reason: str) -> None:
    try:
        nodes.set_aside(node, reason)
    except NasError as error:
        relay.error = relay.error or error


def _refusal(trial: Any) -> tuple[str, str] | None:
    """Return the node that could not begin a trial's work, and why; None for a trial that ended otherwise.

    An import that fails there raises before the work begins, whatever the job.
    """
    from ray._private import state
    from ray.exceptions import RayActorError

    error = _error(trial)
    if not isinstance(error, RayActorError) or not error.actor_init_failed:
        return None
    node = state.actors(actor_id=error.actor_id).get("Address", {}).get("NodeID")
    if node is None:  # Ray has forgotten the actor
        return None
    reason = f"its processes cannot begin ({last_line(str(error))}); install there what is missing"
    return str(node), reason


def _cause(trial: Any) -> Exception | None:
    """The exception that a trial's process raised outside the work; None if the process was lost."""
    from ray.exceptions import RayActorError, RayTaskError

    error = _error(trial)
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        error = error.cause
    return None if error is None or isinstance(error, RayActorError) else error


def _error(trial: Any) -> Exception | None:
    """Return the exception with which a trial ended. Tune's own way looks for it where it is not yet.

    None if there is none, or none that this process can load.
    """
    from ray import cloudpickle

    path = trial.pickled_error_file
    with contextlib.suppress(Exception), open(path or "", "rb") as stream:
        error = cloudpickle.load(stream)
        return error if isinstance(error, Exception) else None
    return None
