"""What is said of winners where further targets rank them in another order, or lose accuracy."""

from __future__ import annotations

from nas.results.notes.target_notes import target_notes
from nas.results.winner import Winner
from nas.space.architecture import Architecture
from nas.values.measurement import Estimate, Interval, Measurement


def winner(width: int, here_ms: float, there_ms: float, error: float = 0.1, there: float = 0.1) -> Winner:
    """A winner with latencies and test errors on both targets, all within narrow intervals."""
    times = {"latency_ms": ("torch-cpu", here_ms), "pi/latency_ms": ("pi/torch-cpu", there_ms)}
    return Winner(
        architecture=Architecture({"width": width}),
        test_error=error,
        test_interval=Interval(error - 0.01, error + 0.01),
        predicted={},
        measurements={
            name: Measurement("latency_ms", target, tuple((ms * each,) for each in (0.99, 1.0, 1.01)))
            for name, (target, ms) in times.items()
        },
        values={},
        folder="winners/a",
        scores={"pi/error": Estimate.within(there, there - 0.01, there + 0.01)},
    )


def test_the_fastest_there_is_named_if_it_is_not_the_fastest_here() -> None:
    slow, quick = winner(1, 3.0, 10.0), winner(2, 1.0, 20.0)
    own = slow.architecture.id
    assert target_notes(slow, [slow, quick]) == [
        f"{own} is the fastest on pi, with 10 ms, but number 2 of 2 on the first target."
    ]
    assert target_notes(quick, [slow, quick]) == []
    alike = winner(3, 1.001, 9.0)
    assert target_notes(alike, [alike, quick]) == []


def test_a_file_that_is_surely_less_accurate_there_is_told() -> None:
    worse, alike = winner(1, 1.0, 1.0, there=0.2), winner(2, 1.0, 1.0, there=0.105)
    assert target_notes(worse, [worse]) == [
        f"The file of {worse.architecture.id} for pi is less accurate: its test accuracy is 80.00 % there, and 90.00 % "
        "on the first target."
    ]
    assert target_notes(alike, [alike]) == []
