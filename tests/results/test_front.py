"""The front of a run: winners, limits by measured bounds, dominance and the funnel."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from run_record_example import architecture_at, energy_record, example_record, measurement_of

from nas.errors import LimitError, RecipeError
from nas.results.front import cost_metrics, front_of
from nas.results.notes.front_notes import notes_of
from nas.results.records import records_of
from nas.results.run import funnel_of
from nas.results.winner import broken_text
from nas.space.architecture import Architecture
from nas.values.evaluation import FITTED, Evaluation, Failure, PredictedValue
from nas.values.measurement import Measurement
from nas.values.metric import METRICS
from nas.values.objective import Limit, Objective, limit_text

OBJECTIVES = (Objective.parse("error"), Objective.parse("latency_ms"))
FOLDER = Path("runs/x")


def winner_row(number: int, error: float, latency_ms: float | None, **values: float) -> Evaluation:
    """Return a winner whose latency samples spread 10 % to both sides of the median."""
    measurements = {}
    if latency_ms is not None:
        rounds = tuple((latency_ms * share,) for share in (0.9, 0.95, 1.0, 1.05, 1.1))
        measurements["latency_ms"] = Measurement("latency_ms", "cpu", rounds)
    return Evaluation(
        "winner",
        Architecture({"depth": number}),
        values=values,
        predicted={"latency_ms": PredictedValue(1.0, 0.9, 1.1, 1.08)},
        measurements=measurements,
        details={
            "test_error": error,
            "test_interval": [0.9 * error, 1.1 * error],
            "parity": 1e-6,
            "folder": f"w/{number}",
        },
    )


def test_winners_on_the_front_come_first_and_then_by_error() -> None:
    """A dominated winner comes last though its error is not the highest."""
    rows = [winner_row(1, 0.03, 3.0), winner_row(2, 0.02, 2.0), winner_row(3, 0.05, 1.0)]
    front = front_of(rows, OBJECTIVES, (), FOLDER)
    assert [winner.architecture["depth"] for winner in front] == [2, 3, 1]
    assert front.on_front == (True, True, False)
    assert front.best == front.winners[0]


def test_limits_are_checked_against_the_measured_upper_bound() -> None:
    """A median within the limit is not enough where the interval exceeds it."""
    limit = Limit.parse("latency_ms <= 1.05ms")
    (winner,) = front_of([winner_row(1, 0.1, 1.0)], OBJECTIVES, (limit,), FOLDER)
    assert winner.value("latency_ms") == 1.0
    assert winner.broken([limit]) == [limit]
    upper = limit.metric.format(winner.upper("latency_ms"))
    assert broken_text(winner, limit) == f"latency 1 ms, but up to {upper} > 1.05 ms"
    assert winner.meets([Limit.parse("latency_ms <= 1.2ms")])
    assert broken_text(winner, Limit.parse("latency_ms <= 0.5ms")) == "latency 1 ms > 0.5 ms"


def test_limits_on_error_and_counts_use_their_values() -> None:
    """The test error and the counted value themselves decide."""
    (winner,) = front_of([winner_row(1, 0.1, 1.0, params=1000.0)], OBJECTIVES, (), FOLDER)
    assert winner.meets([Limit.parse("accuracy >= 89%"), Limit.parse("params <= 1k")])
    assert not winner.meets([Limit.parse("params <= 999")])
    assert broken_text(winner, Limit.parse("accuracy >= 95%")) == "accuracy 90.00 % < 95 %"


def test_a_limit_on_the_error_on_a_further_target_is_judged() -> None:
    """An export says if it holds, as the front does."""
    row = winner_row(1, 0.1, 1.0)
    there = {"target": "pi/onnxruntime-cpu", "deployed": "a.onnx", "test_error": [0.2, 0.15, 0.25]}
    row = replace(row, details={**row.details, "elsewhere": {"pi": there}})
    (record,) = records_of([row], front_of([row], OBJECTIVES, (), FOLDER))
    assert record.meets([Limit.parse("pi/error <= 30%")]) is True
    assert record.meets([Limit.parse("pi/error <= 10%")]) is False


def test_an_unknown_value_breaks_its_limit() -> None:
    """A limit that was not checked is not met, and a winner that lacks an objective is not on the front."""
    limit = Limit.parse("latency_ms <= 2ms")
    front = front_of([winner_row(1, 0.01, None), winner_row(2, 0.5, 1.0)], OBJECTIVES, (limit,), FOLDER)
    assert front.on_front == (True, False)
    unmeasured = front.winners[1]
    assert not unmeasured.has("latency_ms")
    assert unmeasured.broken([limit]) == [limit]
    assert "unknown" in broken_text(unmeasured, limit)
    with pytest.raises(ValueError, match="has no latency_ms"):
        unmeasured.value("latency_ms")


def test_a_predicted_value_is_never_taken_for_a_measured_one() -> None:
    """Neither `has` nor the plain data take it for measured."""
    (winner,) = front_of([winner_row(1, 0.1, None)], OBJECTIVES, (), FOLDER)
    assert not winner.has("latency_ms")
    assert winner.to_json()["measured"] == {}
    assert winner.to_json()["predicted"]["latency_ms"]["mean"] == 1.0


def test_best_is_the_lowest_error_within_the_limits() -> None:
    """A better winner that breaks a limit is not the best; without a winner that meets the limits there is none."""
    rows = [winner_row(1, 0.01, 3.0), winner_row(2, 0.04, 1.0)]
    front = front_of(rows, OBJECTIVES, (Limit.parse("latency_ms <= 2ms"),), FOLDER)
    assert front.best.architecture["depth"] == 2
    assert front.nearest is front.best
    assert front_of(rows, OBJECTIVES, (Limit.parse("latency_ms <= 0.1ms"),), FOLDER).best_or_none is None


def test_a_winner_that_breaks_a_limit_pushes_none_off_the_front() -> None:
    """It is off the front itself, unless none meets the limits; which winners are alike does not change."""
    rows = [winner_row(1, 0.01, 1.0, params=9000.0), winner_row(2, 0.04, 1.5, params=10.0), winner_row(3, 0.06, 1.6)]
    places = {
        text: {each.architecture["depth"]: on for each, on in zip(front, front.on_front, strict=True)}
        for text in ("params <= 1k", "params <= 1", "params <= 10k")
        for front in [front_of(rows, OBJECTIVES, (Limit.parse(text),), FOLDER)]
    }
    assert places["params <= 1k"] == {1: False, 2: True, 3: False}
    assert places["params <= 1"] == places["params <= 10k"] == {1: True, 2: False, 3: False}
    first = front_of(rows, OBJECTIVES, (Limit.parse("params <= 1k"),), FOLDER)[0]
    assert first.architecture["depth"] == 2, "those on the front come first"


def test_best_says_which_winner_is_nearest_if_none_meets_the_limits() -> None:
    """The caller of ``front.best.load()`` reads what is wrong, instead of that None has no attribute."""
    rows = [winner_row(1, 0.01, 3.0), winner_row(2, 0.04, 1.0)]
    front = front_of(rows, OBJECTIVES, (Limit.parse("latency_ms <= 0.1ms"),), FOLDER)
    near = front.nearest
    assert near.architecture["depth"] == 2
    with pytest.raises(LimitError, match=rf"none of 2 does\. The nearest is {near.architecture.id}: latency 1 ms > "):
        _ = front.best
    with pytest.raises(LimitError, match="there are no winners"):
        _ = front_of([], OBJECTIVES, (), FOLDER).nearest


def test_a_winner_is_found_by_its_id_or_the_beginning_of_one() -> None:
    """Reports and the terminal name winners by their ids, some cut short."""
    front = front_of([winner_row(number, 0.1, 1.0) for number in range(40)], OBJECTIVES, (), FOLDER)
    for winner in front:
        own = winner.architecture.id
        assert front[own] is winner
        assert front[f"{own[:10].upper()}…"] is winner
    digits = [winner.architecture.id[0] for winner in front]
    shared = next(digit for digit in digits if digits.count(digit) > 1)
    with pytest.raises(LookupError, match=f"'{shared}' begins .*, "):
        front[shared]
    for unknown in ("zzzz", "", "…"):
        with pytest.raises(LookupError, match=f"none has '{unknown}'"):
            front[unknown]


def test_a_front_within_other_limits_has_other_standings() -> None:
    """What the new limits leave out dominates nothing, and the best winner meets the new limits."""
    rows = [winner_row(1, 0.03, 3.0), winner_row(2, 0.02, 2.0), winner_row(3, 0.05, 1.0, params=10.0)]
    front = front_of([*rows, winner_row(4, 0.06, 1.5)], OBJECTIVES, (Limit.parse("latency_ms <= 0.1ms"),), FOLDER)
    near = front.within("latency_ms <= 2ms")
    assert [str(limit) for limit in near.limits] == ["latency_ms <= 2ms"]
    assert [winner.architecture["depth"] for winner in near] == [3, 4]
    assert near.on_front == (True, False)
    assert front[0].architecture["depth"] == 2
    assert near.best.architecture["depth"] == 3
    assert [winner.architecture["depth"] for winner in front.within("latency_ms<=9ms", "params<=10")] == [3]
    assert len(front.within()) == 4
    with pytest.raises(RecipeError, match="latency_mz"):
        front.within("latency_mz <= 2ms")


def test_limits_are_taken_as_texts() -> None:
    """One text, several, or objects, as the recipe takes them."""
    (winner,) = front_of([winner_row(1, 0.1, 1.0, params=1000.0)], OBJECTIVES, (), FOLDER)
    assert winner.meets("latency_ms <= 2ms")
    assert winner.meets(["latency_ms <= 2ms", Limit.parse("params <= 1k")])
    assert [str(limit) for limit in winner.broken(["latency_ms <= 0.5ms", "params <= 1k"])] == ["latency_ms <= 0.5ms"]
    assert winner.excess("latency_ms <= 2ms") == 0
    assert winner.excess(["latency_ms <= 0.5ms", "params <= 500"]) == pytest.approx(winner.upper("latency_ms") / 0.5)
    assert winner.excess("model_bytes <= 1kB") == float("inf")
    with pytest.raises(RecipeError, match="latency_ms"):
        winner.meets("fast")
    with pytest.raises(RecipeError, match=r'such as "latency_ms <= 2ms", but got 3'):
        winner.meets([3])  # type: ignore[list-item]
    with pytest.raises(RecipeError, match="but got 3"):
        winner.meets(3)  # type: ignore[arg-type]


def test_no_rows_give_an_empty_front() -> None:
    """A run without winners has an empty front, which is no error."""
    front = front_of([], OBJECTIVES, (), FOLDER)
    assert len(front) == 0
    assert front.best_or_none is None
    assert json.loads(json.dumps(front.to_json()))["winners"] == []


def test_the_last_row_about_an_architecture_counts() -> None:
    """An architecture that failed first and then succeeded is a winner; the others count as failed."""
    failure = Failure("parity", "outputs differ by 0.2")
    rows = [
        Evaluation("winner", Architecture({"depth": 1}), failure=failure),
        winner_row(1, 0.1, 1.0),
        Evaluation("winner", Architecture({"depth": 2}), failure=failure),
        Evaluation("retrain", Architecture({"depth": 3}), failure=Failure("timeout", "no epoch in 60 s")),
    ]
    front = front_of(rows, OBJECTIVES, (), FOLDER)
    assert len(front) == 1
    assert front.failed == 2


def test_plain_data_keeps_sources_apart() -> None:
    """Counted and modelled values have keys of their own."""
    (winner,) = front_of([winner_row(1, 0.1, 1.0, params=10.0, modelled_energy_mj=0.5)], OBJECTIVES, (), FOLDER)
    data = winner.to_json()
    assert data["counted"] == {"params": 10.0}
    assert data["modelled"] == {"modelled_energy_mj": 0.5}
    assert list(data["measured"]) == ["latency_ms"]


def test_the_example_front_is_plain_data() -> None:
    """The plain data of a whole front survive JSON and name the best winner."""
    front = example_record().front
    data = json.loads(json.dumps(front.to_json(), allow_nan=False))
    assert data["best"] == front.best.architecture.id
    assert [winner["meets_limits"] for winner in data["winners"]].count(False) == 1


def test_the_funnel_counts_architectures_by_stage() -> None:
    """Each architecture counts once in each stage, by its last row there."""
    counts = {count.stage: count for count in funnel_of(example_record().rows)}
    assert (counts["winner"].reached, counts["winner"].finished) == (4, 4)
    assert counts["retrain"].failures == {"timeout": 1}
    train = counts["train"]
    assert train.reached == train.finished + train.stopped_early + train.failed
    assert train.stopped_early == 9


def test_costs_are_named_once_and_without_the_error() -> None:
    """Objectives come first, then limits on other metrics."""
    limits = (Limit.parse("params <= 1M"), Limit.parse("latency_ms <= 1ms"), Limit.parse("accuracy >= 90%"))
    assert [metric.name for metric in cost_metrics(OBJECTIVES, limits)] == ["latency_ms", "params"]


def test_texts_name_the_unit_once() -> None:
    """Ranges and limits read like sentences."""
    assert METRICS["latency_ms"].format_range(0.2, 0.25) == "0.2–0.25 ms"
    assert METRICS["params"].format_range(900, 1500) == "900–1.5 k"
    rounds = ((0.2,), (0.2,), (0.2,))
    assert Measurement("latency_ms", "t", rounds).range_text == ""
    busy = Measurement("latency_ms", "t", rounds, drifts=(1.0,) * 3, walls=((0.9,), (0.8,), (1.0,)))
    assert busy.range_text == "0.1984–0.2016 ms; 0.9 ms by a stopwatch"
    assert limit_text(Limit.parse("latency_ms <= 2ms")) == "latency ≤ 2 ms"
    assert limit_text(Limit.parse("accuracy >= 97.5%")) == "accuracy ≥ 97.5 %"


def test_rows_read_from_json_give_the_same_front() -> None:
    """A front is a function of the rows on disk."""
    record = example_record()
    rows = tuple(Evaluation.from_json(json.loads(json.dumps(row.to_json()))) for row in record.rows)
    assert replace(record, rows=rows).front.to_json() == record.front.to_json()


def test_flags_reach_the_plain_data() -> None:
    """Programs see a doubt about a measurement too."""
    row = winner_row(1, 0.1, 1.0)
    flagged = measurement_of("latency_ms", 1.0, np.random.default_rng(0), flags=["busy"])
    (winner,) = front_of([replace(row, measurements={"latency_ms": flagged})], OBJECTIVES, (), FOLDER)
    assert winner.to_json()["measured"]["latency_ms"]["flags"] == ["busy"]
    assert winner.short == "depth=1"
    assert architecture_at(1) != winner.architecture


def test_throughput_and_carbon_follow_from_what_was_measured() -> None:
    """They are None without latency or energy, and the plain data have carbon only with an intensity."""
    record = energy_record()
    winner = record.front.winners[0]
    latency, energy = winner.measurements["latency_ms"], winner.measurements["energy_mj"]
    found = winner.throughput
    assert found is not None
    assert found.items_per_s == pytest.approx(1000 / latency.median)
    assert found.share_of_peak == pytest.approx(winner.values["macs"] * found.items_per_s / 8e11)
    assert winner.executed_precision == "int8"
    assert winner.gco2e(390) == pytest.approx(energy.median / 1000 / 3.6e6 * 390)
    shown = record.front.to_json()["winners"][0]
    assert shown["gco2e"] == winner.gco2e(390)
    assert shown["exported_test_error"] == pytest.approx(winner.test_error - 0.005)
    assert replace(record, gco2e_per_kwh=None).front.to_json()["winners"][0]["gco2e"] is None
    bare = replace(winner, measurements={})
    assert (bare.throughput, bare.executed_precision, bare.gco2e(390)) == (None, None, None)


def test_the_roofline_of_a_winner_counts_weights_and_images() -> None:
    """2,000 bytes of weights and 4 bytes for each of 64 pixels move once for 1,000 products."""
    conditions = {"peak_macs_per_s": 1e9, "bandwidth_bytes_per_s": 1e6, "input_shape": [1, 1, 8, 8], "batch": 1}
    conditions |= {"cache_bytes": 2000}
    latency = Measurement("latency_ms", "cpu", ((1.0,),), conditions)
    weights = Measurement("weight_bytes", "cpu", ((2000.0,),))
    (winner,) = front_of([winner_row(1, 0.1, 1.0, macs=1000.0)], OBJECTIVES, (), FOLDER)
    found = replace(winner, measurements={"latency_ms": latency, "weight_bytes": weights}).throughput
    assert found is not None
    assert found.share_of_peak == pytest.approx(1e-3)
    assert found.share_of_roofline == pytest.approx(1e6 / (1000 / 2256 * 1e6))


def test_importing_the_front_loads_no_heavy_library() -> None:
    """These are torch, ray, optuna and matplotlib."""
    heavy = ("torch", "ray", "optuna", "matplotlib")
    code = f"import sys, nas.results.front; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("simple", "is_named"), [((1,), True), ((2,), False), ((1, 2), False), ((), False)])
def test_a_simple_model_is_named_where_no_trained_winner_beats_it(simple: tuple[int, ...], is_named: bool) -> None:
    """A reader need not know which of the spaces holds simple models."""
    rows = [
        Evaluation("retrain", Architecture({"depth": number}), details={"epochs": 1, FITTED: number in simple})
        for number in (1, 2)
    ]
    front = front_of([*rows, winner_row(1, 0.03, 3.0), winner_row(2, 0.05, 2.0)], OBJECTIVES, (), FOLDER)
    notes = [note for found in notes_of(front) for note in found if "simple model" in note]
    own = Architecture({"depth": 1}).id
    wanted = (
        f"{own} is a simple model, fitted in one pass over the data. No winner that took epochs has a better "
        f"test {front.words.title}."
    )
    assert notes == ([wanted] if is_named else [])
