"""The causes of varying latencies come apart: sampling, processes, arithmetic and memory traffic beside."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.repeatability import Session, table
from experiments.shared_cache import summary as summary_of_cache
from experiments.varying_models import LOADS, READINGS, Reading, summary
from nas.values.measurement import Measurement
from nas.values.target import Target


def readings_of(model: str, *, within: float, between: float, slower: dict[str, float]) -> list[Reading]:
    """Return readings of a model of 1 ms whose processes and samples alternate around it."""
    return [
        Reading(model, load, repeat, number, float(np.exp(sign * between + half * within) * slower[load]), 1.0, 0.0)
        for load in LOADS
        for repeat, sign in enumerate((-1, 1, -1, 1))
        for number, half in zip(range(READINGS), (-0.5, 0.5), strict=True)
    ]


def test_each_cause_has_its_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that varies most between idle processes comes first."""
    monkeypatch.setattr("experiments.varying_models.cache_bytes", lambda: {"L2": 2_000_000})
    even = readings_of("even", within=0.01, between=0.0, slower={"none": 1.0, "arithmetic": 1.02, "memory": 1.0})
    uneven = readings_of("uneven", within=0.0, between=0.05, slower={"none": 1.0, "arithmetic": 1.0, "memory": 1.3})
    lines = summary([*even, *uneven], {"even": 1_000_000, "uneven": 20_000_000})
    assert "caches L2 2 MB" in lines[0]
    assert lines[4] == "| uneven | 20 MB | 1 ms | 0.0 % | 5.8 % | 0.0 % | 30.0 % |"
    assert lines[5] == "| even | 1 MB | 1 ms | 0.7 % | 0.0 % | 2.0 % | 0.0 % |"


def test_a_second_reference_corrects_what_moves_with_it() -> None:
    """Two models share a cause that a third one shows, and one does not."""
    rng = np.random.default_rng(0)
    sessions = []
    for level in (0.0, 0.1, 0.02, 0.05):
        cause = level + 0.03 * np.sin(np.linspace(0, 6, 12))
        logs = {"reference": cause, "strong": 1.5 * cause, "weak": 0.5 * cause, "none": 0 * cause}
        found = {
            name: Measurement(
                "latency_ms",
                "t",
                tuple((float(value),) for value in np.exp(values + 0.003 * rng.standard_normal(12))),
                drifts=(1.0,) * 12,
            )
            for name, values in logs.items()
        }
        sessions.append(Session(False, found, {}, {}))
    lines = summary_of_cache(sessions, ["none", "reference", "strong", "weak"], "reference", 2)
    before, after = (float(cell.strip(" %")) for cell in lines[3].split("|")[2:4])
    assert lines[3].startswith("| strong |")
    assert before > 5 * after
    assert "| 0 | 0.9" in lines[-4] or "| 0 | 1.0" in lines[-4]


def test_a_quick_session_has_no_line_about_measuring_one_after_another() -> None:
    """The other figures are the same."""
    slow, fast = (Measurement("latency_ms", "t", ((ms,), (1.1 * ms,)), drifts=(1.0, 1.0)) for ms in (2.0, 1.0))
    found = {"a": slow, "b": fast}
    quick = [Session(False, found, {}, {"interleaved": 1.0})] * 2
    whole = [Session(False, found, {"a": 2.0 + n, "b": 1.0 + n}, {"interleaved": 1.0}) for n in range(2)]
    target = Target("onnxruntime-cpu")
    assert "one after another" in table(whole, target)
    assert "one after another" not in table(quick, target)
    assert "| models that vary most | b 0.0 %, a 0.0 % |" in table(quick, target)
