"""What several test modules share. That it lies here also puts this folder on the path, for Ray's workers too."""

from __future__ import annotations

import numpy as np
import pytest

from nas.data_source import load_data
from nas.dataset import DataSet


@pytest.fixture(name="digits", scope="session")
def digits_data() -> DataSet:
    """1,797 handwritten digits of 1×8×8."""
    return load_data("digits")


@pytest.fixture(name="rng")
def fresh_rng() -> np.random.Generator:
    return np.random.default_rng(0)
