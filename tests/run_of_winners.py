"""A finished run in seconds, with two winners that break or meet a limit, in a space that is an object."""

from __future__ import annotations

from pathlib import Path

import pytest
from quick_runs import EXPORT, OneChoice, search, write_any_model

LIMIT = "latency_ms <= 1.2ms"


def write_run_of_winners(runs: Path) -> Path:
    """Search with a bench that measures nothing real, and return the run's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EXPORT, write_any_model)
        search(runs, OneChoice(), limits=[LIMIT], retraining={"epochs": 2, "winners": 2})
    return runs / "run"
