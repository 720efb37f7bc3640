"""The predictor and the limits that a trust report is asked for."""

from __future__ import annotations

import pytest
from fake_bench import latency_ms
from quick_predictor import fit_quick
from small_tables import ALL, SPACE

from nas.errors import RecipeError
from nas.prediction.samples import MeasuredDevice
from nas.prediction.trust_request import TrustRequest, check_limits
from nas.progress import NullProgress
from nas.space.signature import image_signature
from nas.space.tracing import describer_of
from nas.values.objective import Limit

QUICK = "quick_predictor:fit_quick"


def measured_device() -> MeasuredDevice:
    """Return the latencies of twelve architectures, with a limit."""
    values = {"latency_ms": {a: latency_ms(a) for a in ALL[:12]}}
    return MeasuredDevice(
        describer_of(SPACE, image_signature((1, 8, 8), 10)), "board", values, (Limit.parse("latency_ms<=1ms"),)
    )


def test_limits_of_the_device_count_unless_others_are_asked_for() -> None:
    """The report is on the request's limits, or else on those of the run."""
    for limits, reported in (((), "latency_ms <= 1ms"), ((Limit.parse("latency_ms<=2ms"),), "latency_ms <= 2ms")):
        (report,) = TrustRequest(QUICK, limits, seed=0).report_on(measured_device(), NullProgress())
        assert [str(limit) for limit in report.limits] == [reported]


def test_options_reach_the_predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The options of a recipe's predictor are passed to it with every fit."""
    seen = []

    def fit(*arguments: object, width: int, **rest: object) -> object:
        seen.append(width)
        return fit_quick(*arguments, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr("nas.prediction.trust_request.load_predictor", lambda name: fit)
    TrustRequest("wide", (), seed=0, options={"width": 3}).report_on(measured_device(), NullProgress())
    assert set(seen) == {3}


def test_a_limit_on_another_metric_is_refused() -> None:
    """The message names the metrics that the report is on."""
    with pytest.raises(RecipeError, match=r"on a reported metric, but got energy_mj <= 1mJ\. .*latency_ms"):
        check_limits([Limit.parse("energy_mj<=1mJ")], ["latency_ms"])
