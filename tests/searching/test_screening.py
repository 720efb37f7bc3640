"""Screening turns away proposals that break a limit, or may break it, and counts them by reason."""

from __future__ import annotations

import pytest
from fake_predictor import Settings
from fault_spaces import Faulty
from made_up_beliefs import beliefs_of
from predicted_latency import ALL, SOME, fitted, measured, predicting_near

from nas.searching.screening import Screening, Verdict
from nas.space.architecture import Architecture
from nas.space.search_space import enumerate_space
from nas.storage.journal_rows import TurnedAway


def judge_and_count(screening: Screening, architecture: Architecture) -> Verdict:
    verdict = screening.judge(architecture)
    screening.count(architecture, verdict)
    return verdict


class TestJudging:
    def test_accepts_a_proposal_whose_bound_meets_the_limit(self) -> None:
        """The one-sided bound lies 9 % above the mean here, and the limit 10 %."""
        screening = Screening(predicting_near(1.1)[0])
        assert judge_and_count(screening, SOME) == Verdict()
        assert not screening.counts
        assert not screening.near_limits

    def test_turns_away_a_proposal_whose_mean_breaks_the_limit(self) -> None:
        """It is counted once a round, however often it comes, and is not worth measuring."""
        beliefs, _ = predicting_near(0.99)
        screening = Screening(beliefs)
        for _ in range(2):
            assert judge_and_count(screening, SOME) == Verdict(beliefs.limits[0].key)
        assert dict(screening.counts) == {beliefs.limits[0].key: 1}
        assert not screening.near_limits

    def test_turns_away_and_keeps_a_proposal_between_mean_and_bound(self) -> None:
        """It has a reason of its own, and is kept because measuring it would tell."""
        beliefs, _ = predicting_near(1.05)
        screening = Screening(beliefs)
        assert beliefs.probably_meets(SOME)
        reason = f"{beliefs.limits[0].key}: too near to tell"
        assert judge_and_count(screening, SOME) == Verdict(reason, is_near_limit=True)
        assert dict(screening.counts) == {reason: 1}
        assert list(screening.near_limits) == [SOME]

    @pytest.mark.parametrize(("share", "passes"), [(1.04, True), (1.06, False)])
    def test_goes_by_a_measurement_where_there_is_one(self, share: float, passes: bool) -> None:
        """The prediction no longer matters."""
        beliefs, mean = predicting_near(1.05)
        screening = Screening(beliefs)
        beliefs.add(measured(SOME, share * mean))
        assert judge_and_count(screening, SOME).is_accepted == passes
        assert not screening.near_limits

    def test_accepts_by_the_mean_without_caution_until_the_next_fit(self) -> None:
        """Caution may be dropped only after it has turned a proposal away."""
        beliefs, _ = predicting_near(1.05)
        screening = Screening(beliefs)
        assert not screening.may_drop_caution
        assert not judge_and_count(screening, SOME).is_accepted
        assert screening.may_drop_caution
        screening.drop_caution()
        assert screening.judge(SOME).is_accepted
        assert not screening.may_drop_caution
        beliefs.rely_on({"latency_ms": fitted(beliefs, Settings(half_width=lambda samples: 0.1))})
        screening.begin_fit()
        assert not screening.near_limits
        assert not screening.judge(SOME).is_accepted

    def test_has_no_doubt_about_a_counted_limit(self) -> None:
        """Counted values are exact."""
        beliefs = beliefs_of("macs <= 1G", objectives=("error", "latency_ms"))
        assert Screening(beliefs).judge(ALL[0]).is_accepted

    def test_reports_a_failure_to_build(self) -> None:
        """Such a verdict has no reason to count: a limit did not turn the proposal away."""
        beliefs = beliefs_of("macs <= 1G", space=Faulty(faults="build", always=True))
        screening = Screening(beliefs)
        proposed = next(enumerate_space(beliefs.space))
        verdict = judge_and_count(screening, proposed)
        assert verdict.failure is not None
        assert (verdict.failure.kind, verdict.is_accepted) == ("build", False)
        assert "this part cannot be built" in verdict.failure.reason
        assert not screening.counts

    def test_changes_nothing_by_itself(self) -> None:
        """Only counting does: a sampler may have many architectures judged that it never proposes."""
        screening = Screening(predicting_near(1.05)[0])
        assert not screening.judge(SOME).is_accepted
        assert (screening.counts, screening.near_limits, screening.unrecorded(1)) == ({}, {}, [])


class TestRecording:
    def test_gives_each_proposal_to_one_row(self) -> None:
        """A row holds what was turned away since the row before, with those near a limit; nothing gives no row."""
        beliefs, _ = predicting_near(1.05)
        screening, limit = Screening(beliefs), beliefs.limits[0].key
        assert screening.unrecorded(1) == []
        judge_and_count(screening, SOME)
        row = TurnedAway(1, {f"{limit}: too near to tell": 1}, (SOME,))
        assert screening.unrecorded(1) == screening.unrecorded(1) == [row]
        screening.mark_recorded()
        assert screening.unrecorded(1) == []
        judge_and_count(screening, SOME)
        assert screening.unrecorded(1) == []
        large = max(ALL, key=lambda architecture: beliefs.counted(architecture)["macs"])
        judge_and_count(screening, large)
        assert screening.unrecorded(1) == [TurnedAway(1, {limit: 1})]

    def test_takes_up_what_an_interrupted_round_recorded(self) -> None:
        """Counts go on from there, and what was near a limit is still worth measuring; neither is recorded again."""
        beliefs, _ = predicting_near(1.05)
        screening, reason = Screening(beliefs), f"{beliefs.limits[0].key}: too near to tell"
        screening.take_up([TurnedAway(1, {reason: 2, "macs <= 1": 1}, (SOME, ALL[0]))])
        assert list(screening.near_limits) == [SOME, ALL[0]]
        judge_and_count(screening, SOME)
        assert dict(screening.counts) == {reason: 3, "macs <= 1": 1}
        assert screening.unrecorded(1) == [TurnedAway(1, {reason: 1})]

    def test_counts_anew_in_each_round(self) -> None:
        """A proposal that comes again in the next round counts again."""
        beliefs, _ = predicting_near(0.99)
        screening = Screening(beliefs)
        judge_and_count(screening, SOME)
        screening.begin_round()
        assert not screening.counts
        assert screening.unrecorded(2) == []
        judge_and_count(screening, SOME)
        assert screening.unrecorded(2) == [TurnedAway(2, {beliefs.limits[0].key: 1})]
