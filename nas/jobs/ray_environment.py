"""Environment variables that Ray and Tune read when they are imported or started."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, Sequence

from nas.jobs.resources import Resources

LOCAL_RAY_VARIABLES = (
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
    "RAY_gcs_rpc_server_reconnect_timeout_s",
    "RAY_process_group_cleanup_enabled",
    "RAY_worker_niceness",
)
PENDING_TRIALS = "TUNE_MAX_PENDING_TRIALS_PG"
MOST_PENDING = 100_000


def set_tune_variables() -> None:
    """Turn off the parts of Ray and Tune that are not used here. A variable that the user has set keeps its value."""
    # The journal keeps all results, so Tune's own files are of no use.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "86400")
    os.environ.setdefault("TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S", "86400")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Otherwise Tune itself restarts the trials of a node that was taken away, in addition to the relay.
    os.environ.setdefault("RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # otherwise ray.shutdown prints the repeated lines that it held back


CLUSTER = {
    # A driver that has lost the head would end without a word after a minute. It is watched here, and told sooner.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "3600",
}
"""Variables of a driver that joins a cluster."""


def local_ray_variables() -> dict[str, str]:
    """Return the variables that restrict a local Ray to this machine and this process."""
    return {
        # Ray's own switch, named after the systems where it is the default, binds every port to the loopback address.
        # A Ray that was imported before has read it already; the executor tells that one by itself.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # A client must present a token that only this process and its children know.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Ray's agents search for a lost head for 60 s. A local head never returns, and the agents must not outlive it
        # for that long when this process is killed soon after its start.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
        # Processes that a training has started end with its worker, even if the worker is killed. Linux only.
        "RAY_process_group_cleanup_enabled": "1",
        # By default workers give way to everything else, at niceness 15: beside other work a training then takes many
        # times as long as planned.
        "RAY_worker_niceness": "0",
    }


def set_variables(values: Mapping[str, str]) -> tuple[str, ...]:
    """Set those that the user has not set, and return their names."""
    names = tuple(name for name in values if name not in os.environ)
    os.environ.update({name: values[name] for name in names})
    return names


def forget(names: Sequence[str]) -> None:
    """Remove the variables: a Ray that is joined later has a token of its own."""
    for name in names:
        os.environ.pop(name, None)


def set_pending_trials() -> None:
    """Let any number of trials wait for a process: no more are made than there is room for.

    With fewer than there are workers, each new trial takes over the idle process, and Tune never starts another one.
    """
    os.environ[PENDING_TRIALS] = str(MOST_PENDING)


def worker_variables(resources: Resources) -> dict[str, str]:
    """Return the environment variables of the workers' processes."""
    return {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": str(resources.cpus),
        # Ray hides no GPUs from jobs that asked for none, and all of them would use the first one.
        **({} if resources.gpus else {"CUDA_VISIBLE_DEVICES": ""}),
    }
