"""Beliefs know the best value of each architecture: measured before predicted before counted."""

from __future__ import annotations

import numpy as np
import pytest
from fake_predictor import Settings
from made_up_beliefs import beliefs_of
from predicted_latency import ALL, SOME, fitted, latencies, measured, predicting, predicting_near
from tiny_space import TinySpace
from torch import nn

from nas.errors import CandidateError, RepeatedFailureError
from nas.searching.failures import FAILURES_IN_A_ROW
from nas.space.architecture import Architecture
from nas.space.layer import total_macs
from nas.values.evaluation import Evaluation, Failure


class TestRows:
    def test_of_the_stage_check_are_no_measurements(self) -> None:
        """An architecture that was trained only to check others may still be measured, and only then surely meets."""
        beliefs, _ = predicting_near(1.1)
        beliefs.add(Evaluation("check", SOME, values={"error": 0.1}))
        assert not beliefs.measurements
        assert not beliefs.trainings
        assert beliefs.probably_meets(SOME)
        assert not beliefs.surely_meets(SOME)

    def test_given_at_first_count_like_those_that_are_added(self) -> None:
        """Beliefs are a function of the rows."""
        rows = [
            measured(SOME, 0.5),
            Evaluation("train", SOME, values={"error": 0.1}),
            Evaluation("train", ALL[0], failure=Failure("nan", "the loss is NaN")),
            Evaluation("retrain", SOME),
            Evaluation("winner", SOME),
        ]
        grown = beliefs_of()
        for row in rows:
            grown.add(row)
        for beliefs in (beliefs_of(rows=rows), grown):
            assert beliefs.rows == rows
            assert beliefs.trials == 2
            assert beliefs.candidates == [rows[1]]
            assert beliefs.unfit == {ALL[0]}
            assert (list(beliefs.retrainings), list(beliefs.winners)) == ([SOME], [SOME])
            assert beliefs.measurements[SOME] == rows[0].measurements

    def test_of_trainings_that_were_stopped_are_no_candidates(self) -> None:
        """They count in the budget, and no winner comes from them."""
        beliefs = beliefs_of(rows=[Evaluation("train", SOME, values={"error": 0.1}, details={"stopped_early": True})])
        assert (beliefs.trials, beliefs.candidates) == (1, [])

    def test_of_candidates_are_counted_as_they_come(self) -> None:
        """The candidates and their lowest error are those that a look at all rows would find, after every row."""
        rng = np.random.default_rng(0)
        beliefs = beliefs_of()
        assert beliefs.lowest_quality is None
        for step in range(120):
            architecture, kind = ALL[rng.integers(len(ALL))], rng.integers(5)
            if kind == 0:
                row = measured(architecture, 0.5)
            elif kind == 1 and step % 2:
                row = Evaluation("measure", architecture, failure=Failure("measure", "it broke"))
            else:
                details = {"stopped_early": bool(kind == 2)}
                row = Evaluation("train", architecture, values={"error": float(rng.random())}, details=details)
            beliefs.add(row)
            known = [each for each in beliefs.trainings.values() if each.reached_full_fidelity]
            fit = [each for each in known if each.architecture not in beliefs.unfit]
            assert set(map(id, beliefs.candidates)) == set(map(id, fit))
            assert beliefs.lowest_quality == min((each.values["error"] for each in fit), default=None)

    def test_of_failures_end_a_run_in_which_nothing_works(self) -> None:
        """The tenth failed row in a row raises, once it is among the rows."""
        beliefs = beliefs_of()
        failed = [Evaluation("train", a, failure=Failure("nan", "the loss is NaN")) for a in ALL]
        beliefs.add(*failed[: FAILURES_IN_A_ROW - 1])
        with pytest.raises(RepeatedFailureError):
            beliefs.add(failed[FAILURES_IN_A_ROW - 1])
        assert len(beliefs.rows) == FAILURES_IN_A_ROW


