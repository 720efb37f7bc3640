"""Measuring on a device that trains nothing, while others train: its rows, its errors, and when it may be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from boards_here import boards_here
from commands import assert_nothing_twice
from fake_bench import VALUES, FakeBench
from fault_spaces import Faulty
from quick_profile import known_profile
from quick_runs import BASE, Diary, FakeClock

import nas
from nas.errors import TargetError
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.devices.named import device_of, is_apart_from, is_here
from nas.jobs.execution import InlineExecutor, JobSource, Work
from nas.results.run_folder import load_run
from nas.searching.beliefs import Beliefs
from nas.searching.instruments import Instruments
from nas.searching.measuring_beside import MeasuringBeside
from nas.space.architecture import Architecture
from nas.storage.journal import read_rows
from nas.storage.journal_rows import Fit
from nas.values.evaluation import Evaluation
from nas.values.target import Target

WAIT_S = 20.0
RECIPE = {**BASE, "trials": 16, "rounds": 1, "measuring": {"initial": 5, "per_round": 2}}


class Bench(FakeBench):
    """A bench that ends its measurements of a round only once ``may_end`` is set."""

    def __init__(self) -> None:
        super().__init__(Faulty())
        self.may_end = threading.Event()
        self.threads: list[str] = []
        self.error: Exception | None = None

    def measure(self, models: Any, metrics: Any, rng: Any, advance: Callable[[], None] = lambda: None) -> Any:
        self.threads.append(threading.current_thread().name)
        if threading.current_thread() is not threading.main_thread():
            while not self.may_end.wait(0.01):
                advance()
            if self.error is not None:
                raise self.error
        return super().measure(models, metrics, rng, advance)


class Elsewhere:
    """An executor that trains on another machine, as far as anybody can tell, and lets measurements end in between.

    After ``stops_after`` jobs of a run Ctrl-C comes. With ``holds`` nobody lets measurements end while it runs.
    """

    machines = ("elsewhere",)

    def __init__(self, bench: Bench, stops_after: int | None = None, holds: bool = False) -> None:
        self._bench = bench
        self._holds = holds
        self._inline = InlineExecutor()
        self._left = stops_after

    def run(self, work: Work, source: JobSource, *, time_limit_s: float) -> None:
        self._bench.may_end.clear()

        def stepped(job: Any) -> Iterator[Any]:
            if self._left is None and not self._holds:
                self._let_measurements_end()
            elif self._left is not None:
                self._left -= 1
                if self._left < 0:
                    raise KeyboardInterrupt
            yield from work(job)

        self._inline.run(stepped, source, time_limit_s=time_limit_s)
        if not self._holds:
            self._bench.may_end.set()

    def _let_measurements_end(self) -> None:
        self._bench.may_end.set()
        for thread in threading.enumerate():
            if thread.name == "nas-measuring":
                thread.join(WAIT_S)
        self._bench.may_end.clear()

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, *error: object) -> None:
        return None


@contextmanager
def trained_elsewhere(bench: Bench, stops_after: int | None = None, holds: bool = False) -> Iterator[Instruments]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.searching.run.executor_of", lambda *_, **__: Elsewhere(bench, stops_after, holds))
        patch.setattr("nas.searching.measuring_beside.is_apart_from", lambda _, machines: "elsewhere" in machines)
        yield Instruments(bench=bench, looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())


def search(runs: Path, bench: Bench, stops_after: int | None = None, **changes: Any) -> Diary:
    diary = Diary()
    with trained_elsewhere(bench, stops_after) as instruments:
        nas.search({**RECIPE, **changes}, space=Faulty(), runs=runs, progress=diary, instruments=instruments)
    return diary


@pytest.mark.usefixtures("quick_export")
class TestMeasuringBeside:
    def test_candidates_are_measured_while_others_train(self, tmp_path: Path) -> None:
        """Their rows come between those of trainings, none is measured twice, and nothing is measured after a round."""
        bench = Bench()
        diary = search(tmp_path, bench)
        rows = read_rows(tmp_path / "run", Evaluation)
        stages = [row.stage for row in rows if row.round == 1]
        assert "measure" in stages
        assert stages.index("measure") < max(place for place, stage in enumerate(stages) if stage == "train")
        assert sum(row.stage == "train" for row in rows) == 16
        assert_nothing_twice(tmp_path / "run")
        assert bench.threads.count("nas-measuring") >= 2
        told = [text for text in diary.news if "while others trained" in text]
        assert len(told) == bench.threads.count("nas-measuring")
        assert told[0].startswith("measured ")
        assert "this machine" in told[0]
        run = load_run(tmp_path / "run")
        assert run.front.winners

    def test_predictors_learn_from_them_within_the_round(self, tmp_path: Path) -> None:
        """There are fits of the first round with more samples than the first measurements gave."""
        search(tmp_path, Bench())
        fits = read_rows(tmp_path / "run", Fit)
        assert len({fit.samples for fit in fits if fit.round == 1}) >= 2

    def test_ctrl_c_ends_the_measuring_and_the_run_goes_on_later(self, tmp_path: Path) -> None:
        """The thread ends with the session under way, the message says what is lost, and a resumed run is whole."""
        bench = Bench()
        with pytest.raises(KeyboardInterrupt) as stopped:
            search(tmp_path, bench, stops_after=5)
        assert any("being measured" in note for note in stopped.value.__notes__)
        assert not [thread for thread in threading.enumerate() if thread.name == "nas-measuring"]
        before = read_rows(tmp_path / "run", Evaluation)
        bench = Bench()
        with trained_elsewhere(bench) as instruments:
            nas.resume(tmp_path / "run", space=Faulty(), progress=None, instruments=instruments)
        rows = read_rows(tmp_path / "run", Evaluation)
        assert rows[: len(before)] == before
        assert sum(row.stage == "train" for row in rows) == 16
        assert_nothing_twice(tmp_path / "run")

    def test_a_device_that_is_lost_ends_the_run_after_the_round(self, tmp_path: Path) -> None:
        """Trainings go on to the end of their round, and a resumed run measures what is left."""
        bench = Bench()
        bench.error = TargetError("the board is gone.")
        with pytest.raises(TargetError, match="the board is gone"):
            search(tmp_path, bench)
        assert sum(row.stage == "train" for row in read_rows(tmp_path / "run", Evaluation)) == 16
        assert bench.threads.count("nas-measuring") == 1
        with trained_elsewhere(Bench()) as instruments:
            front = nas.resume(tmp_path / "run", space=Faulty(), progress=None, instruments=instruments)
        assert front.winners
        assert_nothing_twice(tmp_path / "run")

    def test_what_has_ended_is_kept_after_ctrl_c(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Though nobody asked for its rows yet: no training has reported in the meantime."""
        bench = Bench()
        bench.may_end.set()
        monkeypatch.setattr(bench.may_end, "clear", lambda: None)
        wait = MeasuringBeside._look

        def look(self: MeasuringBeside, ends_s: float) -> None:
            wait(self, ends_s)
            if self._measuring is not None and self._measuring.is_begun:
                self._measuring.thread.join(WAIT_S)
                raise KeyboardInterrupt

        monkeypatch.setattr(MeasuringBeside, "_look", look)
        with pytest.raises(KeyboardInterrupt) as stopped:
            search(tmp_path, bench)
        assert not any("being measured" in note for note in stopped.value.__notes__)
        last = read_rows(tmp_path / "run", Evaluation)[-1]
        assert (last.stage, last.round) == ("measure", 1)

    def test_a_round_without_candidates_waits_for_what_is_measured(self, tmp_path: Path) -> None:
        """What was near a limit may then be trained: the search does not run through its rounds meanwhile."""
        bench = Bench()

        class Waiting(Diary):
            def say(self, text: str) -> None:
                super().say(text)
                if text.startswith("waiting for"):
                    bench.may_end.set()

        diary = Waiting()
        recipe = {**RECIPE, "limits": ["latency_ms <= 0.9ms"], "trials": 60, "rounds": 3}
        with trained_elsewhere(bench, holds=True) as instruments:
            nas.search(recipe, space=Faulty(), runs=tmp_path, progress=diary, instruments=instruments)
        ends = [place for place, text in enumerate(diary.news) if "ends after" in text]
        waits = [place for place, text in enumerate(diary.news) if text == "waiting for what is being measured"]
        stages = [(row.stage, row.round) for row in read_rows(tmp_path / "run", Evaluation)]
        assert len(ends) >= 2
        assert waits
        assert max(waits) < ends[-1]
        assert ("measure", 1) in stages

    def test_one_after_the_other_nothing_is_measured_beside(self, tmp_path: Path) -> None:
        """A run in one process stays the run of its seed."""
        bench = Bench()
        instruments = Instruments(bench=bench, looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())
        nas.search(RECIPE, space=Faulty(), runs=tmp_path, progress=None, instruments=instruments)
        assert set(bench.threads) == {"MainThread"}


