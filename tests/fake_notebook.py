"""A stand-in for a Jupyter notebook: its shell, and its display of lines that are updated in place."""

from __future__ import annotations

import builtins
import sys
from types import ModuleType
from typing import Any

import pytest


class ZMQInteractiveShell:
    """A stand-in for the shell of a Jupyter kernel, which is recognised by its class name."""


class Display:
    """A stand-in for IPython's display: it records the line of each stage, and every update."""

    def __init__(self) -> None:
        self.lines: list[list[dict[str, str]]] = []

    def __call__(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        self.lines.append([data])
        return Handle(self.lines[-1])


class Handle:
    """The handle that updates one line."""

    def __init__(self, versions: list[dict[str, str]]) -> None:
        self._versions = versions

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        assert raw
        self._versions.append(data)


def enter_notebook(monkeypatch: pytest.MonkeyPatch) -> Display:
    """Put a test into a notebook, and return its display."""
    module: Any = ModuleType("IPython.display")
    module.display = Display()
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    shown: Display = module.display
    return shown
