"""Runs of seconds whose predictor is the fake one: tests decide how wide its bounds are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from commands import evaluations_of
from fake_bench import latency_ms
from fake_predictor import NAME, Settings, fake_settings
from fault_spaces import Faulty
from quick_runs import Diary, instruments

import nas
from nas.space.search_space import enumerate_space
from nas.storage.journal import read_rows
from nas.storage.journal_rows import Fit
from nas.values.evaluation import Evaluation

BASE: Mapping[str, Any] = {
    "name": "run",
    "data": "digits",
    "trials": 6,
    "rounds": 2,
    "predictor": NAME,
    "measuring": {"initial": 6, "per_round": 2},
    "training": {"epochs": 1, "subset": 0.1},
    "early_stopping": {"enabled": False},
    "retraining": {"epochs": 1, "winners": 1},
    "execution": {"executor": "inline"},
}
MIDDLE_MS = float(np.median([latency_ms(architecture) for architecture in enumerate_space(Faulty())]))
LIMIT = f"latency_ms <= {MIDDLE_MS:.4g}ms"
"""A limit that half of the space meets."""


def search(runs: Path, settings: Settings, *, fingerprint: str | None = None, **changes: Any) -> Diary:
    """Search in ``Faulty``, and return what was told. The run is named ``run``."""
    diary: Diary = changes.pop("progress", Diary())
    recipe = {**BASE, **changes}
    with fake_settings(settings):
        nas.search(recipe, space=Faulty(), runs=runs, progress=diary, instruments=instruments(Faulty(), fingerprint))
    return diary


def resume(run: Path, settings: Settings, *, fingerprint: str | None = None) -> Diary:
    diary = Diary()
    with fake_settings(settings):
        nas.resume(run, space=Faulty(), progress=diary, instruments=instruments(Faulty(), fingerprint))
    return diary


def measured(run: Path, round_number: int) -> list[Evaluation]:
    """Return the measurements of a round that worked."""
    return [row for row in evaluations_of(run, "measure") if row.round == round_number and not row.failed]


def first_fits(run: Path) -> list[Fit]:
    """Return the fits before the first round."""
    return [fit for fit in read_rows(run, Fit) if fit.round == 0]


def told(diary: Diary, words: str) -> list[str]:
    """Return the messages that contain ``words``."""
    return [text for text in diary.news if words in text]
