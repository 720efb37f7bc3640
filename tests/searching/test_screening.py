"""What is known of candidates before training, and which proposals are let through."""

from __future__ import annotations

from collections.abc import Sequence

import made_up_screen
import numpy as np
import pytest
from fake_predictor import FakePredictor, Settings, fake_settings, fit_fake
from tiny_space import TinySpace
from torch import nn

from nas.errors import CandidateError
from nas.searching.knowledge import Knowledge
from nas.searching.screening import Screen
from nas.space.architecture import Architecture, Choice
from nas.space.layer import total_macs
from nas.space.search_space import SearchSpace, enumerate_space
from nas.values.evaluation import Evaluation
from nas.values.measurement import Measurement

ALL = tuple(enumerate_space(TinySpace()))


def screen_of(*limits: str, space: SearchSpace | None = None) -> Screen:
    return made_up_screen.screen_of(*limits, objectives=("error", "latency_ms"), space=space)


def latencies(screen: Screen, architectures: Sequence[Architecture]) -> np.ndarray:
    """A microsecond for a thousand multiply-accumulates, and one more."""
    return np.array([1e-3 + 1e-6 * total_macs(screen.describer.layers(a)) for a in architectures])


def fitted(screen: Screen, settings: Settings) -> FakePredictor:
    with fake_settings(settings):
        return fit_fake(screen.describer, ALL, latencies(screen, ALL), target="cpu", seed=0)


def measured(architecture: Architecture, latency_ms: float) -> Knowledge:
    found = {"latency_ms": Measurement("latency_ms", "cpu", ((latency_ms,),))}
    return Knowledge([Evaluation("measure", architecture, measurements=found)])