class TestValues:
    def test_are_measured_before_predicted_and_counted_from_layers(self) -> None:
        """The error is known once the architecture was trained."""
        beliefs = predicting()
        predicted = beliefs.values(SOME)
        assert predicted["latency_ms"] == beliefs.predicted(SOME)["latency_ms"].mean
        assert predicted["macs"] == total_macs(beliefs.describer.layers(SOME))
        assert "error" not in predicted
        beliefs.add(measured(SOME, 0.5), Evaluation("train", SOME, values={"error": 0.25}))
        known = beliefs.values(SOME)
        assert (known["latency_ms"], known["error"]) == (0.5, 0.25)

    def test_of_one_cost_are_the_same_for_many(self) -> None:
        """Costs of many architectures are measured before predicted, or counted."""
        beliefs = predicting()
        beliefs.add(measured(ALL[1], 0.5))
        for name in ("latency_ms", "macs", "params", "modelled_energy_mj"):
            found = beliefs.costs(ALL[:3], name).tolist()  # before all of them are counted
            assert found == [beliefs.values(architecture)[name] for architecture in ALL[:3]]
        assert beliefs.costs(ALL[1:2], "latency_ms").tolist() == [0.5]

    def test_that_were_counted_need_no_layers_again(self) -> None:
        """Finding the layers of all trainings took two thirds of the time in which a long run was resumed."""
        before = beliefs_of(objectives=("error", "macs"))
        rows = [
            Evaluation("train", SOME, values={"error": 0.25, **before.counted(SOME)}),
            Evaluation("train", ALL[1], values={"error": 0.25, "macs": 1.0}),  # of a version that counted less
        ]

        class Unknown(TinySpace):
            def build(self, architecture: Architecture) -> nn.Module:
                assert architecture != SOME
                return super().build(architecture)

        beliefs = beliefs_of(objectives=("error", "macs"), space=Unknown(), rows=rows)
        beliefs.recall_counts(rows)
        beliefs.predict_all([SOME, ALL[1], ALL[2]])
        assert beliefs.values(SOME) == rows[0].values
        assert beliefs.values(ALL[1]) == {"error": 0.25, **before.counted(ALL[1])}
        assert beliefs.predicted(ALL[2]) == {}

    @pytest.mark.parametrize(("share", "meets"), [(1.04, True), (1.06, False)])
    def test_that_are_measured_decide_where_a_bound_does_not(self, share: float, meets: bool) -> None:
        """A measurement leaves no doubt about a limit, whatever is predicted."""
        beliefs, mean = predicting_near(1.05)
        assert [str(limit) for limit in beliefs.doubtful_limits(SOME)] == [str(limit) for limit in beliefs.limits]
        beliefs.add(measured(SOME, share * mean))
        assert beliefs.doubtful_limits(SOME) == []
        assert beliefs.probably_meets(SOME) == beliefs.surely_meets(SOME) == meets
        assert beliefs.broken_limit(SOME) == (None if meets else beliefs.limits[0])


class TestPredicting:
    def test_many_together_takes_one_call(self) -> None:
        """An architecture that was predicted before is not predicted again."""
        settings, beliefs = Settings(), beliefs_of(objectives=("error", "latency_ms"))
        beliefs.rely_on({"latency_ms": fitted(beliefs, settings)})
        one = beliefs.predicted(ALL[0])
        beliefs.predict_all([*ALL, *ALL])
        assert beliefs.predicted(ALL[0]) == one
        assert all("latency_ms" in beliefs.predicted(architecture) for architecture in ALL)
        assert settings.predicted == [1, len(ALL) - 1]

    def test_skips_architectures_that_cannot_be_built(self) -> None:
        """A question about such an architecture alone raises."""

        class Broken(TinySpace):
            def build(self, architecture: Architecture) -> nn.Module:
                if architecture == ALL[1]:
                    raise RuntimeError("no such width")
                return super().build(architecture)

        beliefs = beliefs_of(objectives=("error", "latency_ms"), space=Broken())
        assert not beliefs.describer.can_be_built(ALL[1])
        beliefs.predict_all(ALL[:3])
        assert beliefs.predicted(ALL[2]) == {}
        with pytest.raises(CandidateError, match="no such width"):
            beliefs.predicted(ALL[1])

    def test_by_new_predictors_forgets_the_old_predictions(self) -> None:
        """After a fit, values come from the new predictors."""
        beliefs = predicting()
        assert beliefs.values(SOME)["latency_ms"] == pytest.approx(latencies(beliefs, [SOME])[0], rel=0.1)
        beliefs.rely_on({"latency_ms": fitted(beliefs, Settings(factor=3.0))})
        assert beliefs.values(SOME)["latency_ms"] == pytest.approx(3 * latencies(beliefs, [SOME])[0], rel=0.1)
