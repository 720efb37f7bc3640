"""Before training, enough is measured for the predictors, and limits are checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import assert_nothing_twice, evaluations_of
from fake_bench import FakeBench, latency_ms
from fake_predictor import Settings
from fault_spaces import Faulty
from quick_runs import Stopping
from uncertain_runs import BASE, LIMIT, MIDDLE_MS, first_fits, measured, resume, search, told

from nas.errors import CandidateError
from nas.results.run_folder import load_run
from nas.space.architecture import Architecture
from nas.space.search_space import enumerate_space
from nas.storage.journal import read_rows
from nas.storage.journal_rows import Fit

pytestmark = pytest.mark.usefixtures("quick_export")


class TestAPredictorThatIsNotGoodEnough:
    def test_gets_more_measurements_until_it_is(self, tmp_path: Path) -> None:
        """Two are measured at a time, with a message and a fit, until the bounds at the limit are narrow."""
        wide_at_first = Settings(half_width=lambda samples: 0.3 if samples < 10 else 0.05)
        diary = search(tmp_path, wide_at_first, limits=[LIMIT])
        run = tmp_path / "run"
        assert len(measured(run, 0)) == 10
        assert_nothing_twice(run)
        assert len(told(diary, "So 2 more are measured.")) == 2
        assert not told(diary, "The search goes on")
        fits = first_fits(run)
        assert [fit.samples for fit in fits] == [6, 8, 10]
        assert [bool(fit.verdict) for fit in fits] == [True, True, False]
        assert "near the limit its 90 % bounds reach 30 % to each side" in fits[0].verdict[0]

    def test_gets_measurements_near_the_limit(self, tmp_path: Path) -> None:
        """The nearest of all unmeasured ones comes first, and then one unlike everything measured."""

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

    def test_does_not_stop_a_search_that_has_measured_the_most(self, tmp_path: Path) -> None:
        """Messages, the journal and the report say so, and the whole budget is trained all the same."""
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
        assert all(fit.verdict for fit in read_rows(run, Fit))
        assert all(fit.verdict for fit in load_run(run).fits)
        assert "The latency predictor is not good enough for latency ≤" in (run / "report.html").read_text()
        assert len(evaluations_of(run, "train")) == BASE["trials"]

    def test_gets_no_more_measurements_without_a_limit(self, tmp_path: Path) -> None:
        """Without a limit, no proposal is turned away by it."""
        diary = search(tmp_path, Settings(half_width=lambda samples: 0.9))
        assert len(measured(tmp_path / "run", 0)) == 6
        assert not told(diary, "not good enough")

    @pytest.mark.slow
    def test_gets_them_after_an_interruption_too(self, tmp_path: Path) -> None:
        """The same number is measured as without the interruption, none of them twice."""

        wide_at_first = Settings(half_width=lambda samples: 0.3 if samples < 10 else 0.05)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path, wide_at_first, limits=[LIMIT], progress=Stopping("exporting models", 3))
        run = tmp_path / "run"
        assert len(measured(run, 0)) == 8
        resume(run, wide_at_first)
        assert len(measured(run, 0)) == 10
        assert_nothing_twice(run)


class TestLimitsThatNoKnownArchitectureMeets:
    """Limits are checked by measuring the architecture that is predicted to be the lowest."""

    def test_are_checked_by_the_next_lowest_where_the_lowest_cannot_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each is measured once, and the predictor learns from the last one too."""
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
        monkeypatch.setattr("nas.searching.first_measurements.representatives", lambda *_: initial)
        limit_ms = (latency_ms(by_latency[2]) + latency_ms(by_latency[6])) / 2
        search(tmp_path, Settings(half_width=lambda samples: 0.01), limits=[f"latency_ms <= {limit_ms}ms"], trials=2)
        run = tmp_path / "run"
        assert_nothing_twice(run)
        later = [row.architecture for row in evaluations_of(run, "measure")][len(initial) :]
        assert later[:3] == by_latency[:3]
        assert [fit.samples for fit in first_fits(run)] == [len(initial), len(initial) + 1]

    def test_are_checked_by_the_nearest_to_all_of_them(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The nearest is measured, though it is predicted to break a limit: predictions are too high here."""
        quick = [a for a in enumerate_space(Faulty()) if latency_ms(a) <= 0.85 and a["depth"]]
        light = [a for a in enumerate_space(Faulty()) if latency_ms(a) > 0.85 and not a["depth"]]
        initial = [*quick, *light]
        monkeypatch.setattr("nas.searching.first_measurements.representatives", lambda *_: initial)
        search(
            tmp_path,
            Settings(half_width=lambda samples: 0.01, factor=1.03),
            limits=["latency_ms <= 0.85ms", "weight_bytes <= 960B"],
            trials=2,
            measuring={"initial": len(initial), "per_round": 2, "most_initial": len(initial)},
        )
        run = tmp_path / "run"
        assert_nothing_twice(run)
        after = evaluations_of(run, "measure")[len(initial)]
        assert (after.architecture["width"], after.architecture["depth"]) == (3, 0)
