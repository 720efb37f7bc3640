"""The space rocket: features as MiniRocket defines them, fitted heads, and what is refused."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import search_spaces.rocket
from nas.errors import RecipeError
from nas.formats.export import export_onnx, parity
from nas.formats.traced_export import write_traced
from nas.space.architecture import Architecture
from nas.space.search_space import architecture_from, count, ends, enumerate_space, load_space
from nas.space.signature import Signature, TensorType
from search_spaces.rocket import HALF, KERNELS, MiniRocket, Rocket, planned_dilations

FloatArray = npt.NDArray[np.float64]
GOLDEN = (np.sqrt(5) + 1) / 2


def signature(channels: int, samples: int, outputs: int = 3) -> Signature:
    return Signature((TensorType("signals", (channels, samples)),), (outputs,))


def network(channels: int, samples: int, outputs: int = 3, **values: int) -> MiniRocket:
    """Return a network of the given choices, with a head from seed 0."""
    torch.manual_seed(0)
    space = Rocket((channels, samples), outputs)
    return space.build(architecture_from(space, {"features": 168, "dilations": 4, "pool": 1, **values})).eval()


def tones(number: int, channels: int, samples: int, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Return noisy tones, whose pitch tells their class, and the classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(number) % classes
    time = np.arange(samples) / samples
    phases = rng.uniform(0, 2 * np.pi, (number, channels, 1))
    waves = np.sin(2 * np.pi * (2 + 3 * labels[:, None, None]) * time + phases)
    signals = waves + rng.normal(0, 0.3, waves.shape)
    return torch.from_numpy(signals.astype(np.float32)), torch.from_numpy(labels)


def convolved(signal: FloatArray, taps: tuple[int, ...], dilation: int) -> FloatArray:
    """Return the output of a kernel over a signal of one channel, padded by zeros to its length."""
    padded = np.pad(signal, 4 * dilation)
    weights = [2 if place in taps else -1 for place in range(9)]
    length = len(signal)
    outputs: FloatArray = np.sum(
        [weight * padded[place * dilation : place * dilation + length] for place, weight in enumerate(weights)], axis=0
    )
    return outputs


def dilations_of(samples: int, features: int, most: int) -> list[tuple[int, int]]:
    """Return dilations and the features of each kernel, one by one as the authors' program counts them."""
    number = min(features, most)
    exponents = [step * np.log2((samples - 1) / 8) / max(number - 1, 1) for step in range(number)]
    sizes = [int(2**exponent + 1e-9) for exponent in exponents]
    found = {size: int(sizes.count(size) * features / number) for size in sizes}
    for place in range(features - sum(found.values())):
        found[sizes[0] if place == 0 else sorted(found)[place]] += 1
    return sorted(found.items())


