"""Beliefs for tests: digits' shape and classes, ONNX Runtime, and given limits and objectives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tiny_space import TinySpace

from nas.searching.beliefs import Beliefs
from nas.space.search_space import SearchSpace
from nas.space.signature import image_signature
from nas.values.evaluation import Evaluation
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
