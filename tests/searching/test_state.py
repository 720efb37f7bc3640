"""A run records its costs, and the target that it was measured on."""

from __future__ import annotations

import itertools
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import uncertain_runs
from acting_models import QUICK
from commands import evaluations_of
from fake_bench import DEVICE_S
from fake_predictor import Settings
from quick_runs import Diary, OneChoice, Stopping, search
from uncertain_runs import told

import nas
from nas.errors import JournalError
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.kept_sessions import KeptSessions
from nas.searching.instruments import Instruments
from nas.searching.state import told_what_is_lost
from nas.storage.journal import read_rows
from nas.storage.journal_rows import BenchUsed, Cost
from nas.storage.run_files import SESSIONS
from nas.values.metric import SUSTAINED
from nas.values.target import Target

pytestmark = pytest.mark.usefixtures("quick_export")


@pytest.mark.slow
def test_the_cost_of_a_search_is_recorded_and_reported(tmp_path: Path) -> None:
    """Its rows add up to the device's time. The report has the times, and says why there is no energy."""
    run = tmp_path / "run"
    search(tmp_path, energy={"meter": "none"})
    costs = read_rows(run, Cost)
    measurements = [row for stage in ("measure", "winner") for row in evaluations_of(run, stage) if row.measurements]
    assert len(costs) >= 2
    assert sum(cost.device_s for cost in costs) == pytest.approx(DEVICE_S * len(measurements))
    assert all(cost.wall_s > 0 and cost.joules is None for cost in costs)
    parts = [cost.of for cost in costs]
    assert parts == ["search"] * parts.count("search") + ["winners"] * parts.count("winners")
    assert set(parts) == {"search", "winners"}
    text = (run / "report.html").read_text()
    for words in ("Cost of the search", "time for winners", "not measured", "the recipe names no meter."):
        assert words in text


def test_a_kill_loses_little_of_the_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs are recorded after rows, and not only at the end of a stage."""
    monkeypatch.setattr("nas.searching.state.COST_EVERY_S", 0.0)
    search(tmp_path, trials=3, rounds=1)
    connection = sqlite3.connect(tmp_path / "run" / "journal.db")
    kinds = [kind for (kind,) in connection.execute("SELECT kind FROM rows ORDER BY number")]
    connection.close()
    following = [after for kind, after in itertools.pairwise(kinds) if kind == "evaluation" != after]
    assert following == ["cost"] * len(following)


def test_a_stop_while_models_are_measured_says_what_is_kept(tmp_path: Path) -> None:
    """Models are measured together: finished sessions of latency are kept, and nothing else of the run is lost."""
    with pytest.raises(KeyboardInterrupt) as stop:
        search(tmp_path, progress=Stopping("deploying models"))
    lost = "6 models were being measured: finished sessions of latency are kept, and the one under way begins anew."
    assert stop.value.__notes__[0] == lost
    assert stop.value.__notes__[1].startswith("Go on with: nas.resume(")
    with pytest.raises(KeyboardInterrupt) as stop:
        search(tmp_path / "other", progress=Stopping("round 2/2: training"))
    assert not any("sessions" in note for note in stop.value.__notes__)


def test_a_stop_says_what_is_not_kept() -> None:
    """Runs for sustained latencies take minutes a model, and a finished one is lost too."""
    with pytest.raises(KeyboardInterrupt) as stop, told_what_is_lost(1, ["latency_ms", "energy_mj", f"pi/{SUSTAINED}"]):
        raise KeyboardInterrupt
    (lost,) = stop.value.__notes__
    assert lost.startswith("1 model was being measured: finished sessions of latency are kept")
    assert lost.endswith("begins anew. So does all measuring of energy and of sustained latency.")


class StoppingInSession(Diary):
    """Ctrl-C when so many models of the first sessions were measured."""

    def __init__(self, visits: int) -> None:
        super().__init__()
        self._left = visits

    def advance(self, best: str | None = None) -> None:
        self._left -= self.stages[-1].startswith("sessions of")
        if not self._left:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_finished_sessions(acting: Target, tmp_path: Path) -> None:
    """They lie beside the journal until the rows of their models are in it."""
    bench = DeviceBench(acting, replace(QUICK, rounds=3))
    tools = Instruments(bench=bench, looks_apart=False)
    recipe = {"name": "run", "data": "digits", "trials": 0, "measuring": {"initial": 6}}
    with pytest.raises(KeyboardInterrupt):
        nas.search(recipe, space=OneChoice(), runs=tmp_path, progress=StoppingInSession(6 + 1), instruments=tools)
    run = tmp_path / "run"
    ((*visits,),) = KeptSessions(run / SESSIONS).of(bench.fingerprint)
    nas.resume(run, space=OneChoice(), progress=None, instruments=tools)
    first = {row.measurements["latency_ms"].rounds[0] for row in evaluations_of(run, "measure")}
    assert {tuple(visit.reply["samples"]) for visit in visits} == first
    assert len(first) == 6
    assert not (run / SESSIONS).exists()


class TestATargetThatHasChanged:
    """Measurements with other hardware or versions do not compare."""

    def stopped(self, folder: Path) -> Path:
        """Return the folder of a run that was stopped before its second round."""
        with pytest.raises(KeyboardInterrupt):
            uncertain_runs.search(
                folder, Settings(), fingerprint="versions-1", progress=Stopping("round 2/2: training")
            )
        return folder / "run"

    def resume(self, run: Path, fingerprint: str) -> Diary:
        return uncertain_runs.resume(run, Settings(), fingerprint=fingerprint)

    @pytest.mark.slow
    def test_is_refused_on_resume(self, tmp_path: Path) -> None:
        """The refusal comes before anything is measured on it."""
        run = self.stopped(tmp_path)
        before = evaluations_of(run, "measure")
        with pytest.raises(
            JournalError, match=r"the hardware or the versions of onnxruntime-cpu:.* have changed since"
        ):
            self.resume(run, "others-1")
        assert evaluations_of(run, "measure") == before
        assert not told(self.resume(run, "versions-1"), "reference speed")

    @pytest.mark.slow
    def test_may_have_another_reference_speed(self, tmp_path: Path) -> None:
        """A message says so. The run's own measurements are not those of another target to learn from."""
        run = self.stopped(tmp_path)
        diary = self.resume(run, "versions-2")
        assert len(told(diary, "was measured again since this run began")) == 1
        assert not told(diary, "on other targets")
        assert [row.fingerprint for row in read_rows(run, BenchUsed)] == ["versions-1", "versions-2"]
