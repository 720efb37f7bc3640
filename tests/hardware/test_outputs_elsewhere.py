"""Outputs for many items: some are computed on a device elsewhere, and the others here if those agree."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import TargetError
from nas.hardware import benchmarking
from nas.hardware.benchmarking import SAMPLE, DeviceBench
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.measuring_process import MeasuringProcess
from nas.hardware.runtimes.runtime import Deployed
from nas.values.target import Target

ITEMS = 2 * SAMPLE
IMAGES = np.random.default_rng(0).standard_normal((ITEMS, 3, 2, 2)).astype(np.float32)


class Elsewhere:
    """A device whose outputs are ``factor`` times those of this machine. ``sent`` counts the items of each request."""

    name = "pi"

    def __init__(self, factor: float) -> None:
        self.factor, self.sent = factor, list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(LocalDevice(), name)

    def process(self, target: Target, timeout_s: float, *, pinned: bool = True) -> MeasuringProcess:
        process = MeasuringProcess(target, timeout_s)
        answer = process.outputs

        def outputs(model: Path, inputs: Sequence[np.ndarray[Any, Any]]) -> Any:
            self.sent.append(len(inputs[0]))
            return self.factor * answer(model, inputs)

        process.outputs = outputs  # type: ignore[assignment]
        return process


@pytest.fixture
def model(tmp_path: Path) -> Deployed:
    (tmp_path / "a.txt").write_text("clock 1")
    return Deployed(tmp_path / "a.txt", weight_bytes=1)


def bench_on(device: Elsewhere, acting: Target, say: Callable[[str], None]) -> DeviceBench:
    return DeviceBench(acting, BenchSettings(2, 2), device=device, say=say)


@pytest.mark.parametrize(
    ("factor", "sent", "said"),
    [
        (1.00001, [SAMPLE], "items have the same outputs on pi and here, so those of further items are computed here"),
        (1.01, [SAMPLE, ITEMS, ITEMS], "items have other outputs on pi and here, so .* are all computed on pi"),
    ],
)
def test_many_inputs_are_sent_only_if_they_must_be(
    factor: float, sent: list[int], said: str, acting: Target, model: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the device agrees is asked once for each model."""
    monkeypatch.setattr(benchmarking, "SENT_WHOLE_BYTES", 1000)
    device, told = Elsewhere(factor), list[str]()
    bench = bench_on(device, acting, told.append)
    for _ in range(2):
        found = bench.outputs(model, [IMAGES])
        expected = IMAGES.reshape(ITEMS, -1) * (factor if len(sent) > 1 else 1)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert device.sent == sent
    (text,) = told
    assert re.search(said, text)


def test_few_inputs_are_all_sent(acting: Target, model: Deployed) -> None:
    device = Elsewhere(1.01)
    found = bench_on(device, acting, pytest.fail).outputs(model, [IMAGES])
    np.testing.assert_allclose(found, 1.01 * IMAGES.reshape(ITEMS, -1), rtol=1e-6)
    assert device.sent == [ITEMS]


@pytest.mark.slow
def test_items_that_come_in_small_parts_are_counted_together(
    acting: Target, model: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test set of small pictures is asked for some hundred at a time."""
    monkeypatch.setattr(benchmarking, "SENT_WHOLE_BYTES", 2 * IMAGES.nbytes)
    device = Elsewhere(1.0)
    bench = bench_on(device, acting, lambda text: None)
    for _ in range(4):
        bench.outputs(model, [IMAGES])
    assert device.sent == [ITEMS, ITEMS, SAMPLE]


def test_a_board_is_held_while_it_computes_outputs(
    acting: Target, model: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measurements of another run wait meanwhile, and are not disturbed."""
    device, holds = Elsewhere(1.0), list[str]()

    @contextlib.contextmanager
    def leased(say: Callable[[str], None]) -> Iterator[None]:
        holds.append("held")
        yield
        holds.append("released")

    monkeypatch.setattr(device, "leased", leased, raising=False)
    bench_on(device, acting, pytest.fail).outputs(model, [IMAGES])
    assert holds == ["held", "released"]


def test_a_metric_of_another_target_is_not_measured_here(acting: Target) -> None:
    """Or else nothing would be measured, and nothing be said."""
    with pytest.raises(TargetError, match="such as latency_ms, but got pi/latency_ms"):
        bench_on(Elsewhere(1.0), acting, pytest.fail).check(["latency_ms", "pi/latency_ms"])
