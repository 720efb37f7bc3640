"""Runs that trained are solved again on this machine's targets: nothing is trained, and measurements are kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import rows_of
from fake_bench import FakeBench, FakeClock, latency_ms
from fault_spaces import Faulty
from other_target import OTHER, OWN_MJ, SLOWER, OtherBench, write_run
from profiled_store import keep_profiles
from quick_runs import EXPORT, write_any_model

import nas
from nas.errors import JournalError, RecipeError, TargetError
from nas.searching.fitting import fitted_predictors
from nas.storage.journal import JOURNAL, RECIPE, Journal, read_rows
from nas.storage.journal_rows import BenchUsed, Fit
from nas.storage.run_files import SESSIONS
from nas.values.evaluation import Evaluation

OLD_RUNS = Path(__file__).parents[1] / "old_runs"


@pytest.fixture(name="run")
def made_up_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of twelve candidates, of which six were measured. Training anything fails."""

    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("solving must train nothing")

    monkeypatch.setattr(EXPORT, write_any_model)
    for name in ("nas.training.training.CandidateTraining.__call__", "nas.jobs.choosing.executor_of"):
        monkeypatch.setattr(name, fail)
    return write_run(tmp_path / "run")


def solve(run: Path, limits: list[str] | None = None, bench: FakeBench | None = None, **options: Any) -> nas.Solved:
    instruments = nas.Instruments(bench=bench, looks_apart=False, clock=FakeClock(), stopwatch=FakeClock())
    given = {"space": Faulty(), "trust": True, **options}
    return nas.solve(run, limits, progress=None, instruments=instruments, **given)


def test_points_name_their_models(tmp_path: Path) -> None:
    """Points that the run retrained have a bundle that loads; the others say that they have none."""
    run = Path(shutil.copytree(OLD_RUNS / "finished-0.6.0", tmp_path / "run"))
    solved = nas.solve(run, ["latency_ms <= 3ms"], progress=None)
    with_model = [point for point in solved.candidates if point.winner is not None]
    assert len(with_model) == 2
    assert (run / with_model[0].folder / "model.safetensors").is_file()
    module = with_model[0].load(Faulty("raise"))
    assert sum(each.numel() for each in module.parameters()) == with_model[0].counted["params"]
    without = next(point for point in solved.candidates if point.winner is None)
    with pytest.raises(JournalError, match=r'was trained for the search alone.*as_run="FOLDER", and resume'):
        without.load()


def test_another_target_is_measured_a_little(run: Path) -> None:
    """Ten of twelve are measured, all in the run's folder, and the run's own journal stays as it was."""
    before, bench = rows_of(run), OtherBench()
    solved = solve(run, bench=bench, target=OTHER)
    assert len(bench.measured) == solved.newly_measured == solved.measured == 10
    for point in solved.candidates:
        if point.source("latency_ms") == "measured":
            assert point.value("latency_ms") == pytest.approx(SLOWER * latency_ms(point.architecture), rel=0.05)
        else:
            assert point.interval("latency_ms").lower < point.interval("latency_ms").upper
    assert rows_of(run) == before
    (kept,) = (run / "solved").iterdir()
    assert (kept / JOURNAL).is_file()
    fits = read_rows(kept, Fit)
    assert fits[-1].samples == 10
    again = OtherBench()
    repeated = solve(run, bench=again, target=OTHER)
    assert again.measured == again.deployed == []
    assert read_rows(kept, Fit) == fits
    assert [point.to_json() for point in repeated] == [point.to_json() for point in solved]
    assert any(note.startswith("No model yet: ") and "--as-run" in note for note in solved.notes)
    assert any(note.startswith("Errors are those in fp32; fp16 may be less accurate: ") for note in solved.notes)
    assert not any("may be less accurate" in note for note in solve(run, measure=0).notes)


def test_finished_sessions_are_kept_as_a_stop_says(run: Path) -> None:
    """They lie beside what was measured, so that the same command goes on with them."""
    bench = OtherBench()
    solve(run, bench=bench, target=OTHER)
    (kept,) = (run / "solved").iterdir()
    assert bench.sessions._path == kept / SESSIONS


def test_measurements_of_earlier_versions_are_read(run: Path) -> None:
    """They were rows of the bench and of measurements alone, without those of fits."""
    solved = solve(run, bench=OtherBench(), target=OTHER)
    (folder,) = (run / "solved").iterdir()
    rows = [*read_rows(folder, BenchUsed), *read_rows(folder, Evaluation)]
    text = (folder / RECIPE).read_text(encoding="utf-8")
    shutil.rmtree(folder)
    with Journal.start(folder, text, clock=FakeClock()) as journal:
        journal.append(*rows)
    bench = OtherBench()
    repeated = solve(run, bench=bench, target=OTHER)
    assert bench.measured == []
    assert [point.to_json() for point in repeated.candidates] == [point.to_json() for point in solved.candidates]