class _Device:
    """A device with an identifier."""

    name = "board"

    def __init__(self, identifier: str | None) -> None:
        self.facts = replace(LocalDevice().facts, machine_id=identifier)


@pytest.mark.parametrize(
    ("identifier", "is_apart"),
    [
        *(("trains", False), ("here", True), ("other", True), (None, False)),
        *(("pi trains", False), ("pi here", True), ("pi other", True), ("pi None", False)),
    ],
)
def test_a_device_is_apart_if_its_identifier_is_another_one(identifier: str | None, is_apart: bool) -> None:
    """One of a pool has its name before it. Where one is unknown, or none trains yet, the device may train."""
    device: Any = _Device(identifier)
    assert is_apart_from(device, ("node", "trains")) == is_apart
    assert not is_apart_from(device, ("node", None))
    assert not is_apart_from(device, ())


@pytest.mark.parametrize(("identifier", "here"), [("here", True), ("pi here", True), ("other", False), (None, False)])
def test_a_device_is_here_if_its_identifier_is_this_machine_s(
    identifier: str | None, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been added as a board. If this machine has no identifier, any may be this one."""
    monkeypatch.setattr("nas.hardware.devices.named.machine_id", lambda: "here")
    device: Any = _Device(identifier)
    assert is_here(device) == here
    monkeypatch.setattr("nas.hardware.devices.named.machine_id", lambda: None)
    assert is_here(device)


@pytest.mark.usefixtures("quick_export")
@pytest.mark.parametrize(
    ("changes", "cores", "is_beside"),
    [
        ({}, 2, True),
        ({"objectives": ["error", "latency_ms", "peak_memory_mib"]}, 2, True),
        ({}, 1, False),
        ({"target": "onnxruntime-cpu:threads=2"}, 2, False),
        ({"objectives": ["error", "latency_ms", "energy_mj"]}, 2, False),
    ],
)
def test_this_machine_measures_beside_the_search_on_a_core_of_its_own(
    changes: dict[str, Any], cores: int, is_beside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only others train. Without a spare core, or with what the search adds to, trainings pause."""
    monkeypatch.setitem(VALUES, "energy_mj", VALUES["latency_ms"])
    monkeypatch.setattr("nas.searching.measuring_beside.physical_cores", lambda: cores)
    monkeypatch.setattr("nas.hardware.devices.local_device.usable_cores", lambda: 2)
    monkeypatch.setattr("nas.hardware.devices.local_device.machine_id", lambda: "here")
    bench = Bench()
    with trained_elsewhere(bench) as instruments, pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.searching.measuring_beside.is_apart_from", is_apart_from)
        patch.setattr("nas.hardware.devices.named.machine_id", lambda: "here")
        nas.search({**RECIPE, **changes}, space=Faulty(), runs=tmp_path, progress=None, instruments=instruments)
    assert ("nas-measuring" in bench.threads) == is_beside


def _unmeasured(beliefs: Beliefs, rows: Sequence[Evaluation], near: object, count: int) -> list[Architecture]:
    """Any candidates: on a busy machine nobody knows which ones are worth measuring."""
    return [row.architecture for row in rows if not beliefs.is_measured(row.architecture)][:count]


class _Awaited(Diary):
    """Writes a file once something was measured while others trained."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def say(self, text: str) -> None:
        super().say(text)
        if text.endswith("on pi, while others trained"):
            self._file.touch()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_board_measures_while_ray_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With real trainings and a real connection to an agent, which runs here and is taken for another machine.

    Each step of a training waits until something was measured, for at most a second.
    """
    monkeypatch.setattr("nas.searching.measuring_beside.is_apart_from", lambda device, machines: True)
    monkeypatch.setattr("nas.searching.measuring_beside.worth_measuring", _unmeasured)
    boards_here(tmp_path, ["pi"])
    target = Target("onnxruntime-cpu", device="pi")
    known_profile(target, device_of(target))
    measured = tmp_path / "measured"
    recipe = {
        **BASE,
        "space": {
            "name": "fault_spaces:Faulty",
            "faults": "wait",
            "always": True,
            "seconds": 1.0,
            "until": str(measured),
        },
        "target": str(target),
        "trials": 8,
        "rounds": 1,
        "measuring": {"initial": 5, "per_round": 2, "rounds": 2, "max_rounds": 2, "seconds_per_round": 0.01},
        "retraining": {"epochs": 1, "winners": 1},
        "training": {"epochs": 2, "subset": 0.1},
        "execution": {"executor": "ray", "workers": 1},
    }
    nas.search(recipe, runs=tmp_path, progress=_Awaited(measured))
    stages = [row.stage for row in read_rows(tmp_path / "run", Evaluation) if row.round == 1]
    assert stages.count("train") == 8
    assert "measure" in stages[:8]
    assert measured.is_file()
    assert_nothing_twice(tmp_path / "run")
