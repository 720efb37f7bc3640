"""MiniRocket: fixed kernels along time and a linear head that ridge regression fits at once, for signals.

Kernels, dilations, padding and biases are those of Dempster, Schmidt and Webb ("MiniRocket: a very fast (almost)
deterministic transform for time series classification", KDD 2021, https://arxiv.org/abs/2012.08791).
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from nas.space.architecture import Architecture, Choice, Option
from nas.space.layer import Layer
from nas.space.search_space import architecture_from
from search_spaces.accepted import SIGNALS, signal_shape
from search_spaces.conv1d import AsMaps
from search_spaces.ridge import IntArray, fit_ridge

LENGTH = 9
"""The weights of a kernel."""
TAPS = tuple(itertools.combinations(range(LENGTH), 3))
"""For each kernel, the places of its weights of 2. All others are -1."""
KERNELS = len(TAPS)
HALF = KERNELS // 2
"""At each dilation, one half of the kernels runs over padded signals, and the other half over the signals alone."""
FEATURES = tuple(KERNELS * each for each in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 84, 119))
PUBLISHED_FIRST = (9996, 4032, 2016, 1008, 504)
"""The features of the networks that a search begins with, the published number first."""
DILATIONS = (1, 2, 4, 8, 16, 32)
POOLS = (8, 4, 2, 1)
MOST_CHANNELS = 9
"""A kernel sums at most so many channels."""
SHARPNESS = 4096
"""The slope of the steps that count positive values, in units of the signals' standard deviation.

