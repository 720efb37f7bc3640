"""A pool spreads models over its devices, and goes on without those that fail or drift."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

import pytest
from acting_pool import GONE, RNG, TARGET, ActingBench, Clock, fail, measured, models_named, profile

from nas.errors import CandidateError, RecipeError, TargetError
from nas.hardware.devices.board import Board
from nas.hardware.devices.named import device_of
from nas.hardware.devices.pool import FIRST_REST_S, Pool
from nas.hardware.devices.registry import DeviceRecord, save
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.pool_bench import PoolBench, bench_on
from nas.hardware.runtimes.runtime import Deployed
from nas.values.target import Target


def test_models_are_spread_and_come_back_in_order(
    opened: Callable[..., PoolBench], acting_bench: type[ActingBench], said: list[str]
) -> None:
    """One that fails is a row, and no reason to set its device aside. Steps are counted for each model."""
    steps: list[int] = []
    found = opened().measure(models_named("a", "b", "bad", "d"), ["latency_ms"], RNG(0), lambda: steps.append(1))
    assert [isinstance(each, CandidateError) for each in found] == [False, False, True, False]
    assert sorted(acting_bench.asked) == [("pi1", ["a", "d"]), ("pi2", ["b"]), ("pi3", ["bad"])]
    assert len(steps) == 4
    assert not said


def test_a_device_works_while_others_do(opened: Callable[..., PoolBench], acting_bench: type[ActingBench]) -> None:
    together = threading.Barrier(3)
    acting_bench.deeds |= dict.fromkeys(("pi1", "pi2", "pi3"), lambda *_: together.wait(10) and None)
    assert measured(opened(), "a", "b", "c") == ["pi1", "pi2", "pi3"]


def test_models_that_are_compared_stay_on_one_device(opened: Callable[..., PoolBench]) -> None:
    assert measured(opened(paired=True), "a", "b", "c") == ["pi1"] * 3


class TestSetAside:
    def test_a_device_that_fails(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], clock: Clock, said: list[str]
    ) -> None:
        """Others measure its models. It is told, tried again later, and told when it is back."""
        bench = opened()
        acting_bench.deeds["pi2"] = fail
        assert measured(bench, "a", "b", "c", "d", "e") == ["pi1", "pi1", "pi3", "pi1", "pi3"]
        assert said == ["pi2 of pis is set aside: it is gone. It is tried again in 1 min"]
        assert "pi2" not in measured(bench, "a", "b", "c")
        acting_bench.deeds.clear()
        clock.now_s += FIRST_REST_S
        assert measured(bench, "a", "b", "c") == ["pi1", "pi2", "pi3"]
        assert said[1:] == ["pi2 of pis measures again"]

    def test_one_that_fails_again_rests_longer(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], clock: Clock, said: list[str]
    ) -> None:
        bench = opened()
        acting_bench.deeds["pi2"] = fail
        for _ in range(6):
            measured(bench, "a", "b", "c")
            clock.now_s += 600
        assert [text.split(" in ")[1] for text in said] == ["1 min", "2 min", "4 min", "8 min", "10 min", "10 min"]

    def test_one_that_drifts(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], said: list[str]
    ) -> None:
        bench = opened()
        acting_bench.drifts["pi1"] = 1.25
        assert measured(bench, "a", "b", "c") == ["pi2", "pi2", "pi3"]
        assert said == ["pi1 of pis is set aside: it was slower than its pool by 25 %. It is tried again in 1 min"]

    @pytest.mark.parametrize("metric", ["item_ms", "sustained_latency_ms"])
    def test_one_that_drifts_in_another_latency(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], said: list[str], metric: str
    ) -> None:
        bench = opened()
        acting_bench.drifts["pi1"] = 1 / 1.4
        bench.measure(models_named("a", "b", "c"), ["weight_bytes", metric], RNG(0))
        assert said == ["pi1 of pis is set aside: it was faster than its pool by 29 %. It is tried again in 1 min"]

    def test_where_all_drift_their_measurements_count(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench]
    ) -> None:
        """With the flags that they have. No model is measured for ever."""
        acting_bench.drifts |= {"pi1": 1.25, "pi2": 1.25, "pi3": 0.8}
        assert set(measured(opened(), "a", "b", "c")) <= {"pi1", "pi2", "pi3"}
        assert len(acting_bench.asked) == 3

    def test_one_that_is_not_like_the_others_any_more(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], said: list[str]
    ) -> None:
        bench = opened()
        assert bench.profile
        acting_bench.profiles["pi3"] = profile(0.3)
        assert measured(bench, "a", "b", "c") == ["pi1", "pi2", "pi1"]
        assert "the reference model takes 0.3 ms there, not 0.2 ms" in said[0]


class TestFew:
    def test_nine_of_ten_are_gone(self, acting_bench: type[ActingBench], said: list[str]) -> None:
        for number in range(10):
            save(DeviceRecord(f"pi{number}", "local:"))
        acting_bench.deeds |= {f"open pi{number}": fail for number in range(9)}
        bench = PoolBench(
            TARGET,
            BenchSettings(2, 2),
            Pool(DeviceRecord("pis", "pool:" + ",".join(f"pi{number}" for number in range(10)))),
            say=said.append,
        )
        assert measured(bench, "a", "b") == ["pi9", "pi9"]
        assert len(said) == 9

    def test_none_that_opens_is_told(self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench]) -> None:
        acting_bench.deeds |= {f"open pi{number}": fail for number in (1, 2, 3)}
        with pytest.raises(TargetError, match=r"no device of pis can measure\. pi1: it is gone\. pi2: .*pi3: it is"):
            opened()

    def test_none_that_is_left_is_waited_for(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], said: list[str]
    ) -> None:
        """As while all boards start again. Then it is told of each why it cannot measure."""
        bench, tries = opened(), []
        acting_bench.deeds |= dict.fromkeys(("pi1", "pi2", "pi3"), fail)
        acting_bench.deeds["pi2"] = lambda *_: fail(*_) if not tries.append(1) and len(tries) < 3 else None
        assert measured(bench, "a") == ["pi2"]
        acting_bench.deeds["pi2"] = fail
        with pytest.raises(TargetError, match=r"no device of pis can measure\. pi"):
            measured(bench, "a")
        assert "no device of pis answers. They are tried again in 0 s" in said

    def test_those_that_are_gone_are_asked_at_once(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each of them takes seconds to be known as gone."""
        together = threading.Barrier(3)

        def why_unavailable(board: Board, target: Target) -> str | None:
            together.wait(10)
            return None if board.name == "pi2" else f"{board.name} cannot be reached."

        monkeypatch.setattr(Board, "why_unavailable", why_unavailable)
        assert pool.why_unavailable(TARGET) is None
        monkeypatch.setattr(Board, "why_unavailable", lambda board, target: f"{board.name} is off.")
        assert pool.why_unavailable(TARGET) == (
            f"no device of pis can measure {TARGET}. pi1 is off. pi2 is off. pi3 is off."
        )


