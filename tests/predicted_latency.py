"""Beliefs about ``TinySpace`` whose predictor of the latency is known: a microsecond for a thousand MACs, and one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from fake_predictor import FakePredictor, Settings, fake_settings, fit_fake
from made_up_beliefs import beliefs_of
from tiny_space import TinySpace

from nas.searching.beliefs import Beliefs
from nas.space.architecture import Architecture
from nas.space.layer import total_macs
from nas.space.search_space import enumerate_space
from nas.values.evaluation import Evaluation
from nas.values.measurement import Measurement

ALL = tuple(enumerate_space(TinySpace()))
SOME = ALL[len(ALL) // 2]


def latencies(beliefs: Beliefs, architectures: Sequence[Architecture]) -> np.ndarray:
    return np.array([1e-3 + 1e-6 * total_macs(beliefs.describer.layers(a)) for a in architectures])


def fitted(beliefs: Beliefs, settings: Settings) -> FakePredictor:
    with fake_settings(settings):
        return fit_fake(beliefs.describer, ALL, latencies(beliefs, ALL), target="cpu", seed=0)


def predicting(*limits: str, half_width: float = 0.1) -> Beliefs:
    """Return beliefs that rely on the predictor, whose bounds reach ``half_width`` of the mean to each side."""
    beliefs = beliefs_of(*limits, objectives=("error", "latency_ms"))
    beliefs.rely_on({"latency_ms": fitted(beliefs, Settings(half_width=lambda samples: half_width))})
    return beliefs


def predicting_near(limit_share: float) -> tuple[Beliefs, float]:
    """Return beliefs with a limit of ``limit_share`` times the predicted latency of ``SOME``, and that latency."""
    mean = predicting().predicted(SOME)["latency_ms"].mean
    return predicting(f"latency_ms <= {mean * limit_share}ms"), mean


def measured(architecture: Architecture, latency_ms: float) -> Evaluation:
    found = {"latency_ms": Measurement("latency_ms", "cpu", ((latency_ms,),))}
    return Evaluation("measure", architecture, measurements=found)
