"""The best that rows tell of each architecture."""

from __future__ import annotations

from made_rows import failed, measured, trained

from nas.reports.analysis.architecture_values import input_size_of, known_of, trainings_of
from nas.results.records import records_of
from nas.space.architecture import Architecture
from nas.values.evaluation import FOR_ANY, TRAINED_AS, Evaluation


def test_measured_values_take_the_place_of_predicted_ones() -> None:
    rows = [
        trained({"a": 1}, 0.2, predicted={"latency_ms": 3.0}, params=10.0),
        trained({"a": 2}, 0.3, predicted={"latency_ms": 4.0}),
        measured({"a": 1}, latency_ms=2.5),
    ]
    known = known_of(records_of(rows))
    first, second = known[Architecture({"a": 1})], known[Architecture({"a": 2})]
    assert (first.values, first.predicted) == ({"error": 0.2, "params": 10.0, "latency_ms": 2.5}, frozenset())
    assert (second.values["latency_ms"], second.predicted) == (4.0, {"latency_ms"})


def test_a_stopped_training_has_no_error_but_its_counts() -> None:
    row = trained({"a": 1}, 0.2, details={"stopped_early": True}, params=10.0)
    assert known_of(records_of([row]))[Architecture({"a": 1})].values == {"params": 10.0}


def test_architectures_that_differ_in_training_alone_share_measurements() -> None:
    row = measured({"a": 1, "learning_rate": 0.1}, latency_ms=2.0)
    row = Evaluation(
        "measure", row.architecture, 0, measurements=row.measurements, details={FOR_ANY: ["learning_rate"]}
    )
    known = known_of(records_of([row, trained({"a": 1, "learning_rate": 0.2}, 0.4)]))
    assert known[Architecture({"a": 1, "learning_rate": 0.2})].values == {"error": 0.4, "latency_ms": 2.0}


def test_failed_rows_tell_nothing() -> None:
    assert known_of(records_of([failed({"a": 1})])) == {}


def test_trainings_stand_in_the_order_of_their_ends() -> None:
    first = trained({"a": 1}, 0.2)
    sibling = trained({"a": 1, "precision": "int8"}, 0.21, details={TRAINED_AS: first.architecture.id})
    stopped = trained({"a": 3}, 0.5, details={"stopped_early": True})
    found = trainings_of([measured({"a": 9}, latency_ms=1.0), first, sibling, stopped, failed({"a": 4})])
    assert [each.end for each in found] == ["whole", "stopped", "failed"]
    assert found[0].architectures == (first.architecture, sibling.architecture)
    assert [each.place for each in found] == [1, 3, 4]


def test_the_size_of_an_input() -> None:
    """A batch of two pictures, and an input of two parts; anything else is unknown."""
    assert input_size_of({"input_shape": [2, 3, 8, 8], "batch": 2}) == 192
    assert input_size_of({"input_shape": [[1, 4], [1, 3]], "batch": 1}) == 7
    assert input_size_of({"input_shape": "1x4"}) is None
    assert input_size_of({}) is None
