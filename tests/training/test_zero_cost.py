"""Scores of untrained networks match their papers' definitions, and predict errors in the same order."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tiny_space import TinySpace
from torch import nn

from nas.errors import CandidateError
from nas.space.architecture import Architecture
from nas.space.signature import image_signature
from nas.tasks.data_source import DataSource
from nas.training.zero_cost import (
    ScoreMap,
    ScoreName,
    ScorePrior,
    ZeroCostEvaluation,
    fit_score_map,
    naswot,
    snip,
    synflow,
)

DIGITS = DataSource(name="digits")


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU(inplace=True), nn.GELU(), nn.Hardswish()])
def test_naswot_is_the_log_determinant_of_agreements(activation: nn.Module) -> None:
    """The agreements are counted one by one, over two layers in sequence."""
    torch.manual_seed(0)
    first, second = nn.Linear(6, 40), nn.Linear(40, 30)
    images = torch.randn(5, 6)
    with torch.no_grad():
        seen = [first(images), second(activation(first(images)))]
    codes = np.hstack([(layer > 0).numpy() for layer in seen])
    agreements = np.array([[(one == other).sum() for other in codes] for one in codes], dtype=float)
    module = nn.Sequential(first, activation, second, activation)
    assert naswot(module, (images,)) == pytest.approx(np.linalg.slogdet(agreements).logabsdet, rel=1e-6)


def test_images_that_are_seen_alike_score_lowest() -> None:
    """A network that cannot tell two images apart scores minus infinity."""
    module = nn.Sequential(nn.Linear(6, 40), nn.ReLU())
    assert naswot(module, (torch.ones(3, 6),)) == -math.inf


def test_synflow_adds_up_all_paths() -> None:
    """In a chain of n linear layers, each layer has the same flow: the product of all absolute weights."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False), nn.Linear(3, 2, bias=False))
    first, second = (np.abs(module[index].get_parameter("weight").detach().double().numpy()) for index in (1, 2))
    flow = (second @ first @ np.ones(4)).sum()
    assert synflow(module, image_signature((1, 2, 2), 2)) == pytest.approx(math.log(2 * flow), rel=1e-9)


def test_a_map_reproduces_errors_on_a_line() -> None:
    """The log of the error falls linearly with the score, and no error is above 1."""
    scores = [10.0, 11.0, 13.0, 17.0]
    errors = [math.exp(0.2 - 0.3 * score) for score in scores]
    fitted = fit_score_map(scores, errors, 10**6)
    assert [fitted.error(score) for score in scores] == pytest.approx(errors)
    assert fitted.error(-100) == 1.0


def test_a_map_of_errors_without_an_upper_bound_goes_beyond_1() -> None:
    """As of values that are not standardised; but scores far away do not overflow."""
    errors = [math.exp(6 - 0.3 * score) for score in (1.0, 2.0, 3.0)]
    fitted = fit_score_map([1.0, 2.0, 3.0], errors, 100, math.inf)
    assert fitted.error(2.0) == pytest.approx(errors[1])
    assert fitted.error(-1e9) == pytest.approx(10 * errors[0])


def test_a_map_keeps_the_order_of_the_scores() -> None:
    """It holds for errors that rise with scores and for an error of 0; one score alone is refused."""
    fitted = fit_score_map([1.0, 2.0, 3.0], [0.0, 0.2, 0.3], 100)
    errors = [fitted.error(score) for score in (1.0, 2.0, 3.0)]
    assert errors == sorted(errors, reverse=True)
    assert len(set(errors)) == 3
    with pytest.raises(ValueError, match="two different scores"):
        fit_score_map([2.0, 2.0], [0.1, 0.2], 100)


def test_snip_adds_up_how_much_the_loss_depends_on_each_weight() -> None:
    """Each weight in turn is reduced a little as a check; biases do not count."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    images, labels = torch.randn(8, 3, dtype=torch.float64), torch.arange(8) % 2

    def loss() -> float:
        with torch.no_grad():
            return float(nn.functional.cross_entropy(module(images), labels))

    before, total, part = loss(), 0.0, 1e-6
    for layer in (module[0], module[2]):
        weights = layer.get_parameter("weight").detach().flatten()
        for index, value in enumerate(weights.tolist()):
            weights[index] = value * (1 - part)
            total += abs(loss() - before) / part
            weights[index] = value
    assert snip(module, (images,), labels, nn.functional.cross_entropy) == pytest.approx(math.log(total), rel=1e-3)


def evaluate(
    seed: int = 0, score: ScoreName = "snip", score_map: ScoreMap | None = None, space: TinySpace | None = None
) -> dict[str, Any]:
    task = ZeroCostEvaluation(space or TinySpace(), DIGITS, score, 32, "cpu", 1, score_map)
    (report,) = task({"id": "a", "architecture": {"width": 16, "depth": 1, "kernel": 3}, "seed": seed})
    return report


@pytest.mark.parametrize("score", get_args(ScoreName))
def test_every_score_ranks_the_largest_first(score: ScoreName) -> None:
    """The largest scores above the smallest, for every seed if the seed draws the weights."""
    for seed in (0, 1):
        found = []
        for values in ({"width": 4, "depth": 0}, {"width": 16, "depth": 2, "kernel": 3}):
            task = ZeroCostEvaluation(TinySpace(), DIGITS, score, 32, "cpu", 1)
            found.append(next(task({"architecture": values, "seed": seed}))["score"])
        assert found[0] < found[1]


def test_an_evaluation_is_one_report() -> None:
    """It repeats for the same seed, holds an error if there is a map, and restores the random state."""
    DIGITS.load()
    before = torch.get_rng_state()
    report = evaluate()
    assert (report["epoch"], report["by"], report["done"]) == (1, "zero-cost", True)
    assert "error" not in report
    assert report["score"] == evaluate()["score"] != evaluate(seed=1)["score"]
    given = ScoreMap(report["score"] - 2, 4.0, math.log(0.5), -1.0)
    assert evaluate(score_map=given)["error"] == pytest.approx(0.5 * math.exp(-0.5))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_without_rectifiers_has_no_score() -> None:
    """It fails with a reason."""

    class Plain(TinySpace):
        def build(self, architecture: Architecture) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    with pytest.raises(CandidateError, match="must be finite") as caught:
        evaluate(score="naswot", space=Plain())
    assert caught.value.kind == "nan"


def test_a_prior_scores_each_network_once() -> None:
    """A score equals an evaluation with the same seed; it is NaN for a network that cannot be built or run."""

    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("an inplace operation")

    class Partly(TinySpace):
        def build(self, architecture: Architecture) -> nn.Module:
            built.append(architecture)
            if architecture["width"] == 8 and architecture["depth"] == 0:
                raise ValueError("no such width")
            return Broken() if architecture["width"] == 8 else super().build(architecture)

    built: list[Architecture] = []
    small, broken, large = (Architecture({"width": width, "depth": 0}) for width in (4, 8, 16))
    prior = ScorePrior(ZeroCostEvaluation(Partly(), DIGITS, "snip", 32, "cpu", 1), lambda each: int(each["width"]))
    scores = prior([small, broken])
    again = prior([large, broken, small])
    assert len(built) == 3
    assert np.isnan(prior([Architecture({"width": 8, "depth": 1})])).all()
    (report,) = ZeroCostEvaluation(TinySpace(), DIGITS, "snip", 32, "cpu", 1)({"architecture": small, "seed": 4})
    assert scores[0] == again[2] == report["score"]
    assert np.isfinite(again[0])
    assert np.isnan(scores[1])
    assert np.isnan(again[1])