class TestFeatures:
    """The features, beside plain loops over the paper's definition."""

    @pytest.mark.parametrize(
        ("samples", "features", "most"), [(9, 4, 32), (24, 119, 32), (100, 3, 8), (427, 119, 32), (427, 119, 4)]
    )
    def test_dilations_grow_to_the_length_of_the_signal(self, samples: int, features: int, most: int) -> None:
        plan = planned_dilations(samples, features, most)
        assert [tuple(each) for each in plan] == dilations_of(samples, features, most)
        assert sum(each.features for each in plan) == features

    def test_biases_are_quantiles_of_training_items(self) -> None:
        """Of one training item, given twice, each bias is a quantile of the padded output of its kernel."""
        signals = tones(1, 1, 60)[0].repeat(2, 1, 1)
        fitted = network(1, 60, features=504)
        fitted.fit((signals,), torch.tensor([0, 1]), 0)
        plan = planned_dilations(60, 6, 4)
        taps, used = list(itertools.combinations(range(9), 3)), 0
        for number, dilation in enumerate(plan):
            found: dict[int, Any] = {}
            for half in fitted.kernels[2 * number : 2 * number + 2]:
                biases = ((-0.5 - half.offsets) / half.slopes.flatten()).reshape(HALF, -1).numpy()
                found |= dict(zip(half.numbers.tolist(), biases, strict=True))
            for kernel in range(KERNELS):
                outputs = convolved(signals[0, 0].double().numpy(), taps[kernel], dilation.size)
                shares = [(used + place + 1) * GOLDEN % 1 for place in range(dilation.features)]
                used += dilation.features
                np.testing.assert_allclose(found[kernel], np.quantile(outputs, shares), atol=1e-4)

    @pytest.mark.parametrize(("channels", "samples", "pool"), [(1, 61, 1), (5, 40, 1), (1, 120, 4)])
    def test_features_are_shares_above_the_biases(self, channels: int, samples: int, pool: int) -> None:
        """Kernels alternate between padded signals and outputs inside them, and sum some channels."""
        signals, labels = tones(6, channels, samples)
        fitted = network(channels, samples, pool=pool)
        fitted.fit((signals,), labels, 0)
        features = fitted.features(signals).numpy()
        pooled = signals.numpy().astype(np.float64)[..., : samples // pool * pool]
        pooled = pooled.reshape(6, channels, -1, pool).mean(axis=-1)
        taps, start = list(itertools.combinations(range(9), 3)), 0
        for place, half in enumerate(fitted.kernels):
            dilation = planned_dilations(samples // pool, 2, 4)[place // 2]
            biases = ((-0.5 - half.offsets) / half.slopes.flatten()).reshape(HALF, -1).numpy()
            for row, kernel in enumerate(half.numbers):
                is_padded = (place // 2 + kernel) % 2 == 0
                chosen = half.kernels[row, :, 0].abs().sum(dim=1).numpy() > 0
                for item in range(6):
                    outputs = np.sum(
                        [convolved(each, taps[kernel], dilation.size) for each in pooled[item, chosen]], axis=0
                    )
                    inside = outputs if is_padded else outputs[4 * dilation.size : -4 * dilation.size]
                    shares = [(inside > bias).mean() for bias in biases[row]]
                    got = features[item, start : start + dilation.features]
                    np.testing.assert_allclose(got, shares, atol=1.01 / len(inside))
                start += dilation.features
        assert start == features.shape[1]

    def test_kernels_sum_few_channels_more_often(self) -> None:
        """Of twelve channels each kernel sums one to nine, and weights of -1 and 2 sum to zero."""
        fitted = network(12, 40, features=336)
        kernels = torch.cat([half.kernels for half in fitted.kernels])[:, :, 0]
        used = (kernels != 0).any(dim=2).sum(dim=1)
        assert used.min() == 1
        assert used.max() == 9
        assert (used <= 3).float().mean() > 0.4
        assert not kernels.sum(dim=2).any()
        assert set(kernels.unique().tolist()) == {-1, 0, 2}


class TestFit:
    """What ``fit`` makes of a network."""

    @pytest.mark.parametrize(("channels", "classes"), [(1, 2), (1, 3), (4, 12)])
    def test_learns_classes(self, channels: int, classes: int) -> None:
        """Two classes and many; outputs are logits, far better than equal probabilities."""
        signals, labels = tones(20 * classes, channels, 96, classes)
        fitted = network(channels, 96, classes, features=504)
        fitted.fit((signals[: 10 * classes],), labels[: 10 * classes], 0)
        logits, known = fitted(signals[10 * classes :]), labels[10 * classes :]
        assert (logits.argmax(dim=1) == known).float().mean() > 0.9
        assert torch.nn.functional.cross_entropy(logits, known) < 0.5 * np.log(classes)

    def test_learns_values(self) -> None:
        rng = np.random.default_rng(0)
        pitches = rng.uniform(2, 12, (120, 2))
        time = np.arange(80) / 80
        signals = torch.from_numpy(np.sin(2 * np.pi * pitches[..., None] * time).astype(np.float32))
        values = torch.from_numpy(((pitches - 7) / 3).astype(np.float32))
        fitted = network(2, 80, 2, features=1008)
        fitted.fit((signals[:80],), values[:80], 0)
        assert torch.nn.functional.mse_loss(fitted(signals[80:]), values[80:]) < 0.3 * values.var()

    def test_the_seed_decides(self) -> None:
        """The same seed gives the same numbers, and another one other biases, also for one channel."""
        signals, labels = tones(30, 1, 50)
        states = []
        for seed in (0, 0, 1):
            fitted = network(1, 50)
            fitted.fit((signals,), labels, seed)
            states.append(fitted.state_dict())
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert not torch.equal(states[0]["kernels.0.offsets"], states[2]["kernels.0.offsets"])

    def test_the_state_is_all_there_is(self) -> None:
        """A network that is built anew and given the state gives the same outputs, with drawn channels too."""
        signals, labels = tones(30, 6, 50)
        fitted, again = network(6, 50), network(6, 50)
        fitted.fit((signals,), labels, 5)
        again.load_state_dict(fitted.state_dict())
        assert torch.equal(fitted(signals), again(signals))

    @pytest.mark.parametrize("level", [0.0, 3.7, -1e4])
    def test_constant_signals(self, level: float) -> None:
        """They give no features that vary, so probabilities are about the classes' shares."""
        fitted = network(1, 40, 2)
        fitted.fit((torch.full((20, 1, 40), level),), (torch.arange(20) % 4 == 0).long(), 0)
        probabilities = fitted(torch.full((1, 1, 40), level)).softmax(dim=1)
        assert probabilities[0, 1].item() == pytest.approx(0.25, abs=0.06)

    def test_a_class_with_one_item_and_one_without(self) -> None:
        signals, labels = tones(31, 1, 60)
        labels[:30] %= 2
        labels[30] = 2
        fitted = network(1, 60, 4)
        fitted.fit((signals,), labels, 0)
        logits = fitted(signals)
        assert torch.isfinite(logits).all()
        assert (logits.argmax(dim=1) == labels).float().mean() > 0.9
        assert (logits[:, 3] < logits.max(dim=1).values).all()

    def test_more_items_than_fit_into_memory_are_sampled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(search_spaces.rocket, "MOST_VALUES", 168 * 50)
        signals, labels = tones(90, 1, 60)
        fitted = network(1, 60)
        with pytest.warns(UserWarning, match="head of 168 features is fitted to 50 random items of 90, to save memory"):
            fitted.fit((signals,), labels, 0)
        assert (fitted(signals).argmax(dim=1) == labels).float().mean() > 0.9

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_refuses_values_that_are_not_finite(self, bad: float) -> None:
        signals, labels = tones(30, 1, 50)
        signals[3, 0, 7] = bad
        with pytest.raises(ValueError, match="signals must be finite, but some are NaN or infinite"):
            network(1, 50).fit((signals,), labels, 0)
        with pytest.raises(ValueError, match="targets must be finite"):
            network(1, 50, 1).fit((tones(30, 1, 50)[0],), torch.full((30, 1), bad), 0)

    def test_refuses_items_that_do_not_fit(self) -> None:
        signals, labels = tones(30, 1, 50)
        with pytest.raises(ValueError, match="at least two items, each with a target, but got 1 signals and 1 targets"):
            network(1, 50).fit((signals[:1],), labels[:1], 0)
        with pytest.raises(ValueError, match="but got 30 signals and 29 targets"):
            network(1, 50).fit((signals,), labels[:29], 0)
        with pytest.raises(ValueError, match="class numbers must be from 0 to 1, but got 0 to 2"):
            network(1, 50, 2).fit((signals,), labels, 0)


class TestExport:
    """Fitted networks in ONNX Runtime."""

    @pytest.mark.parametrize(("channels", "samples", "pool"), [(1, 24, 1), (6, 100, 2), (1, 427, 4)])
    def test_exported_networks_agree(self, channels: int, samples: int, pool: int, tmp_path: Path) -> None:
        """Outputs agree, although constant parts have values next to biases. The quick exporter takes the networks."""
        signals, labels = tones(40, channels, samples)
        signals[:, :, samples // 2 :] = 0.7
        fitted = network(channels, samples, pool=pool, features=1008)
        fitted.fit((signals,), labels, 0)
        export_onnx(fitted, signature(channels, samples).inputs, 1, tmp_path / "model.onnx")
        assert parity(fitted, tmp_path / "model.onnx", [signals.numpy()]) < 1e-3
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's own deprecations
            assert write_traced(fitted, (signals[:1],), tmp_path / "traced.onnx", ["signals"], "logits")


class TestChoices:
    """The choices of the space."""

    def test_short_signals_are_refused(self) -> None:
        with pytest.raises(RecipeError, match=r"at least 9 samples, as many as its kernels have weights, but got 8\."):
            load_space("rocket", {}, signature(1, 8))
        space = load_space("rocket", {}, signature(1, 9))
        assert [choice.options for choice in space.choices if choice.name == "pool"] == [(1,)]

    def test_equal_dilations_are_one_network(self) -> None:
        """Of 24 samples there are dilations of 1 and 2 alone, so most options of the dilations give the same."""
        space = load_space("rocket", {}, signature(1, 24))
        assert len(list(enumerate_space(space))) < 0.75 * count(space)
        one = architecture_from(space, {"features": 84, "dilations": 32, "pool": 1})
        assert one == Architecture({"features": 84, "dilations": 1, "pool": 1})

    def test_the_ends_are_the_smallest_and_the_largest(self) -> None:
        smallest, largest = ends(load_space("rocket", {}, signature(1, 427)))
        assert dict(smallest) == {"features": 84, "dilations": 1, "pool": 8}
        assert dict(largest) == {"features": 9996, "dilations": 32, "pool": 1}

    @pytest.mark.parametrize("samples", [9, 24, 427])
    def test_a_search_begins_with_the_published_network(self, samples: int) -> None:
        """The networks that come first differ, and belong to the space."""
        space = Rocket((1, samples), 3)
        assert len(set(space.first)) == 5
        assert space.first[0] == ends(space)[1]
        for each in space.first:
            assert architecture_from(space, dict(each)) == each
