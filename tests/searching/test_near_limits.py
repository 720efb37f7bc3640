"""A search relies on its predictors no further than their bounds reach."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import evaluations_of
from fake_bench import latency_ms
from fake_predictor import Settings
from uncertain_runs import LIMIT, MIDDLE_MS, measured, search, told

import nas
from nas.results.run_folder import load_run
from nas.storage.journal import read_rows
from nas.storage.journal_rows import TurnedAway

pytestmark = pytest.mark.usefixtures("quick_export")


class TestProposalsNearALimit:
    @pytest.mark.slow
    def test_are_measured_after_the_round(self, tmp_path: Path) -> None:
        """They were not trained, because a bound broke the limit. Journal and report have their number."""
        diary = search(
            tmp_path,
            Settings(half_width=lambda samples: 0.4),
            limits=[LIMIT],
            trials=10,
            measuring={"initial": 6, "per_round": 5, "most_initial": 6},
        )
        run = tmp_path / "run"
        reason = f"{nas.Recipe(limits=[LIMIT]).parsed_limits[0].key}: too near to tell"
        rows = read_rows(run, TurnedAway)
        in_first = sum(row.counts.get(reason, 0) for row in rows if row.round == 1)
        assert in_first > 0
        (sentence,) = told(diary, "round 1: turned away before training, ")
        said = f"{LIMIT}: too near to tell"  # in the unit that was given, which rows do not depend on
        assert f"{in_first} by {said}" in sentence
        in_all = sum(row.counts.get(reason, 0) for row in rows)
        assert load_run(run).notes["turned away before training, by a limit"][said] == in_all
        near = {architecture for row in rows if row.round == 1 for architecture in row.near_limits}
        assert "Turned away before training, by a limit" in (run / "report.html").read_text()
        trained = {row.architecture for row in evaluations_of(run, "train") if row.round == 1}
        untrained = [row for row in measured(run, 1) if row.architecture not in trained]
        assert untrained
        assert {row.architecture for row in untrained} <= near
        for row in untrained:
            guess = row.predicted["latency_ms"]
            assert guess.mean <= MIDDLE_MS * 1.001 < guess.limit

    @pytest.mark.slow
    def test_are_not_trained(self, tmp_path: Path) -> None:
        """The one-sided bound of each candidate meets the limit, or its measurement does."""
        search(tmp_path, Settings(half_width=lambda samples: 0.1), limits=[LIMIT], trials=4)
        rows = evaluations_of(tmp_path / "run", "train")
        assert len(rows) == 4
        for row in rows:
            assert row.predicted["latency_ms"].limit <= MIDDLE_MS * 1.001 or latency_ms(row.architecture) <= MIDDLE_MS

    @pytest.mark.slow
    def test_are_trained_when_nothing_else_is_left(self, tmp_path: Path) -> None:
        """Predicted means then decide, the budget is spent, and a message says so."""
        diary = search(
            tmp_path,
            Settings(half_width=lambda samples: 20.0),
            limits=[LIMIT],
            trials=10,
            measuring={"initial": 6, "per_round": 2, "most_initial": 6},
        )
        assert told(diary, "so those that meet them by the predicted mean are trained too.")
        trained = evaluations_of(tmp_path / "run", "train")
        assert len(trained) == 10
        assert any(row.predicted["latency_ms"].limit > MIDDLE_MS for row in trained)


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_candidates_unlike_everything_measured_are_measured(tmp_path: Path, known: bool) -> None:
    """They are measured though they would not change the front; those that the predictor knows are not."""
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


@pytest.mark.slow
def test_proposals_that_measuring_cleared_are_trained_first(tmp_path: Path) -> None:
    """A proposal near a limit that turned out to meet it begins the next round."""
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
