"""One bad model does not spoil the measurements of the others, and an error releases the device."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acting_models import EVERYTHING, QUICK, as_they_are, failure_of, latency_of, measure, models_of
from own_runtime import REFERENCE_MS, opened

from nas.hardware.benchmarking import DeviceBench
from nas.hardware.devices.device_lock import lock_path
from nas.storage.file_lock import take
from nas.values.target import Target


class TestFailures:
    @pytest.mark.slow
    def test_spoil_nothing(self, acting: Target, tmp_path: Path) -> None:
        """A model that hangs, dies, raises, is refused or takes too much memory fails alone, and runs once."""
        deeds = {
            "h": "hang",
            "a": "clock 1",
            "d": "die",
            "r": "raise",
            "n": "refuse",
            "b": "clock 1",
            "p": "print",
            "g": "grow",
        }
        hung, first, dead, raised, refused, second, printed, grown = measure(
            acting, models_of(tmp_path, deeds), *EVERYTHING, settings=replace(QUICK, timeout_s=1.5)
        )
        assert failure_of(hung) == (
            "timeout",
            "the measuring process must answer within 1.5 s, but did not; it was ended.",
        )
        kind, reason = failure_of(dead)
        assert kind == "measure"
        assert reason.startswith("the measuring process ended with exit code -9 (killed, ")
        assert failure_of(raised) == (
            "measure",
            "own_runtime:Acting refused the model: RuntimeError: out of registers",
        )
        assert failure_of(refused) == (
            "measure",
            "own_runtime:Acting refused the model: ValueError: not a model of mine",
        )
        kind, reason = failure_of(grown)
        assert kind == "measure"
        assert "refused the model: " in reason
        assert "MemoryError" in reason
        for outcome in (first, second, printed):
            assert isinstance(outcome, dict)
            assert set(outcome) == set(EVERYTHING)
        names = [name for name, _ in opened(tmp_path)]
        assert [names.count(name) for name in "hdrng"] == [1, 1, 1, 1, 1]

    @pytest.mark.slow
    def test_a_worker_that_is_killed_takes_its_model_alone_with_it(self, acting: Target, tmp_path: Path) -> None:
        """If the system kills the measuring process, the next model gets a new one."""
        models = models_of(tmp_path, {"a": "clock 1", "w": "wait", "b": "clock 2"})
        os.mkfifo(tmp_path / "waiting")
        killed = threading.Thread(
            target=lambda: os.kill(int((tmp_path / "waiting").read_text()), signal.SIGKILL), daemon=True
        )
        killed.start()
        first, waited, second = measure(acting, models)
        killed.join()
        assert failure_of(waited)[1].startswith("the measuring process ended with exit code -9 ")
        assert latency_of(first).median == pytest.approx(1)
        assert latency_of(second).median == pytest.approx(2)

    @pytest.mark.slow
    def test_of_memory_alone_are_failures_too(self, acting: Target, tmp_path: Path) -> None:
        """Each memory reading has a process of its own, whose death fails only its model."""
        dead, fine = measure(acting, models_of(tmp_path, {"d": "die", "a": "clock 1"}), "peak_memory_mib")
        assert failure_of(dead)[0] == "measure"
        assert isinstance(fine, dict)
        assert fine["peak_memory_mib"].median > 0
        processes = [process for name, process in opened(tmp_path) if name == "a"]
        assert len(set(processes)) == len(processes) == 3

    @pytest.mark.slow
    def test_waiting_for_the_device_is_no_failure(self, acting: Target, tmp_path: Path) -> None:
        """Waiting for the device's lock counts neither towards a model's timeout nor as device time."""
        bench = DeviceBench(acting, replace(QUICK, timeout_s=1.0))
        assert bench.profile.reference_ms == pytest.approx(REFERENCE_MS)
        held = take(lock_path(), for_all=True)
        given_back = threading.Timer(1.5, held.close)
        before_s, began = bench.device_s, time.monotonic()
        given_back.start()
        (outcome,) = bench.measure(
            as_they_are(models_of(tmp_path, {"a": "clock 1"})), ["latency_ms"], np.random.default_rng(0)
        )
        elapsed_s = time.monotonic() - began
        given_back.join()
        assert latency_of(outcome).median == pytest.approx(1)
        assert elapsed_s > 1.5
        assert 0 < bench.device_s - before_s < elapsed_s - 1.4

    def test_the_device_is_given_back_after_an_error(self, acting: Target, tmp_path: Path) -> None:
        """An exception during a measurement releases the device's lock."""
        bench = DeviceBench(acting, QUICK)

        def stop() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            bench.measure(
                as_they_are(models_of(tmp_path, {"a": "clock 1"})), ["latency_ms"], np.random.default_rng(0), stop
            )
        take(lock_path(), for_all=True).close()
