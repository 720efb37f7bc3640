"""Fixtures of whole runs in this process."""

from __future__ import annotations

import pytest
from quick_runs import EXPORT, write_any_model


@pytest.fixture
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates are not exported, because the fake bench does not open them; winners are."""
    monkeypatch.setattr(EXPORT, write_any_model)
