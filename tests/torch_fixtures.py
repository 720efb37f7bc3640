"""Fixtures for the tests of torch runtimes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_models import SHAPE, write_network, write_small

from nas.hardware.runtimes.runtime import Float32Array


@pytest.fixture(name="same_torch")
def _same_torch() -> Iterator[None]:
    """Restores the settings that torch sessions change for their whole process."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32


@pytest.fixture(name="network", scope="session", params=["cnn", "vit"])
def _network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """A network with random weights, and its program for a batch of 2."""
    return write_network(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(name="small_program", scope="session")
def _small_program(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """A convolution and a matrix product, and their program for a batch of 2."""
    return write_small(tmp_path_factory.mktemp("small"))


@pytest.fixture(name="images")
def _images(rng: np.random.Generator) -> Float32Array:
    """Two random images of shape (3, 32, 32)."""
    return rng.standard_normal((2, *SHAPE)).astype(np.float32)
