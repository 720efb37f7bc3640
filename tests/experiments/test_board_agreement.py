"""Counting which latencies agree within their joint intervals."""

from __future__ import annotations

from experiments.board_agreement import Measured, agreeing, differing, summary
from nas.values.measurement import Measurement

TARGET = "onnxruntime-cpu:fp32:batch=1:threads=1"


def latencies(**milliseconds: float) -> Measured:
    """Return latencies that are known to about a hundredth."""
    rounds = {
        name: tuple((ms * factor,) for factor in (0.99, 1.0, 1.0, 1.0, 1.01)) for name, ms in milliseconds.items()
    }
    return Measured({name: Measurement("latency_ms", TARGET, each) for name, each in rounds.items()}, 2.0)


def test_models_agree_within_their_joint_intervals() -> None:
    """One that only one of both has is left out."""
    here, there = latencies(a=1.0, b=2.0, c=3.0), latencies(a=1.001, b=2.5, d=1.0)
    assert agreeing(here, there) == (1, 2)
    lines = summary([here, here], [there, there])
    assert "| here and there, agreeing | 1 of 2, 1 of 2 |" in lines
    assert "| here twice, agreeing | 3 of 3 |" in lines


def test_models_that_do_not_agree_are_named_with_the_usual_ratio() -> None:
    """The quickest comes first."""
    here = latencies(slow=5.0, quick=0.1, b=2.0, c=3.0, d=4.0)
    there = latencies(slow=6.0, quick=0.09, b=2.0, c=3.0, d=4.0)
    lines = differing([here, here], [there, here])
    assert "There a model usually takes 1.000 times as long as here." in lines
    rows = [text for text in lines if " ms | " in text]
    assert [text.split(" | ")[0] for text in rows] == ["| quick", "| slow"]
    assert "| 0.900, 1.000 |" in rows[0]
    assert not any(" ms | " in text for text in differing([here], [here]))
