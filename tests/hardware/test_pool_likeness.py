"""The devices of a pool are alike, and have a profile in common that stays, whichever of them answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from acting_pool import TARGET, ActingBench, fail, measured, profile

from nas.errors import TargetError
from nas.hardware.devices.board import Board
from nas.hardware.devices.named import device_of
from nas.hardware.devices.pool import Pool
from nas.hardware.pool_bench import PoolBench
from nas.hardware.target_profile import TargetProfile, fingerprint_of, hardware_of
from nas.values.target import Target


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
