"""How a search relies on its predictors: not further than their bounds reach, and on no more than it must."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fake_bench
import numpy as np
import pytest
from commands import assert_nothing_twice, evaluations_of
from fake_bench import FakeBench, FakeClock, latency_ms
from fake_predictor import NAME, Settings, fake_settings
from fault_spaces import Faulty
from test_run import Diary

import nas
from nas.errors import CandidateError, JournalError
from nas.prediction.predictor import HeldOutError
from nas.results.record import read_record
from nas.results.run_record import FitRecord
from nas.searching.fitting import fit_body
from nas.searching.run import Instruments
from nas.space.architecture import Architecture
from nas.space.search_space import enumerate_space
from nas.storage.journal import read_rows
from nas.storage.measurement_store import LEAST_OF_A_SOURCE, MeasurementStore, space_identity
from nas.values.evaluation import Evaluation
from nas.values.measurement import Measurement

BASE: Mapping[str, Any] = {
    "name": "run",
    "data": "digits",
    "trials": 6,
    "rounds": 2,
    "predictor": NAME,
    "measuring": {"initial": 6, "per_round": 2},
    "training": {"epochs": 1, "subset": 0.1},
    "early_stopping": {"enabled": False},
    "retraining": {"epochs": 1, "winners": 1},
    "execution": {"executor": "inline"},
}
MIDDLE_MS = float(np.median([latency_ms(architecture) for architecture in enumerate_space(Faulty())]))
LIMIT = f"latency_ms <= {MIDDLE_MS:.4g}"


@pytest.fixture(autouse=True)
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of the search are not exported: the bench here does not open them. Winners are."""
    monkeypatch.setattr(
        "nas.hardware.measuring.export_model", lambda module, shape, batch, path, form: path.write_bytes(b"model")
    )


def instruments(fingerprint: str | None = None) -> Instruments:
    bench = FakeBench(Faulty(), fingerprint=fingerprint)
    return Instruments(bench=bench, clock=FakeClock(), stopwatch=FakeClock())


def search(runs: Path, settings: Settings, *, fingerprint: str | None = None, **changes: Any) -> Diary:
    """A run named ``run`` in ``runs``; gives what it told."""
    diary: Diary = changes.pop("progress", Diary())
    with fake_settings(settings):
        nas.search({**BASE, **changes}, space=Faulty(), runs=runs, progress=diary, instruments=instruments(fingerprint))
    return diary


def measured(run: Path, round_number: int) -> list[Evaluation]:
    return [row for row in evaluations_of(run, "measure") if row.round == round_number and not row.failed]


def told(diary: Diary, words: str) -> list[str]:
    return [text for text in diary.news if words in text]


class TestGoodEnough:
    def test_more_are_measured_until_the_predictor_is(self, tmp_path: Path) -> None:
        """Two at a time, each time told and refitted; training begins once the bounds are narrow at the limit."""
        wide_at_first = Settings(half_width=lambda samples: 0.3 if samples < 10 else 0.05)
        diary = search(tmp_path, wide_at_first, limits=[LIMIT])
        run = tmp_path / "run"
        assert len(measured(run, 0)) == 10
        assert_nothing_twice(run)
        assert len(told(diary, "So 2 more are measured.")) == 2
        assert not told(diary, "The search goes on")
        fits = [body for body in read_rows(run, "fit") if body["round"] == 0]
        assert [body["samples"] for body in fits] == [6, 8, 10]
        assert [bool(body["verdict"]) for body in fits] == [True, True, False]
        assert "near the limit its 90 % bounds reach 30 % to each side" in fits[0]["verdict"][0]

    def test_those_near_the_limit_are_among_them(self, tmp_path: Path) -> None:
        """The nearest of all that are left is measured first, and then one that is unlike what was measured."""

        def is_known(architecture: Architecture) -> bool:
            return architecture["depth"] != 2

        doubtful = Settings(half_width=lambda samples: 0.3 if samples < 8 else 0.05, is_known=is_known)
        search(tmp_path, doubtful, limits=[LIMIT])
        run = tmp_path / "run"
        rows = measured(run, 0)
        first, added = rows[:6], rows[6:]
        left = [a for a in enumerate_space(Faulty()) if a not in {row.architecture for row in first}]
        distances = sorted(abs(latency_ms(a) / MIDDLE_MS - 1) for a in left)
        assert abs(added[0].predicted["latency_ms"].mean / MIDDLE_MS - 1) < 0.2
        assert abs(latency_ms(added[0].architecture) / MIDDLE_MS - 1) <= distances[len(left) // 3]
        assert added[1].architecture["depth"] == 2
        assert not added[1].predicted["latency_ms"].known

    def test_a_search_goes_on_after_the_most_it_may_measure_and_says_so(self, tmp_path: Path) -> None:
        """In what it tells, in its journal and in its report; the whole budget is trained all the same."""
        diary = search(
            tmp_path,
            Settings(half_width=lambda samples: 0.3),
            limits=[LIMIT],
            measuring={"initial": 6, "per_round": 2, "most_initial": 9},
        )
        run = tmp_path / "run"
        assert len(measured(run, 0)) == 9
        (sentence,) = told(diary, "The search goes on, with 9 measured.")
        assert sentence.startswith("The latency predictor is not good enough for latency ≤")
        assert all(body["verdict"] for body in read_rows(run, "fit"))
        assert all(fit.verdict for fit in read_record(run).fits)
        assert "The latency predictor is not good enough for latency ≤" in (run / "report.html").read_text()
        assert len(evaluations_of(run, "train")) == BASE["trials"]

    def test_without_a_limit_no_more_are_measured(self, tmp_path: Path) -> None:
        """Nothing is turned away then."""
        diary = search(tmp_path, Settings(half_width=lambda samples: 0.9))
        assert len(measured(tmp_path / "run", 0)) == 6
        assert not told(diary, "not good enough")

    def test_a_run_stopped_meanwhile_goes_on_there(self, tmp_path: Path) -> None:
        """As many are measured in the end as without the stop, none of them twice."""

        class Stopping(Diary):
            def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
                super().stage(name, total)
                if self.stages.count("exporting models") == 3:
                    raise KeyboardInterrupt

        wide_at_first = Settings(half_width=lambda samples: 0.3 if samples < 10 else 0.05)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path, wide_at_first, limits=[LIMIT], progress=Stopping())
        run = tmp_path / "run"
        assert len(measured(run, 0)) == 8
        with fake_settings(wide_at_first):
            nas.resume(run, space=Faulty(), instruments=instruments())
        assert len(measured(run, 0)) == 10
        assert_nothing_twice(run)


