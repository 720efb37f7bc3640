"""A bundle's model predicts on machines that could not measure it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nas.results.bundle import ABOUT, Bundle


@pytest.mark.slow
def test_a_model_for_many_threads_predicts_on_few_cores(bundle: Path) -> None:
    """Nothing is timed."""
    about = json.loads((bundle / ABOUT).read_text())
    (bundle / ABOUT).write_text(json.dumps({**about, "target": "onnxruntime-cpu:fp32:batch=1:threads=64"}))
    pixels = np.zeros((2, 1, 8, 8), dtype=np.uint8)
    np.testing.assert_allclose(Bundle.read(bundle).predict(pixels).sum(axis=1), 1, rtol=1e-5)
