"""Predictors learn from all measurements, and their held-out error is recorded."""

from __future__ import annotations

import re
from pathlib import Path

import fake_bench
import numpy as np
import pytest
from commands import evaluations_of
from fake_bench import latency_ms
from fake_predictor import Settings
from fault_spaces import Faulty
from profiled_store import keep_profiles
from uncertain_runs import measured, search, told

from nas.results.run_folder import load_run
from nas.space.search_space import enumerate_space
from nas.space.signature import image_signature
from nas.storage.journal_rows import Fit
from nas.storage.measurement_store import MeasurementStore, space_identity
from nas.values.evaluation import PredictedValue
from nas.values.held_out import HeldOutError
from nas.values.measurement import Measurement

pytestmark = pytest.mark.usefixtures("quick_export")


class TestWhatPredictorsLearnFrom:
    @pytest.mark.slow
    def test_energy_learns_from_the_predicted_latency(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """For its samples it gets held-out predictions: measured latencies would make its bounds too narrow."""
        values = {**fake_bench.VALUES, "energy_mj": lambda a: 3 * latency_ms(a)}
        monkeypatch.setattr("fake_bench.VALUES", values)
        settings = Settings()
        search(tmp_path, settings, objectives=["error", "energy_mj", "latency_ms"])
        assert len(settings.fits) >= 4
        for latency, energy, of_latency in zip(
            settings.fits[::2], settings.fits[1::2], settings.predictors[::2], strict=True
        ):
            assert latency[0] == energy[0]
            assert energy[1] == pytest.approx([3 * latency_ms(a) for a in energy[0]])
            assert latency[3].shape == (len(latency[0]), 0)
            assert np.exp(energy[3][:, 0]) == pytest.approx(of_latency.held_out_predictions.mean)

    @pytest.mark.slow
    def test_winners_have_the_predictions_from_before_they_were_measured(self, tmp_path: Path) -> None:
        """Those of the first measurements have held-out ones. No predictor is fitted once more for a winner."""
        settings = Settings()
        search(tmp_path, settings, retraining={"epochs": 1, "winners": 4})
        run = tmp_path / "run"
        before = {row.architecture: row.predicted for row in evaluations_of(run, "measure")}
        samples, held_out = list(settings.fits[-1][0]), settings.predictors[-1].held_out_predictions
        assert len(settings.fits) == len({fit.samples for fit in load_run(run).fits})
        for winner in evaluations_of(run, "winner"):
            first = held_out.mean[samples.index(winner.architecture)]
            expected = before[winner.architecture] or {"latency_ms": PredictedValue(first, 0, 0, 0)}
            assert winner.predicted["latency_ms"].mean == pytest.approx(expected["latency_ms"].mean)

    @pytest.mark.slow
    @pytest.mark.parametrize("reuse", [True, False])
    def test_measurements_on_other_targets_are_sources(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reuse: bool
    ) -> None:
        """They are of the same space and metric, not of this target, and of no architecture that was measured here.

        Without reuse there are none.
        """
        monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
        store = MeasurementStore(tmp_path / "home")
        space = space_identity(Faulty(), image_signature((1, 8, 8), 10))
        monkeypatch.setattr("nas.storage.measurement_store.LEAST_OF_A_SOURCE", 5)
        for architecture in enumerate_space(Faulty()):
            for fingerprint, target in (("here", "onnxruntime-cpu"), ("there", "torch-cuda")):
                twice = {"latency_ms": Measurement("latency_ms", target, ((2 * latency_ms(architecture),),))}
                store.add(fingerprint, f"{space}-layers", architecture, twice)
        settings = Settings()
        measuring = {"initial": 6, "per_round": 2, "reuse": reuse}
        diary = search(tmp_path, settings, fingerprint="here", measuring=measuring)
        count = len(list(enumerate_space(Faulty())))
        words = f"latency_ms was measured in this space before on other targets: torch-cuda ({count - 6})"
        assert len(told(diary, words)) == reuse
        assert len(settings.fits) > 1
        for architectures, _, sources, _ in settings.fits:
            assert [source.target for source in sources] == ["torch-cuda"] * reuse
            assert all(len(source.architectures) == count - len(architectures) for source in sources)
            assert not any({*source.architectures} & {*architectures} for source in sources)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("objective", "reuse", "kept_at", "is_used"),
        [
            ("latency_ms", True, -1.0, True),
            ("latency_ms", False, -1.0, False),
            ("latency_ms", True, 1e12, False),
            ("model_bytes", True, -1.0, False),
        ],
    )
    def test_networks_that_were_profiled_here_before_tell_what_layers_cost(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        objective: str,
        reuse: bool,
        kept_at: float,
        is_used: bool,
    ) -> None:
        """Also those of the same space, if they ran before this run began, and are none of its own networks."""
        monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
        with monkeypatch.context() as patch:
            patch.setattr("nas.storage.measurement_store.time.time", lambda: kept_at)
            keep_profiles(tmp_path / "home", "here-1")
        settings = Settings()
        measuring = {"initial": 6, "per_round": 2, "reuse": reuse}
        changes = {"objectives": ["error", objective], "limits": []}
        diary = search(tmp_path, settings, fingerprint="here-2", measuring=measuring, **changes)
        assert len(told(diary, "earlier runs on this target tell what layers cost: 30 profiled networks")) == is_used
        assert settings.fits
        for architectures, values, _, given in settings.fits:
            assert given.shape == (len(architectures), int(is_used))
            if is_used:
                assert np.corrcoef(given[:, 0], np.log(values))[0, 1] > 0.9