class TestNearLimits:
    def test_what_is_too_near_to_tell_is_measured_in_the_next_round(self, tmp_path: Path) -> None:
        """It was not trained, for its bound was beyond the limit; its number stands in the journal."""
        diary = search(
            tmp_path,
            Settings(half_width=lambda samples: 0.4),
            limits=[LIMIT],
            trials=10,
            measuring={"initial": 6, "per_round": 5, "most_initial": 6},
        )
        run = tmp_path / "run"
        reason = f"{nas.Recipe(limits=[LIMIT]).limits[0]}: too near to tell"
        first, *_ = read_rows(run, "round")[1:]
        assert first["turned_away"][reason] > 0
        (sentence,) = told(diary, "round 1: turned away before training, ")
        assert f"{first['turned_away'][reason]} by {reason}" in sentence
        by_round = [body["turned_away"].get(reason, 0) for body in read_rows(run, "round")]
        assert read_record(run).notes["turned away before training, by a limit"][reason] == sum(by_round)  # type: ignore[index]
        assert "Turned away before training, by a limit" in (run / "report.html").read_text()
        trained = {row.architecture for row in evaluations_of(run, "train") if row.round == 1}
        untrained = [row for row in measured(run, 1) if row.architecture not in trained]
        assert untrained
        for row in untrained:
            guess = row.predicted["latency_ms"]
            assert guess.mean <= MIDDLE_MS * 1.001 < guess.limit

    def test_only_what_surely_meets_the_limits_is_trained(self, tmp_path: Path) -> None:
        """By the one-sided bound, as long as there is any."""
        search(tmp_path, Settings(half_width=lambda samples: 0.1), limits=[LIMIT], trials=4)
        rows = evaluations_of(tmp_path / "run", "train")
        assert len(rows) == 4
        for row in rows:
            assert row.predicted["latency_ms"].limit <= MIDDLE_MS * 1.001 or latency_ms(row.architecture) <= MIDDLE_MS

    def test_bounds_that_let_nothing_through_give_way_to_means(self, tmp_path: Path) -> None:
        """The search does not dry up, and says what it does."""
        diary = search(
            tmp_path,
            Settings(half_width=lambda samples: 20.0),
            limits=[LIMIT],
            trials=10,
            measuring={"initial": 6, "per_round": 2, "most_initial": 6},
        )
        assert told(diary, "so those that meet them by the predicted mean are trained.")
        trained = evaluations_of(tmp_path / "run", "train")
        assert len(trained) == 10
        assert any(row.predicted["latency_ms"].limit > MIDDLE_MS for row in trained)

    @pytest.mark.parametrize("known", [True, False])
    def test_candidates_unlike_all_that_was_measured_are_measured_too(self, tmp_path: Path, known: bool) -> None:
        """Though they would not change the front; those that the predictor knows are not."""
        search(
            tmp_path,
            Settings(half_width=lambda samples: 0.01, is_known=lambda architecture: known),
            objectives=["error", "latency_ms"],
            trials=10,
            measuring={"initial": 6, "per_round": 10},
        )
        rows = [row for number in (0, 1, 2) for row in measured(tmp_path / "run", number)]
        trained = {row.architecture for row in evaluations_of(tmp_path / "run", "train")}
        assert (trained <= {row.architecture for row in rows}) == (not known)


