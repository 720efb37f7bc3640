"""Hardware-aware neural architecture search whose every Pareto point is measured on your machine."""

from __future__ import annotations

from nas.architecture import Architecture, Choice
from nas.layer import Layer

__all__ = ["Architecture", "Choice", "Layer"]
