"""Runtimes: how a model file is opened and run once on a target; one file each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from nas.discovery import load_plug_in
from nas.target import Target


class Session(Protocol):
    """An opened model with its inputs in place."""

    def run(self) -> None:
        """One inference, returning when its outputs are there."""

    def conditions(self) -> Mapping[str, Any]:
        """What really runs: plain JSON data, such as the executed precision and the input's shape."""


class Runtime(Protocol):
    """Opens model files for a target. Made without arguments, in the process that measures."""

    def why_unavailable(self, target: Target) -> str | None:
        """Why ``target`` cannot be measured here and what to do about it, or None when it can."""

    def open(self, model: Path, target: Target) -> Session:
        """A session on fixed pseudo-random inputs. Any exception means that the runtime refuses the model."""

    def version(self) -> str:
        """The runtime's name and version."""


def load_runtime(name: str) -> Runtime:
    """The runtime registered as ``name``, or found at ``module:Name``. Raises RecipeError when unknown."""
    maker = load_plug_in("nas.runtimes", name, "target's runtime")
    assert callable(maker)
    runtime: Runtime = maker()
    return runtime