The steps rise half of their width above the bias. So a value that equals the bias but for rounding counts as not
positive in every runtime. Signals with constant parts have many such values.
"""
MOST_VALUES = 2**25
"""The head is fitted to so many values of features at most, of 8 bytes each."""
BATCH_BYTES = 2**24
"""The memory of the largest maps of a batch while features are computed."""


class Dilation(NamedTuple):
    """One dilation of all kernels, and the number of features that each kernel has there."""

    size: int
    features: int


class Rocket:
    """MiniRocket (arXiv:2012.08791): shares of positive values of 84 fixed kernels at dilations, then a linear head.

    The modules have a method ``fit``, which sets the biases of the kernels and the head from training items, in the
    place of epochs. Signals are float32 of shape (channels, samples), with at least 9 samples.

    >>> space = Rocket(input_shape=(3, 128), classes=10)
    >>> network = space.build(nas.sample(space, np.random.default_rng(0)))
    """

    accepts = SIGNALS

    def __init__(self, input_shape: tuple[int, int], classes: int) -> None:
        self._channels, self._samples = signal_shape(self, input_shape)
        if self._samples < LENGTH:
            raise ValueError(
                f"Rocket needs signals of at least {LENGTH} samples, as many as its kernels have weights, but got "
                f"{self._samples}. Make the windows longer, or take another space, such as conv1d."
            )
        self._outputs = classes
        self.choices = (
            Choice("features", FEATURES),
            Choice("dilations", DILATIONS),
            Choice("pool", tuple(pool for pool in POOLS if self._samples // pool >= LENGTH)),
        )

    @property
    def first(self) -> list[Architecture]:
        """MiniRocket as it was published, and with fewer features. Each costs one pass over the items."""
        return [
            architecture_from(self, {"features": features, "dilations": DILATIONS[-1], "pool": POOLS[-1]})
            for features in PUBLISHED_FIRST
        ]

    def build(self, architecture: Architecture) -> MiniRocket:
        """Return the torch module, with biases of zero. The head's weights come from torch's global random state."""
        return MiniRocket(
            self._channels, self._samples, self._outputs, int(architecture["pool"]), self._plan(architecture)
        )

    def layers(self, architecture: Architecture) -> list[Layer]:
        """Return the layers, as a trace of the module gives them, without building it."""
        signals, samples = (self._channels, 1, self._samples), self._samples
        found: list[Layer] = []
        if (pool := int(architecture["pool"])) > 1:
            samples //= pool
            found.append(Layer("pool", signals, (self._channels, 1, samples), kernel=pool, stride=pool))
            signals = (self._channels, 1, samples)
        plan = self._plan(architecture)
        for dilation in plan:
            width = HALF * dilation.features
            for after in (samples, samples - (LENGTH - 1) * dilation.size):
                maps, steps = (HALF, 1, after), (width, 1, after)
                macs = HALF * self._channels * LENGTH * after
                found += [
                    Layer("conv", signals, maps, macs=macs, kernel=LENGTH),
                    Layer("depthwise_conv", maps, steps, macs=width * after, groups=HALF),
                    Layer("activation", steps, steps),
                    Layer("pool", steps, (width,)),
                ]
        widest = HALF * max(dilation.features for dilation in plan)
        features, outputs = int(architecture["features"]), self._outputs
        found.append(Layer("concat", (widest,), (features,)))
        params = (features + 1) * outputs
        return [*found, Layer("linear", (features,), (outputs,), macs=features * outputs, params=params)]

    def canonical(self, values: Mapping[str, Option]) -> Mapping[str, Option]:
        """Give kernels with the same dilations the smallest option. Short signals have few different dilations."""
        plan = self._plan(values)
        same = (most for most in DILATIONS if self._plan({**values, "dilations": most}) == plan)
        return {**values, "dilations": next(same)}

    def _plan(self, values: Mapping[str, Option]) -> tuple[Dilation, ...]:
        return planned_dilations(
            self._samples // int(values["pool"]), int(values["features"]) // KERNELS, int(values["dilations"])
        )


@lru_cache(maxsize=1024)
def planned_dilations(samples: int, features: int, most: int) -> tuple[Dilation, ...]:
    """Return at most ``most`` dilations, and how the ``features`` of each kernel are spread over them.

    Dilations grow exponentially from 1 to one at which a kernel is as long as the signal. Equal ones are joined.
    """
    count = min(features, most)
    longest = np.log2((samples - 1) / (LENGTH - 1))
    sizes, times = np.unique(np.logspace(0, longest, count, base=2).astype(int), return_counts=True)
    spread = (times * (features / count)).astype(int)
    spread[: features - spread.sum()] += 1
    return tuple(Dilation(int(size), int(each)) for size, each in zip(sizes, spread, strict=True))


class MiniRocket(nn.Module):
    """Maps signals, shape (N, channels, samples), to outputs, shape (N, classes or values).

    Before ``fit``, biases are zero and the head is random, which is enough to measure latency.
    """

    def __init__(self, channels: int, samples: int, outputs: int, pool: int, plan: tuple[Dilation, ...]) -> None:
        super().__init__()
        self.signals = nn.Sequential(AsMaps(channels, samples), *([nn.AvgPool2d((1, pool))] if pool > 1 else []))
        self.kernels = nn.ModuleList(
            HalfOfKernels(channels, dilation, first, is_padded=is_padded)
            for number, dilation in enumerate(plan)
            for is_padded, first in ((True, number % 2), (False, 1 - number % 2))
        )
        self.head = nn.Linear(KERNELS * sum(dilation.features for dilation in plan), outputs)
        self._samples, self._plan = samples // pool, plan
        self._draw_channels(np.random.default_rng(0))

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        """Return logits of classes, or values."""
        output: torch.Tensor = self.head(self.features(signals))
        return output

    def features(self, signals: torch.Tensor) -> torch.Tensor:
        """Return the shares of positive values, shape (N, features)."""
        maps = self.signals(signals)
        return torch.cat([half(maps) for half in self.kernels], dim=1)

    @torch.no_grad()
    def fit(
        self, inputs: tuple[torch.Tensor, ...], targets: torch.Tensor, seed: int, groups: IntArray | None = None
    ) -> None:
        """Set the biases of the kernels and the head from training items.

        ``inputs`` holds the signals, shape (N, channels, samples). ``targets`` are class numbers, int64 of shape (N,),
        or values, shape (N, values). ``seed`` draws the channels that kernels sum, and the items that give biases.
        The head is fitted to a random sample if features of all items have more than ``MOST_VALUES`` values. Its
        strength is chosen by items left out, with all of their group if ``groups`` gives numbers, shape (N,).

        Raises:
            ValueError: fewer than two items, signals or targets that are not finite, or a class number out of range.
        """
        (signals,) = inputs
        _check_items(signals, targets)
        rng = np.random.default_rng(seed)
        most = max(2, MOST_VALUES // self.head.in_features)
        if len(signals) > most:
            warnings.warn(
                f"the head of {self.head.in_features:,} features is fitted to {most:,} random items of "
                f"{len(signals):,}, to save memory. Networks of fewer features use more items.",
                stacklevel=2,
            )
            chosen = torch.from_numpy(rng.choice(len(signals), most, replace=False)).to(signals.device)
            signals, targets = signals[chosen], targets[chosen.to(targets.device)]
            groups = None if groups is None else groups[chosen.cpu().numpy()]
        self._draw_channels(rng)
        self._set_biases(signals, rng)
        weight, bias = fit_ridge(self._in_batches(signals), targets.cpu().numpy(), self.head.out_features, groups)
        self.head.weight.copy_(torch.from_numpy(weight))
        self.head.bias.copy_(torch.from_numpy(bias))

    def _draw_channels(self, rng: np.random.Generator) -> None:
        for half in self._halves():
            half.draw_channels(rng)

    def _set_biases(self, signals: torch.Tensor, rng: np.random.Generator) -> None:
        """Take as biases quantiles of what each kernel gives for one random item."""
        scale = float(signals.std(correction=0)) or 1.0
        features = sum(dilation.features for dilation in self._plan)
        golden = (np.arange(1, KERNELS * features + 1) * ((np.sqrt(5) + 1) / 2)) % 1  # spreads quantiles evenly
        quantiles = np.split(golden, np.cumsum([KERNELS * dilation.features for dilation in self._plan])[:-1])
        for number, half in enumerate(self._halves()):
            of_kernels = quantiles[number // 2].reshape(KERNELS, -1)[half.numbers]
            items = torch.from_numpy(rng.integers(len(signals), size=HALF)).to(signals.device)
            half.set_biases(self.signals(signals[items]), of_kernels, scale)

    def _in_batches(self, signals: torch.Tensor) -> npt.NDArray[np.float32]:
        """Return the features of all items, shape (N, features)."""
        widest = HALF * max(dilation.features for dilation in self._plan)
        size = max(1, BATCH_BYTES // (4 * widest * self._samples))
        return np.concatenate([self.features(batch).cpu().numpy() for batch in torch.split(signals, size)])

    def _halves(self) -> Iterator[HalfOfKernels]:
        for half in self.kernels:
            assert isinstance(half, HalfOfKernels)
            yield half


class HalfOfKernels(nn.Module):
    """Every other one of the 84 kernels at one dilation: the shares of their outputs that are above each bias.

    A value is counted by a convolution of one weight and a clip, which runtimes merge and which all of them have.
    """

    kernels: torch.Tensor
    slopes: torch.Tensor
    offsets: torch.Tensor

    def __init__(self, channels: int, dilation: Dilation, first: int, *, is_padded: bool) -> None:
        super().__init__()
        self.numbers = np.arange(first, KERNELS, 2)
        self.dilation = dilation
        self.padding = LENGTH // 2 * dilation.size if is_padded else 0
        width = HALF * dilation.features
        self.register_buffer("kernels", torch.zeros(HALF, channels, 1, LENGTH))
        self.register_buffer("slopes", torch.full((width, 1, 1, 1), float(SHARPNESS)))
        self.register_buffer("offsets", torch.full((width,), -0.5))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return features, shape (N, 42 × features of a kernel), for maps of shape (N, channels, 1, samples)."""
        outputs = F.conv2d(maps, self.kernels, dilation=(1, self.dilation.size), padding=(0, self.padding))
        steps = F.conv2d(outputs, self.slopes, self.offsets, groups=HALF)
        return steps.clamp_(0, 1).mean((2, 3))

    def draw_channels(self, rng: np.random.Generator) -> None:
        """Let each kernel sum random channels: few more often than many."""
        channels = self.kernels.shape[1]
        largest = np.log2(min(channels, MOST_CHANNELS) + 1)
        weights = np.zeros((HALF, channels, 1, LENGTH), dtype=np.float32)
        for row, number in zip(weights, self.numbers, strict=True):
            chosen = rng.choice(channels, int(2 ** rng.uniform(0, largest)), replace=False)
            row[chosen] = -1
            row[chosen[:, None], 0, TAPS[number]] = 2
        self.kernels.copy_(torch.from_numpy(weights))

    def set_biases(self, maps: torch.Tensor, quantiles: npt.NDArray[np.float64], scale: float) -> None:
        """Set biases to quantiles, shape (42, features), of what each kernel gives for its item, padded.

        ``maps`` holds an item for each kernel, shape (42, channels, 1, samples). ``scale`` is the standard deviation of
        the signals.
        """
        dilation = self.dilation.size
        outputs = F.conv2d(
            maps.reshape(1, -1, 1, maps.shape[-1]),
            self.kernels,
            dilation=(1, dilation),
            padding=(0, LENGTH // 2 * dilation),
            groups=HALF,
        )
        biases = [np.quantile(row, each) for row, each in zip(outputs[0, :, 0].cpu().numpy(), quantiles, strict=True)]
        slope = SHARPNESS / scale
        self.slopes.fill_(slope)
        self.offsets.copy_(torch.from_numpy(-slope * np.concatenate(biases) - 0.5))


def _check_items(signals: torch.Tensor, targets: torch.Tensor) -> None:
    """Check that a network can be fitted to these items. Raises ValueError."""
    if len(signals) < 2 or len(signals) != len(targets):
        raise ValueError(
            f"fit needs at least two items, each with a target, but got {len(signals)} signals and {len(targets)} "
            "targets."
        )
    for name, values in (("signals", signals), ("targets", targets)):
        if not torch.isfinite(values).all():
            raise ValueError(f"{name} must be finite, but some are NaN or infinite. Remove or fill them first.")
