"""The state of a process that code of a user's may change, and its restoration."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch

Part = tuple[Callable[[], Any], Callable[[Any], None]]
"""How to read a part of the state, and how to set it."""


def _set_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)


def _set_gradients(on: bool) -> None:
    torch.set_grad_enabled(on)


def _set_filters(filters: list[Any]) -> None:
    warnings.resetwarnings()  # which also forgets what was decided by the filters before
    warnings.filters[:] = filters  # type: ignore[index]


def _read_logging() -> tuple[list[logging.Handler], int, int]:
    return [*logging.root.handlers], logging.root.level, logging.root.manager.disable


def _set_logging(state: tuple[list[logging.Handler], int, int]) -> None:
    if state != _read_logging():  # setting it forgets what all loggers have worked out
        logging.root.handlers[:] = state[0]
        logging.root.setLevel(state[1])
        logging.disable(state[2])


def _read_environment() -> dict[Any, Any]:
    # As it is kept inside: dict(os.environ) decodes each variable, which was half of the time of a whole state.
    return dict(os.environ._data)  # type: ignore[attr-defined]


def _set_environment(state: dict[Any, Any]) -> None:
    if state == _read_environment():
        return
    ours: Any = os.environ
    values = {ours.decodekey(name): ours.decodevalue(value) for name, value in state.items()}
    for name in set(os.environ) - set(values):
        del os.environ[name]
    os.environ.update({name: value for name, value in values.items() if os.environ.get(name) != value})


def _read_signals() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}


def _set_signals(handlers: dict[int, Any]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number, handler in handlers.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _set_folder(folder: str) -> None:
    with contextlib.suppress(OSError):  # it was removed
        os.chdir(folder)


def _read_folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _set_threads(threads: int) -> None:
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _read_determinism() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_determinism(flags: tuple[bool, bool]) -> None:
    is_on, only_warns = flags
    if flags != _read_determinism():  # setting it imports torch's compiler, which takes two seconds
        torch.use_deterministic_algorithms(is_on, warn_only=only_warns)


def _read_cudnn() -> tuple[bool, bool]:
    return torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic


def _set_cudnn(flags: tuple[bool, bool]) -> None:
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = flags


def _set_anomalies(on: bool) -> None:
    torch.autograd.set_detect_anomaly(on, check_nan=torch.is_anomaly_check_nan_enabled())


def _set_numpy_errors(ways: Any) -> None:
    np.seterr(**ways)


def _set_path(path: list[str]) -> None:
    sys.path[:] = path


def _set_errors(stream: Any) -> None:
    sys.stderr = stream


PARTS: dict[str, Part] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default device": (torch.get_default_device, _set_device),
    "threads": (torch.get_num_threads, _set_threads),
    "gradients": (torch.is_grad_enabled, _set_gradients),
    "determinism": (_read_determinism, _set_determinism),
    "flags of cuDNN": (_read_cudnn, _set_cudnn),
    "search for anomalies": (torch.is_anomaly_enabled, _set_anomalies),
    "precision of products": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "random numbers of torch": (torch.get_rng_state, torch.set_rng_state),
    "random numbers of numpy": (np.random.get_state, np.random.set_state),
    "errors of numpy": (np.geterr, _set_numpy_errors),
    "random numbers of Python": (random.getstate, random.setstate),
    "environment": (_read_environment, _set_environment),
    "current folder": (_read_folder, _set_folder),
    "import path": (lambda: [*sys.path], _set_path),
    "filters of warnings": (lambda: [*warnings.filters], _set_filters),
    "logging": (_read_logging, _set_logging),
    "handlers of signals": (_read_signals, _set_signals),
    "standard error": (lambda: sys.stderr, _set_errors),
}
"""What is kept, by name."""


@final
class ProcessState:
    """The state of this process at the moment at which the object is made."""

    def __init__(self) -> None:
        self._values = {name: read() for name, (read, _) in PARTS.items()}

    def restore(self) -> None:
        """Set everything as it was then."""
        for name, value in self._values.items():
            PARTS[name][1](value)
