"""The kernel's derivatives and the process, against straightforward computations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from made_up_devices import PRUNING_SPACE, SPACE, Device, drawn, sources_of

from nas.prediction.predictor import FloatArray, batch_of
from nas.space.architecture import Architecture
from predictors.features import feature_map
from predictors.gp import fit_gp
from predictors.processes.kernel import PRIOR, Hyperparameters, Inputs, Products, hypotheses
from predictors.processes.process import Process, Roots, fit_process, fit_values
from predictors.source_models import source_models

NOISE = Hyperparameters._fields.index("noise")
SOURCES = sources_of(drawn(60, seed=900))


def inputs_of(count: int, seed: int, kind: str = "plain") -> Inputs:
    """Return inputs of random architectures, drawn without ``canonical``, so that some choices may be dead."""
    space = PRUNING_SPACE if kind == "pruning" else SPACE
    batch = batch_of(space, drawn(count, seed))
    if kind == "with sources":
        return Inputs.of(*source_models(SPACE, SOURCES, ()).describe(batch))
    return Inputs.of(feature_map(space)(batch.descriptions))


def some_logs(seed: int = 0) -> FloatArray:
    """Return logarithms of hyperparameters near the prior."""
    logs: FloatArray = np.log(np.array(PRIOR)) + 0.5 * np.random.default_rng(seed).standard_normal(len(PRIOR))
    return logs


def values_of(inputs: Inputs, noise: float, seed: int = 0) -> FloatArray:
    """Return a draw of the process itself, with noise of this variance."""
    rng = np.random.default_rng(seed)
    covariance = Products(inputs, inputs).covariance(np.log(np.array(PRIOR)))
    factor = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(inputs)))
    drawn_values: FloatArray = factor @ rng.standard_normal(len(inputs))
    return drawn_values + math.sqrt(noise) * rng.standard_normal(len(inputs))


class TestKernel:
    """The covariance and its derivatives."""

    @pytest.mark.parametrize(("kind", "hyperparameters"), [("plain", 12), ("pruning", 12), ("with sources", 17)])
    def test_slopes_are_those_of_finite_differences(self, kind: str, hyperparameters: int) -> None:
        """Derivatives agree for each hyperparameter; those without a derivative affect only the noise."""
        products = Products(inputs_of(7, 0, kind), inputs_of(5, 1, kind))
        logs = some_logs()
        covariance, slopes = products.covariance_and_slopes(logs)
        np.testing.assert_allclose(covariance, products.covariance(logs), rtol=1e-12)
        by_index = dict(slopes)
        assert NOISE not in by_index
        for index in range(len(logs)):
            step = np.zeros_like(logs)
            step[index] = 1e-5
            difference = (products.covariance(logs + step) - products.covariance(logs - step)) / 2e-5
            np.testing.assert_allclose(by_index.get(index, np.zeros((7, 5))), difference, atol=1e-8)
        assert len(by_index) == hyperparameters

    @pytest.mark.parametrize("kind", ["plain", "pruning", "with sources"])
    def test_the_covariance_is_one(self, kind: str) -> None:
        """It is symmetric, has no negative eigenvalues, and has ``variances`` on its diagonal."""
        inputs = inputs_of(30, 0, kind)
        covariance = Products(inputs, inputs).covariance(some_logs())
        np.testing.assert_allclose(covariance, covariance.T)
        np.testing.assert_allclose(np.diag(covariance), inputs.variances(some_logs()))
        assert np.linalg.eigvalsh(covariance).min() > -1e-10 * np.trace(covariance)

    def test_single_precision_is_close(self) -> None:
        """Inputs in single precision give nearly the same covariance, in single precision."""
        inputs = inputs_of(30, seed=0)
        single = inputs.as_type(np.float32)
        exact, quick = (Products(each, each).covariance(some_logs()) for each in (inputs, single))
        assert quick.dtype == np.float32
        np.testing.assert_allclose(quick, exact, atol=1e-5)

    def test_splits_join_to_the_whole(self) -> None:
        """Parts hold all rows in order."""
        inputs = inputs_of(70, seed=0)
        parts = list(inputs.split(3000))
        assert len(parts) > 1
        np.testing.assert_array_equal(np.vstack([part.blocks["written"] for part in parts]), inputs.blocks["written"])

    def test_what_is_dead_counts_by_belief(self) -> None:
        """Duplicates that differ in a dead choice are equal under the belief in the graph alone."""
        one = next(each for each in drawn(50, seed=0) if each["expansion0"] == 1 and each["kernel0"] == 5)
        twins = batch_of(PRUNING_SPACE, [one, Architecture({**one, "kernel0": 7})])
        inputs = Inputs.of(feature_map(PRUNING_SPACE)(twins.descriptions))
        differences = []
        for belief in hypotheses():
            covariance = Products(inputs, inputs).covariance(np.log(np.array(belief)))
            differences.append(1 - covariance[0, 1] / covariance[0, 0])
        written, _, graph = differences
        assert 0 < graph < 0.2 * written

    def test_every_belief_has_positive_hyperparameters(self) -> None:
        """Their logarithms must exist."""
        assert all(value > 0 for belief in hypotheses() for value in belief)
        assert len(set(hypotheses())) == len(hypotheses())


class TestRoots:
    """The scale of square roots."""

    @given(st.lists(st.floats(1e-3, 1e3), min_size=5, max_size=30), st.sampled_from([1e-9, 1.0, 1e12]))
    def test_means_of_no_width_come_back(self, values: list[float], unit: float) -> None:
        """Values convert to roots and back to logarithms, except those below 1/400 of the median."""
        measured = np.array(values) * unit
        roots = Roots.of(measured)
        logs, spreads = roots.logs(roots(measured), np.zeros(len(measured)))
        ordinary = measured > np.median(measured) / 300
        np.testing.assert_allclose(logs[ordinary], np.log(measured[ordinary]), atol=1e-6)
        np.testing.assert_array_equal(spreads, 0)

    def test_roots_are_standardised(self) -> None:
        """They have mean zero and variance one."""
        values = np.random.default_rng(0).lognormal(size=50)
        roots = Roots.of(values)(values)
        assert roots.mean() == pytest.approx(0, abs=1e-9)
        assert roots.std() == pytest.approx(1)

    def test_spreads_reach_to_the_root_one_deviation_above(self) -> None:
        """By hand: the values four and nine have the roots two and three."""
        roots = Roots(log_median=0.0, mean=2.0, scale=1.0)
        logs, spreads = roots.logs(np.array([0.0]), np.array([1.0]))
        assert logs[0] == pytest.approx(math.log(4))
        assert spreads[0] == pytest.approx(math.log(9 / 4))

    def test_a_negative_root_is_a_very_small_value(self) -> None:
        """Far from the samples, a predicted root may fall below zero."""
        logs, _ = Roots(0.0, 1.0, 1.0).logs(np.array([-5.0]), np.array([0.1]))
        assert np.isfinite(logs[0])
        assert logs[0] < math.log(0.01)


def fit(inputs: Inputs, targets: FloatArray) -> Process:
    """Fit a process to standardised values, with all beliefs."""
    return fit_process(inputs, targets, np.random.default_rng(0), hypotheses())


def only(process: Process, number: int) -> Process:
    """Return the process with one of its beliefs."""
    return replace(process, beliefs=(replace(process.beliefs[number], share=1.0),))


class TestProcess:
    """Predictions of the process."""

    def test_leaving_one_out_is_as_fitting_without_it(self) -> None:
        """With fixed hyperparameters, the closed form agrees with a fit without the sample."""
        inputs = inputs_of(10, seed=0)  # so few that none is taken for an outlier
        targets = values_of(inputs, noise=0.05)
        process = fit(inputs, targets)
        expected_means, expected_variances = np.zeros(10), np.zeros(10)
        for index in range(10):
            others = np.delete(np.arange(10), index)
            means, variances = [], []
            for belief in process.beliefs:
                covariance = Products(inputs, inputs).covariance(belief.logs)
                noise = np.exp(belief.logs[NOISE])
                among = covariance[np.ix_(others, others)] + noise * np.eye(9)
                across = covariance[index, others]
                means.append(across @ np.linalg.solve(among, targets[others]))
                variances.append(covariance[index, index] - across @ np.linalg.solve(among, across) + noise)
            shares = np.array([belief.share for belief in process.beliefs])
            expected_means[index] = shares @ means
            expected_variances[index] = shares @ (variances + (np.array(means) - expected_means[index]) ** 2)
        np.testing.assert_allclose(process.held_out_means, expected_means, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(process.held_out_deviations, np.sqrt(expected_variances), rtol=1e-3)

    def test_predictions_are_those_of_the_equations(self) -> None:
        """Mean and deviation of one belief agree with a direct solution in double precision."""
        inputs, fresh = inputs_of(10, seed=0), inputs_of(20, seed=1)
        targets = values_of(inputs, noise=0.05)
        process = only(fit(inputs, targets), 0)
        logs = process.beliefs[0].logs
        noise = np.exp(logs[NOISE])
        among = Products(inputs, inputs).covariance(logs) + noise * np.eye(10)
        across = Products(fresh, inputs).covariance(logs)
        variances = fresh.variances(logs) - np.einsum("nm,mn->n", across, np.linalg.solve(among, across.T)) + noise
        means, deviations = process.predict(fresh.as_type(np.float32))
        np.testing.assert_allclose(means, across @ np.linalg.solve(among, targets), atol=1e-3)
        np.testing.assert_allclose(deviations, np.sqrt(variances), rtol=1e-3)

    def test_deviations_keep_their_precision_with_many_exact_samples(self) -> None:
        """Rounding does not show with hundreds of samples and little noise."""
        architectures = drawn(260, seed=0)
        inputs = Inputs.of(feature_map(SPACE)(SPACE.describe(architectures)))
        values = Device().latencies_ms(architectures)
        process = fit_process(inputs, Roots.of(values)(values), np.random.default_rng(0), (PRIOR,))
        fresh = inputs_of(100, seed=1)
        _, quick = process.predict(fresh.as_type(np.float32))
        _, exact = replace(process, inputs=inputs).predict(fresh)
        np.testing.assert_allclose(quick, exact, rtol=0.02)

    def test_shares_of_beliefs_add_up_to_one(self) -> None:
        """Beliefs with a tiny share are dropped, and better beliefs have larger shares."""
        inputs = inputs_of(40, seed=0)
        process = fit(inputs, values_of(inputs, noise=0.01))
        shares = [belief.share for belief in process.beliefs]
        assert sum(shares) == pytest.approx(1)
        assert min(shares) > 0.01

    def test_a_mixture_is_as_wide_as_its_beliefs_disagree(self) -> None:
        """The variance is the mean variance plus the variance of the means."""
        inputs, fresh = inputs_of(12, seed=0), inputs_of(20, seed=1).as_type(np.float32)
        process = fit(inputs, values_of(inputs, noise=0.1))
        assert len(process.beliefs) > 1
        shares = np.array([belief.share for belief in process.beliefs])
        alone = [only(process, number).predict(fresh) for number in range(len(shares))]
        means, deviations = (np.array(each) for each in zip(*alone, strict=True))
        mean, deviation = process.predict(fresh)
        np.testing.assert_allclose(mean, shares @ means, atol=1e-9)
        np.testing.assert_allclose(deviation**2, shares @ (deviations**2 + (means - mean) ** 2), rtol=1e-6)

    def test_an_outlier_counts_for_less(self) -> None:
        """A sample that is six deviations off moves predictions less than without extra noise."""
        inputs, fresh = inputs_of(40, seed=0), inputs_of(50, seed=1)
        targets = values_of(inputs, noise=0.02)
        targets = (targets - targets.mean()) / targets.std()
        spoilt = targets.copy()
        spoilt[7] += 6
        process = only(fit(inputs, spoilt), 0)
        logs = process.beliefs[0].logs
        among = Products(inputs, inputs).covariance(logs) + np.exp(logs[NOISE]) * np.eye(40)
        across = Products(fresh, inputs).covariance(logs)
        unspoilt, without_care = (across @ np.linalg.solve(among, each) for each in (targets, spoilt))
        with_care, _ = process.predict(fresh.as_type(np.float32))
        assert np.abs(with_care - unspoilt).mean() < 0.6 * np.abs(without_care - unspoilt).mean()

    def test_all_of_many_samples_count(self) -> None:
        """With 230 samples, predictions at the last of them are as close as at the first."""
        inputs = inputs_of(230, seed=0)
        targets = values_of(inputs, noise=1e-4)
        process = fit_process(inputs, targets, np.random.default_rng(0), (PRIOR,))
        means, _ = process.predict(inputs.as_type(np.float32))
        np.testing.assert_allclose(means, targets, atol=0.25)
        assert len(process.held_out_means) == 230


class TestGp:
    """The predictor around the process."""

    def test_held_out_predictions_come_from_folds(self) -> None:
        """Held-out errors are as large as errors on new architectures."""
        architectures, fresh = drawn(20, seed=3), drawn(200, seed=4)
        values, truths = (Device().latencies_ms(each) for each in (architectures, fresh))
        fit_of_all = fit_values(Inputs.of(feature_map(SPACE)(SPACE.describe(architectures))), values, 0)
        found = np.abs(fit_of_all.held_out_logs - np.log(values)).mean()
        inputs = Inputs.of(feature_map(SPACE)(SPACE.describe(fresh)), dtype=np.float32)
        assert found > 0.6 * np.abs(fit_of_all.logs(inputs)[0] - np.log(truths)).mean()

    def test_it_is_surer_near_its_samples(self) -> None:
        """Bounds at the samples are narrower than elsewhere."""
        architectures = drawn(40, seed=0)
        predictor = fit_gp(SPACE, architectures, Device().latencies_ms(architectures), target="made up", seed=0)
        widths = [
            np.median((each.upper - each.lower) / each.mean)
            for each in (predictor.predict(architectures), predictor.predict(drawn(100, seed=1)))
        ]
        assert widths[0] < widths[1]
