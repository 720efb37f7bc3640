"""Reference models and probes: their work, and that they are always the same."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from nas.formats.export import export_onnx
from nas.hardware.reference_models import (
    REFERENCE_SHAPE,
    cached_probe,
    larger_reference_model,
    multiplying_probes,
    reference_model,
    streaming_probe,
)
from nas.space.signature import image_inputs, image_signature
from nas.space.tracing import trace_layers


def test_works_of_models_are_what_tracing_counts() -> None:
    """The work that peaks are computed from equals the traced multiply-accumulates."""
    for probe in multiplying_probes():
        shape = probe.input_shape
        flat = nn.Sequential(probe.module, nn.Flatten())
        traced = sum(layer.macs for layer in trace_layers(flat, image_signature(shape, math.prod(shape))))
        assert probe.work == traced
    stream = streaming_probe(2**26)
    rows, height, width = stream.input_shape
    assert stream.work == 2 * 4 * rows * height * width == 2**27
    macs = sum(layer.macs for layer in trace_layers(reference_model(), image_signature(REFERENCE_SHAPE, 10)))
    assert 14e6 < macs < 20e6


@pytest.mark.parametrize(
    "made",
    [
        reference_model,
        lambda: larger_reference_model(2),
        lambda: multiplying_probes()[1].module,
        lambda: cached_probe(2**16).module,
    ],
    ids=["reference", "larger reference", "multiplying", "cached"],
)
def test_a_model_is_always_the_same(made: Callable[[], nn.Module]) -> None:
    """A model has the same weights for any random state, and leaves that state unchanged."""
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, second = made().state_dict(), made().state_dict()
    assert torch.equal(torch.rand(1), expected)
    assert first
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_threads_that_export_it_at_once_get_the_same_files(tmp_path: Path) -> None:
    """As those of a pool's boards do. The streams, logging and torch's random state are as before."""

    def exported(number: int) -> bytes:
        path = tmp_path / f"{number}.onnx"
        export_onnx(reference_model(), image_inputs(REFERENCE_SHAPE), 1, path)
        return path.read_bytes()

    def state() -> tuple[object, ...]:
        return sys.stdout, sys.stderr, logging.root.manager.disable, torch.get_num_threads(), torch.initial_seed()

    before = state()
    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(exported, range(8)))) == 1
    assert state() == before