class TestLimitsThatNothingIsKnownToMeet:
    """What is measured to see whether anything meets them."""

    def test_where_the_lowest_cannot_run_the_next_one_is_measured(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Once each; and predictors learn from what was measured last."""
        by_latency = sorted(enumerate_space(Faulty()), key=latency_ms)
        refused = by_latency[:2]
        initial = by_latency[6:12]
        measure = FakeBench.measure

        def refusing(self: FakeBench, models: Any, *arguments: Any) -> Any:
            identities = {each.id for each in refused}
            outcomes = measure(self, models, *arguments)
            return [
                CandidateError("refused", "no kernel") if model.path.stem in identities else outcome
                for model, outcome in zip(models, outcomes, strict=True)
            ]

        monkeypatch.setattr(FakeBench, "measure", refusing)
        monkeypatch.setattr("nas.searching.screening.Screen.spread", lambda *_: initial)
        limit_ms = (latency_ms(by_latency[2]) + latency_ms(by_latency[6])) / 2
        search(tmp_path, Settings(half_width=lambda samples: 0.01), limits=[f"latency_ms <= {limit_ms}"], trials=2)
        run = tmp_path / "run"
        assert_nothing_twice(run)
        later = [row.architecture for row in evaluations_of(run, "measure")][len(initial) :]
        assert later[:3] == by_latency[:3]
        fits = [body["samples"] for body in read_rows(run, "fit") if body["round"] == 0]
        assert fits == [len(initial), len(initial) + 1]

    def test_the_nearest_to_all_is_measured_before_it_is_said_that_nothing_meets_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A prediction above a limit is no reason to end: each of the two is met by something, and both by nothing."""
        quick = [a for a in enumerate_space(Faulty()) if latency_ms(a) <= 0.85 and a["depth"]]
        light = [a for a in enumerate_space(Faulty()) if latency_ms(a) > 0.85 and not a["depth"]]
        initial = [*quick, *light]
        monkeypatch.setattr("nas.searching.screening.Screen.spread", lambda *_: initial)
        search(
            tmp_path,
            Settings(half_width=lambda samples: 0.01, factor=1.03),
            limits=["latency_ms <= 0.85", "weight_bytes <= 960B"],
            trials=2,
            measuring={"initial": len(initial), "per_round": 2, "most_initial": len(initial)},
        )
        run = tmp_path / "run"
        assert_nothing_twice(run)
        after = evaluations_of(run, "measure")[len(initial)]
        assert (after.architecture["width"], after.architecture["depth"]) == (3, 0)


class TestAnotherTarget:
    """What was measured with other versions does not compare."""

    def stopped(self, folder: Path) -> Path:
        class Stopping(Diary):
            def stage(self, name: str, total: int | None = None, most_s: float | None = None) -> None:
                if name == "round 2/2: training":
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            search(folder, Settings(), fingerprint="versions-1", progress=Stopping())
        return folder / "run"

    def resume(self, run: Path, fingerprint: str) -> Diary:
        diary = Diary()
        with fake_settings(Settings()):
            nas.resume(run, space=Faulty(), progress=diary, instruments=instruments(fingerprint))
        return diary

    def test_is_refused_on_resume(self, tmp_path: Path) -> None:
        """Before it is measured."""
        run = self.stopped(tmp_path)
        before = evaluations_of(run, "measure")
        with pytest.raises(JournalError, match="has not the hardware and versions that it was measured with before"):
            self.resume(run, "others-1")
        assert evaluations_of(run, "measure") == before
        assert not told(self.resume(run, "versions-1"), "reference speed")

    def test_another_reference_speed_is_told(self, tmp_path: Path) -> None:
        """And what this run measured is no other target to learn from."""
        run = self.stopped(tmp_path)
        diary = self.resume(run, "versions-2")
        assert len(told(diary, "was found anew since this run was measured before")) == 1
        assert not told(diary, "on other targets")
        assert [body["fingerprint"] for body in read_rows(run, "bench")] == ["versions-1", "versions-2"]


class TestWhatIsLearntFrom:
    def test_energy_is_given_the_latency(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As it is predicted, of samples by held-out predictions: what is measured would make bounds too narrow."""
        values = {**fake_bench.VALUES, "energy_mj": lambda a: 3 * latency_ms(a)}
        monkeypatch.setattr("fake_bench.VALUES", values)
        settings = Settings()
        search(tmp_path, settings, objectives=["error", "energy_mj", "latency_ms"])
        run = tmp_path / "run"
        assert len(settings.fits) >= 6
        for latency, energy, of_latency in zip(
            settings.fits[::2], settings.fits[1::2], settings.predictors[::2], strict=True
        ):
            assert latency[0] == energy[0]
            assert energy[1] == pytest.approx([3 * latency_ms(a) for a in energy[0]])
            assert latency[3].shape == (len(latency[0]), 0)
            assert np.exp(energy[3][:, 0]) == pytest.approx(of_latency.held_out_predictions.mean)
        (winner,) = evaluations_of(run, "winner")
        assert winner.architecture not in settings.fits[-1][0]
        unseen = math.log(winner.predicted["latency_ms"].mean)
        assert any(given.shape == (1, 1) and given[0, 0] == pytest.approx(unseen) for given in settings.given)

    @pytest.mark.parametrize("reuse", [True, False])
    def test_other_targets_measurements_are_sources(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reuse: bool
    ) -> None:
        """Of the same space and metric; not this target's own, and none where nothing is to be reused."""
        monkeypatch.setenv("NAS_HOME", str(tmp_path / "home"))
        store = MeasurementStore(tmp_path / "home")
        space = space_identity(Faulty(), (1, 8, 8), 10)
        for architecture in list(enumerate_space(Faulty()))[:LEAST_OF_A_SOURCE]:
            for fingerprint, target in (("here", "onnxruntime-cpu"), ("there", "torch-cuda")):
                twice = {"latency_ms": Measurement("latency_ms", target, ((2 * latency_ms(architecture),),))}
                store.add(fingerprint, f"{space}-layers", architecture, twice)
        settings = Settings()
        measuring = {"initial": 6, "per_round": 2, "reuse": reuse}
        diary = search(tmp_path, settings, fingerprint="here", measuring=measuring)
        words = "latency_ms was measured in this space before on other targets: torch-cuda (20)"
        assert len(told(diary, words)) == reuse
        for _, _, sources, _ in settings.fits:
            assert [source.target for source in sources] == ["torch-cuda"] * reuse
            assert all(len(source.architectures) == LEAST_OF_A_SOURCE for source in sources)


class TestFitRows:
    def test_hold_every_figure(self, tmp_path: Path) -> None:
        """What a record reads off them is what was found; what does not exist or is infinite is null."""
        search(tmp_path, Settings(), trials=1, rounds=1)
        run = tmp_path / "run"
        (body, *_) = read_rows(run, "fit")
        fit = read_record(run).fits[0]
        assert fit == FitRecord(0, "latency_ms", HeldOutError(6, body["mape"], 0.95, 0.9, 0.6, 0.9, 0.9, 0.1), 6)
        strange = dataclasses.replace(fit.held_out, spearman=math.nan, kendall=math.nan, width=math.inf)
        body = fit_body(0, "latency_ms", strange)
        assert (body["spearman"], body["kendall"], body["width"]) == (None, None, None)

    def test_of_version_0_2_are_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What they lack is NaN."""
        search(tmp_path, Settings(), trials=1, rounds=1)
        old = {"round": 0, "metric": "latency_ms", "samples": 9, "mape": 0.1, "spearman": None}
        old |= {"within_10_percent": 0.7, "coverage": 0.9}
        monkeypatch.setattr(
            "nas.results.record.read_rows", lambda folder, kind: [old] if kind == "fit" else read_rows(folder, kind)
        )
        (fit,) = read_record(tmp_path / "run").fits
        assert (fit.samples, fit.held_out.mape, fit.held_out.within_10_percent, fit.verdict) == (9, 0.1, 0.7, ())
        for name in ("spearman", "kendall", "within_5_percent", "width"):
            assert math.isnan(getattr(fit.held_out, name))


def test_what_measuring_cleared_is_trained_first(tmp_path: Path) -> None:
    """A proposal that was too near to a limit to tell, and turned out to meet it, begins the next round."""
    search(
        tmp_path,
        Settings(half_width=lambda samples: 0.4),
        limits=[LIMIT],
        trials=10,
        measuring={"initial": 6, "per_round": 5, "most_initial": 6},
    )
    run = tmp_path / "run"
    trained = evaluations_of(run, "train")
    before = {row.architecture for row in trained if row.round == 1}
    cleared = [
        row.architecture
        for row in measured(run, 1)
        if row.architecture not in before and row.measurements["latency_ms"].median <= MIDDLE_MS
    ]
    assert cleared
    second = [row.architecture for row in trained if row.round == 2]
    assert second[: len(cleared)] == cleared[: len(second)]
