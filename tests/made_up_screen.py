"""Screens for tests: digits' shape and classes, ONNX Runtime, and what is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from tiny_space import TinySpace

from nas.searching.screening import Screen
from nas.space.search_space import SearchSpace
from nas.values.objective import Limit, Objective
from nas.values.target import Target


def screen_of(*limits: str, objectives: Sequence[str] = ("error",), space: SearchSpace | None = None) -> Screen:
    return Screen(
        TinySpace() if space is None else space,
        input_shape=(1, 8, 8),
        classes=10,
        target=Target("onnxruntime-cpu"),
        objectives=[Objective.parse(name) for name in objectives],
        limits=[Limit.parse(limit) for limit in limits],
    )
