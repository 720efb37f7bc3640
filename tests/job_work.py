"""The work that tests of executors give to workers; a light module, because workers import it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas.errors import CandidateError, DataError
from nas.jobs.execution import Job


def work(job: Job) -> Iterator[dict[str, Any]]:
    """Do the deed that the job's ``do`` names. Work need not be a generator: 'raise at once' raises in the call."""
    if job["do"] == "raise at once":
        raise ValueError("wrong at once")
    return DEEDS[job["do"]](job)


def count(job: Job) -> Iterator[dict[str, Any]]:
    for epoch in range(1, job["epochs"]):
        yield {"epoch": epoch}
    yield {"epoch": job["epochs"], "done": True}


def fail(job: Job) -> Iterator[dict[str, Any]]:
    yield {"epoch": 1}
    raise ValueError("wrong\nin the middle")


def fail_as_candidate(job: Job) -> Iterator[dict[str, Any]]:
    yield {"epoch": 1}
    raise CandidateError("nan", "the loss is no number")


def leave(job: Job) -> Iterator[dict[str, Any]]:
    yield {"epoch": 1}


def find_no_data(job: Job) -> Iterator[dict[str, Any]]:
    yield {"epoch": 1}
    raise DataError("the data set is gone")


def give_back(job: Job) -> Iterator[dict[str, Any]]:
    yield {"epoch": 1, "got": job["data"]}
    yield {"epoch": 2, "got": job["data"], "weights": bytes(range(256)) * 4000, "done": True}


def exit_at_once(job: Job) -> Iterator[dict[str, Any]]:
    yield {"epoch": 1}
    os.kill(os.getpid(), signal.SIGKILL)


def tell_and_wait(job: Job) -> Iterator[dict[str, Any]]:
    yield {"pid": os.getpid()}
    time.sleep(1000)


def spin(job: Job) -> Iterator[dict[str, Any]]:
    yield {"epoch": 1}
    while True:
        pass


def sleep_deaf(job: Job) -> Iterator[dict[str, Any]]:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(1000)
    yield {"done": True}


def exit_once(job: Job) -> Iterator[dict[str, Any]]:
    """End the process in the second epoch of the first try."""
    yield {"epoch": 1}
    first = Path(job["folder"]) / job["id"]
    if not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield {"epoch": 2, "done": True}


def hang_with_a_child(job: Job) -> Iterator[dict[str, Any]]:
    """Hang, and ignore SIGTERM, in this process and in a child process."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(1000)"
    child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    yield {"child": child.pid}
    time.sleep(1000)


def exhaust_memory(job: Job) -> Iterator[dict[str, Any]]:
    """Allocate 1 GiB in a process that may only grow by 64 MiB."""
    yield {"epoch": 1}
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**26, limits[1]))
    try:
        yield {"epoch": 2, "size": len(bytearray(2**30)), "done": True}
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def take_memory(job: Job) -> Iterator[dict[str, Any]]:
    """Take up to 6 GiB until the process is ended, in each of the first ``tries`` tries."""
    tries = Path(job["folder"]) / job["id"]
    with tries.open("a") as file:
        file.write(".")
    yield {"epoch": 1}
    if tries.stat().st_size <= job["tries"]:
        held = []
        for _ in range(600):
            held.append(bytearray(b"." * 10 * 2**20))
            time.sleep(0.01)
        time.sleep(10)
    yield {"epoch": 2, "done": True}


def count_slowly(job: Job) -> Iterator[dict[str, Any]]:
    for epoch in range(1, job["epochs"] + 1):
        time.sleep(0.3)
        yield {"epoch": epoch, "done": epoch == job["epochs"]}


def compute(job: Job) -> Iterator[dict[str, Any]]:
    for epoch in range(1, job["epochs"] + 1):
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
        yield {"epoch": epoch, "pid": os.getpid(), "done": epoch == job["epochs"]}


def meet(job: Job) -> Iterator[dict[str, Any]]:
    """Succeed only if another job runs at the same time."""
    folder = Path(job["folder"])
    (folder / job["id"]).touch()
    deadline_s = time.monotonic() + 30
    while len(list(folder.iterdir())) < 2:
        if time.monotonic() > deadline_s:
            raise CandidateError("exception", "nobody came")
        time.sleep(0.02)
    told = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")}
    yield {"pid": os.getpid(), **told, "done": True}


DEEDS = {
    "count": count,
    "fail": fail,
    "fail as candidate": fail_as_candidate,
    "leave": leave,
    "find no data": find_no_data,
    "give back": give_back,
    "exit": exit_at_once,
    "tell and wait": tell_and_wait,
    "spin": spin,
    "sleep deaf": sleep_deaf,
    "compute": compute,
    "meet": meet,
    "exit once": exit_once,
    "hang with a child": hang_with_a_child,
    "exhaust memory": exhaust_memory,
    "take memory": take_memory,
    "count slowly": count_slowly,
}
