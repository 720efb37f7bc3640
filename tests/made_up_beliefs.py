"""Beliefs for tests: digits' shape and classes, ONNX Runtime, and given limits and objectives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tiny_space import TinySpace

from nas.searching.beliefs import Beliefs
from nas.space.search_space import SearchSpace, enumerate_space
from nas.space.signature import image_signature
from nas.values.evaluation import Evaluation
from nas.values.measurement import Measurement
from nas.values.objective import Limit, Objective
from nas.values.target import Target


def beliefs_of(
    *limits: str,
    objectives: Sequence[str] = ("error",),
    space: SearchSpace | None = None,
    rows: Iterable[Evaluation] = (),
) -> Beliefs:
    return Beliefs(
        TinySpace() if space is None else space,
        signature=image_signature((1, 8, 8), 10),
        target=Target("onnxruntime-cpu"),
        objectives=[Objective.parse(name) for name in objectives],
        limits=[Limit.parse(limit) for limit in limits],
        rows=rows,
    )


def of_simple(*points: tuple[float, float, bool]) -> Beliefs:
    """Return beliefs of an error and a latency, with a limit of 10 ms; candidates are fitted, or trained in epochs."""
    rows = []
    for architecture, (error, latency, is_fitted) in zip(enumerate_space(TinySpace()), points, strict=False):
        measured = Measurement("latency_ms", "", ((latency,), (latency,)))
        details = {"epochs": 1, "fitted": True} if is_fitted else {"epochs": 8}
        rows.append(Evaluation("measure", architecture, measurements={"latency_ms": measured}))
        rows.append(Evaluation("train", architecture, values={"error": error}, details=details))
    return beliefs_of("latency_ms <= 10ms", objectives=("error", "latency_ms"), rows=rows)
