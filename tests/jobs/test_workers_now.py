"""What workers do is told while they do it, and their number follows what another command allows."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from job_work import work
from scripted_jobs import ENOUGH_S, Script, counting

from nas.cli.main import main
from nas.errors import RecipeError
from nas.jobs.execution import Job
from nas.jobs.ray_executor import RayExecutor
from nas.jobs.relay import Relay, hard_limit_of
from nas.jobs.resources import Resources
from nas.jobs.workers_now import EVERY_S, Doing, WorkersNow, allow_workers, read_workers
from nas.storage.journal import RECIPE, Journal
from nas.storage.run_files import ALLOWED_WORKERS, WORKERS

NODES = [
    {"name": "10.0.0.1", "at_once": 2, "left_out": None},
    {"name": "10.0.0.2", "at_once": 1, "left_out": "it lacks torch"},
]
OLD_RUN = Path(__file__).parents[1] / "old_runs" / "finished-0.6.0"


def begun(folder: Path) -> Journal:
    return Journal.start(folder, (OLD_RUN / RECIPE).read_text(encoding="utf-8"), clock=time.time)


@pytest.fixture(name="folder")
def run_that_goes_on(tmp_path: Path) -> Iterator[Path]:
    """The folder of a run to which a process writes."""
    with begun(tmp_path / "run"):
        yield tmp_path / "run"


def test_the_file_holds_what_was_told_last(folder: Path) -> None:
    seconds = [100.0]
    now = WorkersNow(folder, lambda: seconds[0])
    now.begin()
    assert now.is_due
    now.tell(2, NODES, [Doing("a", "", None, 5.0)])
    assert not now.is_due
    seconds[0] += EVERY_S
    assert now.is_due
    now.tell(2, NODES, [Doing("a", "10.0.0.1", 3, 5.0)])
    told = read_workers(folder)
    assert told is not None
    assert told["nodes"] == NODES
    assert told["trainings"] == [{"job": "a", "node": "10.0.0.1", "epoch": 3, "began_at": 5.0}]
    written = (folder / WORKERS).stat().st_mtime_ns
    now.tell(2, NODES, [Doing("a", "10.0.0.1", 3, 5.0)])
    assert (folder / WORKERS).stat().st_mtime_ns == written
    now.end()
    assert read_workers(folder) is None


def test_a_number_is_allowed_until_the_end(folder: Path) -> None:
    now = WorkersNow(folder)
    with pytest.raises(RecipeError, match=r"can be changed while they train, but .* has none now. For a search that"):
        allow_workers(folder, 3)
    now.tell(2, NODES, [])
    assert now.allowed is None
    allow_workers(folder, 3)
    assert now.allowed == 3
    for wrong in (0, -1, 100_001):
        with pytest.raises(RecipeError, match="must be from 1 to 100,000, but got"):
            allow_workers(folder, wrong)
    for text in ("many", "0", ""):
        (folder / ALLOWED_WORKERS).write_text(text)
        assert now.allowed is None
    now.begin()
    assert not (folder / ALLOWED_WORKERS).exists()


def test_what_a_killed_process_left_is_not_told(tmp_path: Path) -> None:
    with begun(tmp_path / "run"):
        WorkersNow(tmp_path / "run").tell(2, NODES, [])
        assert read_workers(tmp_path / "run") is not None
    if sys.platform == "linux":  # elsewhere nobody can tell whether a process holds the lock
        assert read_workers(tmp_path / "run") is None


def test_what_a_killed_process_left_is_not_told_while_another_one_goes_on(folder: Path) -> None:
    now = WorkersNow(folder)
    now.tell(2, NODES, [])
    assert read_workers(folder) is not None
    left = json.loads((folder / WORKERS).read_text())
    (folder / WORKERS).write_text(json.dumps({**left, "process": left["process"] + 1}))
    if sys.platform == "linux":
        assert read_workers(folder) is None
        with pytest.raises(RecipeError, match="has none now"):
            allow_workers(folder, 1)


def test_a_search_goes_on_where_the_file_cannot_be_written(folder: Path) -> None:
    (folder / WORKERS).mkdir()
    now = WorkersNow(folder)
    now.begin()
    now.tell(2, NODES, [])
    assert read_workers(folder) is None
    now.end()


def test_a_relay_tells_what_runs() -> None:
    """A trial has a node and an epoch from its first report on, and is forgotten at its end."""
    relay = Relay(Script(counting(3), counting(3)), 10.0, hard_limit_of(10.0))
    relay.begin_pass()
    before = time.time()
    for trial in ("a", "b"):
        relay.next_job(trial)
    relay.place("a", "10.0.0.1")
    relay.goes_on("a", {"epoch": 1})
    first, second = relay.doing()
    assert (first.job, first.node, first.epoch) == ("j0", "10.0.0.1", 1)
    assert (second.job, second.node, second.epoch) == ("j1", "", None)
    assert before <= first.began_at <= time.time()
    relay.end("a", {"epoch": 3, "done": True})
    relay.place("a", "10.0.0.1")
    assert [each.job for each in relay.doing()] == ["j1"]


def test_the_command_tells_nodes_and_trainings(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["nas", "workers", str(folder), *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0
        return capsys.readouterr().out

    assert said().startswith("No workers train for this run now")
    now = WorkersNow(folder)
    now.tell(2, NODES, [Doing("a1b2", "10.0.0.1", 3, time.time() - 60), Doing("c3d4", "", None, time.time())])
    lines = said().splitlines()
    assert lines[:3] == [
        "2 of at most 2 trainings at once.",
        "node 10.0.0.1: room for 2",
        "node 10.0.0.2: left out: it lacks torch",
    ]
    assert lines[3].startswith("a1b2 on 10.0.0.1: after epoch 3, for 1 min")
    assert lines[4].startswith("c3d4: no epoch yet, for ")
    assert '"at_once": 2' in said("--json")
    assert said("1").startswith("At most 1 at once from now on")
    assert now.allowed == 1


class Busy(Script):
    """Notes how many jobs run side by side, and asks for fewer and for more workers on the way."""

    def __init__(self, folder: Path, *jobs: dict[str, object]) -> None:
        super().__init__(*jobs)
        self._folder = folder
        self._going: set[str] = set()
        self.side_by_side: list[int] = []
        self.nodes: set[str] = set()

    def next_job(self) -> Job | None:
        job = super().next_job()
        if job is not None:
            self._going.add(job["id"])
            self.side_by_side.append(len(self._going))
        return job

    def on_end(self, job: Job, report: dict[str, object]) -> None:  # type: ignore[override]
        super().on_end(job, report)
        self._going.discard(job["id"])
        told = read_workers(self._folder)
        self.nodes |= set() if told is None else {each["node"] for each in told["trainings"] if each["node"]}


@pytest.mark.slow
def test_the_number_of_workers_changes_while_they_work(folder: Path) -> None:
    """Two work side by side, then one alone, then two again: jobs of a second show which."""
    source = Busy(folder, *(counting(3, do="count slowly") for _ in range(24)))
    said: list[str] = []
    asked: list[tuple[int, int]] = []

    def ask() -> None:
        for count, after in ((1, 6), (2, 12)):
            while len(source.side_by_side) < after:
                time.sleep(0.05)
            allow_workers(folder, count)
            asked.append((count, len(source.side_by_side)))

    with RayExecutor(2, Resources(cpus=1), say=said.append, folder=folder) as executor:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        executor.run(work, source, time_limit_s=ENOUGH_S)
        asking.join(10)
        told = read_workers(folder)
    assert asked[0][0] == 1
    fewer, more = (f"trainings at once: {a} instead of {b}, as nas workers asked" for a, b in ((1, 2), (2, 1)))
    assert said == [fewer, more]
    assert max(source.side_by_side[1:6]) == 2
    assert 1 in source.side_by_side[6:]
    assert source.side_by_side[-1] == 2
    assert told is not None
    assert told["trainings"] == []  # the search may measure now
    assert source.nodes
    assert not (folder / WORKERS).exists()