class TestRowsOfFits:
    @pytest.mark.slow
    def test_hold_all_figures(self, tmp_path: Path) -> None:
        """The record of a run has the held-out error that the predictor found."""
        settings = Settings()
        search(tmp_path, settings, trials=1, rounds=1)
        fit = load_run(tmp_path / "run").fits[0]
        assert fit == Fit(0, "latency_ms", settings.predictors[0].held_out)
        assert fit.held_out == HeldOutError(6, fit.held_out.mape, 0.95, 0.9, 0.6, 0.9, 0.9, 0.1)


@pytest.mark.slow
def test_bounds_that_later_measurements_exceed_are_widened(tmp_path: Path) -> None:
    """The next predictions have the wider bounds, the report tells it, and the own bounds are not forgotten."""
    settings = Settings(factor=0.9)
    measuring = {"initial": 6, "per_round": 3}
    diary = search(tmp_path, settings, trials=9, rounds=3, measuring=measuring, limits=[])
    fits = load_run(tmp_path / "run").fits
    widened = [fit.widened for fit in fits]
    begin = next(place for place, factor in enumerate(widened) if factor != 1)
    assert begin >= 1  # nothing is known before the first prediction
    assert widened[begin] > 2
    assert widened[begin:] == pytest.approx([widened[begin]] * len(widened[begin:]), rel=0.2)
    (first, *_) = told(diary, "were measured after their prediction")
    assert first == fits[begin].grounds[0]
    found = re.search(r"Of (\d+) architectures that were measured after their prediction, (\d+) lay above", first)
    assert found is not None
    assert int(found[1]) == int(found[2]) >= 2  # a single one above its bound may be chance
    for number, factor in enumerate(widened[:3], start=1):
        for row in measured(tmp_path / "run", number):
            guess = row.predicted["latency_ms"]
            assert guess.limit / guess.mean == pytest.approx(1.045**factor)


def test_bounds_that_hold_stay_as_they_are(tmp_path: Path) -> None:
    diary = search(tmp_path, Settings(half_width=lambda samples: 0.9))
    assert all(fit.widened == 1 and fit.grounds == () for fit in load_run(tmp_path / "run").fits)
    assert told(diary, "were measured after their prediction") == []
