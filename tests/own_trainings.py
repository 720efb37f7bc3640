"""Training functions as users write them, good and bad, for digits and spaces of small networks."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch
from tiny_space import TinySpace
from torch.utils.data import DataLoader

import nas


def plain(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    """Train by SGD, and yield the validation error after each epoch."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    for _ in range(settings.epochs):
        module.train()
        for raw, targets in DataLoader(task.train, batch_size=64, shuffle=True):
            loss = task.criterion.loss(module(*task.inputs_of(raw)), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield {"error": nas.error_of(module, task.validation, task), "loss": loss.item()}


def from_architecture(architecture: nas.Architecture, task: Any, settings: Any) -> dict[str, Any]:
    """Build the module here, and return metrics and weights."""
    module = TinySpace().build(architecture)
    metrics = list(plain(module, task, settings))[-1]
    return {**metrics, "weights": module.state_dict()}


def without_weights(architecture: nas.Architecture, task: Any, settings: Any) -> dict[str, Any]:
    return {"error": 0.5}


def of_another_module(architecture: nas.Architecture, task: Any, settings: Any) -> dict[str, Any]:
    return {"error": 0.5, "weights": torch.nn.Linear(2, 2).state_dict()}


def quick(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    for epoch in range(settings.epochs):
        yield {"error": 0.9 / (epoch + 1)}


def scores_all(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    yield nas.metrics_on(module, task.validation, task, robustness=settings.robustness)


def ends_early(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    yield {"error": 0.4}


def returns_the_last(
    module: torch.nn.Module, task: Any, settings: Any
) -> Generator[dict[str, float], None, dict[str, float]]:
    """Yield metrics after every epoch, and return those of averaged weights."""
    yield from quick(module, task, settings)
    return {"error": 0.05}


def yields_nothing(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    yield from ()


def returns_nothing(module: torch.nn.Module, task: Any, settings: Any) -> None:
    return None


def yields_none(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[None]:
    yield None


def yields_a_number(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[float]:
    yield 0.3


def yields_nan(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    yield {"error": float("nan")}


def yields_per_cent(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    yield {"error": 35.0}


def yields_accuracy(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    yield {"accuracy": 0.9}


def yields_text(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, Any]]:
    yield {"error": 0.1, "f1": "good"}


def yields_too_many(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    yield {"error": 0.1, "weights": module.state_dict(), **{f"metric{number}": 0.5 for number in range(1001)}}


def yields_for_ever(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    while True:
        yield {"error": 0.5}


def sleeps_for_ever(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    time.sleep(1e6)
    yield {"error": 0.5}


def counts_for_ever(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    while True:
        try:
            sum(range(1000))
        except Exception:
            continue
    yield {"error": 0.5}


def raises(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    yield {"error": 0.5}
    raise ValueError("no such batch")


def exits(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    sys.exit("bye")
    yield {"error": 0.5}


def leaves(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    os._exit(0)
    yield {"error": 0.5}


def ends_the_process(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield {"error": 0.5}


def reads_the_test(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    yield {"error": nas.error_of(module, task.test, task)}


def breaks_weights(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    with torch.no_grad():
        next(module.parameters()).fill_(float("nan"))
    yield {"error": 0.5}


def refuses_to_close(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    try:
        while True:
            yield {"error": 0.5}
    finally:
        raise OSError("the log cannot be closed")


def change_everything() -> None:
    """Change what a process has only once."""
    print("printed by the user's code")
    os.chdir("/")
    os.environ["OWN_TRAINING"] = "1"
    os.environ.pop("HOME", None)
    sys.path.insert(0, "/nowhere")
    sys.stderr = sys.stdout
    warnings.simplefilter("ignore")
    logging.root.addHandler(logging.NullHandler())
    logging.disable(logging.CRITICAL)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_num_threads(3)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.autograd.set_detect_anomaly(True)
    torch.backends.cudnn.benchmark = True
    np.seterr(all="raise")
    torch.manual_seed(99)


def changes_everything(module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
    """Yield 0 as long as the changes hold here, although others ran in between."""
    change_everything()
    drawn = torch.rand(1)
    torch.manual_seed(99)
    for _ in range(settings.epochs):
        held = torch.get_default_dtype() == torch.float64, torch.get_num_threads() == 3, os.getcwd() == "/"
        held = *held, torch.is_deterministic_algorithms_warn_only_enabled()
        yield {"error": float(not all(held))}
    assert torch.equal(torch.rand(1), drawn)
    assert os.environ["OWN_TRAINING"] == "1"


class Callable3:
    """An object that trains when it is called."""

    def __call__(self, module: torch.nn.Module, task: Any, settings: Any) -> Iterator[dict[str, float]]:
        yield from quick(module, task, settings)
