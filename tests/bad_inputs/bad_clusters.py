"""Bad places for trainings: addresses of nobody, and numbers of workers, threads and GPUs that no machine has."""

from __future__ import annotations

import time
from pathlib import Path

from bad_inputs.bad_input import BadInput

from nas.storage.journal import Journal

NEW = ("search", "--data", "digits", "--trials", "1")
AN_ADDRESS = ("an address is auto, or a host and a port such as host:6379", "but got")


def with_value(key: str, value: str) -> tuple[str, ...]:
    """Return a search with one key of ``[execution]``."""
    return (*NEW, "--set", f"execution.{key}={value}")


def interrupted_run(folder: Path) -> None:
    """Put a run there that is about to be resumed."""
    with Journal.start(folder / "run", 'data = {name = "digits"}\n', clock=time.time):
        pass


BAD_INPUTS = {
    "an address where nobody listens": BadInput(
        (*NEW, "--ray-address", "127.0.0.1:1"), ("at 127.0.0.1:1 nobody answers", "ray start --head")
    ),
    "an address of an unknown host": BadInput(
        (*NEW, "--ray-address", "no-such-host.invalid:6379"), ("at no-such-host.invalid:6379", "ray start --head")
    ),
    "an address of IPv6 where nobody listens": BadInput((*NEW, "--ray-address", "[::1]:1"), ("at [::1]:1",)),
    "auto, and a variable that names nobody": BadInput(
        (*NEW, "--ray-address", "auto"),
        ("nobody answers", "ray start --head"),
        variables={"RAY_ADDRESS": "127.0.0.1:1"},
    ),
    "auto, and a variable that is no address": BadInput(
        (*NEW, "--ray-address", "auto"), ("--ray-address auto joins",), variables={"RAY_ADDRESS": "what"}
    ),
    "auto, and a variable that asks for a Ray of one's own": BadInput(
        (*NEW, "--ray-address", "auto"), ("--ray-address auto joins",), variables={"RAY_ADDRESS": "local"}
    ),
    "auto, and a variable with a word for its port": BadInput(
        (*NEW, "--ray-address", "auto"), ("at head:ray there is no port",), variables={"RAY_ADDRESS": "head:ray"}
    ),
    "auto, and a variable with a port that is too high": BadInput(
        (*NEW, "--ray-address", "auto"), ("at head:65536 there is no port",), variables={"RAY_ADDRESS": "head:65536"}
    ),
    "resuming at an address of nobody": BadInput(
        ("search", "--resume", "run", "--executor", "ray", "--ray-address", "127.0.0.1:1"),
        ("nobody answers",),
        interrupted_run,
    ),
    "a host without a port": BadInput((*NEW, "--ray-address", "head"), AN_ADDRESS),
    "a port without a host": BadInput((*NEW, "--ray-address", ":6379"), AN_ADDRESS),
    "a word instead of a port": BadInput((*NEW, "--ray-address", "head:ray"), AN_ADDRESS),
    "port 0": BadInput((*NEW, "--ray-address", "head:0"), AN_ADDRESS),
    "a port that is too high": BadInput((*NEW, "--ray-address", "head:65536"), AN_ADDRESS),
    "digits of another script": BadInput((*NEW, "--ray-address", "head:６３７９"), AN_ADDRESS),
    "the page of a dashboard": BadInput((*NEW, "--ray-address", "http://head:8265"), AN_ADDRESS),
    "an empty address": BadInput((*NEW, "--ray-address", ""), AN_ADDRESS),
    "a number for an address": BadInput(with_value("ray_address", "6379"), ("execution.ray_address",)),
    "two addresses": BadInput(with_value("ray_address", '["head:6379", "other:6379"]'), ("execution.ray_address",)),
    "a Ray client": BadInput((*NEW, "--ray-address", "ray://head:10001"), ("ray start --address",)),
    "workers that no machine has": BadInput(with_value("workers", "99999"), ("execution.workers must be at most",)),
    "workers below zero": BadInput(with_value("workers", "-1"), ("execution.workers",)),
    "half a worker": BadInput(with_value("workers", "1.5"), ("execution.workers",)),
    "workers in a word": BadInput(with_value("workers", "all"), ("execution.workers",)),
    "true for the number of workers": BadInput(with_value("workers", "true"), ("must be a number, but got true",)),
    "workers of 26 digits": BadInput(with_value("workers", "9" * 26), ("execution.workers",)),
    "threads that no machine has": BadInput(
        with_value("threads_per_worker", "99999"), ("execution.threads_per_worker must be at most",)
    ),
    "threads in one process, too many": BadInput(
        (*with_value("threads_per_worker", "99999"), "--executor", "inline"), ("threads_per_worker must be at most",)
    ),
    "workers and threads that are too many together": BadInput(
        (*with_value("workers", "500"), "--set", "execution.threads_per_worker=16"), ("execution.workers must be",)
    ),
    "no threads": BadInput(with_value("threads_per_worker", "0"), ("execution.threads_per_worker",)),
    "one GPU and a half": BadInput(with_value("gpus_per_worker", "1.5"), ("a share of one GPU or a whole number",)),
    "a thousand GPUs": BadInput(with_value("gpus_per_worker", "1000"), ("at most what this machine has",)),
    "GPUs that are not a number": BadInput(with_value("gpus_per_worker", "nan"), ("execution.gpus_per_worker",)),
    "GPUs without end": BadInput(with_value("gpus_per_worker", "inf"), ("execution.gpus_per_worker",)),
    "another executor": BadInput((*NEW, "--executor", "slurm"), ("slurm",)),
    "a misspelt key": BadInput(with_value("worker", "2"), ("worker",)),
    "an address and one process": BadInput(
        (*NEW, "--ray-address", "auto", "--executor", "inline"), ("ray_address joins a Ray cluster",)
    ),
    "another seed for a resumed run": BadInput(
        ("search", "--resume", "run", "--seed", "2"), ("--resume goes on with a run",), interrupted_run
    ),
}