class TestChecks:
    def test_one_that_fails_is_set_aside(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], said: list[str]
    ) -> None:
        """As one that is switched off: there are others to measure energies."""
        bench = opened()
        acting_bench.deeds["meter pi1"] = fail
        bench.check_meter()
        bench.check(["energy_mj"])
        assert bench.can_measure("energy_mj")
        assert said == ["pi1 of pis is set aside: it is gone. It is tried again in 1 min"]

    def test_one_that_fails_later_is_set_aside(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], said: list[str]
    ) -> None:
        bench = opened()
        acting_bench.deeds["meter pi1"] = fail
        assert len(bench.measure(models_named("a", "b", "c"), ["latency_ms", "energy_mj"], RNG(0))) == 3
        assert {name for name, _ in acting_bench.asked} == {"pi2", "pi3"}
        assert len(said) == 1

    def test_what_none_can_measure_is_refused(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], said: list[str]
    ) -> None:
        """No device is set aside, for it can measure something else."""
        bench = opened()
        acting_bench.deeds |= dict.fromkeys(("meter pi1", "meter pi2", "meter pi3"), fail)
        with pytest.raises(TargetError, match="it is gone"):
            bench.check(["energy_mj"])
        assert not said
        assert set(measured(bench, "a", "b", "c")) == {"pi1", "pi2", "pi3"}


class TestErrors:
    def test_a_bug_is_no_failure_of_a_device(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench]
    ) -> None:
        acting_bench.deeds["pi2"] = lambda *_: [][0]
        with pytest.raises(IndexError):
            measured(opened(), "a", "b", "c")

    @pytest.mark.skipif(sys.platform == "win32", reason="a program there does not send itself Ctrl-C alone")
    def test_control_c_ends_all_devices(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended, bench = threading.Event(), opened()
        monkeypatch.setattr(Board, "close", lambda board: ended.set())

        def wait(name: str, models: Sequence[Deployed]) -> None:
            if name == "pi3":
                os.kill(os.getpid(), signal.SIGINT)
            assert ended.wait(10)
            raise GONE

        acting_bench.deeds |= dict.fromkeys(("pi1", "pi2", "pi3"), wait)
        began_s = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            measured(bench, "a", "b", "c")
        assert time.monotonic() - began_s < 5


class TestNames:
    def test_a_target_may_begin_with_a_pool(self, acting_bench: type[ActingBench]) -> None:
        save(DeviceRecord("pis", "pool:pi1,pi2,pi3"))
        pool = device_of(TARGET)
        assert isinstance(pool, Pool)
        assert device_of(TARGET) is pool
        assert isinstance(bench_on(TARGET, BenchSettings(2, 2)), PoolBench)

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("pool:pi1", "a pool has at least two devices"),
            ("pool:pi1,pi1", "a pool has at least two devices"),
            ("pool:pi1,pi9", "names a device that was added, but got 'pi9'"),
        ],
    )
    def test_other_pools_are_refused(self, acting_bench: type[ActingBench], url: str, said: str) -> None:
        save(DeviceRecord("pis", url))
        with pytest.raises(RecipeError, match=said):
            device_of(TARGET)