def relying(limit_share: float, half_width: float = 0.1) -> tuple[Screen, Architecture, float]:
    """A screen whose limit is ``limit_share`` of what is predicted of an architecture, that one, and its latency."""
    some = ALL[len(ALL) // 2]
    unlimited = screen_of()
    mean = float(fitted(unlimited, Settings()).predict([some]).mean[0])
    screen = screen_of(f"latency_ms <= {mean * limit_share}")
    screen.rely_on({"latency_ms": fitted(screen, Settings(half_width=lambda samples: half_width))})
    return screen, some, mean


def test_what_was_trained_to_check_others_by_is_not_taken_for_measured() -> None:
    """It may still be measured, and only then surely meets a limit."""
    screen, some, _ = relying(1.1)
    checked = Knowledge([Evaluation("check", some, values={"error": 0.1})])
    assert not checked.measurements
    assert screen.probably_meets(some, checked)
    assert not screen.surely_meets(some, checked)


class TestLimits:
    def test_a_proposal_whose_bound_is_within_the_limit_is_let_through(self) -> None:
        """The one-sided bound lies 9 % above the mean here, and the limit 10 %."""
        screen, some, _ = relying(1.1)
        assert screen.lets_through(some, Knowledge())
        assert not screen.turned_away
        assert not screen.near_limits

    def test_one_whose_mean_is_beyond_the_limit_is_turned_away(self) -> None:
        """It is counted by the limit, and not worth measuring."""
        screen, some, _ = relying(0.99)
        assert not screen.lets_through(some, Knowledge())
        assert not screen.lets_through(some, Knowledge()), "nor when it comes again, but it is not counted twice"
        assert dict(screen.turned_away) == {str(screen.limits[0]): 1}
        assert not screen.near_limits

    def test_one_in_between_is_turned_away_for_a_reason_of_its_own_and_remembered(self) -> None:
        """Measuring it would tell."""
        screen, some, _ = relying(1.05)
        assert screen.probably_meets(some, Knowledge())
        assert not screen.lets_through(some, Knowledge())
        assert dict(screen.turned_away) == {f"{screen.limits[0]}: too near to tell": 1}
        assert list(screen.near_limits) == [some]

    @pytest.mark.parametrize(("share", "passes"), [(1.04, True), (1.06, False)])
    def test_what_was_measured_decides_where_a_bound_does_not(self, share: float, passes: bool) -> None:
        """Whatever is predicted."""
        screen, some, mean = relying(1.05)
        knowledge = measured(some, share * mean)
        assert screen.doubtful_limits(some, knowledge) == []
        assert screen.lets_through(some, knowledge) == passes
        assert not screen.near_limits

    def test_without_caution_the_mean_decides_until_the_next_fit(self) -> None:
        """Caution is dropped only where that lets something through."""
        screen, some, _ = relying(1.05)
        assert not screen.drop_caution()
        assert not screen.lets_through(some, Knowledge())
        assert screen.drop_caution()
        assert screen.lets_through(some, Knowledge())
        assert not screen.drop_caution()
        screen.rely_on({"latency_ms": fitted(screen, Settings(half_width=lambda samples: 0.1))})
        assert not screen.near_limits
        assert not screen.lets_through(some, Knowledge())

    def test_a_counted_limit_knows_no_doubt(self) -> None:
        """What is counted is exact."""
        screen = screen_of("macs <= 1G")
        assert screen.lets_through(ALL[0], Knowledge())


class TestPredicting:
    def test_many_are_predicted_at_once(self) -> None:
        """One call for all, and none for those that were predicted before."""
        settings, screen = Settings(), screen_of()
        screen.rely_on({"latency_ms": fitted(screen, settings)})
        one = screen.predicted(ALL[0])
        screen.predict_all([*ALL, *ALL])
        assert screen.predicted(ALL[0]) == one
        assert all("latency_ms" in screen.predicted(architecture) for architecture in ALL)
        assert settings.predicted == [1, len(ALL) - 1]

    def test_what_cannot_be_built_is_left_out(self) -> None:
        """Asked about alone it raises."""

        class Broken(TinySpace):
            def build(self, architecture: Architecture) -> nn.Module:
                if architecture == ALL[1]:
                    raise RuntimeError("no such width")
                return super().build(architecture)

        screen = screen_of(space=Broken())
        assert not screen.describer.can_be_built(ALL[1])
        screen.predict_all(ALL[:3])
        assert screen.predicted(ALL[2]) == {}
        with pytest.raises(CandidateError, match="no such width"):
            screen.predicted(ALL[1])

    def test_a_descent_predicts_neighbours_together(self) -> None:
        """It ends at the lowest, with one call for the starts and one for the new neighbours of each step."""
        settings, screen = Settings(), screen_of()
        screen.rely_on({"latency_ms": fitted(screen, settings)})
        lowest = screen.lowest(lambda a: screen.predicted(a)["latency_ms"].mean, [ALL[-1]])
        assert settings.predicted == [1, 5, 3, 2]
        assert lowest == min(ALL, key=lambda a: screen.predicted(a)["latency_ms"].mean)


class TestSpread:
    def test_the_smallest_and_the_largest_are_among_them(self) -> None:
        """All are different, and as many as were asked for."""
        screen = screen_of(space=Wide())
        chosen = screen.spread(8, np.random.default_rng(0), lambda architecture: True)
        assert len(set(chosen)) == 8
        macs = [total_macs(screen.describer.layers(a)) for a in enumerate_space(Wide())]
        found = [total_macs(screen.describer.layers(a)) for a in chosen]
        assert (min(found), max(found)) == (min(macs), max(macs))

    def test_what_is_taken_stays(self) -> None:
        """Others then stand for the rest; what is refused is not chosen."""
        screen, taken = screen_of(space=Wide()), list(enumerate_space(Wide()))[5:8]
        refused = list(enumerate_space(Wide()))[20]
        chosen = screen.spread(8, np.random.default_rng(0), lambda a: a != refused, taken)
        assert set(taken) < set(chosen)
        assert refused not in chosen
        assert len(chosen) == 8


class Wide(TinySpace):
    """Few enough that each is drawn."""

    choices = (Choice("width", tuple(range(2, 32))),)

    def build(self, architecture: Architecture) -> nn.Module:
        width = int(architecture["width"])
        return nn.Sequential(nn.Conv2d(1, width, 3), nn.Flatten(), nn.Linear(36 * width, 10))
