"""What a search cost, and what stopping early saved."""

from __future__ import annotations

import statistics

import pytest
from made_rows import trained

from nas.reports.analysis.architecture_values import trainings_of
from nas.reports.analysis.spending import savings_of, spending_of, work_of
from nas.storage.journal_rows import Cost, RungsJudged
from nas.values.evaluation import Evaluation

SEARCH = Cost(100.0, 40.0, 1800.0, "RAPL package-0")
WINNERS = Cost(20.0, 10.0, 1800.0, "RAPL package-0", of="winners")


def facts(*costs: Cost, grams: float | None = None) -> dict[str, str]:
    return dict(spending_of(costs, [], grams)["facts"])


def test_energy_and_carbon_by_hand() -> None:
    """3,600 J are a thousandth of a kWh, which is 0.4 g at 400 g/kWh."""
    found = spending_of([SEARCH, WINNERS], [], 400.0)
    assert (found["wall_s"], found["search_s"], found["winners_s"], found["device_s"]) == (120, 100, 20, 50)
    assert (found["joules"], found["gco2e"]) == (3600, pytest.approx(0.4))
    told = facts(SEARCH, WINNERS, grams=400.0)
    assert told["Energy"] == "3.6 kJ (0.001 kWh), measured by RAPL package-0"
    assert told["Carbon"] == "400 mg CO2e at 400 g/kWh"


def test_energy_is_unknown_if_a_part_was_not_metered() -> None:
    found = spending_of([SEARCH, Cost(1.0, 0.0, None, "no counter")], [], 400.0)
    assert (found["joules"], found["gco2e"]) == (None, None)
    assert dict(found["facts"])["Energy"] == "not measured: RAPL package-0; no counter"
    assert "Carbon" not in dict(found["facts"])


def test_carbon_without_an_intensity_says_which_key_gives_it() -> None:
    assert "energy.gco2e_per_kwh" in facts(SEARCH)["Carbon"]


def test_trainings_of_all_workers_are_added() -> None:
    rows = [trained({"a": 1}, 0.1, details={"seconds": 30.0}), trained({"a": 2}, 0.1, details={"seconds": 12.0})]
    assert spending_of([SEARCH], rows, None)["training_s"] == 42


def test_a_run_without_costs_says_nothing() -> None:
    assert spending_of([], [], None) == {"known": False, "facts": []}


def whole(number: int, seconds: float, done: int = 20, **choices: int) -> Evaluation:
    return trained({"n": number, **choices}, 0.1, details={"epochs": done, "seconds": seconds})


def stopped(number: int, seconds: float, done: int, **choices: int) -> Evaluation:
    details = {"epochs": done, "seconds": seconds, "stopped_early": True}
    return trained({"n": number, **choices}, 0.5, details=details)


def test_savings_by_hand() -> None:
    """A training stopped after 5 of 20 epochs and 3 s would have taken 9 s more; all others took 43 s."""
    found = savings_of(trainings_of([whole(1, 20.0), whole(2, 20.0), stopped(3, 3.0, 5)]), [])
    assert (found["stopped"], found["trainings"], found["spent_s"]) == (1, 3, 43)
    assert found["saved_s"] == pytest.approx(9)
    assert found["saved_share"] == pytest.approx(9 / 52)
    assert "1 of 3 trainings was stopped early" in found["sentences"][0]


def test_whole_trainings_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of stopped trainings are compared with the same median, which is not found anew for each."""
    looked_at: list[int] = []
    median = statistics.median
    monkeypatch.setattr(statistics, "median", lambda works: (looked_at.append(len(works)), median(works))[1])
    rows = [*(whole(number, 20.0) for number in range(5)), *(stopped(10 + number, 3.0, 5) for number in range(7))]
    assert savings_of(trainings_of(rows), [])["saved_s"] == pytest.approx(7 * 9)
    assert looked_at == [5]


def test_stopped_trainings_are_compared_with_those_that_chose_as_many_epochs() -> None:
    rows = [whole(1, 10.0, 10, epochs=10), whole(2, 40.0, 40, epochs=40), stopped(3, 4.0, 4, epochs=40)]
    assert savings_of(trainings_of(rows), [])["saved_s"] == pytest.approx(36)


def test_growing_subsets_count_with_their_share() -> None:
    """Two epochs on a quarter and two on all items are the work of 2.5 epochs."""
    assert work_of(trained({"a": 1}, 0.1, details={"epochs": 4, "subsets": [0.25, 0.25, 1.0, 1.0]})) == 2.5
    assert work_of(trained({"a": 1}, 0.1, details={"epochs": 4, "subset": 0.5})) == 2.0
    assert work_of(trained({"a": 1}, 0.1)) == 0.0


def test_nothing_is_saved_that_cannot_be_known() -> None:
    alone = savings_of(trainings_of([stopped(3, 3.0, 5)]), [])
    assert alone["saved_s"] == 0
    assert "unknown" in alone["sentences"][0]
    assert savings_of([], [])["sentences"] == []


def test_what_early_errors_are_worth_is_told() -> None:
    told = savings_of([], [RungsJudged(5, {"1": 0.3, "4": None}, None), RungsJudged(10, {"1": 0.62}, [1, 4])])  # type: ignore[dict-item]
    assert told["sentences"] == [
        "Early errors ranked 10 whole trainings like their last errors, Spearman: 0.62 after 1. "
        "Trainings could be stopped from epoch 1 on."
    ]
