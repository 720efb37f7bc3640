"""Rows survive JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from nas.space.architecture import Architecture
from nas.values.evaluation import STAGES, Evaluation, Failure, PredictedValue
from nas.values.measurement import Measurement
from nas.values.metric import METRICS

finite = st.floats(allow_nan=False, allow_infinity=False)
names = st.sampled_from(sorted(METRICS))
json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
details = st.dictionaries(st.text(), json_data, max_size=3)
measurements = st.builds(
    Measurement,
    names,
    st.text(),
    st.lists(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).map(tuple),
    details,
    st.lists(st.text(), max_size=2).map(tuple),
)
evaluations = st.builds(
    Evaluation,
    stage=st.sampled_from(STAGES),
    architecture=st.dictionaries(st.text(), st.booleans() | st.integers() | finite | st.text(), max_size=4).map(
        Architecture
    ),
    round=st.integers(0, 10),
    values=st.dictionaries(names, finite, max_size=3),
    predicted=st.dictionaries(
        names, st.builds(PredictedValue, finite, finite, finite, finite, st.booleans()), max_size=2
    ),
    measurements=st.dictionaries(names, measurements, max_size=2),
    details=details,
    failure=st.none() | st.builds(Failure, st.text(), st.text()),
)


@given(evaluations)
@settings(deadline=None)
def test_a_row_survives_json(evaluation: Evaluation) -> None:
    """The JSON of a row gives an equal row, with the same architecture id."""
    text = json.dumps(evaluation.to_json(), allow_nan=False, sort_keys=True)
    back = Evaluation.from_json(json.loads(text))
    assert back == evaluation
    assert back.architecture.id == json.loads(text)["id"]


def test_an_unknown_stage_is_refused() -> None:
    """The error says the rule and then the value."""
    with pytest.raises(
        ValueError, match=r"stage must be one of \('measure', 'check', 'train', 'retrain', 'winner'\), but got 'x"
    ):
        Evaluation("x", Architecture({}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("details", "failure", "full"),
    [
        ({}, None, True),
        ({"stopped_early": False}, None, True),
        ({"stopped_early": True}, None, False),
        ({}, Failure("nan", "…"), False),
    ],
)
def test_neither_failed_nor_stopped_is_full_fidelity(
    details: dict[str, Any], failure: Failure | None, full: bool
) -> None:
    """A stopped training is never compared with full ones."""
    evaluation = Evaluation("train", Architecture({}), details=details, failure=failure)
    assert evaluation.reached_full_fidelity == full
    assert evaluation.failed == (failure is not None)
