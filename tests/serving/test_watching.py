"""Runs are read again when they change, while somebody looks, and no more often than that."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from run_record_example import example_record
from served_runs import OLD_RUNS, runs_folder

from nas.results.run_folder import load_run
from nas.serving import watching
from nas.serving.live import RUNNING, STOPPED, device_of, growth_of, machine_now, state_of, summary_of
from nas.serving.watching import ASKED_S, Watch
from nas.space.architecture import Architecture
from nas.storage.file_lock import is_held
from nas.storage.journal import JOURNAL, RECIPE, Journal
from nas.storage.writer_lock import WRITER, WriterLock
from nas.values.evaluation import Evaluation


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def begun(folder: Path, clock: Clock) -> Journal:
    recipe = (OLD_RUNS / "finished-0.6.0" / RECIPE).read_text(encoding="utf-8")
    return Journal.start(folder, recipe, clock=clock)


def evaluation(number: int) -> Evaluation:
    return Evaluation("train", Architecture({"depth": number}), 1, {"error": 0.1 * number})


def evaluations_of(watch: Watch) -> int:
    (seen,) = watch.runs()
    assert seen.summary is not None
    return int(seen.summary["evaluations"])


def test_a_run_is_shown_while_it_goes_on(tmp_path: Path) -> None:
    """Each new row is seen at the next look, and the run is running as long as a process may write to it."""
    clock = Clock()
    watch = Watch(tmp_path, clock)
    with begun(tmp_path / "run", clock) as journal:
        journal.append(evaluation(1))
        watch.look()
        assert evaluations_of(watch) == 1
        journal.append(evaluation(2), evaluation(3))
        clock.now += 10
        watch.look()
        assert evaluations_of(watch) == 3
        held = is_held(tmp_path / "run" / WRITER)
        assert held in (True, None)
        assert watch.runs()[0].summary["state"] == (RUNNING if held else "not finished")  # type: ignore[index]
    clock.now += 10
    watch.look()
    if held:
        assert watch.runs()[0].summary["state"] == STOPPED  # type: ignore[index]


def test_a_run_that_did_not_change_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = runs_folder(tmp_path)
    watch = Watch(runs)
    watch.look()
    monkeypatch.setattr(watching, "read_run", lambda folder: pytest.fail(f"{folder} was read again"))
    watch.look()
    assert {each.name for each in watch.runs()} >= {"finished", "empty", "corrupt", "newer"}


def test_a_large_run_is_read_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading that took 4 s is not repeated for 20 s, however often rows are added."""
    clock, readings = Clock(), []

    def slow(folder: Path) -> object:
        readings.append(folder)
        clock.now += 4
        return None

    monkeypatch.setattr(watching, "read_run", slow)
    monkeypatch.setattr(watching, "summary_of", lambda run, held: {"state": "running"})
    watch = Watch(tmp_path, clock)
    with begun(tmp_path / "run", clock) as journal:
        for _ in range(10):
            journal.append(evaluation(1))
            watch.look()
            clock.now += 4
    assert len(readings) == 2


def test_nothing_is_read_while_nobody_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement on this machine is not disturbed by a page that nobody has open."""
    runs_folder(tmp_path)
    clock, looks = Clock(), []
    monkeypatch.setattr(Watch, "look", lambda self: looks.append(clock.now))
    monkeypatch.setattr(watching, "EVERY_S", 0.001)
    watch, over = Watch(tmp_path / "runs", clock), threading.Event()
    thread = threading.Thread(target=watch.keep_looking, args=(over,))
    thread.start()
    try:
        watch.runs()
        while not looks:
            pass
        clock.now += ASKED_S
        thread.join(0.05)
        count = len(looks)
        thread.join(0.05)
        assert len(looks) == count
    finally:
        over.set()
        watch.wake()
        thread.join()


def test_whole_runs_are_kept_only_for_a_few(tmp_path: Path) -> None:
    watch = Watch(runs_folder(tmp_path))
    watch.look()
    seen = watch.find("finished")
    assert seen is not None
    first = watch.whole(seen)
    assert watch.whole(seen) is first
    (seen.folder / JOURNAL).touch()
    assert watch.whole(seen) is not first


def test_whether_a_lock_is_held_is_told_without_taking_it(tmp_path: Path) -> None:
    path = tmp_path / WRITER
    listing = tmp_path / "locks"
    assert is_held(path, tmp_path / "no such list") is None
    lock = WriterLock.take(tmp_path)
    number = path.stat().st_ino
    listing.write_text(f"1: FLOCK  ADVISORY  WRITE 12 08:01:{number} 0 EOF\n")
    assert is_held(path, listing) is True
    listing.write_text(
        f"1: FLOCK  ADVISORY  READ 12 08:01:{number} 0 EOF\n2: POSIX ADVISORY WRITE 12 08:01:{number} 0 0\n"
    )
    assert is_held(path, listing) is False
    lock.close()
    assert is_held(tmp_path / "none", listing) is False
    assert not is_held(path)


def test_the_state_of_this_machine(tmp_path: Path) -> None:
    pressure = tmp_path / "cpu"
    pressure.write_text("some avg10=12.34 avg60=1.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0 avg300=0 total=0\n")
    facts = dict(machine_now(pressure))
    assert facts["Processes waited for a core"] == "12.3 % of the last 10 s"
    assert int(facts["Cores"]) >= 1
    assert "Processes waited for a core" not in dict(machine_now(tmp_path / "none"))


def test_a_finished_run_in_short(tmp_path: Path) -> None:
    run = load_run(shutil.copytree(OLD_RUNS / "finished-0.6.0", tmp_path / "run"))
    assert state_of(run, None)[0] == "finished"
    found = summary_of(run, None)
    assert found["evaluations"] == found["whole"] + found["stopped"] + found["failed"]
    assert found["latest"][0]["stage"] == run.rows[-1].stage


def test_a_run_that_was_given_objects_is_resumed_with_them() -> None:
    run = replace(example_record(), is_over=False, ended_by=None, recipe_text='[space]\nname = "given"\n')
    assert state_of(run, False)[1].endswith("Go on with: nas.resume('runs/digits', space=…)")


def test_the_state_of_a_device_is_that_of_the_latest_measurement() -> None:
    record = example_record()
    facts = dict(device_of(record.rows))
    assert facts["Target"] == record.target
    assert facts["Waiting for a core"].endswith("% of the time")
    assert facts["Doubts"] == "none of late"
    assert device_of(()) == []


def test_hypervolume_while_a_run_goes_on() -> None:
    record = example_record()
    found = growth_of(record)
    assert found["share"] == sorted(found["share"])
    assert found["share"][-1] == 1
    assert "evaluation" in found["sentence"]
    assert growth_of(replace(record, rows=()))["sentence"] == "No evaluation within the limits yet."