@pytest.mark.parametrize("fresh", [False, True])
def test_networks_that_were_profiled_on_the_other_target_tell_what_layers_cost(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    """All that the store has of unmeasured ones are given to the predictor, and none with fresh measurements."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
    count, given = keep_profiles(tmp_path / "home", "other-0"), []

    def spied(*arguments: Any) -> dict[str, nas.Predictor]:
        assert not {network.architecture for network in arguments[5]} & set(arguments[2])
        given.append((len(arguments[2]), len(arguments[5])))
        return fitted_predictors(*arguments)

    monkeypatch.setattr("nas.searching.fitting.fitted_predictors", spied)
    solve(run, bench=OtherBench(), target=OTHER, fresh=fresh)
    assert len(given) >= 2
    assert [networks for _, networks in given] == [0 if fresh else count - measured for measured, _ in given]


def test_modelled_values_are_those_of_the_other_target(run: Path) -> None:
    """They are modelled again where they are asked for, and are else unknown; nothing is measured for that."""
    bench = OtherBench()
    solved = solve(run, objectives=["error", "modelled_energy_mj"], target=OTHER, bench=bench)
    assert solved.points
    assert all(point.value("modelled_energy_mj") != OWN_MJ for point in solved.candidates)
    objectives = ["error", "params"]
    counted = solve(run, objectives=objectives, target=OTHER, bench=bench, space=None, trust=False)
    assert counted.points
    assert not any(point.has("modelled_energy_mj") for point in counted.candidates)
    assert all(point.value("modelled_energy_mj") == OWN_MJ for point in solve(run, objectives=objectives).candidates)
    assert bench.measured == []


def test_other_hardware_of_the_same_name_is_another_target(run: Path) -> None:
    """The run has no fingerprint, so the processor tells; kept measurements of other hardware do not count."""
    solve(run, bench=OtherBench("one-1"), target=OTHER)
    other = OtherBench("two-1")
    solve(run, bench=other, target=OTHER)
    assert len(other.measured) == 10
    assert len(list((run / "solved").iterdir())) == 2


def test_the_front_on_the_runs_own_target_can_be_measured(run: Path) -> None:
    """Asked for explicitly, predicted points of the front are measured, and no others are needed."""
    predicted = {point.architecture for point in solve(run) if point.source("latency_ms") == "predicted"}
    bench = FakeBench(Faulty())
    solved = solve(run, bench=bench, measure=12)
    assert all(point.source("latency_ms") == "measured" for point in solved)
    assert predicted <= {p.architecture for p in solved.candidates if p.source("latency_ms") == "measured"}
    assert solved.newly_measured == len(bench.measured)
    kept = solve(run)  # without measuring, what was measured before still counts
    assert all(point.source("latency_ms") == "measured" for point in kept)


def test_a_metric_that_the_run_did_not_measure(run: Path) -> None:
    """Memory is measured of a few, while latencies stay those of the run."""
    bench = FakeBench(Faulty())
    solved = solve(run, ["peak_memory_mib <= 2MiB"], bench=bench)
    assert len(bench.measured) == solved.newly_measured > 0
    assert all(point.value("peak_memory_mib") <= 2 for point in solved)
    sizes = solve(run, ["model_bytes <= 1GB"], bench=FakeBench(Faulty()))
    assert len(sizes)


def test_what_cannot_run_on_the_target_is_left_out(run: Path) -> None:
    """Others are measured in its place, and the reason is told."""
    solved = solve(run, bench=OtherBench(broken=2), target=OTHER, measure=8)
    assert len(solved.candidates) == 10
    assert any("2 candidates cannot be measured on the target" in note for note in solved.notes)
    assert any("no kernel for this model" in note for note in solved.notes)


def test_a_target_on_which_nothing_runs(run: Path) -> None:
    with pytest.raises(TargetError, match=r"needs 5 measured architectures, but 0 could be .* no kernel"):
        solve(run, bench=OtherBench(broken=100), target=OTHER)


def test_a_run_that_is_not_finished_says_so(tmp_path: Path) -> None:
    """Runs of version 0.5.0 and 0.6.0 open too, without their space."""
    for name in ("finished", "interrupted", "finished-0.6.0", "interrupted-0.6.0"):
        run = Path(shutil.copytree(OLD_RUNS / name, tmp_path / name))
        before = rows_of(run)
        solved = nas.solve(run, ["latency_ms <= 2ms"], progress=None)
        assert len(solved)
        assert ("The run is not finished." in " ".join(solved.notes)) == name.startswith("interrupted")
        assert rows_of(run) == before


def test_an_old_run_is_solved_on_another_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has four candidates, so all are measured and nothing is predicted."""
    monkeypatch.setattr(EXPORT, write_any_model)
    run = Path(shutil.copytree(OLD_RUNS / "finished", tmp_path / "run"))
    faults = Faulty("raise")
    bench = FakeBench(faults, fingerprint="other-1")
    solved = solve(run, bench=bench, target=OTHER, space=faults)
    assert len(bench.measured) == len(solved.candidates) == 4
    assert all(point.source("latency_ms") == "measured" for point in solved)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "onnxruntime cpu"}, "a target"),
        ({"target": OTHER, "measure": 4}, "--measure must be at least 5"),
        ({"target": OTHER, "space": None}, "started with a space object"),
        ({"target": OTHER, "trust": False}, "names code of its own"),
    ],
)
def test_bad_requests_measure_nothing(run: Path, options: dict[str, Any], message: str) -> None:
    bench = OtherBench()
    with pytest.raises(RecipeError, match=message):
        solve(run, bench=bench, **options)
    assert bench.measured == []
