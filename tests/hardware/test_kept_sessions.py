"""Sessions that were finished before a stop are not measured again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acting_models import QUICK, as_they_are, latency_of, models_of
from own_runtime import opened

from nas.hardware.bench import Outcome
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.kept_sessions import KeptSessions, Visit
from nas.values.target import Target

DEEDS = {"a": "clock 1 0.01", "b": "clock 2 0.01", "c": "clock 2 0.01"}
SESSIONS = 5


def measured(
    target: Target, models: list[Path], kept: Path | None, advance: Callable[[], None] = lambda: None
) -> list[Outcome]:
    """Measure models in ``SESSIONS`` sessions, which are kept in a file."""
    bench = DeviceBench(target, replace(QUICK, rounds=SESSIONS, max_rounds=SESSIONS))
    bench.sessions = KeptSessions(kept)
    return bench.measure(as_they_are(models), ("latency_ms",), np.random.default_rng(0), advance)


def stopped_after(visits: int) -> Callable[[], None]:
    """Return an ``advance`` that stops the measuring after so many visits."""
    seen: list[None] = []

    def advance() -> None:
        seen.append(None)
        if len(seen) == visits:
            raise KeyboardInterrupt

    return advance


@pytest.mark.slow
def test_finished_ones_are_not_measured_again(acting: Target, tmp_path: Path) -> None:
    """A stop in the third session keeps two. Their samples are those of the result, and progress reaches its end."""
    models, file = models_of(tmp_path, DEEDS), tmp_path / "sessions.jsonl"
    with pytest.raises(KeyboardInterrupt):
        measured(acting, models, file, stopped_after(2 * len(models) + 1))
    kept = KeptSessions(file)
    assert len(kept) == 2
    before = len(opened(tmp_path))
    steps: list[None] = []
    outcomes = measured(acting, models, file, lambda: steps.append(None))
    assert len(opened(tmp_path)) - before == (SESSIONS - 2) * len(models)
    assert len(steps) == SESSIONS * len(models)
    fingerprint = DeviceBench(acting, QUICK).fingerprint
    for name, outcome in zip(kept.names(as_they_are(models)), outcomes, strict=True):
        visits = [visit for session in kept.of(fingerprint) for visit in session if visit.model == name]
        assert latency_of(outcome).rounds == tuple(tuple(visit.reply["samples"]) for visit in visits)
        assert len(visits) == SESSIONS
    again = measured(acting, models, file)
    assert [latency_of(each).median for each in again] == [latency_of(each).median for each in outcomes]
    assert len(opened(tmp_path)) - before == (SESSIONS - 2) * len(models)


@pytest.mark.slow
def test_only_those_of_the_same_files_and_speed_count(acting: Target, tmp_path: Path) -> None:
    """Others, and lines that are not as they were written, are left out; a model that is new gets all its sessions."""
    models, file = models_of(tmp_path, DEEDS), tmp_path / "sessions.jsonl"
    measured(acting, models[:2], file)
    models[0].write_text("clock 3 0.01")
    before = len(opened(tmp_path))
    measured(acting, models[:2], file)
    names = [name for name, _ in opened(tmp_path)[before:]]
    assert "a" in names
    assert "b" not in names
    lines = file.read_bytes().splitlines(keepends=True)
    kept = KeptSessions(file)
    assert kept.of("another speed") == []
    file.write_bytes(b"".join(lines)[:-9])
    assert len(kept) == len(lines) - 1
    file.write_bytes(lines[0].replace(b'"samples": [', b'"samples": [1') + lines[1])
    assert len(kept) == 1
    kept.clear()
    assert len(kept) == 0


def test_equal_models_have_visits_of_their_own(tmp_path: Path) -> None:
    """Names follow from what is in the files, and from the order of equal ones."""
    one, other, same = as_they_are(models_of(tmp_path, DEEDS))
    kept = KeptSessions(tmp_path / "sessions.jsonl")
    names = kept.names([one, other, same])
    assert len(set(names)) == 3
    assert kept.names([other, same]) == names[1:]
    kept.add("speed", [Visit(names[1], {"samples": [0.1]}, {"cores": 2})])
    assert kept.of("speed") == [[Visit(names[1], {"samples": [0.1]}, {"cores": 2})]]
