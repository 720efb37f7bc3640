"""Three agents of this machine measure as a pool."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import own_runtime
import pytest
from acting_models import latency_of
from boards_here import boards_here, profile_boards

from nas.hardware.benchmarking import DeviceBench
from nas.hardware.devices.pool import Pool
from nas.hardware.devices.registry import known
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.pool_bench import MEMBER, PoolBench
from nas.hardware.runtimes.runtime import Deployed
from nas.values.target import Target

TARGET = Target("own_runtime:OnBoard", device="pis")
NAMES = ("pi1", "pi2", "pi3")
MODELS = int(os.environ.get("NAS_POOL_MODELS", "9"))
"""The number of models that sleep. The target is stated for 60."""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the boards of these tests are started by a shell")


def sleeping(folder: Path, count: int, deed: str) -> list[Deployed]:
    models = []
    for number in range(count):
        (folder / f"m{number}").mkdir()
        (folder / f"m{number}" / "a.txt").write_text(deed.format(1 + number))
        models.append(Deployed(folder / f"m{number}" / "a.txt", weight_bytes=1))
    return models


@pytest.fixture
def pool(acting: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    monkeypatch.setattr("nas.formats.export.export_model", own_runtime.write_unread)
    boards_here(tmp_path, NAMES)
    found = Pool(known("pis"))
    profile_boards(TARGET, found)
    yield found
    for board in found.boards:
        board.close()


@pytest.mark.slow
def test_a_board_that_is_lost_for_good_is_left_out(pool: Pool, tmp_path: Path) -> None:
    """Nothing is lost, and nothing counts twice."""
    said: list[str] = []
    settings = BenchSettings(3, 3, seconds_per_round=0.001, min_samples=1)
    bench = PoolBench(TARGET, settings, pool, say=said.append)
    lost = pool.boards[1]
    os.kill(lost.ask("info")[0]["agent"], signal.SIGKILL)
    Path(lost.record.python).unlink()
    found = bench.measure(sleeping(tmp_path, 6, "clock {}"), ["latency_ms"], np.random.default_rng(0))
    for number, outcome in enumerate(found):
        assert isinstance(outcome, dict), outcome
        latency = outcome["latency_ms"]
        assert latency.conditions[MEMBER] in ("pi1", "pi3")
        assert (latency.target, len(latency.rounds)) == (str(TARGET), 3)
        assert {sample for samples in latency.rounds for sample in samples} == {1.0 + number}
    assert any(text.startswith("pi2 of pis is set aside: ") for text in said)


@pytest.mark.slow
def test_three_boards_share_the_models_and_the_time(pool: Pool, tmp_path: Path) -> None:
    """With models that sleep, because all boards share the cores of this machine."""
    settings = BenchSettings(2, 2, seconds_per_round=0.001, min_samples=1)
    alone = DeviceBench(TARGET, settings, device=pool.boards[0])
    together = PoolBench(TARGET, settings, pool)
    models, took_s = sleeping(tmp_path, MODELS, "take 20"), []
    for bench in (alone, together):
        bench.measure(models[:3], ["latency_ms"], np.random.default_rng(0))  # everything is opened
        began_s = time.monotonic()
        found = bench.measure(models, ["latency_ms"], np.random.default_rng(0))
        took_s.append(time.monotonic() - began_s)
        measured = [latency_of(outcome) for outcome in found]
    shares = Counter(latency.conditions[MEMBER] for latency in measured)
    assert set(shares) == set(NAMES)
    assert max(shares.values()) <= MODELS / 2
    assert took_s[1] <= 0.75 * took_s[0]  # a third and what starting a round takes; more where the machine is busy
