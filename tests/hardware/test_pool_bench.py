"""A pool spreads models over its devices, and goes on without those that fail or drift."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import CandidateError, RecipeError, TargetError
from nas.hardware import pool_bench
from nas.hardware.bench import Outcome
from nas.hardware.devices import board as boards
from nas.hardware.devices.board import Board
from nas.hardware.devices.named import device_of
from nas.hardware.devices.pool import FIRST_REST_S, Pool
from nas.hardware.devices.registry import DeviceRecord, save
from nas.hardware.latency_rounds import BenchSettings
from nas.hardware.pool_bench import MEMBER, PoolBench, bench_on
from nas.hardware.runtimes.runtime import Deployed
from nas.hardware.target_profile import TargetProfile, fingerprint_of, hardware_of
from nas.values.measurement import Measurement
from nas.values.target import Target

TARGET = Target("onnxruntime-cpu", device="pis")
GONE, RNG = TargetError("it is gone."), np.random.default_rng
Deed = Callable[[str, Sequence[Deployed]], None]


def profile(reference_ms: float = 0.2, doubtful: str = "", **hardware: Any) -> TargetProfile:
    return TargetProfile(
        "f", str(TARGET), {"cores": 4, **hardware}, Path("r"), reference_ms, "2026-11-01", None, None, None, None,
        "wall", doubtful, "",
    )  # fmt: skip


class ActingBench:
    """The bench of one device, which does as the test says. ``asked`` has the models of each request."""

    asked: list[tuple[str, list[str]]]
    deeds: dict[str, Deed]
    drifts: dict[str, float]
    profiles: dict[str, TargetProfile]

    def __init__(self, target: Target, settings: BenchSettings, *, device: Board, **_: object) -> None:
        self._name = device.name
        self.device_s, self.profiles_layers, self.model_format = 1.0, False, "onnx"
        self.deeds.get(f"open {device.name}", lambda *_: None)(device.name, ())

    @property
    def profile(self) -> TargetProfile:
        self.deeds.get(f"profile {self._name}", lambda *_: None)(self._name, ())
        return self.profiles.get(self._name, profile())

    def check(self, metrics: Sequence[str]) -> None:
        if "energy_mj" in metrics:
            self.check_meter()

    def check_meter(self) -> None:
        self.deeds.get(f"meter {self._name}", lambda *_: None)(self._name, ())

    def can_measure(self, metric: str) -> bool:
        self.check([metric])
        return True

    def measure(
        self, models: Sequence[Deployed], metrics: Sequence[str], rng: np.random.Generator, advance: Callable[[], None]
    ) -> list[Outcome]:
        self.check(metrics)
        self.asked.append((self._name, [model.path.name for model in models]))
        for _ in models:
            advance()
        self.deeds.get(self._name, lambda *_: None)(self._name, models)
        drift = self.drifts.get(self._name, 1.0)
        return [
            CandidateError("measure", "refused")
            if model.path.name == "bad"
            else {
                name: Measurement(name, str(TARGET), ((1.0,), (1.0,)), drifts=(drift, drift) if "_ms" in name else ())
                for name in metrics
            }
            for model in models
        ]


def fail(name: str, models: Sequence[Deployed]) -> None:
    raise GONE


def models_named(*names: str) -> list[Deployed]:
    return [Deployed(Path(name), weight_bytes=1) for name in names]


@pytest.fixture
def acting_bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[ActingBench]:
    """Three devices in a pool, with benches that act."""
    monkeypatch.setenv("NAS_HOME", str(tmp_path))
    monkeypatch.setattr(pool_bench, "DeviceBench", ActingBench)
    monkeypatch.setattr(boards, "PAUSES_S", (0.0, 0.01))
    for name, value in (("asked", []), ("deeds", {}), ("drifts", {}), ("profiles", {})):
        monkeypatch.setattr(ActingBench, name, value, raising=False)
    for number in (1, 2, 3):
        save(DeviceRecord(f"pi{number}", "local:"))
    return ActingBench


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(acting_bench: type[ActingBench], clock: Clock) -> Pool:
    return Pool(DeviceRecord("pis", "pool:pi1,pi2,pi3"), clock)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def opened(pool: Pool, said: list[str]) -> Callable[..., PoolBench]:
    return lambda **settings: PoolBench(TARGET, BenchSettings(2, 2, **settings), pool, say=said.append)


def measured(bench: PoolBench, *names: str) -> list[str]:
    """Return the device of each model, or the reason of its failure."""
    found = bench.measure(models_named(*names), ["latency_ms"], RNG(0))
    return [
        each.reason if isinstance(each, CandidateError) else each["latency_ms"].conditions[MEMBER] for each in found
    ]


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


class TestLikeness:
    @pytest.mark.parametrize(
        ("other", "told"),
        [
            (profile(0.23), r"pi3 differs: the reference model takes 0\.23 ms there, not 0\.2 ms\. .*pi3/…"),
            (profile(0.2, cores=2), r"pi3 differs: cores 2, not 4"),
        ],
    )
    def test_devices_that_differ_are_refused(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], other: TargetProfile, told: str
    ) -> None:
        acting_bench.profiles["pi3"] = other
        bench = opened()
        with pytest.raises(TargetError, match=told):
            measured(bench, "a", "b")

    def test_latencies_are_corrected_to_the_median(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench]
    ) -> None:
        acting_bench.profiles |= {"pi1": profile(0.2), "pi2": profile(0.204), "pi3": profile(0.195)}
        bench = opened()
        measured(bench, "a", "b", "c")
        assert bench.profile.reference_ms == 0.2
        changed = [each.compared_with(profile(0.195)).reference_ms for each in bench._benches.values()]  # type: ignore[attr-defined]
        assert changed == [0.2] * 3

    def test_doubtful_speeds_tell_nothing(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench]
    ) -> None:
        acting_bench.profiles["pi1"] = profile(0.4, "the machine was busy")
        assert opened().profile.reference_ms == 0.2

    def test_doubtful_speeds_of_larger_models_do_not_move_the_median(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench]
    ) -> None:
        """Nor is a sound device refused because others were crowded."""
        crowded = replace(profile(), medium_reference_ms=1.5, large_reference_ms=3.0, large_doubtful="it was busy")
        sound = replace(profile(), medium_reference_ms=1.0, large_reference_ms=2.0)
        acting_bench.profiles |= {"pi1": crowded, "pi2": crowded, "pi3": sound}
        found = opened().profile
        assert (found.medium_reference_ms, found.large_reference_ms, found.is_sound) == (1.0, 2.0, True)

    def test_what_is_doubtful_at_first_is_found_again(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench]
    ) -> None:
        names = ("pi1", "pi2", "pi3")
        acting_bench.profiles |= dict.fromkeys(names, profile(0.3, "the machine was busy"))
        bench = opened()
        before = bench.fingerprint
        assert bench.fingerprint == before
        acting_bench.profiles |= dict.fromkeys(names, replace(profile(0.2), recorded="2026-11-02"))
        measured(bench, "a")
        assert bench.profile == acting_bench.profiles["pi1"]
        assert bench.fingerprint != before

    def test_one_that_turns_out_to_be_unlike_is_set_aside(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], said: list[str]
    ) -> None:
        """The run goes on with the others."""
        acting_bench.profiles["pi3"] = profile(0.3, "the machine was busy")
        bench = opened()
        assert bench.profile.reference_ms == 0.2
        acting_bench.profiles["pi3"] = replace(profile(0.3), recorded="2026-11-02")
        assert set(measured(bench, "a", "b", "c")) == {"pi1", "pi2"}
        assert "the reference model takes 0.3 ms there, not 0.2 ms" in said[0]
        assert bench.fingerprint == bench.fingerprint

    def test_speeds_and_fingerprint_do_not_depend_on_which_devices_answer(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], pool: Pool
    ) -> None:
        """So a resumed run finds its measurements. Once a device was measured again, all that answer count."""
        speeds = {"pi1": 0.2, "pi2": 0.204, "pi3": 0.208}
        acting_bench.profiles |= {name: replace(profile(ms), recorded=name) for name, ms in speeds.items()}
        first = opened()
        before = first.profile.reference_ms, first.fingerprint
        for name in speeds:
            acting_bench.deeds = {f"open {name}": fail}
            pool.wake()
            bench = opened()
            assert (bench.profile.reference_ms, bench.fingerprint) == before
        acting_bench.deeds = {"open pi3": fail}
        acting_bench.profiles["pi1"] = replace(profile(0.202), recorded="later")
        pool.wake()
        bench = opened()
        assert bench.profile.reference_ms == 0.204
        assert bench.fingerprint != before[1]
        acting_bench.profiles["pi1"] = replace(profile(0.1), recorded="faster")
        acting_bench.profiles["pi2"] = replace(profile(0.102), recorded="faster")
        pool.wake()
        assert opened().profile.reference_ms == pytest.approx(0.101)

    def test_doubtful_speeds_of_devices_that_are_gone_do_not_count(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], pool: Pool
    ) -> None:
        acting_bench.deeds = {"open pi2": fail, "open pi3": fail}
        acting_bench.profiles["pi1"] = profile(0.4, "the machine was busy")
        assert opened().profile.reference_ms == 0.4
        pool.wake()
        acting_bench.deeds = {"open pi1": fail}
        assert opened().profile == profile()

    def test_the_profile_does_not_depend_on_which_device_answers_first(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench]
    ) -> None:
        acting_bench.profiles |= {f"pi{number}": profile(machine=f"m{number}") for number in (1, 2, 3)}
        others = threading.Barrier(3)
        acting_bench.deeds |= {f"profile pi{number}": lambda *_: others.wait(10) and None for number in (2, 3)}
        acting_bench.deeds["profile pi1"] = lambda *_: others.wait(10) and time.sleep(0.05)
        assert opened().profile.hardware["machine"] == "m1"

    def test_a_damaged_file_of_speeds_is_made_anew(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench], tmp_path: Path
    ) -> None:
        before = opened().fingerprint
        (kept,) = (tmp_path / "pools").iterdir()
        for damaged in ("{", "[]", '{"pi1": 1}', '{"pi1": {"reference_ms": -1}}'):
            kept.write_text(damaged)
            assert opened().fingerprint == before

    def test_the_fingerprint_does_not_depend_on_which_machine_measures(
        self, opened: Callable[..., PoolBench], acting_bench: type[ActingBench]
    ) -> None:
        acting_bench.profiles |= {f"pi{number}": profile(machine=f"m{number}") for number in (1, 2, 3)}
        first = opened().fingerprint
        acting_bench.profiles |= {f"pi{number}": profile(machine=f"n{number}") for number in (1, 2, 3)}
        assert opened().fingerprint == first


class TestSameBoards:
    def test_copies_of_one_card_have_profiles_of_their_own(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        """Their systems tell the same identifier, or none."""
        facts = {"processor": "", "architecture": "", "system": "", "cores": 4, "memory_bytes": 1, "cache_bytes": {}}
        for identifier in ("abc", None):
            told = {"facts": {**facts, "machine_id": identifier}}
            monkeypatch.setattr(Board, "ask", lambda board, op, told=told: (told, b""))
            boards = Pool(pool.record).boards
            assert len({fingerprint_of(TARGET, hardware_of({}, board.facts)) for board in boards}) == 3

    def test_one_is_waited_for_where_it_is_a_target_of_its_own(self, pool: Pool) -> None:
        alone = device_of(Target("onnxruntime-cpu", device="pi1"))
        assert isinstance(alone, Board)
        assert not alone.has_others
        assert all(board.has_others for board in pool.boards)


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
