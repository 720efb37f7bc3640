"""Rounds of latencies: their order, their end, a busy machine, and drift."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acting_models import QUICK, as_they_are, failure_of, latency_of, measure, models_of
from own_runtime import crowd, opened, slow_down

from nas.hardware import latency_rounds
from nas.hardware.benchmarking import DeviceBench
from nas.hardware.devices import local_device
from nas.hardware.devices.local_device import LocalDevice
from nas.hardware.disturbances import DOUBTFUL_REFERENCE, ROUND_REPEATS
from nas.hardware.latency_rounds import SURELY_HOPELESS, BenchSettings
from nas.hardware.runtimes.runtime import Deployed
from nas.values.measurement import SESSION_DOUBT, Measurement
from nas.values.target import Target

SURE = BenchSettings(rounds=5, max_rounds=15, precision=0.01, seconds_per_round=0.001, min_samples=4, timeout_s=30.0)


@pytest.fixture(autouse=True)
def _as_fast_as_it_was() -> Iterator[None]:
    for change in (slow_down, crowd):
        change(1.0)
    yield
    for change in (slow_down, crowd):
        change(1.0)


def bench_with(
    target: Target, settings: BenchSettings, caches: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> DeviceBench:
    """Return a bench of a device with such caches, whose speed is known all the same."""
    bench = DeviceBench(target, settings)
    _ = bench.profile
    monkeypatch.setattr(local_device, "cache_bytes", lambda: caches)
    bench._device = LocalDevice()
    return bench


class TestRounds:
    @pytest.mark.slow
    def test_are_interleaved_in_an_order_that_the_generator_decides(self, acting: Target, tmp_path: Path) -> None:
        """Each round visits every model once, in its own process, in an order set by the generator."""
        orders = []
        for number, seed in enumerate((0, 0, 1)):
            folder = tmp_path / str(number)
            folder.mkdir()
            settings = replace(QUICK, rounds=3)
            measure(acting, models_of(folder, dict.fromkeys("abcdef", "clock 1")), settings=settings, seed=seed)
            orders.append([name for name, _ in opened(folder)])
            processes = [process for _, process in opened(folder)]
            rounds = [processes[start : start + 6] for start in (0, 6, 12)]
            assert all(len(set(of_round)) == 1 for of_round in rounds)
            assert len(set(processes)) == 3
        first, same, other = orders
        assert first == same != other
        rounds_of_names = [first[start : start + 6] for start in (0, 6, 12)]
        assert all(sorted(order) == list("abcdef") for order in rounds_of_names)
        assert len({tuple(order) for order in rounds_of_names}) > 1

    def test_advance_with_each_model(self, acting: Target, tmp_path: Path) -> None:
        """Failed models and early ends count too, so that the progress bar reaches its end."""
        steps: list[None] = []
        models = models_of(tmp_path, {"a": "clock 1", "r": "refuse"})
        measure(acting, models, advance=lambda: steps.append(None))
        assert len(steps) == len(models) * DeviceBench(acting, QUICK).rounds

    @pytest.mark.slow
    def test_have_enough_samples(self, acting: Target, tmp_path: Path) -> None:
        """Slow models get ``min_samples`` samples, and short inferences are combined into longer samples."""
        slow, quick = measure(acting, models_of(tmp_path, {"s": "take 15", "q": "do nothing"}))
        # the minimum of three samples is spread over four blocks, with at least one in each
        assert [len(samples) for samples in latency_of(slow).rounds] == [4] * QUICK.rounds
        assert 15 <= latency_of(slow).raw_median < 100
        assert latency_of(slow).conditions["inferences_per_sample"] == 1
        assert latency_of(quick).conditions["inferences_per_sample"] > 1

    @pytest.mark.slow
    def test_under_pressure_are_repeated_and_then_flagged(self, acting: Target, tmp_path: Path) -> None:
        """A round on a busy machine is repeated, and flagged if the machine stays busy."""
        deeds = {"b": "busy", "o": "busy at first", "q": "clock 1"}
        busy, once, quiet = (latency_of(outcome) for outcome in measure(acting, models_of(tmp_path, deeds)))
        assert busy.flags == ("the machine was busy with other work while this was measured",)
        assert once.flags == quiet.flags == ()
        names = [name for name, _ in opened(tmp_path)]
        assert names.count("b") == QUICK.rounds * (1 + ROUND_REPEATS)
        assert names.count("o") == QUICK.rounds + 1
        assert names.count("q") == QUICK.rounds
        assert len(busy.rounds) == len(quiet.rounds) == QUICK.rounds

    @pytest.mark.slow
    def test_are_the_same_for_models_that_are_compared(self, acting: Target, tmp_path: Path) -> None:
        """Paired models go on together until all are settled, and a model that fails holds up no other."""
        deeds = {"exact": "clock 2", "wild": "clock 2 0.05", "bad": "refuse"}
        paired = replace(SURE, paired=True)
        exact, wild, bad = measure(acting, models_of(tmp_path, deeds), settings=paired)
        assert len(latency_of(exact).rounds) == len(latency_of(wild).rounds) > SURE.rounds
        assert not isinstance(bad, dict)
        alone = tmp_path / "alone"
        alone.mkdir()
        found = measure(acting, models_of(alone, {"a": "clock 2", "b": "clock 3"}), settings=paired)
        assert [len(latency_of(each).rounds) for each in found] == [SURE.rounds] * 2

    def test_end_when_every_model_has_failed(self, acting: Target, tmp_path: Path) -> None:
        """Nothing was read of the machine's speed then, and each model has its own reason."""
        outcomes = measure(acting, models_of(tmp_path, {"d": "die", "r": "refuse"}), settings=SURE)
        assert [failure_of(outcome)[0] for outcome in outcomes] == ["measure"] * 2

    @pytest.mark.slow
    def test_end_when_the_interval_is_narrow_enough(self, acting: Target, tmp_path: Path) -> None:
        """A model whose interval cannot become narrow gets no further rounds, but a flag."""
        deeds = {"exact": "clock 2", "scattered": "clock 2 0.012", "wild": "clock 2 0.2"}
        exact, scattered, wild = (
            latency_of(outcome) for outcome in measure(acting, models_of(tmp_path, deeds), settings=SURE)
        )
        assert len(exact.rounds) == SURE.rounds
        assert SURE.rounds < len(scattered.rounds) < SURE.max_rounds
        assert len(wild.rounds) == SURELY_HOPELESS, "far more than the most rounds would be needed"
        assert exact.scatter <= scattered.scatter <= SURE.precision < wild.scatter
        assert exact.flags == scattered.flags == ()
        (flag,) = wild.flags
        assert flag.startswith("the interval is wider than the requested ±1 %, after 9 sessions: sessions differ by ")
        assert flag.endswith("a later measurement may differ as much")
        assert scattered.interval.lower <= 2 <= scattered.interval.upper

    @pytest.mark.slow
    def test_that_differ_say_what_is_known_of_the_reason(
        self, acting: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The weights of one model fit the core's own cache; those of the other one share a cache with other work."""
        bench = bench_with(acting, SURE, {"L1": 32_000, "L2": 1_000_000, "L3": 32_000_000}, monkeypatch)
        paths = models_of(tmp_path, {"small": "clock 2 0.2", "large": "clock 2 0.2"})
        models = [Deployed(path, size) for path, size in zip(paths, (900_000, 14_000_000), strict=True)]
        small, large = (latency_of(each) for each in bench.measure(models, ["latency_ms"], np.random.default_rng(0)))
        assert "a later measurement may differ as much" in small.flags[0]
        assert "cache" not in small.flags[0]
        assert "14 MB of weights do not fit the core's own cache of 1 MB, so it matters how busy" in large.flags[0]


class TestDrift:
    @pytest.mark.slow
    def test_is_taken_out(self, acting: Target, tmp_path: Path) -> None:
        """Latencies are right although the machine becomes 4 % slower than recorded during the rounds."""
        models = models_of(tmp_path, {"a": "clock 1", "b": "clock 3"})
        visits = 0

        def advance() -> None:
            nonlocal visits
            visits += 1
            slow_down(1.0 if visits < 6 else 1.04)

        settings = replace(SURE, rounds=6, max_rounds=6, precision=1.0)
        found = [latency_of(outcome) for outcome in measure(acting, models, settings=settings, advance=advance)]
        for measurement, truth in zip(found, (1.0, 3.0), strict=True):
            assert measurement.drifts == pytest.approx((1, 1, 1, 1.04, 1.04, 1.04), abs=2e-3)
            assert measurement.median == pytest.approx(truth, rel=2e-3)
            assert measurement.raw_median == pytest.approx(1.02 * truth, rel=1e-3)
            assert measurement.interval.lower < truth < measurement.interval.upper
            assert measurement.flags == ()

    @pytest.mark.slow
    def test_a_much_slower_machine_gives_nearly_the_same_and_a_doubt(self, acting: Target, tmp_path: Path) -> None:
        """On a machine slowed by a factor of 1.2, latencies stay within 3 % and are flagged."""
        models = models_of(tmp_path, {"a": "clock 1 0.005", "b": "clock 3 0.005"})
        settings = replace(SURE, max_rounds=6)
        before = [latency_of(outcome) for outcome in measure(acting, models, settings=settings)]
        slow_down(1.2)
        after = [latency_of(outcome) for outcome in measure(acting, models, settings=settings)]
        for then, now in zip(before, after, strict=True):
            assert not any("slower" in flag for flag in then.flags)
            assert now.median == pytest.approx(then.median, rel=0.03)
            assert now.raw_median == pytest.approx(1.2 * then.median, rel=0.03)
            assert "the machine was slower by 20 % than when the target's reference speed was recorded" in now.flags
            assert now.half_width > 0.05 > then.half_width

    @pytest.mark.slow
    def test_of_one_round_is_not_taken_for_that_of_all(self, acting: Target, tmp_path: Path) -> None:
        """A short disturbance of one visit hardly moves the median."""
        visits = 0

        def advance() -> None:
            nonlocal visits
            visits += 1
            slow_down(1.5 if visits == 4 else 1.0)

        settings = replace(SURE, rounds=8, max_rounds=8, precision=10.0)
        (outcome,) = measure(acting, models_of(tmp_path, {"a": "clock 1"}), settings=settings, advance=advance)
        assert latency_of(outcome).median == pytest.approx(1.0, rel=0.03)
        assert statistics.median(latency_of(outcome).rounds[4]) == pytest.approx(1.5)


class TestReference:
    """A reference speed corrects latencies only where it can be trusted."""

    @pytest.mark.slow
    def test_that_is_doubtful_corrects_nothing(self, acting: Target, tmp_path: Path) -> None:
        """It was recorded 4 times too fast; only what changes during the rounds is corrected."""
        bench = DeviceBench(acting, SURE)
        known = bench.profile
        bench._profile = replace(known, reference_ms=known.reference_ms / 4, doubtful="the machine was busy")
        (outcome,) = bench.measure(
            as_they_are(models_of(tmp_path, {"a": "clock 3.64 0.02"})), ["latency_ms"], np.random.default_rng(0)
        )
        found = latency_of(outcome)
        assert found.median == pytest.approx(found.raw_median) == pytest.approx(3.64, rel=0.05)
        assert found.reference_doubt == DOUBTFUL_REFERENCE
        assert found.interval.upper > 3.64 * 1.04
        assert found.flags[-1].startswith("the target's reference speed is doubtful, because the machine was busy;")

    @pytest.mark.slow
    def test_is_known_as_well_as_its_sittings_agreed(self, acting: Target, tmp_path: Path) -> None:
        """All latencies share that doubt, as far as they follow the reference."""
        bench = DeviceBench(acting, SURE)
        bench._profile = replace(bench.profile, reference_doubt=0.03, larger_doubt=0.5)
        (outcome,) = bench.measure(
            as_they_are(models_of(tmp_path, {"a": "clock 1"})), ["latency_ms"], np.random.default_rng(0)
        )
        found = latency_of(outcome)
        assert found.reference_doubt == 0.03  # its weights fit a core's own cache
        assert found.half_width == pytest.approx(math.hypot(0.03, SESSION_DOUBT), rel=0.02)


class TestSharedCache:
    """Some models depend on how much of the cache that cores share is left to them."""

    def measured(
        self, acting: Target, folder: Path, monkeypatch: pytest.MonkeyPatch, responses: dict[str, float], size: int
    ) -> list[Measurement]:
        """Return latencies of models of 2 ms, while others take more of the cache with each visit."""
        paths = models_of(folder, {name: f"clock 2 0 {response}" for name, response in responses.items()})
        visits = 0

        def advance() -> None:
            nonlocal visits
            visits += 1
            slow_down(1 + 0.001 * visits)
            crowd(1 + 0.01 * visits)

        settings = replace(SURE, rounds=10, max_rounds=10, precision=1.0)
        models = [Deployed(path, size) for path in paths]
        bench, rng = bench_with(acting, settings, {"L2": 1_000_000}, monkeypatch), np.random.default_rng(0)
        return [latency_of(each) for each in bench.measure(models, ["latency_ms"], rng, advance)]

    @pytest.mark.slow
    def test_is_taken_out_as_far_as_a_model_responds(
        self, acting: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Three models whose weights exceed a core's own cache respond a little, as the reference does, and more."""
        responses = {"a": 0.2, "b": 1.0, "c": 1.5}
        found = self.measured(acting, tmp_path, monkeypatch, responses, 9_000_000)
        for measurement, response in zip(found, responses.values(), strict=True):
            assert measurement.raw_median > 2 * 1.13**response
            assert measurement.median == pytest.approx(2.0, rel=0.03)
            assert measurement.conditions["response_to_it"] == pytest.approx(response, abs=0.2)
            assert measurement.conditions["shared_cache_drift"] == pytest.approx(1.15, abs=0.03)
            assert measurement.interval.lower < 2.0 < measurement.interval.upper

    @pytest.mark.slow
    def test_is_left_in_where_weights_fit_the_cores_own_cache(
        self, acting: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The small reference model stands for such a model, and the large one is not even run."""
        (found,) = self.measured(acting, tmp_path, monkeypatch, {"a": 0.0}, 900_000)
        assert found.median == pytest.approx(2.0, rel=0.01)
        assert "shared_cache_drift" not in found.conditions
        assert found.drift < 1.02


@pytest.mark.parametrize(("rounds", "max_rounds"), [(1, 5), (5, 4)])
def test_settings_without_an_interval_are_refused(rounds: int, max_rounds: int) -> None:
    """At least two rounds are needed for a spread, and the maximum cannot be below the minimum."""
    with pytest.raises(ValueError, match=f"rounds must be at least 2 and at most max_rounds, got {rounds} of"):
        BenchSettings(rounds=rounds, max_rounds=max_rounds)


@pytest.mark.slow
def test_no_more_than_the_fewest_rounds_once_time_is_short(
    acting: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However wide the intervals; with time there are as many as may be, if they help."""
    monkeypatch.setattr(latency_rounds, "HOPELESS", math.inf)
    settings = replace(QUICK, rounds=2, max_rounds=5, precision=1e-9)
    counts = []
    for number, in_time in enumerate((True, False)):
        folder = tmp_path / str(number)
        folder.mkdir()
        bench = DeviceBench(acting, settings)
        bench.in_time = lambda in_time=in_time: in_time  # type: ignore[misc]
        models = as_they_are(models_of(folder, {"a": "clock 1 0.05"}))
        (outcome,) = bench.measure(models, ["latency_ms"], np.random.default_rng(0))
        assert isinstance(outcome, dict)
        counts.append(len(outcome["latency_ms"].rounds))
    assert counts == [5, 2]
